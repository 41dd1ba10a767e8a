"""The product: a camera, an instruction and a packed model in, actions out.

    ros2 launch robovlms_ros vla.launch.py model:=/path/to/packed image:=/camera/image_raw action:=/arm/command

and with a bridge to an arm's controller, here MoveIt Servo:

    ros2 launch robovlms_ros vla.launch.py model:=/path/to/packed image:=/camera/image_raw \
        arm_bridge:=true twist:=/servo_node/delta_twist_cmds

Arguments are facts about the deployment; tuning belongs into the parameter file (params_file:=).
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
    DeclareLaunchArgument(
        "model", default_value="", description="Folder of the packed model; '' = params_file's."
    ),
    DeclareLaunchArgument("policy_head", default_value="", description="Policy head; '' = params_file's."),
    DeclareLaunchArgument("device", default_value="", description="cpu, cuda or cuda:N; '' = params_file's."),
    DeclareLaunchArgument("image", default_value="image", description="Topic of the static camera."),
    DeclareLaunchArgument("image_hand", default_value="image_hand", description="Topic of the hand camera."),
    DeclareLaunchArgument("instruction", default_value="instruction", description="Topic of the instruction."),
    DeclareLaunchArgument(
        "tool_pose", default_value="tool_pose", description="Topic of the tool's pose; for state.source and pose."
    ),
    DeclareLaunchArgument(
        "joint_states", default_value="joint_states", description="Topic of the joints; see state.gripper_joint."
    ),
    DeclareLaunchArgument("action", default_value="action", description="Topic of the actions."),
    DeclareLaunchArgument(
        "arm_bridge", default_value="false", choices=SWITCH[1:], description="Start arm_bridge_node, too."
    ),
    # A topic switches its output on; with none the outputs are those of params_file.
    DeclareLaunchArgument("twist", default_value="", description="Topic of the bridge's velocities."),
    DeclareLaunchArgument("pose", default_value="", description="Topic of the bridge's target poses."),
    DeclareLaunchArgument("array", default_value="", description="Topic of the bridge's array of numbers."),
    DeclareLaunchArgument("trajectory", default_value="", description="Topic of the bridge's finger trajectory."),
    DeclareLaunchArgument("namespace", default_value="", description="Namespace of all nodes."),
    DeclareLaunchArgument(
        "params_file", default_value=str(SHARE / "config" / "vla.yaml"), description="Parameters of all nodes."
    ),
    DeclareLaunchArgument(
        "use_sim_time", default_value="", choices=SWITCH, description="Follow /clock; '' = params_file's."
    ),
    DeclareLaunchArgument(
        "autostart",
        default_value="",
        choices=SWITCH,
        description="Configure and activate; '' = params_file's.",
    ),
    DeclareLaunchArgument(
        "history",
        default_value="true",
        choices=["true", "together", "false"],
        description="Start action_history_node, too: as a process of its own, or together in that of vla_node.",
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


def nodes(context: LaunchContext) -> list[Node]:
    """Build the nodes asked for; an empty argument leaves the parameter file's value alone."""

    def given(configuration: LaunchConfiguration) -> str:
        return configuration.perform(context)

    def overrides(**values: str | list[str]) -> dict[str, str | list[str] | bool]:
        named = {name.replace("__", "."): value for name, value in values.items() if value}
        return {name: value == "true" if value in SWITCH else value for name, value in named.items()}

    params_file = given(LaunchConfiguration("params_file"))
    clock = overrides(use_sim_time=given(LaunchConfiguration("use_sim_time")))
    action = ("action", given(LaunchConfiguration("action")))
    tool_pose = ("tool_pose", given(LaunchConfiguration("tool_pose")))
    common = {
        "package": "robovlms_ros",
        "namespace": given(LaunchConfiguration("namespace")),
        "output": "screen",
        "ros_arguments": ["--log-level", given(LaunchConfiguration("log_level"))],
    }
    arrangement = given(LaunchConfiguration("history"))
    vla = Node(
        executable="vla_node",
        arguments=["--with-history"] if arrangement == "together" else [],
        parameters=[
            params_file,
            clock,
            overrides(
                model__path=absolute(given(LaunchConfiguration("model"))),
                model__policy_head=given(LaunchConfiguration("policy_head")),
                model__device=given(LaunchConfiguration("device")),
                autostart=given(LaunchConfiguration("autostart")),
            ),
        ],
        remappings=[
            action,
            ("image", given(LaunchConfiguration("image"))),
            ("image_hand", given(LaunchConfiguration("image_hand"))),
            tool_pose,
            ("joint_states", given(LaunchConfiguration("joint_states"))),
            ("instruction", given(LaunchConfiguration("instruction"))),
        ],
        **common,
    )
    history = Node(
        executable="action_history_node", parameters=[params_file, clock], remappings=[action], **common
    )
    commands = {
        "twist": given(LaunchConfiguration("twist")),
        "pose": given(LaunchConfiguration("pose")),
        "array": given(LaunchConfiguration("array")),
        "trajectory": given(LaunchConfiguration("trajectory")),
    }
    bridge = Node(
        executable="arm_bridge_node",
        parameters=[
            params_file,
            clock,
            overrides(outputs=[output for output, topic in commands.items() if topic]),
        ],
        remappings=[
            action,
            tool_pose,
            ("twist", commands["twist"] or "twist"),
            ("target_pose", commands["pose"] or "target_pose"),
            ("array", commands["array"] or "array"),
            ("trajectory", commands["trajectory"] or "trajectory"),
        ],
        **common,
    )
    history_wanted = arrangement == "true"
    bridge_wanted = given(LaunchConfiguration("arm_bridge")) == "true"
    return [vla, *[history] * history_wanted, *[bridge] * bridge_wanted]


def absolute(path: str) -> str:
    """Let a relative path mean what it meant where it was typed."""
    return str(Path(path).expanduser().resolve()) if path else ""
