"""Where the time of one control step goes, from the bytes on the wire to the published action."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from robovlms_ros.bench.models import INSTRUCTION, camera_image, make_model
from robovlms_ros.bench.table import Cell, Table
from robovlms_ros.bench.timing import Timing
from robovlms_ros.data.images import decode, encode
from robovlms_ros.policy.preprocess import ImagePreprocessor, Mode
from robovlms_ros.policy.robot_profile import load_profile
from robovlms_ros.policy.types import ActionChunk, Observation
from robovlms_ros.policy.vla_policy import VLAPolicy

Result = TypeVar("Result")
COLUMNS = ("stage", "p50, ms", "p95, ms", "least, ms", "CPU, ms, least", "share of a step")
# Stages that are milliseconds or less are measured so many times as often as whole steps.
CHEAP = 10
# As the session calls them.
MODEL_STAGES = {
    "preprocess": "preprocess",
    "vision": "vision",
    "language": "language model",
    "head": "policy head",
}
NOTES = (
    "Images of 640x480. *session.step* is what runs in the inference thread behind decoding; its parts, as the "
    "session itself measures them, have the share of its median behind them.",
    "*session.step, again* repeats the row above it in the same rounds: what differs is noise. *CPU* is the "
    "time that this process computed, on all threads: other processes on the machine lengthen it least.",
)


def measure(
    scale: str, repeats: int, progress: Callable[[str], None], model: Path | None = None, device: str = "cpu"
) -> list[Table]:
    """Measure every stage, with a model of this scale, or with the packed folder ``model``."""
    progress("making a model" if model is None else f"loading {model.name}")
    policy = (
        VLAPolicy.load(model, device=device)
        if model
        else VLAPolicy(make_model(scale, device=device), load_profile("calvin"))
    )
    images = {camera: camera_image(seed) for seed, camera in enumerate(policy.cameras)}
    rows: list[tuple[Cell, ...]] = []
    progress("decoding and preprocessing")
    for name, work in _cheap(policy, images):
        rows.append((name, *_spread(_times(work, repeats * CHEAP)), None))
    progress("whole steps")
    rows += _steps(policy, images, repeats)
    progress("answering")
    rows += _behind(policy, images, repeats * CHEAP)
    card = policy.card
    size = "" if model else f", scale {scale}"
    title = f"Stages of a control step: {card['model_id'] if model else 'Kosmos-2 with an LSTM head'}{size}"
    threads = torch.get_num_threads()
    title += (
        f", {len(images)} camera{'s' * (len(images) > 1)}, {card['device']}, {card['dtype']}, {threads} thread"
        + "s" * (threads > 1)
    )
    return [Table(title, COLUMNS, tuple(rows), (*NOTES, *_left_out()))]


def _cheap(policy: VLAPolicy, images: dict[str, NDArray[np.uint8]]) -> Iterator[tuple[str, Callable[[], Any]]]:
    """What comes before the model; with ROS also what turns messages into pixels."""
    first = next(iter(images.values()))
    jpeg = encode(first, "jpeg", 90)
    if not _left_out():
        from rclpy.serialization import deserialize_message, serialize_message
        from sensor_msgs.msg import Image

        from robovlms_ros.ros.image import decode_image

        message = Image(height=first.shape[0], width=first.shape[1], step=first.shape[1] * 3, encoding="rgb8")
        message.data.frombytes(first.tobytes())
        wire = serialize_message(message)
        yield "deserialize sensor_msgs/Image", lambda: deserialize_message(wire, Image)
        yield "decode rgb8", lambda: decode_image(message)
    yield "decode JPEG", lambda: decode(jpeg)
    model, pictures = policy.model, list(images.values())
    modes: tuple[tuple[Mode, str], ...] = (
        ("fast", "preprocess, fast (torch)"),
        ("exact", "preprocess, exact (Pillow)"),
    )
    for mode, what in modes:
        prepare = ImagePreprocessor(
            model.config.image_size, model.image_mean, model.image_std, mode, model.device, model.dtype
        )
        yield f"{what}, {len(pictures)} images", partial(prepare, pictures)


def _steps(policy: VLAPolicy, images: dict[str, NDArray[np.uint8]], repeats: int) -> list[tuple[Cell, ...]]:
    session = policy.session()
    observation = Observation(dict(images), INSTRUCTION)
    session.step(observation)
    whole = Timing(), Timing()
    parts = {name: Timing() for name in MODEL_STAGES}
    for _ in range(repeats):
        for timing in whole:
            chunk = _timed(lambda: session.step(observation), timing)
            for name, part in parts.items():
                part.wall.append(chunk.timings[name])
    middle = float(np.median(whole[0].wall))
    rows: list[tuple[Cell, ...]] = [
        ("session.step", *_spread(whole[0]), "100%"),
        ("session.step, again (A/A)", *_spread(whole[1]), f"{np.median(whole[1].wall) / middle:.0%}"),
    ]
    for name, label in MODEL_STAGES.items():
        rows.append((f"- {label}", *_spread(parts[name]), f"{np.median(parts[name].wall) / middle:.1%}"))
    model = policy.model
    with torch.inference_mode():
        fresh = _times(lambda: model.embed_text(model.encode_text(INSTRUCTION)), repeats)
    return [*rows, ("tokens and embedding of a new instruction", *_spread(fresh), None)]


def _behind(policy: VLAPolicy, images: dict[str, NDArray[np.uint8]], repeats: int) -> list[tuple[Cell, ...]]:
    """From the model's answer to the published message."""
    from robovlms_ros.policy.controller import Controller
    from robovlms_ros.policy.decision import Action, ControlSettings, Request
    from robovlms_ros.policy.frames import Frame

    profile, length = policy.profile, policy.model.act_head.chunk_length
    normalized = np.zeros((length, 7), np.float32)
    controller = Controller(policy.session, profile, list(images), ControlSettings())
    controller.set_instruction(INSTRUCTION, 1)
    timing, action = Timing(), None
    for number in range(1, repeats + 1):
        now = number * controller.step_ns
        for camera, image in images.items():
            controller.offer(camera, Frame(now, partial(np.asarray, image)), now)
        request = controller.plan(now)
        if not isinstance(request, Request):
            raise RuntimeError(f"the controller holds: {request}")
        chunk = ActionChunk(normalized, profile.denormalize(normalized))
        action = _timed(partial(controller.commit, request, chunk, now), timing)
    assert isinstance(action, Action)
    rows: list[tuple[Cell, ...]] = [("limits, numbering (controller.commit)", *_spread(timing), None)]
    if _left_out():
        return rows
    from domain_coordinator import domain_id

    from robovlms_ros.ros import qos
    from robovlms_ros.ros.interfaces import VLAAction
    from robovlms_ros.ros.messages import ActionSpace, action_message
    from robovlms_ros.ros.node_process import spinning_node

    space = ActionSpace("base_link", "rpy", profile.step_duration, str(policy.card["model_id"]))
    with ExitStack() as stack:
        node = stack.enter_context(spinning_node(stack.enter_context(domain_id()), "bench"))
        publisher = node.create_publisher(VLAAction, "action", qos.actions())
        found = _times(lambda: publisher.publish(action_message(action, space, action.stamp_ns)), repeats)
    return [*rows, ("make and publish VLAAction", *_spread(found), None)]


def _left_out() -> tuple[str, ...]:
    """Why the rows that need ROS are not there; nothing where they are."""
    try:
        import rclpy  # noqa: F401

        from robovlms_ros.ros.interfaces import VLAAction  # noqa: F401
    except ImportError as error:
        return (f"Without the rows that need ROS: {error}",)
    return ()


def _times(work: Callable[[], Any], repeats: int) -> Timing:
    work()
    timing = Timing()
    for _ in range(repeats):
        _timed(work, timing)
    return timing


def _timed(work: Callable[[], Result], timing: Timing) -> Result:
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    timing.cpu.append(time.process_time() - cpu)
    timing.wall.append(time.perf_counter() - wall)
    return result


def _spread(timing: Timing) -> tuple[Cell, ...]:
    """The columns of milliseconds; a session measures the wall alone."""
    p50, p95 = np.percentile(timing.wall, [50, 95])
    cpu = min(timing.cpu) * 1e3 if timing.cpu else None
    return float(p50) * 1e3, float(p95) * 1e3, min(timing.wall) * 1e3, cpu
