"""A recorded bag instead of a robot: bag_player_node with /clock, the other nodes on the bag's time.

    ros2 launch robovlms_ros replay.launch.py bag:=/path/to/bag model:=/path/to/packed \
        image:=/camera/image_raw instruction:=/instruction

It stands for `ros2 bag play --clock` where that is absent; where it is there, start vla.launch.py with
use_sim_time:=true beside it. The bag begins when vla_node is active, and the launch ends with it, unless it loops.
"""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, EmitEvent, IncludeLaunchDescription, OpaqueFunction
from launch.events import Shutdown
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

SHARE = Path(get_package_share_directory("robovlms_ros"))
SWITCH = ["true", "false"]

ARGUMENTS = [
    DeclareLaunchArgument("bag", description="The bag: a rosbag2 folder, an .mcap or a .db3 file."),
    DeclareLaunchArgument("rate", default_value="1.0", description="Seconds of the bag's time in one of ours."),
    DeclareLaunchArgument("start", default_value="0.0", description="Seconds into the bag where it begins."),
    DeclareLaunchArgument("loop", default_value="false", choices=SWITCH, description="Begin again at the end."),
    DeclareLaunchArgument(
        "paused", default_value="false", choices=SWITCH, description="Wait for ~/set_paused before the start."
    ),
    DeclareLaunchArgument(
        "model", default_value="", description="Folder of the packed model; '' = params_file's."
    ),
    DeclareLaunchArgument("policy_head", default_value="", description="Policy head; '' = params_file's."),
    DeclareLaunchArgument("device", default_value="", description="cpu, cuda or cuda:N; '' = params_file's."),
    DeclareLaunchArgument("image", default_value="image", description="Topic of the static camera in the bag."),
    DeclareLaunchArgument("image_hand", default_value="image_hand", description="Topic of the hand camera."),
    DeclareLaunchArgument("instruction", default_value="instruction", description="Topic of the instruction."),
    DeclareLaunchArgument("tool_pose", default_value="tool_pose", description="Topic of the tool's pose."),
    DeclareLaunchArgument("joint_states", default_value="joint_states", description="Topic of the joints."),
    # Not that of the bag, which is played, too.
    DeclareLaunchArgument("action", default_value="replayed/action", description="Topic of the new actions."),
    DeclareLaunchArgument(
        "params_file", default_value=str(SHARE / "config" / "vla.yaml"), description="Parameters of all nodes."
    ),
    DeclareLaunchArgument(
        "history",
        default_value="true",
        choices=["true", "together", "false"],
        description="Start action_history_node, too: as a process of its own, or together in that of vla_node.",
    ),
    DeclareLaunchArgument("namespace", default_value="", description="Namespace of all nodes."),
    DeclareLaunchArgument("log_level", default_value="info", description="debug, info, warn, error or fatal."),
]


def generate_launch_description() -> LaunchDescription:
    # Declares what vla.launch.py declares, too, and first: these defaults count.
    vla = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(SHARE / "launch" / "vla.launch.py")),
        launch_arguments={
            "use_sim_time": "true",
            "autostart": "true",
            "model": LaunchConfiguration("model"),
            "policy_head": LaunchConfiguration("policy_head"),
            "device": LaunchConfiguration("device"),
            "image": LaunchConfiguration("image"),
            "image_hand": LaunchConfiguration("image_hand"),
            "instruction": LaunchConfiguration("instruction"),
            "tool_pose": LaunchConfiguration("tool_pose"),
            "joint_states": LaunchConfiguration("joint_states"),
            "action": LaunchConfiguration("action"),
            "params_file": LaunchConfiguration("params_file"),
            "history": LaunchConfiguration("history"),
            "namespace": LaunchConfiguration("namespace"),
            "log_level": LaunchConfiguration("log_level"),
        }.items(),
    )
    return LaunchDescription([*ARGUMENTS, vla, OpaqueFunction(function=player)])


def player(context: LaunchContext) -> list[Node]:
    """Build the player; launch arguments are texts, and its parameters have types."""

    def given(configuration: LaunchConfiguration) -> str:
        return configuration.perform(context)

    def overrides(**values: str | float | bool) -> dict[str, str | float | bool]:
        return {name.replace("__", "."): value for name, value in values.items()}

    namespace = given(LaunchConfiguration("namespace")).strip("/")
    return [
        Node(
            package="robovlms_ros",
            executable="bag_player_node",
            namespace=namespace,
            output="screen",
            parameters=[
                overrides(
                    bag=str(Path(given(LaunchConfiguration("bag"))).expanduser().resolve()),
                    rate=float(given(LaunchConfiguration("rate"))),
                    start=float(given(LaunchConfiguration("start"))),
                    loop=given(LaunchConfiguration("loop")) == "true",
                    paused=given(LaunchConfiguration("paused")) == "true",
                    wait_for="vla_node",
                )
            ],
            on_exit=[EmitEvent(event=Shutdown(reason="the bag is over"))],
            ros_arguments=["--log-level", given(LaunchConfiguration("log_level"))],
        )
    ]
