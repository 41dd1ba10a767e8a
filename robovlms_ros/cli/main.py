"""The ``robovlms`` command. Nothing heavy is imported before a command runs, so that ``--help`` is quick."""

from __future__ import annotations

import sys

import typer
from rich.console import Console
from rich.markup import escape

from robovlms_ros.cli.bench import bench
from robovlms_ros.cli.data import app as data
from robovlms_ros.cli.demo import demo
from robovlms_ros.cli.demo_replay import demo_replay
from robovlms_ros.cli.evaluate import evaluate
from robovlms_ros.cli.import_bag import import_bag
from robovlms_ros.cli.import_datasets import import_calvin, import_lerobot
from robovlms_ros.cli.inspect import inspect
from robovlms_ros.cli.pack import pack
from robovlms_ros.cli.parity import parity
from robovlms_ros.cli.record_rerun import record_rerun
from robovlms_ros.cli.replay import replay
from robovlms_ros.cli.sim import app as sim
from robovlms_ros.cli.train import train
from robovlms_ros.cli.untrained import untrained
from robovlms_ros.model.errors import ModelError

app = typer.Typer(
    name="robovlms",
    help="Prepare and examine RoboVLMs models for a robot.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
app.command()(pack)
app.command()(train)
app.command()(inspect)
app.command()(untrained)
app.command()(parity)
app.command()(bench)
app.command()(replay)
app.command()(demo)
app.command()(demo_replay)
app.command("record-rerun")(record_rerun)
app.command("import-bag")(import_bag)
data.command()(import_calvin)
data.command()(import_lerobot)
app.add_typer(data, name="data")
app.add_typer(sim, name="sim")
app.add_typer(evaluate, name="evaluate")


# What the robot's own install does not have, and the extra of pyproject.toml that brings it.
_EXTRAS = {
    **dict.fromkeys(("av", "mcap", "pyarrow", "rosbags"), "data"),
    **dict.fromkeys(("accelerate", "peft", "plotly", "tensorboard"), "train"),
    "mujoco": "sim",
    "rerun": "rerun",
}


def main() -> None:
    """Run the command; a `ModelError`, or an extra that is not installed, becomes one line and exit status 1."""
    try:
        app()
    except ModelError as error:
        _fail(str(error))
    except ModuleNotFoundError as error:
        name = (error.name or "").split(".")[0]
        if name not in _EXTRAS:
            raise
        _fail(f"this command needs {name}: pip install 'robovlms_ros[{_EXTRAS[name]}]'")


def _fail(message: str) -> None:
    Console(stderr=True).print(f"[red]error:[/red] {escape(message)}", highlight=False, soft_wrap=True)
    sys.exit(1)


if __name__ == "__main__":
    main()
