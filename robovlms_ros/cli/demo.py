"""`robovlms demo`: the closed loop over ROS, a line for each episode, and a page to look at."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from robovlms_ros.cli.sim import Families, Wordings
from robovlms_ros.model.errors import ModelError

if TYPE_CHECKING:
    from robovlms_ros.sim.run_record import EpisodeRecord, Family

# Of the episodes so many must succeed.
NEEDED = 0.8


class Modes(str, Enum):
    """How time passes in the simulator."""

    lock_step = "lock_step"
    real_time = "real_time"


def demo(
    family: Annotated[Families, typer.Option(help="Pick up a block, stack two, or both in turn.")] = Families.pick,
    episodes: Annotated[int, typer.Option(min=1, help="How many.")] = 10,
    seed: Annotated[int, typer.Option(min=0, help="Of the first one; it draws the scene and the task.")] = 0,
    wording: Annotated[Wordings, typer.Option(help="Which sentences are said.")] = Wordings.canonical,
    model: Annotated[
        str, typer.Option(help="A packed folder; default: the model that comes with the package.")
    ] = "",
    policy_head: Annotated[str, typer.Option(help="One of its policy heads; default: its own.")] = "",
    execute: Annotated[int, typer.Option(min=1, help="Actions of each predicted chunk that are executed.")] = 1,
    mode: Annotated[Modes, typer.Option(help="Whether the simulator waits for the model.")] = Modes.lock_step,
    image_size: Annotated[int, typer.Option(min=16, max=640, help="Side of the camera images.")] = 96,
    compare: Annotated[
        bool, typer.Option(help="Run each episode again without ROS and compare every image, bit for bit.")
    ] = False,
    out: Annotated[Path, typer.Option(help="Folder for the page and the animation; replaced.")] = Path("demo_out"),
) -> None:
    """Let a simulated robot do what it is told, through the same nodes as a real one.

    Starts sim_node, vla_node, action_history_node and arm_bridge_node as processes on a private ROS domain, runs
    episodes, and writes a page with films of them. Exits with 1 where fewer than 8 of 10 succeed.

    Example: robovlms demo --family both --wording held_out
    """
    from robovlms_ros.ros.loop_processes import NODES, LoopProcesses
    from robovlms_ros.ros.node_process import NodeProcessError
    from robovlms_ros.sim.rendering import find_backend
    from robovlms_ros.sim.run_page import write_film, write_page
    from robovlms_ros.sim.run_record import RunRecord

    console = Console()
    find_backend()
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    if compare and mode is not Modes.lock_step:
        raise ModelError("--compare needs --mode lock_step: in real time no two runs are the same")
    both: tuple[Family, ...] = ("pick", "stack")
    families = [each for each in both if family.value in (each, "both")]
    vla: dict[str, Any] = {"model.path": str(Path(model).expanduser().resolve())} if model else {}
    vla |= {"model.policy_head": policy_head} if policy_head else {}
    vla |= {"chunk.mode": "open_loop", "chunk.horizon": execute} if execute > 1 else {}
    simulator = {"wording": wording.value, "image_size": image_size}
    done: list[EpisodeRecord] = []
    differing: dict[int, str] = {}
    try:
        with console.status("starting sim_node, vla_node, action_history_node and arm_bridge_node") as status:
            with LoopProcesses(mode.value, {"vla_node": vla, "sim_node": simulator}) as loop:
                for number in range(episodes):

                    def told(instruction: str, steps: int, number: int = number) -> None:
                        status.update(f"{number + 1}/{episodes} {escape(instruction)}: step {steps}")

                    done.append(loop.run(number, seed + number, families[number % len(families)], told))
                    console.print(_line(done[-1], episodes), highlight=False)
            status.update("drawing the page")
            facts: dict[str, object] = {
                "command": " ".join(["robovlms", *sys.argv[1:]]),
                "nodes": f"{', '.join(NODES)}: each a process, over DDS",
                "simulator": f"{mode.value.replace('_', ' ')}, images of {image_size} pixels",
                "instructions": f"{wording.value.replace('_', ' ')} sentences; no training set has these seeds",
                "executed of each chunk": execute,
            }
            if compare:
                status.update("running the same episodes in one process")
                differing = _differences(done, model, policy_head, execute, image_size)
                same = len(done) - len(differing)
                facts["the same without ROS"] = f"{same} of {len(done)} episodes, every bit of every image"
            run = RunRecord(done, loop.card, facts)
            write_page(out / "index.html", run)
            write_film(out / "demo.gif", run)
    except NodeProcessError as error:
        console.print(f"[red]demo:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        raise typer.Exit(1) from error
    console.print(f"page: {out / 'index.html'}\nfilm: {out / 'demo.gif'}", highlight=False, soft_wrap=True)
    for number, said in differing.items():
        console.print(f"[red]episode {number + 1} is another one without ROS:[/] {said}", highlight=False)
    if compare:
        console.print(f"without ROS: {facts['the same without ROS']}", highlight=False)
    console.print(f"demo: {run.summary()}", highlight=False, soft_wrap=True)
    if run.successes < NEEDED * episodes or (compare and differing):
        raise typer.Exit(1)


def _differences(
    done: Sequence[EpisodeRecord], model: str, policy_head: str, execute: int, image_size: int
) -> dict[int, str]:
    from robovlms_ros.policy.chunk_settings import ChunkSettings
    from robovlms_ros.policy.compute import use_threads
    from robovlms_ros.policy.policy_loader import model_folder
    from robovlms_ros.policy.vla_policy import VLAPolicy
    from robovlms_ros.sim.closed_loop import LoopSettings
    from robovlms_ros.sim.run_comparison import differences

    use_threads(1)  # as config/tabletop.yaml: sums in another order round differently
    policy = VLAPolicy.load(model_folder(model), policy_head=policy_head)
    chunk = ChunkSettings("open_loop", execute) if execute > 1 else ChunkSettings()
    return differences(done, policy, image_size, LoopSettings(chunk))


def _line(record: EpisodeRecord, episodes: int) -> str:
    width = len(str(episodes))
    outcome = "[green]success[/]" if record.succeeded else "[red]failed [/]"
    return (
        f"{record.number + 1:>{width}}/{episodes}  {outcome}  {record.steps:>3} steps  "
        f"{record.latency * 1e3:>5.0f} ms  {escape(record.instruction)}"
    )
