#!/usr/bin/env bash
# Packs the four programs with their manual pages, completions, systemd units and guides.
#   deploy/tarball.sh [--profile PROFILE] [--target TRIPLE]      (see deploy/build-static.sh)
# Prints the archive's path on standard output; its checksum is written beside it. To install it:
#   sudo tar -C /usr/local --strip-components=1 --no-same-owner -xf ARCHIVE
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$here/..
folder=$("$here/build-static.sh" "$@")
version=$("$folder/specthink" --version | cut -d ' ' -f 2)
arch=$(basename "$(dirname "$folder")" | cut -d - -f 1)
name=specthink-$version-$arch-linux

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
share=$work/$name/share
for program in specthink specthink-lab small-node large-node; do
    install -D "$folder/$program" "$work/$name/bin/$program"
    # The nodes have no subcommands.
    case $program in
        *-node) "$folder/$program" --manual "$work/manual" ;;
        *) "$folder/$program" manual "$work/manual" ;;
    esac
    install -D -m 644 "$work/manual/completions/$program.bash" "$share/bash-completion/completions/$program"
    install -D -m 644 "$work/manual/completions/_$program" "$share/zsh/site-functions/_$program"
    install -D -m 644 "$work/manual/completions/$program.fish" "$share/fish/vendor_completions.d/$program.fish"
done
install -D -m 644 -t "$share/man/man1" "$work"/manual/man1/*
install -D -m 644 -t "$work/$name/lib/systemd/system" "$here"/systemd/*.service
install -D -m 644 -t "$share/doc/specthink" "$root"/docs/*.md "$root"/README.md "$root"/CHANGELOG.md "$root"/LICENSE-*
install -D -m 644 -t "$share/doc/specthink/systemd" "$here"/systemd/*.env

archive=$(dirname "$folder")/$name.tar.gz
# The same commit gives the same bytes, so that builds are reproducible.
epoch=${SOURCE_DATE_EPOCH:-$(git -C "$root" log -1 --format=%ct 2>/dev/null || echo 0)}
tar -C "$work" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$epoch" -cf - "$name" | gzip -9n >"$archive"
(cd "$(dirname "$archive")" && sha256sum "$name.tar.gz" >"$name.tar.gz.sha256")
echo "$archive"
