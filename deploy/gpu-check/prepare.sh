#!/usr/bin/env bash
# On the build machine: builds the engine's example gpu_check for NVIDIA GPUs, and packs it into target/gpu-check with
# all that it needs. About ten minutes the first time, seconds after that. Asks no GPU.
#
#   CUDA_COMPUTE_CAP=90 deploy/gpu-check/prepare.sh
#
# CUDA_COMPUTE_CAP is as for build-cuda.sh.
set -euo pipefail
cd "$(dirname "$0")/../.."
. deploy/cuda-toolchain.sh

cargo build --release --locked --features cuda -p engine --example gpu_check

pack=target/gpu-check
rm -rf "$pack"
mkdir -p "$pack/models"
strip -o "$pack/gpu_check" target/release/examples/gpu_check
python3 -c 'import lzma, shutil, sys
with open(sys.argv[1], "rb") as plain, lzma.open(sys.argv[1] + ".xz", "wb") as packed:
    shutil.copyfileobj(plain, packed)' "$pack/gpu_check"
rm "$pack/gpu_check"
cp -r tests/fixtures/logits deploy/gpu-check/configs "$pack/"
cp models/small.gguf models/large.gguf models/arithmetic/test.jsonl "$pack/models/"
cp deploy/gpu-check/check.sh deploy/gpu-check/summary.py deploy/gpu-check/torch_ref.py "$pack/"
du -sh "$pack"
echo "now, on the machine with the GPU: $pack/check.sh"
