"""The way out of a process: 0 after a signal, whatever the executor was doing just then."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("rclpy")

ROOT = Path(__file__).resolve().parents[2]
# The signal comes while the executor is between having found work and doing it. rclpy then triggers a guard
# condition, which Executor.shutdown destroys without waiting for anybody.
SIGNAL_BETWEEN_FINDING_WORK_AND_DOING_IT = """
import os, signal, sys, time
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from robovlms_ros.ros.run import run

class Slow(MutuallyExclusiveCallbackGroup):
    def beginning_execution(self, entity):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.3)
        return super().beginning_execution(entity)

def make(context):
    node = Node("slow", context=context)
    node.create_timer(0.01, lambda: None, callback_group=Slow())
    return node

sys.exit(run(make))
"""
CRASH = """
import sys
from rclpy.node import Node
from robovlms_ros.ros.run import run

def fail():
    raise RuntimeError("as asked")

def make(context):
    node = Node("crashing", context=context)
    node.create_timer(0.01, fail)
    return node

sys.exit(run(make))
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": path}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=environment, cwd=ROOT
    )


def test_a_signal_between_finding_work_and_doing_it_is_no_crash() -> None:
    done = run(SIGNAL_BETWEEN_FINDING_WORK_AND_DOING_IT)
    assert (done.returncode, done.stderr) == (0, "")


def test_what_a_callback_lets_through_is_the_exit_code() -> None:
    done = run(CRASH)
    assert done.returncode == 1
    assert "as asked" in done.stderr
