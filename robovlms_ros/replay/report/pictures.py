"""The images that the model was shown, with what it answered drawn over them, as JPEG within a number of bytes."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from robovlms_ros.data.images import encode
from robovlms_ros.policy.overlay import OverlayView, draw_overlay
from robovlms_ros.policy.safety import Limits
from robovlms_ros.replay.report.content import places_of, spread
from robovlms_ros.replay.result import ACTING, ImageReference, Inference, PublishedAction, ReplayResult

Pixels = NDArray[np.uint8]
WIDEST = 640
# Tried one after the other until a picture fits.
QUALITIES = (85, 70, 50, 30)
SMALLEST = 64


@dataclass(frozen=True)
class Picture:
    """What belongs to the ``place``-th inference of the result.

    ``jpeg`` shows the static camera, beside it the hand camera where there is one.
    """

    place: int
    jpeg: bytes
    width: int
    height: int

    @property
    def uri(self) -> str:
        """It as a ``data:`` URI."""
        return "data:image/jpeg;base64," + base64.b64encode(self.jpeg).decode("ascii")


def chosen(result: ReplayResult, count: int) -> list[Inference]:
    """The inferences whose images are shown: at most ``count``, evenly spread."""
    places = [place for place, inference in enumerate(result.inferences) if inference.images]
    return [result.inferences[place] for place in spread(places, count)]


def pictures(
    result: ReplayResult, images: Iterable[tuple[ImageReference, Pixels]], count: int, most_bytes: int
) -> Iterator[Picture]:
    """Draw the pictures of `chosen` inferences, in the order in which their images come.

    ``images`` are as `robovlms_ros.replay.images.read_images` gives them; what is not there leaves its picture
    out. All pictures together take at most ``most_bytes`` as data URIs. One image of each camera is in memory at a
    time, and those that wait for another camera's.
    """
    shown = chosen(result, count)
    budget = most_bytes * 3 // 4 // max(1, len(shown))
    actions = {action.inference: action for action in reversed(result.actions) if action.inference is not None}
    bounds = result.model.limits
    limits = Limits(bounds.get("translation", math.inf), bounds.get("rotation", math.inf))
    wanted: dict[tuple[str, int], list[tuple[Inference, str]]] = {}
    for inference in shown:
        for camera, reference in inference.images.items():
            wanted.setdefault((reference.topic, reference.number), []).append((inference, camera))
    places = places_of(result)
    waiting: dict[int, dict[str, Pixels]] = {}
    for reference, pixels in images:
        for inference, camera in wanted.get((reference.topic, reference.number), ()):
            found = waiting.setdefault(inference.number, {})
            found[camera] = pixels
            if len(found) == len(inference.images):
                del waiting[inference.number]
                drawn = draw(inference, found, actions.get(inference.number), result.model.frame, limits)
                yield _fitted(places[inference.number], drawn, budget)


def needed(result: ReplayResult, count: int) -> list[ImageReference]:
    """The images that `pictures` needs."""
    return [reference for inference in chosen(result, count) for reference in inference.images.values()]


def draw(
    inference: Inference, images: dict[str, Pixels], action: PublishedAction | None, frame: str, limits: Limits
) -> Image.Image:
    """What the model saw and answered, side by side where there are two cameras."""
    first, *others = [images[camera] for camera in sorted(images, key=lambda camera: camera != "static")]
    actions = np.array(inference.actions, np.float64).reshape(-1, 7)
    saturated = np.zeros(len(actions), np.uint32)
    if action is not None and not action.stop:
        if not len(actions):
            actions, saturated = np.zeros((1, 7)), np.zeros(1, np.uint32)
        actions[0], saturated[0] = action.action, action.saturated
    if len(actions):
        state = inference.outcome if inference.outcome != ACTING else ACTING
        wait = inference.timings.get("wait", 0.0) + inference.timings.get("model", 0.0)
        view = OverlayView(
            instruction=inference.instruction,
            state=state,
            episode=inference.episode,
            step=inference.number if action is None else action.sequence,
            actions=actions,
            saturated=saturated,
            latency=wait or None,
            frame=frame,
            limits=limits,
        )
        first = draw_overlay(first, view)
    canvas = _narrowed(Image.fromarray(np.ascontiguousarray(first)), WIDEST)
    for other in others:
        beside = Image.fromarray(np.ascontiguousarray(other))
        width = max(1, round(beside.width * canvas.height / beside.height))
        beside = beside.resize((width, canvas.height), Image.Resampling.BILINEAR)
        joined = Image.new("RGB", (canvas.width + beside.width, canvas.height))
        joined.paste(canvas, (0, 0))
        joined.paste(beside, (canvas.width, 0))
        canvas = joined
    return canvas


def _narrowed(image: Image.Image, widest: int) -> Image.Image:
    if image.width <= widest:
        return image
    height = max(1, round(image.height * widest / image.width))
    return image.resize((widest, height), Image.Resampling.LANCZOS)


def _fitted(place: int, image: Image.Image, budget: int) -> Picture:
    """``image`` as a JPEG of at most ``budget`` bytes, or as small as is of any use."""
    while True:
        pixels = np.asarray(image)
        for quality in QUALITIES:
            jpeg = encode(pixels, "jpeg", quality)
            if len(jpeg) <= budget:
                return Picture(place, jpeg, image.width, image.height)
        if image.width <= SMALLEST:
            return Picture(place, jpeg, image.width, image.height)
        image = _narrowed(image, max(SMALLEST, image.width * 2 // 3))
