#!/usr/bin/env bash
# Builds the container image: the four programs, the certificates of public authorities, and nothing else.
#   deploy/image.sh [--tag NAME] [--profile PROFILE] [--target TRIPLE] [--binaries FOLDER] [--ca FILE]
# NAME defaults to `specthink`. PROFILE and TRIPLE are passed to deploy/build-static.sh, which builds the programs.
# --binaries takes them from FOLDER instead, together with the libraries that they need.
# --ca is the bundle of certificates (PEM); by default this machine's.
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
        --tag) tag=${2:?--tag needs a name} && shift 2 ;;
        --binaries) binaries=${2:?--binaries needs a folder} && shift 2 ;;
        --ca) ca=${2:?--ca needs a file} && shift 2 ;;
        --profile | --target) build+=("$1" "${2:?$1 needs a value}") && shift 2 ;;
        *) fail "unknown argument $1: see the first lines of this script" ;;
    esac
done

# Check this before spending minutes on the build.
said=$(docker version --format '{{.Server.Version}}' 2>&1) ||
    fail "cannot reach a Docker daemon: start it, or check DOCKER_HOST ($(tail -n 1 <<<"$said"))"
for bundle in "${BUNDLES[@]}"; do
    [ -n "$ca" ] || ! [ -r "$bundle" ] || ca=$bundle
done
[ -r "$ca" ] || fail "no bundle of certificates at ${ca:-the usual paths}: install ca-certificates, or give --ca FILE"
[ -n "$binaries" ] || binaries=$("$here/build-static.sh" "${build[@]}")

context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
root=$context/root
mkdir -p "$root/bin" "$root/etc/ssl/certs" "$root/licenses" "$context/models"
mkdir -m 1777 "$root/tmp"
cp "$ca" "$root/etc/ssl/certs/ca-certificates.crt"
cp "$here"/../LICENSE-* "$root/licenses/"
for program in "${PROGRAMS[@]}"; do
    [ -x "$binaries/$program" ] || fail "$binaries/$program is not a program: build it, or leave out --binaries"
    cp "$binaries/$program" "$root/bin/"
    if command -v strip >/dev/null; then
        strip "$root/bin/$program"
    fi
    # Each line is `NAME => PATH (ADDRESS)`, or `PATH (ADDRESS)` for the loader. A static program has none.
    libraries=$({ ldd "$binaries/$program" 2>/dev/null || true; } | sed -n 's|.*[[:space:]]\(/[^ ]*\) (0x.*|\1|p')
    for library in $libraries; do
        [ -e "$root$library" ] || install -D "$library" "$root$library"
    done
done
chmod -R a+rX "$context"
said=$(docker build -q -t "$tag" -f "$here/Dockerfile" "$context" 2>&1) || fail "docker build: $said"
docker image inspect --format "$tag: {{.Id}}, {{.Size}} bytes" "$tag"
