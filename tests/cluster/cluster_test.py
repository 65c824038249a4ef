#!/usr/bin/env python3
"""Asks a cluster of five containers some hundred questions while its nodes are killed, paused, cut off, restarted,
replaced and given other certificates. Every question must be answered, nothing that was shown may change, and an answer
may be degraded only if no large node was left. docs/operate.md has more about it, and its output.

Usage: cluster_test.py --image NAME [--old-image NAME]; tests/cluster/run prepares what it needs.
"""

import argparse
import dataclasses
import signal
import statistics
import sys
import time

from asking import AT_A_TIME, Asker
from cluster import KEY, LARGE, NODES, SMALL, Cluster, until

# The time limit of the whole test, so that a hang does not block anything else.
MOST_SECONDS = 900
# How many questions are asked in a step, and at most if the step takes longer.
LEAST, MOST = 9, 400


@dataclasses.dataclass
class Step:
    """Something that happens to the cluster while questions are asked."""

    name: str
    what: object
    # Whether there is a moment without any large node.
    may_degrade: bool = False


class ClusterTest:
    """The steps, over a cluster."""

    def __init__(self, of, image, has_old_nodes):
        self.cluster, self.image = of, image
        self.asker = Asker(of.address, KEY)
        replaced = "nodes of the old image replaced, one by one" if has_old_nodes else "nodes replaced, one by one"
        self.steps = [
            Step("nothing", lambda: None),
            Step(replaced, self.replace_all),
            Step("a large node killed and started", lambda: self.kill(LARGE[:1])),
            Step("a small node killed and started", lambda: self.kill(SMALL[:1])),
            Step("a large node paused", lambda: self.pause(LARGE[0])),
            Step("a small node paused", lambda: self.pause(SMALL[0])),
            Step("a large node cut off its network", lambda: self.cut_off(LARGE[0])),
            Step("a small node cut off its network", lambda: self.cut_off(SMALL[0])),
            Step("every node restarted, one by one, with drain", self.restart_all),
            Step("certificates renewed, nothing restarted", self.renew),
            Step("a large node's certificate begins in an hour", lambda: self.mistime(LARGE[:1], 1, 24)),
            Step("a large node's certificate ended an hour ago", lambda: self.mistime(LARGE[:1], -24, -1)),
            Step("both large nodes' certificates ended an hour ago", lambda: self.mistime(LARGE, -24, -1), True),
            Step("both large nodes killed and started", lambda: self.kill(LARGE), True),
        ]

    def run(self):
        """Runs all steps. Returns whether all was as it should be."""
        print("| while | questions | right | resumed | degraded | rejoined | median | slowest |")
        print("| --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)
        answers, faults = [], []
        for step in self.steps:
            of_step = self.asker.while_doing(step.what, LEAST, MOST)
            self.cluster.wait_for(NODES)
            print(row(step.name, of_step), flush=True)
            answers += of_step
            faults += [f"{step.name}: {answer.fault}" for answer in of_step if answer.fault]
            degraded = [answer.degraded for answer in of_step if answer.degraded]
            if degraded and not step.may_degrade:
                faults.append(f"{step.name}: a large node was left, and an answer is degraded: {degraded[0]}")
            if step.may_degrade and not degraded:
                faults.append(f"{step.name}: no large node was left, and no answer says so")
        print(row("in all", answers), flush=True)
        for fault in faults:
            print(f"FAULT: {fault}")
        return not faults

    # The steps. Whatever a step takes away is back at its end, and `run` waits for it.

    def kill(self, nodes):
        for node in nodes:
            self.cluster.kill(node)
        self.asker.wait_for_answers(AT_A_TIME)
        for node in nodes:
            self.cluster.start(node)

    def pause(self, node):
        self.cluster.pause(node)
        self.asker.wait_for_answers(1)
        self.cluster.unpause(node)

    def cut_off(self, node):
        self.cluster.disconnect(node)
        self.asker.wait_for_answers(1)
        self.cluster.connect(node)

    def one_by_one(self, change):
        """Changes one node after the other, as a careful operator would: waits for each before stopping the next."""
        for node in NODES:
            self.cluster.stop(node)
            change(node)
            self.cluster.wait_for([node])
            # An answer that has already lost one node must not lose the next one too.
            self.asker.settle()

    def replace_all(self):
        def replace(node):
            self.cluster.remove(node)
            self.cluster.start_node(node, self.image)

        self.one_by_one(replace)

    def restart_all(self):
        self.one_by_one(self.cluster.start)

    def renew(self):
        before = {node: self.cluster.certificate(node) for node in NODES}
        self.cluster.sign(["--renew", "--days", "100"])
        for host in [*NODES, "serve"]:
            self.cluster.bring_certificate(host)
            self.cluster.reload(host)
        for node in NODES:
            until(f"{node} shows the new certificate", self.has_other_certificate, node, before[node])

    def has_other_certificate(self, node, before):
        return self.cluster.certificate(node) not in ("", before)

    def mistime(self, nodes, begins_hours, ends_hours):
        for node in nodes:
            self.cluster.bring_certificate_of_another_time(node, begins_hours, ends_hours)
            # A running node keeps its certificate. One that starts takes what it finds, since its clock may be wrong.
            self.cluster.stop(node)
            self.cluster.start(node)
            until(f"the certificate of {node} is refused", self.cluster.refuses, node)
        self.asker.wait_for_answers(AT_A_TIME)
        for node in nodes:
            self.cluster.bring_certificate(node)
            self.cluster.reload(node)


def row(name, answers):
    seconds = [answer.seconds for answer in answers]
    right = sum(answer.is_right for answer in answers)
    degraded = sum(answer.degraded is not None for answer in answers)
    resumed = sum(answer.resumed for answer in answers)
    rejoined = sum(answer.rejoined for answer in answers)
    times = f"{statistics.median(seconds):.1f} s | {max(seconds):.1f} s"
    return f"| {name} | {len(answers)} | {right} | {resumed} | {degraded} | {rejoined} | {times} |"


def give_up(*_):
    raise TimeoutError(f"the test is not over after {MOST_SECONDS} s")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--image", required=True, help="the image of the server and the nodes")
    parser.add_argument("--old-image", help="the image of the nodes at the beginning")
    arguments = parser.parse_args()
    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(MOST_SECONDS)
    begin = time.monotonic()
    with Cluster(arguments.image, arguments.old_image or arguments.image) as of:
        print(f"five containers are up after {time.monotonic() - begin:.0f} s")
        is_well = ClusterTest(of, arguments.image, arguments.old_image is not None).run()
    print(f"{time.monotonic() - begin:.0f} s in all")
    sys.exit(0 if is_well else 1)


if __name__ == "__main__":
    main()
