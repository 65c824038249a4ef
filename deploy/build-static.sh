#!/usr/bin/env bash
# Builds the four programs so that they need no library of the machine they run on, and says where they are.
#   deploy/build-static.sh [--profile PROFILE] [--target TRIPLE]
# PROFILE is one of Cargo's: release (the default), or dist, which is smaller and takes minutes to link. TRIPLE is by
# default musl's, where rustup and musl-gcc have it, and otherwise that of glibc, linked statically.
# Standard output is the folder with the programs, and nothing else. Linux only.
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
        --profile) profile=${2:?--profile wants a name} && shift 2 ;;
        --target) target=${2:?--target wants a triple} && shift 2 ;;
        *) fail "$1 is no argument of it: see its first lines" ;;
    esac
done
[ "$(uname -s)" = Linux ] || fail "it builds for Linux, on Linux: run it there"

if [ -z "$target" ]; then
    arch=$(rustc -vV | sed -n 's/^host: \([^-]*\)-.*/\1/p')
    target=$arch-unknown-linux-gnu
    if command -v musl-gcc >/dev/null && [ -d "$(rustc --print sysroot)/lib/rustlib/$arch-unknown-linux-musl" ]; then
        target=$arch-unknown-linux-musl
    fi
fi

# With an explicit --target the flag reaches the programs and not what runs while they are built.
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
