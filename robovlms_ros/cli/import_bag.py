"""``robovlms import-bag``: rosbag2 recordings to a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from robovlms_ros.cli.data import Encoding, Quality, Resize, image_format

_BAG, _GRIPPER = "Topics", "Gripper, for recordings without VLAAction and for states"


def import_bag(
    bags: Annotated[list[Path], typer.Argument(help="rosbag2 folders, .mcap or .db3 files, with or without ROS.")],
    out: Annotated[Path, typer.Option(help="The dataset folder to make, or to continue.")],
    image: Annotated[
        str, typer.Option(rich_help_panel=_BAG, help="Of the static camera; empty: the only one of the bag.")
    ] = "",
    hand_image: Annotated[str, typer.Option(rich_help_panel=_BAG, help="Of the hand camera; empty: none.")] = "",
    action: Annotated[
        str,
        typer.Option(
            rich_help_panel=_BAG,
            help="VLAAction, TwistStamped (velocities) or PoseStamped (tool poses); empty: the only VLAAction.",
        ),
    ] = "",
    instruction: Annotated[
        str, typer.Option(rich_help_panel=_BAG, help="What the robot was told; empty: as recorded.")
    ] = "",
    instruction_topic: Annotated[
        str, typer.Option(rich_help_panel=_BAG, help="std_msgs/String with it, for recordings without VLAAction.")
    ] = "",
    state: Annotated[
        str, typer.Option(rich_help_panel=_BAG, help="PoseStamped with the tool's pose; empty: no states.")
    ] = "",
    gripper: Annotated[
        str, typer.Option(rich_help_panel=_GRIPPER, help="JointState, Float64MultiArray, Float64 or Bool topic.")
    ] = "",
    gripper_joint: Annotated[
        str, typer.Option(rich_help_panel=_GRIPPER, help="Its joint, or its place in an array, from 0.")
    ] = "",
    gripper_closed: Annotated[
        float, typer.Option(rich_help_panel=_GRIPPER, help="The number that means closed.")
    ] = 0.0,
    gripper_open: Annotated[
        float, typer.Option(rich_help_panel=_GRIPPER, help="The number that means open.")
    ] = 1.0,
    gripper_initial: Annotated[
        float | None,
        typer.Option(
            rich_help_panel=_GRIPPER, help="Opening, 0 to 1, before the topic's first message.", min=0, max=1
        ),
    ] = None,
    frame: Annotated[str, typer.Option(help="Name of the actions' frame; empty: as recorded.")] = "",
    rotation_format: Annotated[
        str, typer.Option(help="rpy or axis_angle; empty: as recorded, rpy for poses and velocities.")
    ] = "",
    rate: Annotated[
        float, typer.Option(help="Steps per second for poses and velocities; 0: one for each image.", min=0)
    ] = 0.0,
    slop: Annotated[float, typer.Option(help="Seconds between stamps that belong together.", min=0)] = 0.05,
    max_gap: Annotated[
        float, typer.Option(help="Seconds without a step that end an episode; 0: three usual periods.", min=0)
    ] = 0.0,
    command_timeout: Annotated[
        float, typer.Option(help="Seconds for which a velocity counts, at most.", min=0.001)
    ] = 0.25,
    three_channel_order: Annotated[
        str, typer.Option(help="What images of encoding 8UC3 hold: bgr or rgb.")
    ] = "bgr",
    encoding: Encoding = "jpeg",
    quality: Quality = 95,
    resize: Resize = 0,
) -> None:
    """Import rosbag2 recordings (mcap or sqlite3) as episodes of a dataset.

    From **VLAAction** everything is known: an episode is what its `episode` and `instruction` say, each step is an
    action with the image of exactly its stamp. From **TwistStamped** or **PoseStamped** the steps are the images,
    and their actions the motion until the next one.

    Repeat the command to continue where an interrupted import ended. What is left out is counted and named.

    Examples:

        robovlms import-bag bags/monday bags/tuesday --out datasets/kitchen

        robovlms import-bag teleop.mcap --image /camera/image_raw --action /servo_node/delta_twist_cmds
            --gripper /joint_states --gripper-joint finger_joint --gripper-closed 0.8 --gripper-open 0
            --instruction "open the drawer" --rate 10 --out datasets/drawer
    """
    from pydantic import ValidationError

    from robovlms_ros.cli.data_tables import print_imported, progress_bar, resumable
    from robovlms_ros.data.bag.options import BagOptions
    from robovlms_ros.data.bag.source import BagSource
    from robovlms_ros.data.convert import convert
    from robovlms_ros.data.errors import DataError
    from robovlms_ros.data.folder.format import Origin
    from robovlms_ros.data.report import DropReport

    given: dict[str, Any] = {
        "image": image,
        "hand_image": hand_image,
        "action": action,
        "instruction": instruction,
        "instruction_topic": instruction_topic,
        "state": state,
        "gripper": {
            "topic": gripper,
            "joint": gripper_joint,
            "closed": gripper_closed,
            "open": gripper_open,
            "initial": gripper_initial,
        },
        "frame": frame,
        "rotation_format": rotation_format or None,
        "rate": rate or None,
        "slop": slop,
        "max_gap": max_gap or None,
        "command_timeout": command_timeout,
        "three_channel_order": three_channel_order,
    }
    try:
        options = BagOptions.model_validate(given)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        option = "-".join(str(part).replace("_", "-") for part in problem["loc"])
        raise DataError(f"--{option}: {problem['msg']}") from error
    images = image_format(encoding, quality, resize)
    origin = Origin(
        importer="bag", path=", ".join(str(bag.resolve()) for bag in bags), options=options.model_dump(mode="json")
    )
    report = DropReport()
    with progress_bar("reading messages") as progress:
        source = BagSource(bags, options, report, progress)
    with source, resumable(), progress_bar("importing episodes") as progress:
        info = convert(source, out, origin, images=images, report=report, progress=progress)
    print_imported(Console(), out, info)
