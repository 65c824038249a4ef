#!/usr/bin/env bash
# Checks the CUDA kernels without a GPU: g++ compiles step.cu for the CPU, and check.cpp compares every kernel with a
# plain reference, also under sanitizers. With NVCC=path/to/nvcc it then prints what each kernel takes of a GPU.
set -euo pipefail
cd "$(dirname "$0")"

build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
# The shim stands in for CUDA's headers.
touch "$build/cuda_fp16.h" "$build/cuda_bf16.h"

# check NAME FLAGS... -- ARGUMENTS...: builds the check with these flags and runs it with these arguments.
check() {
    local name=$1 flags=()
    shift
    while [ "$1" != -- ]; do
        flags+=("$1")
        shift
    done
    shift
    echo "== $name"
    "${CXX:-g++}" -std=c++20 -O2 -fno-strict-aliasing -Wall -Wextra -Wno-unknown-pragmas -pthread -I"$build" \
        "${flags[@]}" -o "$build/$name" check.cpp
    "$build/$name" "$@"
}

check plain --
check address-undefined -g -fsanitize=address,undefined -fno-sanitize-recover=all -- quick
check thread -g -fsanitize=thread -- quick

[ -n "${NVCC:-}" ] || { echo "NVCC is not set: nothing is compiled for a GPU"; exit 0; }
architectures=(80 89 90)
for architecture in "${architectures[@]}"; do
    "$NVCC" -std=c++17 -arch="compute_$architecture" --ptx -o "$build/step.ptx" ../src/model/fused/step.cu
    "$NVCC" -std=c++17 -arch="sm_$architecture" -cubin -Xptxas -v -o "$build/step.cubin" ../src/model/fused/step.cu \
        2>"$build/ptxas.$architecture"
done
echo "== registers of a thread, bytes spilled (stored and loaded), bytes of shared memory of a CTA"
awk -v architectures="${architectures[*]}" '
    FNR == 1 { architecture = FILENAME; sub(/.*\./, "", architecture) }
    /Compiling entry function/ {
        split($0, quoted, "\047")
        kernel = quoted[2]
        if (!(kernel in seen)) { seen[kernel] = 1; kernels[++count] = kernel }
        spilled = shared = 0
    }
    /spill stores/ {
        match($0, /[0-9]+ bytes spill stores/); spilled = substr($0, RSTART) + 0
        match($0, /[0-9]+ bytes spill loads/); spilled += substr($0, RSTART) + 0
    }
    /Used [0-9]+ registers/ {
        match($0, /Used [0-9]+/); registers = substr($0, RSTART + 5, RLENGTH - 5)
        if (match($0, /[0-9]+ bytes smem/)) shared = substr($0, RSTART) + 0
        took[kernel, architecture] = registers " | " spilled " | " shared
    }
    END {
        columns = split(architectures, all, " ")
        header = "| kernel |"; rule = "| --- |"
        for (i = 1; i <= columns; i++) {
            header = header " sm_" all[i] " registers | spilled | shared |"
            rule = rule " ---: | ---: | ---: |"
        }
        print header; print rule; fflush()
        for (k = 1; k <= count; k++) {
            line = "| " kernels[k] " |"
            for (i = 1; i <= columns; i++) line = line " " took[kernels[k], all[i]] " |"
            print line | "sort"
        }
    }' "${architectures[@]/#/$build/ptxas.}"
