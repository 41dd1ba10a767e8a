"""The soak holds for nodes that are sound, and finds out those that are not."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import pytest

pytest.importorskip("rclpy")
from rich.console import Console

from robovlms_ros.soak.__main__ import main, show_report
from robovlms_ros.soak.faults import FAULTS
from robovlms_ros.soak.graph import private_graph
from robovlms_ros.soak.nodes import BRIDGE, HISTORY, VLA
from robovlms_ros.soak.rig import RigSettings
from robovlms_ros.soak.soak import SoakSettings, schedule, soak

SLACK = 1.5  # tests share the machine
# A node that does what a vla_node must never do: it ignores its limits, acts while it is disabled, keeps every
# image, and with every reset a thread and a file stay behind.
BROKEN = """
import sys, threading
import numpy as np
import robovlms_ros.policy.limiting as limiting
from robovlms_ros.policy.decision import Hold
from robovlms_ros.policy.mandate import Mandate
from robovlms_ros.ros.camera_input import CameraInput
from robovlms_ros.ros.vla_runtime import VLARuntime
from robovlms_ros.soak import scripted_node

limiting.limit_actions = lambda actions, *_: (actions, np.zeros(len(actions), np.uint32))
Mandate.barred = lambda self, now_ns, settings: None if self.instruction else Hold.NO_INSTRUCTION

kept, receive, reset = [], CameraInput._on_image, VLARuntime.reset
def keep(self, message):
    kept.append(bytes(message.data))
    receive(self, message)
CameraInput._on_image = keep

def leave_behind(self):
    threading.Thread(target=threading.Event().wait, daemon=True).start()
    kept.append(open("/dev/null"))
    return reset(self)
VLARuntime.reset = leave_behind
sys.exit(scripted_node.main())
"""


@pytest.mark.fault(35)
def test_sound_nodes_hold(capsys: pytest.CaptureFixture[str]) -> None:
    faults = ("NaN in an action", "huge actions", "camera: unknown encoding", "cleanup", "goal to its steps")
    options = [word for fault in faults for word in ("--fault", fault)]
    assert main(["--seconds", "8", "--seed", "5", "--slack", str(SLACK), "--json", *options]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["passed"]
    assert report["violations"] == []
    assert sum(report["done"].values()) >= 2
    assert report["actions"] > 50
    assert report["stops"] >= 1
    assert {process["name"] for process in report["processes"]} == {VLA, HISTORY, BRIDGE}
    for process in report["processes"]:
        assert process["seconds"] > 1
        assert process["anonymous"] > 1e7


def test_a_node_that_ignores_limits_and_requests_and_leaks_fails(capsys: pytest.CaptureFixture[str]) -> None:
    rig = RigSettings(slack=SLACK, vla_command=[sys.executable, "-c", BROKEN])
    wanted = {"limits", "silence", "memory", "threads", "files"}
    for seconds in (9, 40):  # on a busy machine one fault can take all of the first, and nothing is seen to grow
        report = soak(SoakSettings(seconds, seed=1, faults=("huge actions", "disable", "resets"), rig=rig))
        if wanted <= set(report.counts):
            break
    assert not report.passed
    assert wanted <= set(report.counts)
    show_report(Console(width=100), report)
    printed = capsys.readouterr().out
    assert "published" in printed
    assert "after set_enabled false" in printed
    assert " is 1e+09, the limit 0." in printed
    assert "soak: BROKE" in printed


def test_a_process_that_dies_ends_the_soak() -> None:
    command = [sys.executable, "-c", "import sys; sys.exit('I give up')"]
    report = soak(SoakSettings(5, rig=RigSettings(vla_command=command)))
    assert not report.passed
    assert "vla_node exited with code 1" in report.violations[0].text
    assert "I give up" in report.violations[0].text


def test_work_between_callbacks_is_done_whether_processes_live_or_not() -> None:
    with private_graph("soak") as graph:
        dead = graph.start("dead", [sys.executable, "-c", "pass"])
        deadline = time.monotonic() + 30
        while dead.exit_code is None and time.monotonic() < deadline:
            time.sleep(0.01)
        assert graph.between(lambda: "done") == "done"


def test_an_interrupt_ends_all_nodes() -> None:
    command = [sys.executable, "-m", "robovlms_ros.soak", "--seconds", "60", "--fault", "resets"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        deadline = time.monotonic() + 30
        while len(children(process.pid)) < 3 and time.monotonic() < deadline:
            time.sleep(0.1)
        nodes = children(process.pid)
        assert len(nodes) == 3
        time.sleep(1.0)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "interrupted" in said
    assert not any(Path(f"/proc/{node}").exists() for node in nodes)


def test_nodes_end_with_a_soak_that_is_killed() -> None:
    command = [sys.executable, "-m", "robovlms_ros.soak", "--seconds", "60"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 30
        while len(children(process.pid)) < 3 and time.monotonic() < deadline:
            time.sleep(0.1)
        nodes = children(process.pid)
        process.kill()
    deadline = time.monotonic() + 10
    while any(runs(node) for node in nodes) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(nodes) == 3
    assert not any(runs(node) for node in nodes)


def children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def runs(pid: int) -> bool:
    """Whether a process is there and is no zombie, which waits only for whoever adopted it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_the_schedule_has_every_fault_in_each_round_and_follows_from_the_seed() -> None:
    names = list(FAULTS)
    first, again, other = (
        list(itertools.islice(schedule(names, Random(seed)), 2 * len(names))) for seed in (1, 1, 2)
    )
    assert first == again != other
    for number in (0, 1):
        assert sorted(name for at, name in first if at == number) == sorted(names)
    assert [name for _, name in first[: len(names)]] != [name for _, name in first[len(names) :]]


def test_an_unknown_fault_is_answered_with_those_that_exist(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--fault", "earthquake"])
    message = capsys.readouterr().err
    assert "no such fault: earthquake" in message
    assert "hanging inference" in message
