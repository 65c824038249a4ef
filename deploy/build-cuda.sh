#!/usr/bin/env bash
# Builds the nodes for NVIDIA GPUs, even on a machine with neither a GPU nor CUDA (cuda-toolchain.sh). Takes about ten
# minutes.
#
#   CUDA_COMPUTE_CAP=90 deploy/build-cuda.sh
#
# CUDA_COMPUTE_CAP: 90 H100/H200, 89 L4/RTX 4090, 87 Jetson Orin, 86 RTX 3090/A10, 80 A100. docs/edge.md has more.
# To start, the binaries need the NVIDIA driver (libcuda) and CUDA 13's cudart, cublas and curand.
set -euo pipefail
cd "$(dirname "$0")/.."
. deploy/cuda-toolchain.sh

cargo build --release --locked --features small-node/cuda,large-node/cuda -p small-node -p large-node
ls -l target/release/small-node target/release/large-node
