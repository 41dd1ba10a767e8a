"""What the model saw, and what it answered, in one picture. Pure: NumPy and Pillow, no state, no ROS.

Nothing is known of the camera's calibration, so no motion is projected into the image. The motion is drawn in a
corner: in a gizmo with the three axes of the frame of the actions, as seen from above and aside, and as one bar
for each dimension. What is orange was limited.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from robovlms_ros.policy.decision import ACTING
from robovlms_ros.policy.overlay_text import drawable, font, wrapped
from robovlms_ros.policy.safety import ACTION_DIM, GRIPPER, ROTATION, TRANSLATION, Limits

# Pictures are enlarged or reduced by whole factors until text is readable and a viewer is not flooded.
SHORTEST, LONGEST = 300, 960
WHITE, GREY, BLACK = (255, 255, 255), (165, 165, 165), (0, 0, 0)
RED, GREEN, BLUE, ORANGE, YELLOW = (255, 95, 85), (95, 220, 110), (105, 165, 255), (255, 160, 30), (255, 235, 90)
AXES = {"x": RED, "y": GREEN, "z": BLUE}
# Where the axes point on the screen (right, down): a right-handed frame with z up.
PROJECTION = np.array([[0.93, 0.26], [0.42, -0.52], [0.0, -0.90]])
GROUND = np.array([1.0, 1.0, 0.0])
ROUND_NUMBERS = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)
# Widths and heights in units, which are about a line of text.
GIZMO, PANEL, PANEL_HEIGHT = 9.6, 29.5, 9.5
SHADE = 0.7


@dataclass(frozen=True)
class OverlayView:
    """What is written and drawn over an image.

    ``actions``: ``(N, 7)`` metres, radians, gripper opening; row 0 is the action published, the rest what the
    model predicts after it. ``saturated``: ``(N,)`` bit masks, bit i where dimension i was limited. ``limits``
    give the bars their scale. ``latency`` in seconds, None where there is none. ``frame``: that of the actions.
    """

    instruction: str
    state: str
    episode: int
    step: int
    actions: NDArray[np.float64]
    saturated: NDArray[np.uint32]
    latency: float | None = None
    frame: str = ""
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if self.actions.ndim != 2 or self.actions.shape[0] < 1 or self.actions.shape[1] != ACTION_DIM:
            raise ValueError(f"an overlay shows (N, {ACTION_DIM}) actions, not {self.actions.shape}")
        if self.saturated.shape != self.actions.shape[:1]:
            raise ValueError(f"{len(self.actions)} actions have {self.saturated.shape} masks of limits")


def draw_overlay(image: NDArray[np.uint8], view: OverlayView) -> NDArray[np.uint8]:
    """Return ``image``, ``(H, W, 3)`` uint8 RGB, with ``view`` drawn over it.

    The result is a new array whose sides are ``overlay_size`` of the image's. Takes about 5 ms at 640x480.
    """
    canvas = _resized(image)
    unit = max(9, min(20, round(min(min(canvas.size) / 28, canvas.width / (PANEL + 0.5)))))
    draw = ImageDraw.Draw(canvas)
    _caption(canvas, draw, view, unit)
    top = canvas.height - round(PANEL_HEIGHT * unit)
    _shade(canvas, (0, top, min(canvas.width, round(PANEL * unit)), canvas.height))
    _gizmo(draw, view, (0, top), unit)
    _bars(draw, view, (round(GIZMO * unit), top), unit)
    return np.array(canvas, dtype=np.uint8)


def overlay_size(height: int, width: int) -> tuple[int, int]:
    """Return height and width of the picture that ``draw_overlay`` makes of an image of this size."""
    short, long = min(height, width), max(height, width)
    if long > LONGEST:
        divisor = math.ceil(long / LONGEST)
        return -(-height // divisor), -(-width // divisor)
    factor = min(math.ceil(SHORTEST / short), max(1, LONGEST // long))
    return height * factor, width * factor


def _resized(image: NDArray[np.uint8]) -> Image.Image:
    picture = Image.fromarray(np.ascontiguousarray(image))
    height, width = overlay_size(picture.height, picture.width)
    if width < picture.width or height < picture.height:
        return picture.reduce(math.ceil(max(picture.size) / LONGEST))
    if (width, height) == picture.size:
        return picture
    return picture.resize((width, height), Image.Resampling.BILINEAR)


def _caption(canvas: Image.Image, draw: ImageDraw.ImageDraw, view: OverlayView, unit: int) -> None:
    """The instruction, and below it what the policy is doing."""
    face, small = font(unit, any_script=True), font(max(9, unit - 2))
    margin = unit // 2
    lines = wrapped(view.instruction, face, canvas.width - 2 * margin, 2)
    facts = [f"episode {view.episode}", f"step {view.step}"]
    if view.latency is not None:
        facts.append(f"{view.latency * 1e3:.0f} ms")
    facts_text = drawable(" · ".join(facts), small)
    _shade(canvas, (0, 0, canvas.width, round((len(lines) + 1) * 1.35 * unit) + margin))
    y = margin // 2
    for line in lines:
        draw.text((margin, y), line, fill=WHITE, font=face)
        y += round(1.35 * unit)
    dot = unit // 4
    middle = y + round(0.65 * unit)
    colour = GREEN if view.state == ACTING else ORANGE
    draw.ellipse((margin, middle - dot, margin + 2 * dot, middle + dot), fill=colour)
    right = canvas.width - margin - small.getlength(facts_text)
    left = margin + 4 * dot
    state = wrapped(view.state, small, max(0.0, right - unit - left), 1)
    draw.text((left, y), "".join(state), fill=colour, font=small)
    draw.text((right, y), facts_text, fill=WHITE, font=small)


def _gizmo(draw: ImageDraw.ImageDraw, view: OverlayView, corner: tuple[int, int], unit: int) -> None:
    """The axes of the frame, and the way that the predicted translations lead."""
    path = np.vstack([np.zeros(3), np.cumsum(view.actions[:, TRANSLATION], axis=0)])
    shadow = path * GROUND
    # So long is an axis that the way, as it is seen, keeps within the axes.
    extent = _nice(float(np.abs(np.vstack([path, shadow]) @ PROJECTION).max()))
    centre = np.array([corner[0] + 0.5 * GIZMO * unit, corner[1] + 4.1 * unit])
    reach = 3.2 * unit
    small = font(max(9, unit - 3))

    def point(position: NDArray[np.float64]) -> tuple[float, float]:
        x, y = centre + reach * (position / extent) @ PROJECTION
        return float(x), float(y)

    for axis, (name, colour) in enumerate(AXES.items()):
        end = np.zeros(3)
        end[axis] = extent
        draw.line((point(-end), point(np.zeros(3))), fill=_dimmed(colour, 0.35), width=1)
        draw.line((point(np.zeros(3)), point(end)), fill=colour, width=max(1, unit // 8))
        draw.text(point(1.2 * end), name, fill=colour, font=small, anchor="mm")
    # Its shadow on the plane of x and y tells how far a way leads up.
    draw.line([point(position) for position in shadow], fill=_dimmed(GREY, 0.8), width=1)
    draw.line((point(shadow[-1]), point(path[-1])), fill=_dimmed(GREY, 0.6), width=1)
    later = _dimmed(YELLOW, 0.75)
    draw.line([point(position) for position in path[1:]], fill=later, width=1)
    for position in path[2:]:
        _dot(draw, point(position), unit / 9, later)
    draw.line((point(path[0]), point(path[1])), fill=YELLOW, width=max(2, unit // 5))
    _dot(draw, point(path[1]), unit / 4, YELLOW)
    for line, text in enumerate((f"axes {extent * 1e3:g} mm", view.frame)):
        label = wrapped(text, small, (GIZMO - 0.8) * unit, 1)
        below = corner[1] + (8.15 + 1.05 * line) * unit
        draw.text((corner[0] + 0.5 * unit, below), "".join(label), fill=GREY, font=small, anchor="ls")


def _bars(draw: ImageDraw.ImageDraw, view: OverlayView, corner: tuple[int, int], unit: int) -> None:
    """One row for each dimension: name, bar and number; the rest of the chunk as thin marks."""
    small = font(max(9, unit - 2))
    row_height = 1.22 * unit
    scales = [_scale(view.actions[:, part], limit) for part, limit in _groups(view.limits)]
    for dimension in range(ACTION_DIM):
        y = corner[1] + 0.45 * unit + (dimension + 0.5) * row_height
        limited = bool(int(view.saturated[0]) >> dimension & 1)
        name, values, scale, text, colour = _row(view.actions[:, dimension], dimension, scales)
        colour = ORANGE if limited else colour
        draw.text((corner[0] + 0.3 * unit, y), name, fill=colour, font=small, anchor="lm")
        left, right = corner[0] + 3.4 * unit, corner[0] + 10.4 * unit
        zero = left if dimension == GRIPPER else (left + right) / 2
        span = right - zero
        half = 0.32 * row_height
        draw.rectangle((left, y - half, right, y + half), outline=(90, 90, 90))
        for value in values[:0:-1]:
            x = zero + span * float(np.clip(value / scale, -1, 1))
            draw.line((x, y - half + 1, x, y + half - 1), fill=(150, 150, 150), width=1)
        x = zero + span * float(np.clip(values[0] / scale, -1, 1))
        draw.rectangle((min(zero, x), y - half + 1, max(zero, x), y + half - 1), fill=colour)
        if dimension != GRIPPER:
            draw.line((zero, y - half - 1, zero, y + half + 1), fill=WHITE, width=1)
        text += " limited" if limited else ""
        draw.text((right + 0.4 * unit, y), drawable(text, small), fill=colour, font=small, anchor="lm")


def _row(
    values: NDArray[np.float64], dimension: int, scales: list[float]
) -> tuple[str, NDArray[np.float64], float, str, tuple[int, int, int]]:
    """Name, values, full scale, number in words and colour of one dimension."""
    value = float(values[0])
    if dimension == GRIPPER:
        return "grip", values, 1.0, f"{'open' if value >= 0.5 else 'closed'} {value:.2f}", YELLOW
    name, colour = list(AXES.items())[dimension % 3]
    if dimension < ROTATION.start:
        return name, values, scales[0], f"{value * 1e3:+.1f} mm", colour
    return f"rot {name}", values, scales[1], f"{math.degrees(value):+.1f}°", colour


def _groups(limits: Limits) -> list[tuple[slice, float]]:
    return [(TRANSLATION, limits.translation), (ROTATION, limits.rotation)]


def _scale(values: NDArray[np.float64], limit: float) -> float:
    """What a full bar stands for: the limit, or where there is none a round number above all values."""
    return limit if math.isfinite(limit) else _nice(float(np.abs(values).max()))


def _nice(value: float) -> float:
    """The next round number from ``value`` on; one millimetre, or milliradian, at least."""
    value = max(value, 1e-3)
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in ROUND_NUMBERS if step * power >= value * 0.999)


def _dimmed(colour: tuple[int, int, int], share: float) -> tuple[int, int, int]:
    red, green, blue = colour
    return round(red * share), round(green * share), round(blue * share)


def _dot(draw: ImageDraw.ImageDraw, centre: tuple[float, float], radius: float, colour: tuple[int, ...]) -> None:
    x, y = centre
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)


def _shade(canvas: Image.Image, box: tuple[int, int, int, int]) -> None:
    """Darken a part, so that text on it can be read whatever the camera shows."""
    part = canvas.crop(box)
    canvas.paste(Image.blend(part, Image.new(canvas.mode, part.size, BLACK), SHADE), box[:2])
