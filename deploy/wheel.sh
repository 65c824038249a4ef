#!/usr/bin/env bash
# Builds a wheel with the four programs, so that `pip install` installs them.
#   deploy/wheel.sh [--profile PROFILE] [--target TRIPLE]      (see deploy/build-static.sh)
# Prints the wheel's path on standard output. Needs Python 3 with venv; maturin is installed in a separate environment.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
MATURIN=1.16.0
folder=$("$here/build-static.sh" "$@")
profile=$(basename "$folder") target=$(basename "$(dirname "$folder")")
out=$(dirname "$folder")/wheels
rm -rf "$out"

venv=$(dirname "$folder")/maturin
"$venv/bin/maturin" --version 2>/dev/null | grep -qF "$MATURIN" || {
    python3 -m venv "$venv"
    "$venv/bin/pip" install -q "maturin==$MATURIN"
} >&2

scripts=$here/python/specthink.data/scripts
trap 'rm -rf "$here/python/specthink.data"' EXIT
for program in specthink-lab small-node large-node; do
    install -D "$folder/$program" "$scripts/$program"
    if command -v strip >/dev/null; then
        strip "$scripts/$program"
    fi
done
# The same flags as in deploy/build-static.sh, so that nothing is built twice.
(cd "$here/python" && RUSTFLAGS="${RUSTFLAGS:-} -C target-feature=+crt-static" \
    "$venv/bin/maturin" build --profile "$profile" --target "$target" --out "$out" >&2)
echo "$out"/specthink-*.whl
