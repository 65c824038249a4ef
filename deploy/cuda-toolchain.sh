# shellcheck shell=bash
# Sourced by build-cuda.sh and gpu-check/prepare.sh at the root of the checkout, under `set -euo pipefail`: prepares the
# environment for `cargo build --features cuda`. The compiler and the libraries to link come as Python packages, which
# are installed into target/cuda. Where CUDA_HOME names an installed toolkit, that is used instead.
#
# CUDA_COMPUTE_CAP is the compute capability of the GPU, without the dot; 90 unless it is set.
export CUDA_COMPUTE_CAP="${CUDA_COMPUTE_CAP:-90}"

cuda_toolchain() {
    local venv=target/cuda cuda name library symbols
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet \
        "nvidia-cuda-nvcc==13.0.*" "nvidia-cuda-runtime==13.0.*" "nvidia-cuda-crt==13.0.*" \
        "nvidia-nvvm==13.0.*" "nvidia-cuda-cccl==13.0.*" "nvidia-cuda-nvrtc==13.0.*" \
        "nvidia-cublas==13.0.*" nvidia-curand

    cuda=$(echo "$PWD/$venv"/lib/python3*/site-packages/nvidia/cu13)
    if [ ! -x "$cuda/bin/nvcc" ]; then
        echo "cuda-toolchain.sh: no nvcc in $cuda/bin: the Python packages have changed their layout" >&2
        exit 1
    fi
    ln -sfn lib "$cuda/lib64"

    # The packages have only versioned libraries, but the linker looks for the plain names.
    for name in cublas cublasLt cudart curand nvrtc; do
        library=$(find "$cuda/lib" -maxdepth 1 -name "lib$name.so.*" | sort | head -n 1)
        [ -n "$library" ] || { echo "cuda-toolchain.sh: no lib$name in $cuda/lib" >&2; exit 1; }
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
}

if [ -n "${CUDA_HOME:-}" ]; then
    if [ ! -x "$CUDA_HOME/bin/nvcc" ]; then
        echo "cuda-toolchain.sh: CUDA_HOME is $CUDA_HOME, which has no bin/nvcc" >&2
        exit 1
    fi
    export CUDA_HOME PATH="$CUDA_HOME/bin:$PATH"
else
    cuda_toolchain
fi
