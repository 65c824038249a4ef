#!/usr/bin/env bash
# Builds the container image: the four programs, the certificates of public authorities, and nothing else.
#   deploy/image.sh [--tag NAME] [--profile PROFILE] [--target TRIPLE] [--binaries FOLDER] [--ca FILE]
# NAME is by default `specthink`. PROFILE and TRIPLE are those of deploy/build-static.sh, which builds the programs;
# with --binaries they are taken from FOLDER as they are, together with the libraries that they need.
# --ca is the bundle of certificates (PEM), by default this machine's.
# Needs Rust and Docker's plain `docker build`: no buildx, no registry, no base image.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

PROGRAMS=(specthink specthink-lab small-node large-node)
# Where systems keep the certificates of public authorities.
BUNDLES=(/etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/ca-bundle.pem /etc/ssl/cert.pem)
tag=specthink binaries='' ca='' build=()

fail() {
    echo "image.sh: $*" >&2
    exit 1
}

while [ $# -gt 0 ]; do
    case $1 in
        --tag) tag=${2:?--tag wants a name} && shift 2 ;;
        --binaries) binaries=${2:?--binaries wants a folder} && shift 2 ;;
        --ca) ca=${2:?--ca wants a file} && shift 2 ;;
        --profile | --target) build+=("$1" "${2:?$1 wants a value}") && shift 2 ;;
        *) fail "$1 is no argument of it: see its first lines" ;;
    esac
done

# Before minutes of building.
said=$(docker version --format '{{.Server.Version}}' 2>&1) ||
    fail "no Docker daemon is reached: start it, or see DOCKER_HOST ($(tail -n 1 <<<"$said"))"
for bundle in "${BUNDLES[@]}"; do
    [ -n "$ca" ] || ! [ -r "$bundle" ] || ca=$bundle
done
[ -r "$ca" ] || fail "no bundle of certificates at ${ca:-its usual places}: install ca-certificates, or give --ca FILE"
[ -n "$binaries" ] || binaries=$("$here/build-static.sh" "${build[@]}")

context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
root=$context/root
mkdir -p "$root/bin" "$root/etc/ssl/certs" "$root/licenses" "$context/models"
mkdir -m 1777 "$root/tmp"
cp "$ca" "$root/etc/ssl/certs/ca-certificates.crt"
cp "$here"/../LICENSE-* "$root/licenses/"
for program in "${PROGRAMS[@]}"; do
    [ -x "$binaries/$program" ] || fail "$binaries/$program is no program: build it, or leave --binaries out"
    cp "$binaries/$program" "$root/bin/"
    if command -v strip >/dev/null; then
        strip "$root/bin/$program"
    fi
    # Each line is `NAME => PATH (ADDRESS)`, or `PATH (ADDRESS)` for the loader; of a static program there is none.
    libraries=$({ ldd "$binaries/$program" 2>/dev/null || true; } | sed -n 's|.*[[:space:]]\(/[^ ]*\) (0x.*|\1|p')
    for library in $libraries; do
        [ -e "$root$library" ] || install -D "$library" "$root$library"
    done
done
chmod -R a+rX "$context"
said=$(docker build -q -t "$tag" -f "$here/Dockerfile" "$context" 2>&1) || fail "docker build: $said"
docker image inspect --format "$tag: {{.Id}}, {{.Size}} bytes" "$tag"
