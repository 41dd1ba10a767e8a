"""A result of a replay that is made up, and the images that belong to it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from robovlms_ros.replay.result import (
    BagInfo,
    Event,
    ImageReference,
    Inference,
    ModelInfo,
    Options,
    PublishedAction,
    RecordedAction,
    ReplayResult,
    Topic,
)

START = 1_700_000_000_123_456_789
STEP_NS = 100_000_000
CHUNK = 5
NASTY = (
    "</script><script>document.title = 'owned'</script><img src=x onerror=\"document.title='owned'\">"
    "${title} $$ &amp; \u202e <!-- "
)


def made_up(
    count: int = 12, text: str = "pick up the red block", cameras: tuple[str, ...] = ("static",)
) -> ReplayResult:
    """``count`` inferences, one action each; every text that a bag or a model card brings is ``text``."""
    inferences, actions, recorded = [], [], []
    for number in range(count):
        time = START + number * STEP_NS
        rows = tuple(
            (0.01 * np.sin(0.3 * (number + k)), 0.002 * k, 0.0, 0.01, -0.02, 0.0, float(number % 8 < 4))
            for k in range(CHUNK)
        )
        images = {
            camera: ImageReference(topic=f"/{camera}", number=number, time_ns=time, stamp_ns=time)
            for camera in cameras
        }
        inferences.append(
            Inference(
                number=number,
                start_ns=time,
                end_ns=time,
                stamp_ns=time,
                images=images,
                instruction=text,
                episode=0,
                normalized=rows,
                actions=rows,
                outcome="acting" if number else text,
                timings={"wait": 0.004, "decode": 0.001, "vision": 0.02 + 0.001 * number, "model": 0.03},
            )
        )
        common = {"stamp_ns": time, "episode": 0, "sequence": number, "instruction": text, "normalized": rows[0]}
        saturated = 1 if number == 3 else 0
        actions.append(
            PublishedAction(time_ns=time, action=rows[0], inference=number, saturated=saturated, **common)
        )
        other = (rows[0][0] + 0.001, *rows[0][1:])
        recorded.append(RecordedAction(number=number, time_ns=time + 9, action=other, latency=0.05, **common))
    events = [Event(time_ns=START + STEP_NS, kind="dropped image", detail=text, topic=text, number=1)]
    return ReplayResult(
        created="2026-01-01T00:00:00+00:00",
        machine={"cpu": text},
        versions={"robovlms_ros": "0.1.0", "torch": text},
        bag=BagInfo(
            path=f"/bags/{text.replace('/', '')}",
            files=(text,),
            start_ns=START,
            end_ns=START + count * STEP_NS,
            topics=(Topic(name=text, type=text, messages=count),),
            digest="ab" * 32,
        ),
        model=ModelInfo(
            path=text,
            card={"model_id": text, "window": 8},
            frame="base_link",
            rotation_format="rpy",
            step_duration=0.1,
            limits={"translation": 0.05},
            differences=(text,),
        ),
        options=Options(topics={"image": text}, parameters={"rate": 0.0, "model.path": text}, history_length=16),
        problems=(text,),
        counts={text: 3},
        holds={text: 2},
        inferences=tuple(inferences),
        actions=tuple(actions),
        recorded=tuple(recorded),
        events=tuple(events),
    )


def images_of(
    result: ReplayResult, size: tuple[int, int] = (120, 160)
) -> Iterator[tuple[ImageReference, NDArray[np.uint8]]]:
    """An image for every reference, each of another grey."""
    for reference in result.images():
        yield reference, np.full((*size, 3), 20 + 10 * (reference.number % 20), np.uint8)
