"""A simulated robot that does what it is told: sim_node, vla_node, action_history_node and arm_bridge_node.

    ros2 launch robovlms_ros sim.launch.py

starts episode after episode with the built-in model. Look on: `ros2 topic echo /sim_node/episode`, or an image
viewer on /camera/static/image_raw. Say something else: `ros2 topic pub -1 /instruction std_msgs/msg/String
"{data: pick up the blue block}"`.

In real time (mode:=real_time) the model must keep up with 20.8 steps in a second; in lock step (mode:=lock_step)
the simulator waits for it. Tuning belongs into a parameter file (params_file:=), on top of config/tabletop.yaml.
"""

import os
from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

SHARE = Path(get_package_share_directory("robovlms_ros"))
SWITCH = ["", "true", "false"]

ARGUMENTS = [
    DeclareLaunchArgument("model", default_value="", description="Folder of a packed model; '' = tabletop."),
    DeclareLaunchArgument("policy_head", default_value="", description="Policy head; '' = the model's own."),
    DeclareLaunchArgument("device", default_value="", description="cpu, cuda or cuda:N; '' = params_file's."),
    DeclareLaunchArgument(
        "mode", default_value="lock_step", choices=["lock_step", "real_time"], description="See above."
    ),
    DeclareLaunchArgument(
        "family", default_value="", choices=["", "pick", "stack"], description="Pick up a block, or stack two."
    ),
    DeclareLaunchArgument(
        "wording",
        default_value="",
        choices=["", "canonical", "train", "held_out"],
        description="Which sentences are said.",
    ),
    DeclareLaunchArgument("seed", default_value="", description="Seed of the first episode."),
    DeclareLaunchArgument(
        "auto_reset", default_value="", choices=SWITCH, description="Begin the next episode after each."
    ),
    DeclareLaunchArgument("namespace", default_value="", description="Namespace of all nodes."),
    DeclareLaunchArgument("domain", default_value="", description="ROS_DOMAIN_ID; '' = that of the environment."),
    DeclareLaunchArgument(
        "params_file",
        default_value="",
        description="Your parameters, on top of config/tabletop.yaml.",
    ),
    DeclareLaunchArgument("log_level", default_value="info", description="debug, info, warn, error or fatal."),
]


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription([*ARGUMENTS, *fastdds_profile(), OpaqueFunction(function=nodes)])


def fastdds_profile() -> list[SetEnvironmentVariable]:
    """Let whole camera frames arrive, unless the user has a profile."""
    if {"FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE"} & os.environ.keys():
        return []
    # Fast DDS 3, in Kilted and later, reads another name and complains about the old one.
    old = os.environ.get("ROS_DISTRO") in ("humble", "iron", "jazzy")
    name = "FASTRTPS_DEFAULT_PROFILES_FILE" if old else "FASTDDS_DEFAULT_PROFILES_FILE"
    return [SetEnvironmentVariable(name, str(SHARE / "config" / "fastdds.xml"))]


def nodes(context: LaunchContext) -> list[SetEnvironmentVariable | Node]:
    """Build the four nodes; all of them read the same files."""

    def given(configuration: LaunchConfiguration) -> str:
        return configuration.perform(context)

    def overrides(**values: str) -> dict[str, str | int | bool]:
        named = {name.replace("__", "."): value for name, value in values.items() if value}
        return {name: typed(value) for name, value in named.items()}

    mode = given(LaunchConfiguration("mode"))
    files = [str(SHARE / "config" / "tabletop.yaml")]
    if mode == "lock_step":
        files.append(str(SHARE / "config" / "tabletop_lock_step.yaml"))
    if params_file := given(LaunchConfiguration("params_file")):
        files.append(absolute(params_file))
    common = {
        "package": "robovlms_ros",
        "namespace": given(LaunchConfiguration("namespace")),
        "output": "screen",
        "ros_arguments": ["--log-level", given(LaunchConfiguration("log_level"))],
    }
    domain = given(LaunchConfiguration("domain"))
    return [
        *[SetEnvironmentVariable("ROS_DOMAIN_ID", domain)] * bool(domain),
        Node(
            executable="sim_node",
            parameters=[
                *files,
                overrides(
                    mode=mode,
                    family=given(LaunchConfiguration("family")),
                    wording=given(LaunchConfiguration("wording")),
                    seed=given(LaunchConfiguration("seed")),
                    auto_reset=given(LaunchConfiguration("auto_reset")),
                ),
            ],
            **common,
        ),
        Node(
            executable="vla_node",
            parameters=[
                *files,
                overrides(
                    model__path=absolute(given(LaunchConfiguration("model"))),
                    model__policy_head=given(LaunchConfiguration("policy_head")),
                    model__device=given(LaunchConfiguration("device")),
                ),
            ],
            remappings=[("image", "camera/static/image_raw"), ("image_hand", "camera/wrist/image_raw")],
            **common,
        ),
        Node(executable="action_history_node", parameters=files, **common),
        Node(executable="arm_bridge_node", parameters=files, **common),
    ]


def typed(value: str) -> str | int | bool:
    """Numbers and switches as parameters take them."""
    return value == "true" if value in SWITCH else int(value) if value.isdecimal() else value


def absolute(path: str) -> str:
    """Let a relative path mean what it meant where it was typed."""
    return str(Path(path).expanduser().resolve()) if path else ""
