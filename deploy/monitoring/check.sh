#!/usr/bin/env bash
# Checks the files for Prometheus and Grafana: the alerts and their tests with promtool, and every expression and metric
# of the alerts and the dashboard.
# Usage: deploy/monitoring/check.sh FOLDER. promtool is put in FOLDER if it is not installed.
# If a tool is unavailable here, one line says so and the check is skipped. Exits with 1 if a check fails.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
tools=$(realpath "$1")

left_out() {
    echo "skipped: $*"
    exit 0
}

command -v python3 >/dev/null || left_out "there is no Python 3 here"
promtool=$(command -v promtool || echo "$tools/promtool")
if [ ! -x "$promtool" ]; then
    command -v apt-get >/dev/null && command -v dpkg >/dev/null ||
        left_out "there is no promtool here, and it can only be taken from Debian's package prometheus"
    package=$(mktemp -d "$tools/prometheus.XXXX")
    trap 'rm -rf "$package"' EXIT
    download() { (cd "$package" && timeout 60 apt-get download prometheus); }
    { download || { [ "$(id -u)" = 0 ] && timeout 60 apt-get update && download; }; } >"$tools/log" 2>&1 ||
        left_out "apt-get cannot download prometheus here: $(tail -1 "$tools/log")"
    dpkg -x "$package"/prometheus_*.deb "$package/files"
    cp "$package/files/usr/bin/promtool" "$promtool"
fi

cd "$here"
"$promtool" check rules alerts.yaml
"$promtool" test rules alerts_test.yaml
python3 check_names.py "$promtool"
