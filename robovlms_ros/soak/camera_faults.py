"""What a camera may send, as things done to the nodes."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from robovlms_ros.soak.camera import Spoil
from robovlms_ros.soak.image_faults import oversized
from robovlms_ros.soak.nodes import (
    MAX_AGE,
)
from robovlms_ros.soak.request_faults import whole_cycle
from robovlms_ros.soak.rig import Rig


def refused_images(rig: Rig, make: Callable[[Random], Spoil]) -> None:
    """Send what cannot be used: the arm is stopped, and nothing follows."""
    stops = rig.watcher.stops
    rig.camera.spoil = make(rig.random)
    rig.silence_follows(stops, "the camera sent nothing usable")
    rig.pause(rig.random.uniform(0.2, MAX_AGE + 0.5))
    rig.resume()


def taken_images(rig: Rig, make: Callable[[Random], Spoil]) -> None:
    """Send what is unusual but usable: the node goes on."""
    before = rig.watcher.actions
    rig.watcher.any_stamp = True
    rig.camera.spoil = make(rig.random)
    rig.wait_for(lambda: rig.watcher.actions > before + 5, "actions for unusual images")
    rig.pause(rig.random.uniform(0.2, 1.0))


def oversized_images(rig: Rig) -> None:
    """Send images of up to 36 MB. DDS keeps room for the largest until the subscription goes: so let it go."""
    taken_images(rig, oversized)
    rig.camera.spoil = None
    whole_cycle(rig)
