"""Camera images of a MuJoCo scene, drawn without a screen."""

from __future__ import annotations

import importlib
import os
import sys
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robovlms_ros.sim.engine import mujoco
from robovlms_ros.sim.errors import RenderingError
from robovlms_ros.sim.rendering import WINDOW, find_backend
from robovlms_ros.sim.scene import MAX_IMAGE_SIZE

# More than the scene has, with room for what a user adds to it.
_MAX_GEOMS = 200


class Renderer:
    """Draws the cameras of one model. To be used in the thread that made it, as OpenGL wants it.

    `mujoco.Renderer` draws as MUJOCO_GL said when MuJoCo was first imported, which may have been anybody; this one
    draws by the way that was found to work, whenever it was found. No shadows: they make an image ten times as
    expensive.

    Raises:
        RenderingError: this machine cannot draw.
        ValueError: ``image_size`` is not from 1 to 640.
    """

    def __init__(self, model: mujoco.MjModel, image_size: int, backend: str | None = None) -> None:
        self._open = False
        if not 1 <= image_size <= MAX_IMAGE_SIZE:
            raise ValueError(f"images have a side of 1 to {MAX_IMAGE_SIZE} pixels, not {image_size}")
        backend = backend or find_backend()
        self._model, self._size = model, image_size
        # All of the buffer is cleared for every image, however small.
        model.vis.global_.offwidth = model.vis.global_.offheight = image_size
        try:
            self._gl = _gl_context(backend, image_size)
            self._gl.make_current()
            self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100.value)
        # PyOpenGL raises AttributeError, TypeError and errors of its own, depending on what is missing.
        except Exception as error:
            raise RenderingError(f"cannot draw with {backend}: {error}") from error
        self._open = True
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._context)
        self._scene = mujoco.MjvScene(model, maxgeom=_MAX_GEOMS)
        self._scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW.value] = False
        self._scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION.value] = False
        self._options = mujoco.MjvOption()
        self._rect = mujoco.MjrRect(0, 0, image_size, image_size)

    def draw(self, data: mujoco.MjData, camera: str) -> NDArray[np.uint8]:
        """What ``camera`` sees, ``(image_size, image_size, 3)`` RGB."""
        if not self._open:
            raise RenderingError("this renderer is closed: make a new one")
        view = mujoco.MjvCamera()
        view.type = mujoco.mjtCamera.mjCAMERA_FIXED.value
        view.fixedcamid = self._model.camera(camera).id
        self._gl.make_current()
        every_kind = mujoco.mjtCatBit.mjCAT_ALL.value
        mujoco.mjv_updateScene(self._model, data, self._options, None, view, every_kind, self._scene)
        mujoco.mjr_render(self._rect, self._scene, self._context)
        image = np.empty((self._size, self._size, 3), np.uint8)
        mujoco.mjr_readPixels(image, None, self._rect, self._context)
        return np.ascontiguousarray(image[::-1])

    def close(self) -> None:
        """Give the graphics memory back. Closing twice does nothing."""
        if self._open:
            self._open = False
            self._gl.make_current()
            self._context.free()
            self._gl.free()

    def __enter__(self) -> Renderer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _gl_context(backend: str, size: int) -> Any:
    if backend != WINDOW and "OpenGL" not in sys.modules:
        # MuJoCo refuses to load where this names anything else, for whatever program it was set.
        os.environ["PYOPENGL_PLATFORM"] = backend
    return importlib.import_module(f"mujoco.{backend}").GLContext(size, size)
