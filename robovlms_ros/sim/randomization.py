"""Domain randomisation: how the tabletop looks may change from episode to episode. What happens in it does not."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robovlms_ros.sim.engine import mujoco
from robovlms_ros.sim.scene import BLOCK_RGB, CAMERAS, TABLE_MATERIALS

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Randomization:
    """How much may change, each by at most so much in either direction; 0 leaves it alone.

    ``brightness``: share of the light. ``light_direction``: of a unit vector. ``hue``, ``shade``: of the blocks,
    in turns of the colour wheel and as a share of saturation and brightness; small, so that a block stays what its
    colour is called. ``table``: share of the way from its own colour to any muted one; above 0 its top changes
    too. ``camera_shift``: metres. ``camera_turn``: radians. ``camera_zoom``: radians of the field of view.
    """

    brightness: float = 0.3
    light_direction: float = 0.4
    hue: float = 0.025
    shade: float = 0.15
    table: float = 1.0
    camera_shift: float = 0.01
    camera_turn: float = 0.02
    camera_zoom: float = 0.02


class Appearance:
    """The looks of one model: as designed, or drawn from a seed."""

    _FIELDS = (
        "light_dir",
        "light_diffuse",
        "geom_rgba",
        "geom_matid",
        "mat_rgba",
        "cam_pos",
        "cam_quat",
        "cam_fovy",
    )

    def __init__(self, model: mujoco.MjModel) -> None:
        self._model = model
        self._designed = {name: getattr(model, name).copy() for name in self._FIELDS}
        self._headlight = model.vis.headlight.ambient.copy(), model.vis.headlight.diffuse.copy()
        # The wrist camera is seven times nearer to what it sees.
        self._nearness = {"static": 1.0, "wrist": 0.15}

    def reset(self, amount: Randomization | None = None, seed: int = 0) -> None:
        """As designed; with an ``amount``, changed as ``seed`` says."""
        model = self._model
        for name, values in self._designed.items():
            getattr(model, name)[:] = values
        model.vis.headlight.ambient[:], model.vis.headlight.diffuse[:] = self._headlight
        if amount is None:
            return
        random = np.random.default_rng([seed, 3])
        self._light(amount, random)
        self._colours(amount, random)
        self._cameras(amount, random)

    def _light(self, amount: Randomization, random: np.random.Generator) -> None:
        model = self._model
        brightness = 1 + random.uniform(-amount.brightness, amount.brightness, 3)
        model.light_diffuse[:] *= brightness[0]
        model.vis.headlight.ambient[:] *= brightness[1]
        model.vis.headlight.diffuse[:] *= brightness[2]
        model.light_dir[0] += random.uniform(-amount.light_direction, amount.light_direction, 3) * [1, 1, 0]
        model.light_dir[0] /= np.linalg.norm(model.light_dir[0])

    def _colours(self, amount: Randomization, random: np.random.Generator) -> None:
        model = self._model
        for colour, rgb in BLOCK_RGB.items():
            hue, saturation, value = colorsys.rgb_to_hsv(*rgb)
            shift = random.uniform(-1, 1, 3)
            hue = (hue + shift[0] * amount.hue) % 1
            saturation, value = np.clip([saturation, value] * (1 + shift[1:] * amount.shade), 0, 1)
            model.geom_rgba[model.geom(colour).id, :3] = colorsys.hsv_to_rgb(hue, saturation, value)
        tops = [model.material(name).id for name in TABLE_MATERIALS]
        top = tops[int(random.integers(len(tops)))] if amount.table > 0 else tops[0]
        model.geom_matid[model.geom("table").id] = top
        # Muted, so that a block of any colour stands out.
        muted = {
            int(top): colorsys.hsv_to_rgb(random.random(), random.uniform(0, 0.3), random.uniform(0.55, 0.95)),
            model.material("floor").id: colorsys.hsv_to_rgb(
                random.random(), random.uniform(0, 0.3), random.random()
            ),
        }
        for material, rgb in muted.items():
            model.mat_rgba[material, :3] += amount.table * (rgb - model.mat_rgba[material, :3])

    def _cameras(self, amount: Randomization, random: np.random.Generator) -> None:
        model = self._model
        for name in CAMERAS.values():
            camera, nearness = model.camera(name).id, self._nearness[name]
            shift, turn, zoom = random.uniform(-1, 1, 3), random.uniform(-1, 1, 3), random.uniform(-1, 1)
            model.cam_pos[camera] += shift * amount.camera_shift * nearness
            quaternion = model.cam_quat[camera].copy()
            mujoco.mju_quatIntegrate(quaternion, turn * amount.camera_turn, 1.0)
            model.cam_quat[camera] = quaternion
            model.cam_fovy[camera] += np.rad2deg(zoom * amount.camera_zoom)
