"""All figures of the vla_node as tables: latency, freshness, shutdown, lifecycle."""

from __future__ import annotations

from collections.abc import Callable

from robovlms_ros.bench.node import frame_age, latency, lifecycle, shutdown
from robovlms_ros.bench.table import Table, figure_table
from robovlms_ros.model.errors import ModelError
from robovlms_ros.ros.node_process import NodeProcessError

LATENCY_NOTES = (
    "A camera of 640x480 rgb8 in another process. Latency runs from right before the image is handed to DDS to "
    "the callback of the answer, both in one process. The empty node, the *floor*, does nothing but answer an "
    "image with a message of the same type; both get images in turns, so that they see the same machine.",
    "*Overhead* is the median latency of the node, less that of the empty node, less a bare `session.step` of "
    "the same policy. What turns the message into pixels (`decode_image`) is allowed on top of 2 ms.",
)
AGE_NOTES = (
    "*Age* is taken when the policy is called, by the policy itself, against the stamp of the frame.",
    "The drop counter is right where every frame that arrived was either used or counted as overtaken.",
)


def measure(quick: bool, progress: Callable[[str], None]) -> list[Table]:
    """Measure with the null policy and real processes: four minutes, or half a one for a ``quick`` look.

    Raises `ModelError` where a node does not come up.
    """
    seconds, count = (1.5, 2) if quick else (20.0, 20)
    try:
        return list(_tables(seconds, count, quick, progress))
    except NodeProcessError as error:
        raise ModelError(str(error)) from error


def _tables(seconds: float, count: int, quick: bool, progress: Callable[[str], None]) -> list[Table]:
    progress("image to action")
    tables = [figure_table("Image to action, null policy", latency.measure(seconds), LATENCY_NOTES)]
    if not quick:
        progress("image to action, overlay looked at")
        title = "Image to action while somebody looks at `~/overlay`"
        tables.append(figure_table(title, latency.measure(seconds / 2, overlay=True)))
    progress("frame age")
    figures = frame_age.measure(seconds)
    tables.append(figure_table("Freshness: a 60 Hz camera and a policy of 300 ms", figures, AGE_NOTES))
    progress("shutdown")
    tables.append(figure_table("SIGTERM in mid-inference", shutdown.measure(1 if quick else 10)))
    progress("lifecycle cycles")
    tables.append(figure_table(f"{count} lifecycle cycles", lifecycle.measure(count)))
    if not quick:
        progress("lifecycle cycles with a model")
        title = f"{count} lifecycle cycles with a small Kosmos-2"
        tables.append(figure_table(title, lifecycle.measure_with_model(count)))
    return tables
