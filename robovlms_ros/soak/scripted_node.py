"""A vla_node around a `ScriptedPolicy` that takes its orders from standard input: for benchmarks and the soak.

    python -m robovlms_ros.soak.scripted_node [--delay SECONDS] [--chunk N] [--report-starts] --ros-args ...

It is no executable of the package and no parameter leads here, so no robot runs the null policy by mistake.
Lines on standard input are JSON: the fields of an `Order`, or ``{"kind": "census"}``, or ``{"kind": "drop"}``.
What it has to say itself goes to standard error behind an ``@``, as JSON.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import threading
from typing import Any

from rclpy.context import Context

from robovlms_ros.nodes.vla_node import VLANode
from robovlms_ros.policy.policy_loader import PolicyFactory
from robovlms_ros.ros.run import run
from robovlms_ros.soak.scripted_policy import Order, Orders, ScriptedPolicy

MARK = "@ "


def say(**values: Any) -> None:
    """Tell whoever started us."""
    print(MARK + json.dumps(values), file=sys.stderr, flush=True)  # noqa: T201


def said(log: str) -> list[dict[str, Any]]:
    """Return what a process told in its ``log``, in order."""
    lines = (line for line in log.splitlines() if line.startswith(MARK))
    return [json.loads(line.removeprefix(MARK)) for line in lines]


def census(node: VLANode) -> dict[str, int]:
    """Count what a node holds: threads, entities, and Python objects after a collection."""
    gc.collect()
    return {
        "threads": threading.active_count(),
        "subscriptions": len(list(node.subscriptions)),
        "publishers": len(list(node.publishers)),
        "services": len(list(node.services)),
        "timers": len(list(node.timers)),
        "guards": len(list(node.guards)),
        "objects": len(gc.get_objects()),
    }


def listen(orders: Orders, nodes: list[VLANode]) -> None:
    """Carry out standard input until it ends."""
    for line in sys.stdin:
        fields = json.loads(line)
        if fields["kind"] == "census":
            say(census=census(nodes[0]))
        elif fields["kind"] == "drop":
            orders.drop()
        else:
            orders.give(Order(**fields))


def main(arguments: list[str] | None = None, policy_factory: PolicyFactory | None = None) -> int:
    """Run the node; ``policy_factory`` replaces the scripted policy."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds of pretended inference")
    parser.add_argument("--chunk", type=int, default=1, help="actions per prediction")
    parser.add_argument("--report-starts", action="store_true", help="tell when each inference starts")
    options, ros = parser.parse_known_args(sys.argv[1:] if arguments is None else arguments)
    orders, nodes = Orders(), list[VLANode]()

    def started(now_ns: int, order: Order | None) -> None:
        if options.report_starts:
            say(started=now_ns)
        if order is not None:
            say(took=order.kind)

    def make_policy(values: Any) -> ScriptedPolicy:
        return ScriptedPolicy(orders, started, chunk=options.chunk, delay=options.delay)

    def make_node(context: Context) -> VLANode:
        nodes.append(VLANode(policy_factory or make_policy, context=context))
        threading.Thread(target=listen, args=(orders, nodes), name="orders", daemon=True).start()
        return nodes[0]

    return run(make_node, [sys.argv[0], *ros])


if __name__ == "__main__":
    sys.exit(main())
