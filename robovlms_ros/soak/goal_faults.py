"""Goals of `~/run_instruction`, and everything that ends them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from robovlms_ros.ros.interfaces import RunInstruction
from robovlms_ros.ros.messages import to_nanoseconds
from robovlms_ros.soak.rig import Rig, SoakError
from robovlms_ros.soak.watcher import SECOND


def goal_to_its_steps(rig: Rig) -> None:
    """Follow an instruction for some steps: exactly so many, then the arm is stopped."""
    steps = rig.random.randrange(1, 20)
    handle = accepted(rig.goal(steps=steps))
    result = over(rig, RunInstruction.Result.MAX_STEPS, handle.get_result_async())
    after_goal(rig)
    if result.steps != steps:
        raise SoakError(f"a goal of {steps} steps made {result.steps}")


def goal_to_its_time(rig: Rig) -> None:
    """Follow an instruction for some time."""
    seconds = rig.random.uniform(0.1, 1.0)
    handle = accepted(rig.goal(seconds=seconds))
    result = over(rig, RunInstruction.Result.MAX_DURATION, handle.get_result_async())
    after_goal(rig)
    elapsed = to_nanoseconds(result.elapsed) / SECOND
    if not seconds <= elapsed <= seconds + rig.settings.slack:
        raise SoakError(f"a goal of {seconds:.2f} s took {elapsed:.2f} s")


def goal_canceled(rig: Rig) -> None:
    """Cancel a goal; another one is rejected while it runs."""
    handle = accepted(rig.goal())
    result = handle.get_result_async()
    rig.pause(rig.random.uniform(0.0, 0.5))
    if rig.goal().accepted:
        raise SoakError("a second goal was accepted while one was running")
    rig.result(handle.cancel_goal_async())
    over(rig, RunInstruction.Result.CANCELED, result)
    after_goal(rig)


def goal_preempted(rig: Rig) -> None:
    """Give another instruction on the topic: it takes over."""
    result = accepted(rig.goal()).get_result_async()
    rig.pause(rig.random.uniform(0.0, 0.5))
    rig.instruct("put everything into the box")
    over(rig, RunInstruction.Result.PREEMPTED, result)


def goal_ended_by(rig: Rig, disturb: Callable[[Rig], object], reason: int) -> None:
    """Do what ends a goal."""
    result = accepted(rig.goal()).get_result_async()
    rig.pause(rig.random.uniform(0.0, 0.5))
    disturb(rig)
    over(rig, reason, result)
    rig.instruct()


def over(rig: Rig, reason: int, future: Any) -> Any:
    """See a goal end for ``reason``; return its result."""
    result = rig.result(future).result
    if result.termination_reason != reason:
        raise SoakError(f"a goal ended with {result.termination_reason} ({result.message}), not {reason}")
    return result


def accepted(handle: Any) -> Any:
    """Return the handle of a goal that must have been accepted."""
    if not handle.accepted:
        raise SoakError("a goal was rejected")
    return handle


def after_goal(rig: Rig) -> None:
    """A goal has ended: the arm is stopped, until there is another instruction."""
    rig.hush("the goal had ended")
    rig.pause(0.3)
    rig.resume()
    rig.instruct()
