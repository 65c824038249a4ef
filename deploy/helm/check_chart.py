"""Checks the chart: with every file of ci/ it renders to objects that the API accepts, and it refuses every file of
refused/.

Usage: check_chart.py HELM [PROGRAMS], where HELM is the program and PROGRAMS a folder with specthink, small-node and
large-node, whose help shows whether they have the flags that the chart gives them. Exits with 1 and one line for every
fault. check.sh installs what it needs.
"""

import os
import pathlib
import re
import subprocess
import sys

import kubernetes_validate
import yaml

HERE = pathlib.Path(__file__).parent
CHART = HERE / "specthink"
# The oldest version that the chart supports, and the newest one with a schema.
VERSIONS = ["1.30.0", "1.37.0"]
# Our programs, each with the subcommand that its flags belong to.
OUR_COMMANDS = {"specthink": ["serve"], "small-node": [], "large-node": []}
# Kinds of other projects: the API has no schema for them.
FOREIGN_KINDS = {"Certificate", "Issuer", "LeaderWorkerSet", "PrometheusRule", "ServiceMonitor"}


def main() -> int:
    helm = sys.argv[1]
    programs = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else None
    flags = known_flags(programs)
    faults: list[str] = []
    seen_flags: set[str] = set()
    files = sorted((CHART / "ci").glob("*-values.yaml"))
    for file in files:
        faults += [f"{file.name}: {fault}" for fault in check_values(helm, file, flags, seen_flags)]
    refused = sorted((HERE / "refused").glob("*.yaml"))
    for file in refused:
        faults += [f"refused/{file.name}: {fault}" for fault in check_refused(helm, file)]
    for fault in faults:
        print(fault, file=sys.stderr)
    if faults:
        return 1
    if flags:
        shown = f"the {len(seen_flags)} flags that it gives exist"
    else:
        shown = "skipped: whether its flags exist, since no programs were given"
    print(f"the chart renders to valid objects with {len(files)} values and refuses {len(refused)}; {shown}")
    return 0


def check_values(helm: str, file: pathlib.Path, flags: dict[str, set[str]], seen_flags: set[str]) -> list[str]:
    """Returns what is wrong with the chart with these values."""
    lint = run(helm, "lint", CHART, "--strict", "--values", file)
    if lint.returncode:
        return [f"helm lint: {lint.stdout.strip()} {lint.stderr.strip()}"]
    faults = []
    for version in VERSIONS:
        rendered = run(helm, "template", "try", CHART, "--kube-version", version, "--values", file)
        if rendered.returncode:
            return [f"helm template: {rendered.stderr.strip()}"]
        objects = [one for one in yaml.safe_load_all(rendered.stdout) if one]
        for one in objects:
            faults += [f"{version}: {fault}" for fault in check_schema(one, version)]
    pods = [pod for one in objects for pod in pods_of(one)]
    for name, pod, claims in pods:
        faults += [f"{name}: {fault}" for fault in check_pod(pod, claims, flags, seen_flags)]
    faults += check_services(objects, [pod for _, pod, _ in pods])
    return faults


def check_schema(one: dict, version: str) -> list[str]:
    """Checks an object against the schema of this API version. Kinds of other projects have no schema."""
    if one["kind"] in FOREIGN_KINDS:
        return []
    try:
        kubernetes_validate.validate(one, version.rsplit(".", 1)[0], strict=True)
    except kubernetes_validate.ValidationError as error:
        path = ".".join(str(part) for part in error.path)
        return [f"{one['kind']} {one['metadata']['name']}: {path}: {error.message}"]
    return []


