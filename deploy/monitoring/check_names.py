"""Checks that the alerts and the dashboard use only what exists.

Every metric and label is in docs/observability.md, every alert has a test and a row in docs/operate.md, and every
expression of the dashboard is valid. Usage: check_names.py PROMTOOL. Exits with 1 and one line for every fault.
"""

import functools
import json
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).parent
DOCS = HERE.parent.parent / "docs"
# Labels that Prometheus or a histogram adds.
COMMON_LABELS = {"namespace", "job", "instance", "le"}
SELECTOR = re.compile(r"\b((?:specthink|gen_ai)_\w+)(?:\{([^}]*)\})?")


def main() -> int:
    alerts = (HERE / "alerts.yaml").read_text()
    board = json.loads((HERE / "dashboard.json").read_text())
    expressions = expressions_of(board)
    faults = check_metrics("alerts.yaml", alerts)
    faults += check_metrics("alerts_test.yaml", (HERE / "alerts_test.yaml").read_text())
    faults += [fault for where, expression in expressions for fault in check_metrics(where, expression)]
    faults += check_alerts(re.findall(r"- alert: (\w+)", alerts))
    faults += check_layout(board)
    faults += check_expressions(sys.argv[1], expressions)
    for fault in faults:
        print(fault, file=sys.stderr)
    if not faults:
        print(f"{len(expressions)} expressions of the dashboard, and all names in them and in the alerts, are right")
    return 1 if faults else 0


@functools.cache
def known_metrics() -> dict[str, set[str]]:
    """Returns the metrics of docs/observability.md, each with its labels. A name may be in both tables."""
    metrics: dict[str, set[str]] = {}
    for line in (DOCS / "observability.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) > 5 and cells[2] in ("counter", "gauge", "histogram"):
            for name in re.findall(r"`(\w+)`", cells[1]):
                metrics.setdefault(name, set()).update(re.findall(r"`(\w+)`", cells[3]))
                if cells[2] == "histogram":
                    metrics.update({name + suffix: metrics[name] for suffix in ("_bucket", "_sum", "_count")})
    return metrics


def check_metrics(where: str, text: str) -> list[str]:
    """Finds metrics and labels in a text that docs/observability.md does not have."""
    metrics, faults = known_metrics(), []
    for name, matchers in SELECTOR.findall(text):
        if name not in metrics:
            faults.append(f"{where}: docs/observability.md has no metric {name}")
            continue
        labels = set(re.findall(r"(\w+)(?:=~|!~|!=|=)\"", matchers)) - COMMON_LABELS
        faults += [f"{where}: docs/observability.md has no label {label} of {name}" for label in labels - metrics[name]]
    return faults


def check_alerts(names: list[str]) -> list[str]:
    """Finds alerts without a test in which they fire, or without advice on what to do."""
    tests = (HERE / "alerts_test.yaml").read_text()
    operate = (DOCS / "operate.md").read_text()
    fires = set(re.findall(r"alertname: (\w+)\n +exp_alerts:\n", tests))
    faults = [f"alerts_test.yaml: {name} never fires" for name in names if name not in fires]
    faults += [f"docs/operate.md: there is no row `{name}`" for name in names if f"| `{name}` |" not in operate]
    return faults


def expressions_of(board: dict) -> list[tuple[str, str]]:
    """Returns the expressions of all panels, each with its place."""
    targets = [(panel["title"], target) for panel in board["panels"] for target in panel.get("targets", [])]
    return [(f"dashboard.json: {title}", target["expr"]) for title, target in targets]


def check_layout(board: dict) -> list[str]:
    """Finds panels that share an id or a position with another one."""
    faults, taken, seen = [], {}, set()
    for panel in board["panels"]:
        if panel["id"] in seen:
            faults.append(f"dashboard.json: {panel['title']}: another panel has the id {panel['id']}")
        seen.add(panel["id"])
        place = panel["gridPos"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                if taken.setdefault((x, y), panel["id"]) != panel["id"] or x > 23:
                    faults.append(f"dashboard.json: {panel['title']}: its position ({x}, {y}) is taken or off the grid")
                    return faults
    return faults


def check_expressions(promtool: str, expressions: list[tuple[str, str]]) -> list[str]:
    """Finds expressions that promtool cannot parse, with Grafana's variables filled in."""
    rules = []
    for number, (_, expression) in enumerate(expressions):
        filled = re.sub(r"\$(namespace|serve|node)\b", ".*", expression.replace("$__rate_interval", "5m"))
        rules.append({"record": f"board:{number}", "expr": filled})
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "board.yaml"
        # JSON is valid YAML.
        path.write_text(json.dumps({"groups": [{"name": "board", "rules": rules}]}))
        command = [promtool, "check", "rules", str(path)]
        checked = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return [f"dashboard.json: {checked.stderr.strip()}"] if checked.returncode else []


if __name__ == "__main__":
    sys.exit(main())
