# What pages assume, for the blocks that follow: the programs on the path, a terminal for each that does not end.
set -euo pipefail
set -m # job control, as in a terminal: `kill %1`, and a process group for each job
trap 'echo "failed: $place" >&2' ERR
ip link set lo up
export PATH="$PROGRAMS:$PATH" NO_PROXY=127.0.0.1 NO_COLOR=1

# `cargo run --release -p PACKAGE -- ARGS` runs the program that is built already.
cargo() {
    if [ "$1" != run ]; then
        echo "only \`cargo run\` can be run here, not: cargo $*" >&2
        return 1
    fi
    local program=specthink
    while [ "$1" != -- ]; do
        if [ "$1" = specthink-lab ]; then program=specthink-lab; fi
        shift
    done
    shift
    "$program" "$@"
}
export -f cargo

# Runs the block on standard input in the background, until the named program listens. One that runs already is closed.
declare -A opened
open() {
    if [ -n "${opened[$1]:-}" ]; then
        kill -- "-${opened[$1]}"
        wait "${opened[$1]}" || true
    fi
    : > "$1.out" # here, so that no earlier line is read below
    bash -euo pipefail -c "$(cat)" >> "$1.out" 2>&1 &
    opened[$1]=$!
    for _ in $(seq 600); do
        if grep -q "listening on" "$1.out"; then return; fi
        if ! kill -0 "${opened[$1]}" 2> /dev/null; then break; fi
        sleep 0.1
    done
    cat "$1.out" >&2
    return 1
}
