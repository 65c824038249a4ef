#!/usr/bin/env bash
# On the machine with the GPU, in the folder that prepare.sh packed: does the engine compute the right logits, how fast,
# and in how much memory? At most ten minutes. Downloads nothing, and leaves the card's settings alone.
#
#   gpu-check/check.sh [correct] [speed] [torch] [sanitize]      # all four unless some are named
#
# Figures go to all.jsonl and messages to errors.log in $OUT (/tmp/gpu-check); a summary is printed last. $BUDGET (540)
# is in seconds: steps for which no time is left are named and left out. Exits with 1 if a step failed.
set -u
here=$(cd "$(dirname "$0")" && pwd)
out=${OUT:-/tmp/gpu-check}
budget=${BUDGET:-540}
parts=" ${*:-correct speed torch sanitize} "
failed=()
mkdir -p "$out" || exit 1
: >"$out/all.jsonl"
: >"$out/errors.log"

step() { # NAME LIMIT_S COMMAND...
    local name=$1 limit=$2 left=$((budget - SECONDS)) began=$SECONDS rc
    shift 2
    if ((left < 20)); then
        echo "-- $name: left out, $left s left"
        return
    fi
    ((limit < left - 10)) || limit=$((left - 10))
    printf '{"what": "step", "facts": {"name": "%s"}}\n' "$name" >>"$out/all.jsonl"
    echo "== $name" >>"$out/errors.log"
    timeout -k 3 "$limit" "$@" >>"$out/all.jsonl" 2>>"$out/errors.log"
    rc=$?
    echo "-- $name: exit code $rc, $((SECONDS - began)) s"
    ((rc == 0)) && return
    failed+=("$name")
    tail -n 4 "$out/errors.log" | cut -c1-300
}

has() { [[ $parts == *" $1 "* ]]; }

ask() { nvidia-smi --query-gpu="$1" --format=csv,noheader,nounits 2>/dev/null | head -n 1; }

echo "== machine"
for what in name driver_version compute_cap memory.total clocks.max.sm clocks.max.mem; do
    echo "$what: $(ask $what)"
done
uname -rm
nproc
grep -m 1 'model name' /proc/cpuinfo

# Memory in MiB. A Jetson's GPU has none of its own, and its nvidia-smi does not say how much it may take.
memory=$(ask memory.total)
[[ $memory =~ ^[0-9]+$ ]] || memory=$(awk '/^MemTotal/ { print int($2 / 1024) }' /proc/meminfo)
# GPUs before compute capability 8.0 have no bf16.
half=bf16
[[ $(ask compute_cap) == [1-7].* ]] && half=f16

program=$out/gpu_check
python3 - "$here/gpu_check.xz" "$program" <<'PY' || exit 1
import lzma, shutil, sys
with lzma.open(sys.argv[1]) as packed, open(sys.argv[2], "wb") as plain:
    shutil.copyfileobj(packed, plain)
PY
chmod +x "$program" || exit 1

# CUDA's libraries: those of the build, of Python packages, of a toolkit or of the driver, whichever are there.
libraries=$(python3 - "$program" "$here/../cuda" <<'PY'
import glob, os, re, subprocess, sys
program, build = sys.argv[1:]
said = subprocess.run(["ldd", program], capture_output=True, text=True).stdout
roots = [f"{build}/lib/python3*/site-packages/nvidia/*/lib"]
roots += [f"{path}/nvidia/*/lib" for path in sys.path if path.endswith("-packages")]
roots += ["/usr/local/cuda*/lib64", "/usr/local/cuda*/targets/*/lib", "/usr/local/nvidia/lib*", "/usr/lib/*-linux-gnu"]
roots += ["/usr/lib/*-linux-gnu/nvidia", "/usr/lib64"]
folders = []
for name in re.findall(r"(\S+) => not found", said):
    found = [folder for root in roots for folder in sorted(glob.glob(root)) if os.path.exists(f"{folder}/{name}")]
    folders += found[:1]
print(":".join(dict.fromkeys(folders)))
PY
)
with_libraries=(env "LD_LIBRARY_PATH=$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}")
missing=$("${with_libraries[@]}" ldd "$program" | grep 'not found')
if [ -n "$missing" ]; then
    echo "check.sh: libraries are missing; install the driver and CUDA's runtime libraries, or name their folder in" \
        "LD_LIBRARY_PATH:" >&2
    echo "$missing" >&2
    exit 1
fi
ours=("${with_libraries[@]}" "$program")

fits() { ((memory >= $1)); }

# The largest model that fits with its caches, and what its weights are held in.
if fits 72000; then
    large=32b held=$half
elif fits 20000; then
    large=7b held=$half
elif fits 7500; then
    large=7b held=q4_k_m
else
    large=1.5b held=q4_k_m
fi
shape() { echo "$here/configs/qwen2.5-$1"; }
speed() { # LIMIT_S SECONDS MODEL HELD [ENVIRONMENT]
    step "$3 $4${5:+, plain}" "$1" env ${5:-} "${ours[@]}" speed "$(shape "$3")" "$4" "$2"
}
plain=GPU_CHECK_PLAIN=1

if has correct; then
    step parity 120 "${ours[@]}" parity "$here/logits"
    step "text small" 60 "${ours[@]}" text "$here/models/small.gguf" "$here/models/test.jsonl" 16
    step "text large" 60 "${ours[@]}" text "$here/models/large.gguf" "$here/models/test.jsonl" 16
    step quants 90 "${ours[@]}" quants
fi
if has speed; then
    step overhead 20 "${ours[@]}" overhead
    step "overhead, plain" 20 env "$plain" "${ours[@]}" overhead
    speed 150 90 "$large" "$held"
    step "products of $large" 60 "${ours[@]}" products "$(shape "$large")"
    [ "$large" = 1.5b ] || speed 80 35 1.5b q4_k_m
    fits 5500 && speed 60 25 1.5b "$half"
fi
has_torch=
if has torch; then
    if [ "$half" = bf16 ] && python3 -c 'import torch; assert torch.cuda.is_available()' 2>>"$out/errors.log"; then
        has_torch=yes
    else
        echo "-- torch: left out: there is no PyTorch with CUDA here, or no bf16"
    fi
fi
if [ "$has_torch" ]; then
    step "torch ceilings" 40 python3 "$here/torch_ref.py" CEILINGS
    [ "$held" = bf16 ] && step "torch $large" 110 python3 "$here/torch_ref.py" "$(shape "$large")" 50
    fits 5500 && step "torch 1.5b" 40 python3 "$here/torch_ref.py" "$(shape 1.5b)" 15
fi
if has speed; then
    speed 100 40 "$large" "$held" "$plain"
    [ "$large" = 32b ] && speed 60 20 7b "$half"
fi
if [ "$has_torch" ] && [ "$held" = bf16 ] && python3 -c 'import transformers' 2>>"$out/errors.log"; then
    step "transformers $large" 80 python3 "$here/torch_ref.py" "$(shape "$large")" 30 transformers
fi
if has sanitize && command -v compute-sanitizer >/dev/null; then
    mkdir -p "$out/one" && cp -r "$here/logits/mistral-window" "$out/one/"
    step memcheck 90 "${with_libraries[@]}" compute-sanitizer --tool memcheck --error-exitcode 9 \
        "$program" parity "$out/one"
fi

python3 "$here/summary.py" "$out/all.jsonl"
echo "== $SECONDS s; figures in $out/all.jsonl, messages in $out/errors.log"
if ((${#failed[@]} > 0)); then
    printf 'failed: %s\n' "${failed[@]}"
    exit 1
fi
