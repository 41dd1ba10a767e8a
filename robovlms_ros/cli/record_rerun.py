"""``robovlms record-rerun``: a live run as a recording for the Rerun viewer."""

from __future__ import annotations

import signal
import threading
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def record_rerun(
    out: Annotated[Path, typer.Argument(help="The .rrd file to write; replaced.")],
    image: Annotated[
        str, typer.Option(metavar="TOPIC", help="Of the static camera; empty: leave it out.")
    ] = "image",
    hand_image: Annotated[str, typer.Option(metavar="TOPIC", help="Of the hand camera.")] = "image_hand",
    instruction: Annotated[str, typer.Option(metavar="TOPIC", help="What to do.")] = "instruction",
    action: Annotated[str, typer.Option(metavar="TOPIC", help="VLAAction.")] = "action",
    action_chunk: Annotated[str, typer.Option(metavar="TOPIC", help="VLAActionChunk.")] = "action_chunk",
    compressed: Annotated[bool, typer.Option("--compressed", help="Cameras give CompressedImage.")] = False,
    rate: Annotated[float, typer.Option(min=0.1, max=100, help="Images per second that are kept.")] = 5.0,
    seconds: Annotated[float, typer.Option(min=0, help="Stop after so many; 0: at Ctrl-C.")] = 0.0,
    sim_time: Annotated[bool, typer.Option("--sim-time", help="Go by /clock.")] = False,
) -> None:
    """Listen to a running vla_node and write what it sees and does, for the Rerun viewer (`rerun-sdk`).

    Only listens: nothing is published, and a slow disk slows no arm. Open the file with `rerun FILE`.

    Example:

        robovlms record-rerun run.rrd --image /camera/image_raw --action /arm/command
    """
    import rclpy
    from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
    from rclpy.parameter import Parameter
    from rclpy.signals import SignalHandlerOptions

    from robovlms_ros.replay.rerun_file import RerunFile
    from robovlms_ros.replay.rerun_live import CAMERAS, RerunListener

    topics = {
        "image": image,
        "image_hand": hand_image,
        "instruction": instruction,
        "action": action,
        "action_chunk": action_chunk,
    }
    console, over = Console(stderr=True), threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: over.set())
    with RerunFile(out, [camera for key, camera in CAMERAS.items() if topics[key]]) as file:
        context = rclpy.Context()
        rclpy.init(context=context, signal_handler_options=SignalHandlerOptions.NO)
        clock = [Parameter("use_sim_time", value=sim_time)]
        listener = RerunListener(
            file, topics, compressed=compressed, rate=rate, context=context, parameter_overrides=clock
        )
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(listener)

        def spin() -> None:
            with suppress(ExternalShutdownException):
                executor.spin()

        thread = threading.Thread(target=spin, daemon=True)
        thread.start()
        console.print(
            f"recording to {out}; {'Ctrl-C ends it' if not seconds else f'{seconds:g} s'}", highlight=False
        )
        over.wait(seconds or None)
        listener.close()
        executor.shutdown()
        thread.join(timeout=5)
        listener.destroy_node()
        rclpy.try_shutdown(context=context)
    said = (
        ", ".join(f"{count} on {topic}" for topic, count in sorted(listener.counts.items())) or "nothing was heard"
    )
    console.print(f"written: {out}: {said}", highlight=False, soft_wrap=True)