def pods_of(one: dict) -> list[tuple[str, dict, list[str]]]:
    """Returns the pod templates of an object, each with a name and its own claims."""
    spec = one.get("spec", {})
    name = f"{one['kind']} {one['metadata']['name']}"
    if one["kind"] == "LeaderWorkerSet":
        group = spec["leaderWorkerTemplate"]
        claims = [claim["metadata"]["name"] for claim in group.get("volumeClaimTemplates", [])]
        return [(f"{name} {part}", group[part], claims) for part in ("leaderTemplate", "workerTemplate")]
    if "template" not in spec:
        return []
    claims = [claim["metadata"]["name"] for claim in spec.get("volumeClaimTemplates", [])]
    return [(name, spec["template"], claims)]


def check_pod(pod: dict, claims: list[str], flags: dict[str, set[str]], seen_flags: set[str]) -> list[str]:
    """Checks what no schema covers: mounts without volumes, flags that do not exist, too little time to drain."""
    spec, faults = pod["spec"], []
    volumes = [volume["name"] for volume in spec["volumes"]] + claims
    faults += [f"two volumes are named {name}" for name in set(volumes) if volumes.count(name) > 1]
    mounted = set()
    for container in spec.get("initContainers", []) + spec["containers"]:
        mounts = [mount["name"] for mount in container["volumeMounts"]]
        mounted.update(mounts)
        faults += [f"{container['name']} mounts the missing volume {name}" for name in mounts if name not in volumes]
        program = container["command"][0]
        if program not in OUR_COMMANDS:
            continue
        given = [argument for argument in container["args"] if argument.startswith("--")]
        names = [argument.split("=")[0] for argument in given]
        seen_flags.update(f"{program} {name}" for name in names)
        if flags:
            faults += [f"{program} has no {name}" for name in names if name not in flags[program]]
        [drain] = [int(argument[8:-1]) for argument in given if argument.startswith("--drain=")]
        wait = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        if spec["terminationGracePeriodSeconds"] <= drain + wait:
            faults.append(f"{spec['terminationGracePeriodSeconds']} s are too few to drain for {drain} s")
    faults += [f"no container mounts the volume {name}" for name in set(volumes) - mounted]
    return faults


def check_services(objects: list[dict], pods: list[dict]) -> list[str]:
    """Finds services that select no pod, or a port that their pods do not have."""
    faults = []
    for service in (one for one in objects if one["kind"] == "Service"):
        name, wanted = service["metadata"]["name"], service["spec"]["selector"].items()
        found = [pod for pod in pods if wanted <= pod["metadata"]["labels"].items()]
        if len(found) != 1:
            faults.append(f"the service {name} selects {len(found)} kinds of pods")
            continue
        ports = {port["name"] for container in found[0]["spec"]["containers"] for port in container["ports"]}
        targets = {port["targetPort"] for port in service["spec"]["ports"]}
        faults += [f"the service {name} has the target port {port}, which no pod has" for port in targets - ports]
    return faults


def check_refused(helm: str, file: pathlib.Path) -> list[str]:
    """Checks that values are refused for the reason in their first line."""
    reason = re.match(r"# refused: (.*)\n", file.read_text())
    if not reason:
        return ["the first line is not `# refused: REASON`"]
    rendered = run(helm, "template", "try", CHART, "--values", file)
    said = " ".join(rendered.stderr.split())
    if rendered.returncode == 0:
        return [f"it should be refused, but is not: {reason[1]}"]
    return [] if reason[1] in said else [f"it is refused, but without `{reason[1]}`: {said}"]


def known_flags(programs: pathlib.Path | None) -> dict[str, set[str]]:
    """Returns the flags of our programs, from their help; empty if one of the programs is missing."""
    flags = {}
    for program, words in OUR_COMMANDS.items():
        # The tests' builds have other names.
        names = [program, f"{program}-under-test"]
        found = [programs / name for name in names if os.access(programs / name, os.X_OK)] if programs else []
        if not found:
            return {}
        text = run(found[0], *words, "--help").stdout
        flags[program] = set(re.findall(r"^ +(?:-\w, )?(--[a-z][a-z-]*)", text, re.MULTILINE))
    return flags


def run(*command) -> subprocess.CompletedProcess:
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=60, check=False)


if __name__ == "__main__":
    sys.exit(main())
