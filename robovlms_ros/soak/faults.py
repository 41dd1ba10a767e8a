"""Everything that goes wrong on a robot, each as one thing that is done to the nodes and what must come of it.

A fault takes the rig, does its worst for a second or some and raises SoakError where the nodes did not do what
they must. Whether they come back is checked afterwards, for all in the same way (`Rig.recover`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from robovlms_ros.ros.interfaces import RunInstruction
from robovlms_ros.soak import (
    camera_faults,
    goal_faults,
    instruction_faults,
    neighbour_faults,
    policy_faults,
    request_faults,
)
from robovlms_ros.soak.image_faults import REFUSED, TAKEN
from robovlms_ros.soak.rig import Rig

Fault = Callable[[Rig], None]
ENDINGS = RunInstruction.Result

FAULTS: dict[str, Fault] = {
    "NaN in an action": partial(policy_faults.bad_output, kind="nan"),
    "+Inf in an action": partial(policy_faults.bad_output, kind="inf"),
    "-Inf in an action": partial(policy_faults.bad_output, kind="-inf"),
    "six dimensions": partial(policy_faults.bad_output, kind="six dimensions"),
    "empty chunk": partial(policy_faults.bad_output, kind="empty chunk"),
    "exception": partial(policy_faults.bad_output, kind="exception"),
    "huge actions": policy_faults.huge_output,
    "exceptions until it gives up": partial(policy_faults.giving_up, kind="exception"),
    "NaN until it gives up": partial(policy_faults.giving_up, kind="nan"),
    "slow inferences": policy_faults.slow_inference,
    "hanging inference": policy_faults.hanging_inference,
    "reset in mid-inference": partial(policy_faults.while_slow, disturb=Rig.reset),
    "instruction in mid-inference": partial(policy_faults.while_slow, disturb=lambda rig: rig.instruct()),
    "disable in mid-inference": partial(policy_faults.while_slow, disturb=request_faults.disable),
    "deactivate in mid-inference": partial(policy_faults.while_slow, disturb=request_faults.reactivate),
    "deactivate while hanging": policy_faults.deactivate_while_hanging,
    "cleanup while hanging": policy_faults.cleanup_while_hanging,
    **{f"camera: {name}": partial(camera_faults.refused_images, make=make) for name, make in REFUSED.items()},
    **{f"camera: {name}": partial(camera_faults.taken_images, make=make) for name, make in TAKEN.items()},
    "camera: oversized images": camera_faults.oversized_images,
    "hostile instruction": instruction_faults.hostile_instruction,
    "empty instruction": instruction_faults.empty_instruction,
    "changing instructions": instruction_faults.changing_instructions,
    "resets": request_faults.resets,
    "disable": request_faults.disable,
    "deactivate": request_faults.reactivate,
    "cleanup": request_faults.whole_cycle,
    "invalid transitions": request_faults.invalid_transitions,
    "bad parameters": request_faults.bad_parameters,
    "tighter limits": request_faults.tighter_limits,
    "lower rate": request_faults.lower_rate,
    "another chunk mode": request_faults.other_chunk_mode,
    "goal to its steps": goal_faults.goal_to_its_steps,
    "goal to its time": goal_faults.goal_to_its_time,
    "goal canceled": goal_faults.goal_canceled,
    "goal preempted": goal_faults.goal_preempted,
    "goal disabled": partial(goal_faults.goal_ended_by, disturb=request_faults.disable, reason=ENDINGS.DISABLED),
    "goal deactivated": partial(
        goal_faults.goal_ended_by, disturb=request_faults.reactivate, reason=ENDINGS.DEACTIVATED
    ),
    "goal that fails": partial(
        goal_faults.goal_ended_by,
        disturb=partial(policy_faults.giving_up, kind="exception"),
        reason=ENDINGS.FAILED,
    ),
    "somebody looks at the overlay": neighbour_faults.watched_overlay,
    "bad history": neighbour_faults.bad_history,
    "bad actions": neighbour_faults.bad_actions,
    "bridge killed": neighbour_faults.killed_bridge,
    "history node killed": neighbour_faults.killed_history,
}
