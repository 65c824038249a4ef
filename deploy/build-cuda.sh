#!/usr/bin/env bash
# Builds the nodes for NVIDIA GPUs, even on a machine with neither a GPU nor CUDA: the compiler and the libraries to
# link come as Python packages. Takes about ten minutes.
#
#   CUDA_COMPUTE_CAP=90 deploy/build-cuda.sh
#
# CUDA_COMPUTE_CAP: 90 H100/H200, 89 L4/RTX 4090, 86 RTX 3090/A10, 80 A100.
# To start, the binaries need the NVIDIA driver (libcuda) and CUDA 13's cudart, cublas and curand.
set -euo pipefail
cd "$(dirname "$0")/.."

export CUDA_COMPUTE_CAP="${CUDA_COMPUTE_CAP:-90}"
venv=target/cuda
python3 -m venv "$venv"
"$venv/bin/pip" install --quiet \
    "nvidia-cuda-nvcc==13.0.*" "nvidia-cuda-runtime==13.0.*" "nvidia-cuda-crt==13.0.*" \
    "nvidia-nvvm==13.0.*" "nvidia-cuda-cccl==13.0.*" "nvidia-cuda-nvrtc==13.0.*" \
    "nvidia-cublas==13.0.*" nvidia-curand

cuda=$(echo "$PWD/$venv"/lib/python3*/site-packages/nvidia/cu13)
[ -x "$cuda/bin/nvcc" ] || { echo "build-cuda.sh: no nvcc in $cuda/bin: the Python packages have changed their layout" >&2; exit 1; }
ln -sfn lib "$cuda/lib64"

# The packages have only versioned libraries, but the linker looks for the plain names.
for name in cublas cublasLt cudart curand nvrtc; do
    library=$(find "$cuda/lib" -maxdepth 1 -name "lib$name.so.*" | sort | head -n 1)
    [ -n "$library" ] || { echo "build-cuda.sh: no lib$name in $cuda/lib" >&2; exit 1; }
    ln -sfn "$(basename "$library")" "$cuda/lib/lib$name.so"
done

# libcuda belongs to the driver, which a build machine need not have: link against an empty stand-in with the same
# soname. Its symbols are resolved at run time.
mkdir -p "$cuda/lib/stubs"
if ! ldconfig -p 2>/dev/null | grep -q 'libcuda\.so '; then
    symbols=$(mktemp --suffix=.c)
    grep -hoE '\bcu[A-Z][A-Za-z0-9_]*' "$cuda/include/cuda.h" | sort -u |
        sed 's/.*/void &(void) {}/' >"$symbols"
    cc -shared -fPIC -w -Wl,-soname,libcuda.so.1 -o "$cuda/lib/stubs/libcuda.so" "$symbols"
    rm -f "$symbols"
fi

export CUDA_HOME="$cuda" PATH="$cuda/bin:$PATH"
export LIBRARY_PATH="$cuda/lib:$cuda/lib/stubs${LIBRARY_PATH:+:$LIBRARY_PATH}"
cargo build --release --locked --features small-node/cuda,large-node/cuda -p small-node -p large-node
ls -l target/release/small-node target/release/large-node
