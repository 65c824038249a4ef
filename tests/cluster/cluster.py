"""Five containers on two networks: a server, two small nodes, two large ones, with mutual TLS between them."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request

import certificates

SMALL, LARGE = ["small-1", "small-2"], ["large-1", "large-2"]
NODES = SMALL + LARGE
PORTS = {"small": 7101, "large": 7102}
# A node that is silent for longer is lost. A busy node gives a sign of life within ten seconds.
SILENCE_SECONDS = 11
DRAIN_SECONDS = 20
# How long to wait for anything that a container or a node does.
PATIENCE_SECONDS = 90
KEY = "cluster-test"


def docker(*arguments):
    """Runs docker and returns its output. An error ends the test."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    if done.returncode != 0:
        raise RuntimeError(f"docker {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout.strip()


def url(node):
    return f"https://{node}:{PORTS[node.split('-')[0]]}"


class Cluster:
    """The containers, their networks and certificates, for as long as it is entered."""

    def __init__(self, image, node_image):
        self.image, self.node_image = image, node_image
        self.name = f"specthink-cluster-{os.getpid()}"
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="specthink-cluster-"))
        self.address = None

    def __enter__(self):
        try:
            self.sign([])
            for node in [*NODES, "serve"]:
                self.bring_certificate(node)
            for network in ["near", "far"]:
                docker("network", "create", "--label", self.name, self.network(network))
            for node in NODES:
                self.start_node(node, self.node_image)
            self.start_server()
            self.wait_for(NODES)
        except BaseException as error:
            self.__exit__(type(error))
            raise
        return self

    def __exit__(self, error=None, *_):
        label = f"label={self.name}"
        if error is not None:
            self.show_logs()
        for container in docker("ps", "-aq", "--filter", label).split():
            docker("rm", "-f", "-v", container)
        for network in docker("network", "ls", "-q", "--filter", label).split():
            docker("network", "rm", network)
        shutil.rmtree(self.folder)

    def show_logs(self):
        """Prints the last logs of the containers, to find out why the test failed."""
        for host in [*NODES, "serve"]:
            logs = ["docker", "logs", "--tail", "10", self.container(host)]
            said = subprocess.run(logs, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=30)
            print(f"-- {host}\n{said.stdout}", file=sys.stderr)

    def container(self, host):
        return f"{self.name}-{host}"

    def network(self, name):
        return f"{self.name}-{name}"

    def network_of(self, node):
        """Small nodes are near the server, large ones far from it, on two networks that the server is both on."""
        return self.network("near" if node in [*SMALL, "serve"] else "far")

    # Certificates.

    def sign(self, flags):
        """Creates certificates for all hosts, with `specthink certs`."""
        named = [word for node in NODES for word in ("--node", node)]
        mount = f"{self.folder}:/signed"
        docker(
            "run", "--rm", "--user", f"{os.getuid()}:{os.getgid()}", "-v", mount, self.image,
            "specthink", "certs", "/signed/authority", *named, "--client", "serve", *flags,
        )  # fmt: skip

    def bring_certificate(self, host):
        """Copies a host's own files to it, but never the authority's key."""
        authority, folder = self.folder / "authority", self.folder / host
        folder.mkdir(exist_ok=True)
        shutil.copy(authority / "ca.pem", folder / "ca.pem")
        shutil.copy(authority / f"{host}.key", folder / "tls.key")
        shutil.copy(authority / f"{host}.pem", folder / "tls.pem")

    def bring_certificate_of_another_time(self, host, begins_hours, ends_hours):
        """Gives a host a certificate as a wrong clock would see it: it begins and ends this many hours from now."""
        authority = self.folder / "authority"
        pem = certificates.with_times(authority, host, begins_hours, ends_hours)
        (self.folder / host / "tls.pem").write_bytes(pem)

    # Containers.

    def create(self, host, image, command, *flags):
        docker(
            "create", "--name", self.container(host), "--hostname", host, "--label", self.name,
            "--network", self.network_of(host), "--network-alias", host,
            "--user", f"{os.getuid()}:{os.getgid()}", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL",
            "--security-opt", "no-new-privileges", "-v", f"{self.folder / host}:/certs:ro", *flags, image, *command,
        )  # fmt: skip

    def start_node(self, node, image):
        part = node.split("-")[0]
        self.create(
            node, image,
            [f"{part}-node", f"--listen=0.0.0.0:{PORTS[part]}", "--tls-cert=/certs/tls.pem", "--tls-key=/certs/tls.key",
             "--tls-client-ca=/certs/ca.pem", f"--drain={DRAIN_SECONDS}s"],
        )  # fmt: skip
        docker("start", self.container(node))

    def start_server(self):
        (self.folder / "serve" / "keys").write_text(f"test {KEY}\n")
        nodes = [flag for node in NODES for flag in (f"--{node.split('-')[0]}", url(node))]
        self.create(
            "serve", self.image,
            ["specthink", "serve", "--listen=0.0.0.0:8080", "--listen-insecure", "--api-key-file=/certs/keys", *nodes,
             "--tls-ca=/certs/ca.pem", "--tls-cert=/certs/tls.pem", "--tls-key=/certs/tls.key",
             f"--small-timeout={SILENCE_SECONDS}s", f"--large-timeout={SILENCE_SECONDS}s"],
            "--publish", "127.0.0.1::8080",
        )  # fmt: skip
        docker("network", "connect", self.network("far"), self.container("serve"))
        docker("start", self.container("serve"))
        port = docker("port", self.container("serve"), "8080/tcp").splitlines()[0].rsplit(":", 1)[1]
        self.address = f"http://127.0.0.1:{port}"

    def remove(self, host):
        docker("rm", "-v", self.container(host))

    def kill(self, host):
        docker("kill", "--signal", "KILL", self.container(host))

    def reload(self, host):
        docker("kill", "--signal", "HUP", self.container(host))

    def pause(self, host):
        docker("pause", self.container(host))

    def unpause(self, host):
        docker("unpause", self.container(host))

    def disconnect(self, node):
        docker("network", "disconnect", self.network_of(node), self.container(node))

    def connect(self, node):
        docker("network", "connect", "--alias", node, self.network_of(node), self.container(node))

    def start(self, host):
        docker("start", self.container(host))

    def stop(self, host):
        """Stops a container with SIGTERM: it drains, and has more time than it needs."""
        docker("stop", "--time", str(DRAIN_SECONDS + 10), self.container(host))
        code = docker("inspect", "--format", "{{.State.ExitCode}}", self.container(host))
        if code != "0":
            raise RuntimeError(f"{host} ended with {code}: {docker('logs', '--tail', '5', self.container(host))}")

    # What the server sees.

    def doctor(self, node):
        """Returns what `specthink doctor` reports about a node, run on the server's host with its certificate."""
        part = node.split("-")[0]
        command = [
            "docker", "exec", self.container("serve"), "specthink", "doctor", "--json", f"--{part}", url(node),
            "--tls-ca", "/certs/ca.pem", "--tls-cert", "/certs/tls.pem", "--tls-key", "/certs/tls.key",
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
        try:
            return json.loads(done.stdout)
        except ValueError:
            return {"ok": False, "checks": [], "said": done.stderr.strip()}

    def certificate(self, node):
        """Returns what `specthink doctor` says about a node's certificate."""
        says = [check["says"] for check in self.doctor(node)["checks"] if check["check"] == "certificate"]
        return says[0] if says else ""

    def refuses(self, node):
        """Returns whether a node is refused because of its certificate."""
        return any(check["check"] == "TLS" and check["state"] == "fail" for check in self.doctor(node)["checks"])

    def numbers(self):
        """Returns the server's metrics, by name with labels."""
        request = urllib.request.Request(f"{self.address}/metrics", headers={"Authorization": f"Bearer {KEY}"})
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as response:
            lines = response.read().decode().splitlines()
        return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines if not line.startswith("#")}

    def is_up(self, node):
        """Returns whether a node is well and the server knows it. The server's view may be five seconds old."""
        if not self.doctor(node)["ok"]:
            return False
        try:
            numbers = self.numbers()
        except OSError:
            return False
        return any(url(node) in name and value == 1 for name, value in numbers.items() if "specthink_node_up{" in name)

    def wait_for(self, nodes):
        """Waits until these nodes are up."""
        for node in nodes:
            until(f"{node} is up", self.is_up, node)


def until(what, condition, *arguments):
    """Waits for a condition, for a limited time."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition(*arguments):
        if time.monotonic() > end:
            raise RuntimeError(f"timed out: {what}")
        time.sleep(0.25)
