"""``robovlms replay``: a recorded bag through a model, without ROS."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

if TYPE_CHECKING:
    from robovlms_ros.replay.comparison import Comparison, Tolerances
    from robovlms_ros.replay.replay import ReplayOptions
    from robovlms_ros.replay.result import ImageReference, ReplayResult

_TOPICS, _NODE, _COMPARE = "Topics (empty: found where there is no doubt)", "The node", "Comparison"
_LOOK = "To look at"
# Exit statuses beside 0, 1 (an error, nothing was replayed) and 2 (the command line).
NOT_WHOLE, DIFFERS = 3, 4
# Smaller than any arm can follow, larger than what another processor's order of additions makes of it.
GOLDEN_TOLERANCE = 1e-6
RECORDED = "recorded"


def _topic(what: str) -> Any:
    return typer.Option(metavar="TOPIC", rich_help_panel=_TOPICS, help=what)


def replay(
    bag: Annotated[Path, typer.Argument(help="A rosbag2 folder, an .mcap or a .db3 file.")],
    model: Annotated[
        Path | None, typer.Option(help="Folder of the packed model; may be in --params instead.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write everything to this JSON file.")] = None,
    image: Annotated[str, _topic("Of the static camera, Image or CompressedImage.")] = "",
    hand_image: Annotated[str, _topic("Of the hand camera.")] = "",
    instruction_topic: Annotated[str, _topic("std_msgs/String with what to do.")] = "",
    tool_pose: Annotated[str, _topic("PoseStamped of the tool.")] = "",
    joint_states: Annotated[str, _topic("JointState with the gripper.")] = "",
    action: Annotated[str, _topic("VLAAction: what was published when the bag was recorded.")] = "",
    model_info: Annotated[str, _topic("std_msgs/String: the model card of that run.")] = "",
    instruction: Annotated[str | None, typer.Option(help="What to do, instead of what the bag says.")] = None,
    params: Annotated[
        Path | None, typer.Option(rich_help_panel=_NODE, help="A ROS 2 parameter file, as the node's.")
    ] = None,
    param: Annotated[
        list[str],
        typer.Option(
            "--param", "-p", metavar="NAME:=VALUE", rich_help_panel=_NODE, help="A parameter; may be repeated."
        ),
    ] = [],  # noqa: B006  typer copies it
    inference_time: Annotated[
        float,
        typer.Option(
            rich_help_panel=_NODE,
            min=0,
            max=60,
            help="Seconds of the bag's time that an answer takes.",
        ),
    ] = 0.0,
    start: Annotated[float, typer.Option(min=0, help="Begin so many seconds into the bag.")] = 0.0,
    duration: Annotated[float, typer.Option(min=0, help="Replay so many seconds; 0: to the end.")] = 0.0,
    against: Annotated[
        str,
        typer.Option(
            metavar="recorded|FILE",
            rich_help_panel=_COMPARE,
            help="Compare with the bag's actions or an --out file.",
        ),
    ] = "",
    save_golden: Annotated[
        Path | None,
        typer.Option(rich_help_panel=_COMPARE, help="Write what a later replay must repeat."),
    ] = None,
    check_golden: Annotated[
        Path | None, typer.Option(rich_help_panel=_COMPARE, help="Exit with 4 where the actions are not those.")
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(
            rich_help_panel=_COMPARE,
            min=0,
            help="Metres and radians that an action may differ by: 1e-6 with --check-golden; with --against "
            "nothing is too much unless this is given.",
        ),
    ] = None,
    rotation_tolerance: Annotated[
        float | None,
        typer.Option(rich_help_panel=_COMPARE, min=0, help="Radians, if not --tolerance."),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(rich_help_panel=_LOOK, help="Write an HTML file to look at, which needs no network."),
    ] = None,
    report_images: Annotated[
        int,
        typer.Option(
            rich_help_panel=_LOOK,
            min=0,
            help="At most so many images in it, evenly spread; all take at most 15 MB.",
        ),
    ] = 150,
    rerun: Annotated[
        Path | None,
        typer.Option(
            rich_help_panel=_LOOK, help="Write an .rrd file for the Rerun viewer; needs robovlms_ros\\[rerun]."
        ),
    ] = None,
    keep_going: Annotated[
        bool,
        typer.Option("--keep-going", help="Replay what can be replayed of a damaged bag."),
    ] = False,
) -> None:
    """Replay a recorded bag through a model: **every action that the node would have published**, without ROS.

    The bag is the clock. An image is answered at once (or after `--inference-time`), so two replays are identical,
    and equal to what the nodes publish when the bag is played to them in lock-step.

    Exit status: 0 when all of it was replayed and nothing differs; 1 on an error; 3 when it was replayed but
    something is wrong (parts that could not be read, with `--keep-going`; a policy that failed; no action at all);
    4 when actions differ by more than the tolerance.

    Examples:

        robovlms replay bags/monday --model models/my_model --out actions.json

        robovlms replay run.mcap --model models/my_model --image /camera/image_raw --against recorded

        robovlms replay bags/monday --model models/my_model --report monday.html

        robovlms replay bags/monday --params vla.yaml -p chunk.mode:=open_loop -p chunk.horizon:=5

        robovlms replay bags/monday --model models/my_model --save-golden monday.golden.json

        robovlms replay bags/monday --model models/my_model --check-golden monday.golden.json
    """
    from robovlms_ros.cli.data_tables import progress_bar
    from robovlms_ros.cli.replay_tables import comparison_lines, comparison_table, print_problems, summary_table
    from robovlms_ros.policy.policy_loader import load_policy
    from robovlms_ros.replay import topics as roles
    from robovlms_ros.replay.errors import ReplayError
    from robovlms_ros.replay.golden import golden_of
    from robovlms_ros.replay.golden import save_golden as write_golden
    from robovlms_ros.replay.replay import replay as run

    named = {
        roles.IMAGE: image,
        roles.IMAGE_HAND: hand_image,
        roles.INSTRUCTION: instruction_topic,
        roles.TOOL_POSE: tool_pose,
        roles.JOINT_STATES: joint_states,
        roles.ACTION: action,
        roles.MODEL_INFO: model_info,
    }
    console, errors = Console(), Console(stderr=True)
    options, unknown = _options(model, params, param, {role: topic for role, topic in named.items() if topic})
    options = _with(options, instruction, inference_time, start, duration, keep_going)
    tolerances = _tolerances(tolerance, rotation_tolerance, GOLDEN_TOLERANCE if check_golden else 0.0)
    check = _reference(check_golden) if check_golden else None
    other = _reference(Path(against)) if against and against != RECORDED else None
    if unknown:
        errors.print(f"[yellow]note:[/] vla_node has no parameter {', '.join(unknown)}", highlight=False)
    try:
        with errors.status("loading the model"):
            policy = load_policy(options.parameters)
    except ReplayError:
        raise
    except ValueError as error:
        raise ReplayError(str(error)) from error
    with progress_bar("replaying") as progress:
        result = run(bag, policy, options, progress)
    console.print(summary_table(result))
    print_problems(console, result)
    if out:
        result.save(out)
        console.print(f"written: {out}", highlight=False, soft_wrap=True)
    if save_golden:
        write_golden(golden_of(result), save_golden)
        console.print(f"written: {save_golden}", highlight=False, soft_wrap=True)
    comparisons: list[tuple[Comparison, bool]] = []
    if against:
        limited = tolerance is not None or rotation_tolerance is not None
        comparisons.append((_against(result, against, other, tolerances), limited))
    if check is not None and check_golden is not None:
        from robovlms_ros.replay.golden import against_golden

        comparisons.append((against_golden(result, check, check_golden, tolerances), True))
    for compared, _ in comparisons:
        console.print(comparison_table(compared))
        for line in comparison_lines(compared, result):
            console.print(line, highlight=False, soft_wrap=True, markup=False)
    if report:
        _write_report(report, bag, result, report_images, next((each for each, _ in comparisons), None))
        console.print(f"written: {report}", highlight=False, soft_wrap=True)
    if rerun:
        _write_rerun(rerun, bag, result)
        console.print(f"written: {rerun}; 'rerun {rerun}' shows it", highlight=False, soft_wrap=True)
    if any(judged and not compared.same for compared, judged in comparisons):
        raise typer.Exit(DIFFERS)
    if result.problems:
        raise typer.Exit(NOT_WHOLE)


def _options(
    model: Path | None, params: Path | None, assignments: list[str], topics: dict[str, str]
) -> tuple[ReplayOptions, list[str]]:
    """Return what the replay goes by, and parameters that no node has."""
    from robovlms_ros.policy.parameter_file import checked, read_assignment, read_parameter_file
    from robovlms_ros.policy.parameter_tables import ACTION_HISTORY_NODE, VLA_NODE
    from robovlms_ros.policy.parameters import ParameterError
    from robovlms_ros.replay.errors import ReplayError
    from robovlms_ros.replay.replay import ReplayOptions

    try:
        given = read_parameter_file(params, "vla_node") if params else {}
        history = read_parameter_file(params, "action_history_node") if params else {}
        assigned = dict(read_assignment(text) for text in assignments)
        if model is not None:
            assigned["model.path"] = str(model)
        values, unknown = checked(VLA_NODE, {**given, **assigned})
        history_values, _ = checked(ACTION_HISTORY_NODE, {**history, **assigned})
    except ParameterError as error:
        raise ReplayError(str(error)) from error
    return (
        ReplayOptions(topics=topics, parameters=values, history_length=history_values["history.length"]),
        unknown,
    )


def _with(
    options: ReplayOptions,
    instruction: str | None,
    inference_time: float,
    start: float,
    duration: float,
    keep_going: bool,
) -> ReplayOptions:
    from dataclasses import replace

    return replace(
        options,
        instruction=instruction,
        inference_time=inference_time,
        start=start,
        duration=duration,
        keep_going=keep_going,
    )


def _write_report(path: Path, bag: Path, result: ReplayResult, count: int, comparison: Comparison | None) -> None:
    from robovlms_ros.replay.report.page import write_report
    from robovlms_ros.replay.report.pictures import needed

    write_report(path, result, _images(bag, result, needed(result, count)), count, comparison)


def _write_rerun(path: Path, bag: Path, result: ReplayResult) -> None:
    from robovlms_ros.replay.rerun_file import write_rerun

    write_rerun(path, result, _images(bag, result, list(result.images())))


def _images(bag: Path, result: ReplayResult, wanted: list[ImageReference]) -> Iterable[Any]:
    """Read images of the bag again, with a progress bar."""
    from rich.progress import track

    from robovlms_ros.replay.images import read_images

    order = result.options.parameters.get("images.three_channel_order", "bgr")
    images = read_images(bag, wanted, order) if wanted else ()
    return track(images, "reading images", len(wanted), console=Console(stderr=True), transient=True)


def _tolerances(tolerance: float | None, rotation: float | None, default: float) -> Tolerances:
    from robovlms_ros.replay.comparison import Tolerances

    metres = default if tolerance is None else tolerance
    return Tolerances(metres, metres if rotation is None else rotation, metres)


def _reference(path: Path) -> Any:
    from robovlms_ros.replay.golden import load_golden

    return load_golden(path)


def _against(result: ReplayResult, against: str, other: Any, tolerances: Tolerances) -> Comparison:
    from robovlms_ros.replay.comparison import against_recorded
    from robovlms_ros.replay.errors import ReplayError
    from robovlms_ros.replay.golden import against_golden

    if other is not None:
        return against_golden(result, other, Path(against), tolerances)
    compared = against_recorded(result, tolerances)
    if compared is None:
        held = ", ".join(f"{topic.name} ({topic.messages})" for topic in result.bag.topics)
        raise ReplayError(
            "the bag has no recorded actions (one topic of VLAAction, or the one named with --action); it holds "
            f"{held}"
        )
    return compared
