"""What a policy may say or fail to say."""

from __future__ import annotations

from collections.abc import Callable

from diagnostic_msgs.msg import DiagnosticStatus

from robovlms_ros.soak.nodes import INFERENCE_TIMEOUT, MAX_FAILURES, WATCHDOG
from robovlms_ros.soak.request_faults import reconfigure
from robovlms_ros.soak.rig import Rig, SoakError

HANG = INFERENCE_TIMEOUT + 1.5


def bad_output(rig: Rig, kind: str) -> None:
    """Say something that must not become motion, once in any dimension."""
    rig.order(kind, dimension=rig.random.randrange(7))
    rig.pause(0.1)


def huge_output(rig: Rig) -> None:
    """Say 1e9 in some dimensions: it is limited, and marked."""
    limited = rig.watcher.limited
    for _ in range(5):
        rig.order("huge", dimension=rig.random.randrange(6))
    rig.wait_for(lambda: rig.watcher.limited > limited, "an action that is marked as limited")


def giving_up(rig: Rig, kind: str) -> None:
    """Fail until the node deactivates itself and says why."""
    rig.order(kind, count=MAX_FAILURES)
    rig.wait_for(lambda: rig.state() == "inactive", "the node to give up")
    rig.hush("the node had given up")
    rig.wait_for(lambda: rig.witness.control()[0] == DiagnosticStatus.ERROR, "diagnostics to say so")
    if "in a row failed" not in rig.witness.control()[1]:
        raise SoakError(f"diagnostics say {rig.witness.control()[1]!r} after the node gave up")
    rig.activate()


def slow_inference(rig: Rig) -> None:
    """Take longer than a step, and less than what is called hung."""
    seconds = rig.random.uniform(0.1, 0.3)
    rig.slow(seconds)
    rig.order("sleep", count=5, seconds=seconds)
    rig.pause(seconds)


def hanging_inference(rig: Rig) -> None:
    """Hang: the arm is stopped, diagnostics say so, services answer; nothing comes of it when it ends."""
    stops = rig.watcher.stops
    rig.slow(HANG)
    rig.order("sleep", seconds=HANG)
    rig.wait_for_stop(stops, f"{WATCHDOG} s into an inference that hangs")
    rig.wait_for(lambda: "has been running" in rig.witness.control()[1], "diagnostics to tell of the hang", 4.0)
    if rig.random.random() < 0.5:
        rig.reset()
    rig.pause(HANG)


def while_slow(rig: Rig, disturb: Callable[[Rig], object]) -> None:
    """Do something else in the middle of an inference, whose answer is then obsolete."""
    rig.slow(0.4)
    rig.order("sleep", seconds=0.4)
    disturb(rig)
    rig.pause(0.5)


def deactivate_while_hanging(rig: Rig) -> None:
    """Deactivate at once in the middle of a hang; come back when it is over."""
    rig.slow(HANG)
    rig.order("sleep", seconds=HANG)
    rig.deactivate()
    rig.activate(HANG + 2.0)


def cleanup_while_hanging(rig: Rig) -> None:
    """Clean up and configure in the middle of a hang; its late answer belongs to nobody."""
    rig.slow(HANG)
    rig.order("sleep", seconds=HANG)
    rig.deactivate()
    reconfigure(rig)
    rig.pause(HANG)
