"""Services, transitions and parameters, good and bad."""

from __future__ import annotations

import math

from lifecycle_msgs.msg import Transition

from robovlms_ros.soak.nodes import (
    CHUNK,
    CHUNK_NS,
)
from robovlms_ros.soak.rig import Rig, SoakError


def resets(rig: Rig) -> None:
    """Reset again and again."""
    for _ in range(5):
        rig.reset()
        rig.pause(rig.random.uniform(0.0, 0.1))


def disable(rig: Rig) -> None:
    """Disable and enable."""
    rig.enable(False)
    rig.pause(rig.random.uniform(0.0, 0.5))
    rig.enable(True)


def reactivate(rig: Rig) -> None:
    """Deactivate and activate."""
    rig.deactivate()
    rig.pause(rig.random.uniform(0.0, 0.5))
    rig.activate()


def reconfigure(rig: Rig) -> None:
    """Clean up and come back."""
    rig.cleanup()
    rig.transition(Transition.TRANSITION_CONFIGURE)
    rig.activate()


def whole_cycle(rig: Rig) -> None:
    """Deactivate, clean up, and come back."""
    rig.deactivate()
    reconfigure(rig)


def invalid_transitions(rig: Rig) -> None:
    """Ask for transitions that an active node does not have."""
    for transition in (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE, 99):
        if rig.graph.asks_for(transition):
            raise SoakError(f"an active node made transition {transition}")


def bad_parameters(rig: Rig) -> None:
    """Set what must be refused, with a reason, and changes nothing."""
    for name, value in (
        ("limits__translation", -1.0),
        ("limits__rotation", math.nan),
        ("rate", math.inf),
        ("rate", "fast"),
        ("chunk__horizon", 0),
        ("chunk__mode", "chaos"),
        ("model__path", "/elsewhere"),
    ):
        taken, reason = rig.set_parameters(**{name: value})
        if taken or not reason:
            raise SoakError(f"{name} = {value!r} was {'taken' if taken else 'refused without a reason'}")


def tighter_limits(rig: Rig) -> None:
    """Tighten the limits while the arm moves, and loosen them again."""
    translation, rotation = rig.watcher.translation, rig.watcher.rotation
    rig.limit(translation * rig.random.uniform(0.05, 0.5), rotation * rig.random.uniform(0.05, 0.5))
    rig.pause(0.5)
    rig.limit(translation, rotation)


def lower_rate(rig: Rig) -> None:
    """Act more slowly than the camera sends."""
    for rate in (10.0, 0.0):
        rig.change(rate=rate)
        rig.pause(0.5)


def other_chunk_mode(rig: Rig) -> None:
    """Execute chunks in another way from now on."""
    mode = rig.random.choice(("first", "open_loop", "ensemble", "blend"))
    overlap = mode != "first" and rig.random.random() < 0.6
    rig.watcher.chunk_ns = CHUNK_NS
    rig.change(
        chunk__mode=mode,
        chunk__overlap=overlap,
        chunk__horizon=rig.random.randrange(1, CHUNK),
        chunk__blend_steps=rig.random.randrange(0, CHUNK),
        chunk__starvation=rig.random.choice(("hold", "stop")),
    )
    rig.pause(0.5)
    if mode == "first":
        rig.watcher.chunk_ns = 0
