#!/usr/bin/env bash
# Builds the four programs statically, so that they need no libraries of the machine they run on.
#   deploy/build-static.sh [--profile PROFILE] [--target TRIPLE]
# PROFILE is a Cargo profile: release (the default), or dist, which is smaller but takes minutes to link. TRIPLE is by
# default musl's if rustup and musl-gcc have it, otherwise glibc's, linked statically.
# Prints the folder with the programs on standard output, and nothing else. Linux only.
set -euo pipefail
cd "$(dirname "$0")/.."

PROGRAMS=(specthink specthink-lab small-node large-node)
profile=release target=

fail() {
    echo "build-static.sh: $*" >&2
    exit 1
}

while [ $# -gt 0 ]; do
    case $1 in
        --profile) profile=${2:?--profile needs a name} && shift 2 ;;
        --target) target=${2:?--target needs a triple} && shift 2 ;;
        *) fail "unknown argument $1: see the first lines of this script" ;;
    esac
done
[ "$(uname -s)" = Linux ] || fail "it builds for Linux and only on Linux: run it there"

if [ -z "$target" ]; then
    arch=$(rustc -vV | sed -n 's/^host: \([^-]*\)-.*/\1/p')
    target=$arch-unknown-linux-gnu
    if command -v musl-gcc >/dev/null && [ -d "$(rustc --print sysroot)/lib/rustlib/$arch-unknown-linux-musl" ]; then
        target=$arch-unknown-linux-musl
    fi
fi

# With an explicit --target, the flag applies to the programs, but not to build scripts and macros.
RUSTFLAGS="${RUSTFLAGS:-} -C target-feature=+crt-static" \
    cargo build --locked --profile "$profile" --target "$target" \
    -p coordinator -p specthink-lab -p small-node -p large-node >&2

folder=$(cargo metadata --format-version 1 --no-deps --locked | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
folder=$folder/$target/$([ "$profile" = dev ] && echo debug || echo "$profile")
for program in "${PROGRAMS[@]}"; do
    if ldd "$folder/$program" 2>/dev/null | grep -q '=>'; then
        fail "$folder/$program needs libraries: is libc.a installed (libc6-dev, glibc-static)?"
    fi
done
echo "$folder"
