"""A bag through a model, without ROS: every action that the nodes would have published, clocked by the bag."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from robovlms_ros.data.bag.file import Bag, BagContents, BagError, files_of
from robovlms_ros.policy.assembly import action_frame, model_card, settings_for
from robovlms_ros.policy.parameter_tables import ACTION_HISTORY_NODE, VLA_NODE
from robovlms_ros.policy.policy_fit import check_policy, used_cameras, warm_up
from robovlms_ros.policy.policy_loader import RobotPolicy
from robovlms_ros.replay.errors import ReplayError
from robovlms_ros.replay.feed import Feed
from robovlms_ros.replay.opening import open_for_replay
from robovlms_ros.replay.problems import Problems
from robovlms_ros.replay.provenance import machine, versions
from robovlms_ros.replay.recorded import card_differences
from robovlms_ros.replay.recorder import Recorder
from robovlms_ros.replay.result import BagInfo, ModelInfo, Options, ReplayResult, Topic
from robovlms_ros.replay.runtime import LONGEST_PAUSE_NS, NANOSECONDS, ReplayRuntime
from robovlms_ros.replay.topics import ACTION, IMAGE_HAND, find_topics


@dataclass(frozen=True)
class ReplayOptions:
    """How a bag is replayed. Durations in seconds of the bag's clock.

    ``topics`` maps what the node calls a topic to the bag's name of it; those that are not named are found where
    there is no doubt. ``parameters`` are all those of vla_node, ``history_length`` is action_history_node's.
    ``instruction`` counts instead of the bag's. An inference takes ``inference_time``. ``start`` and ``duration``
    choose a part of the bag, 0 = to its end.
    """

    topics: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=VLA_NODE.defaults)
    history_length: int = int(ACTION_HISTORY_NODE.defaults()["history.length"])  # type: ignore[arg-type]
    instruction: str | None = None
    inference_time: float = 0.0
    start: float = 0.0
    duration: float = 0.0
    keep_going: bool = False


def replay(
    path: Path,
    policy: RobotPolicy,
    options: ReplayOptions | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> ReplayResult:
    """Replay the bag ``path`` through ``policy``; ``progress`` is told of messages heard and those there are.

    Raises:
        BagError: there is no bag, or without ``keep_going`` it is damaged.
        ReplayError: a topic is missing, the model and the parameters do not fit, or without ``keep_going``
            something of the input cannot be used.
    """
    options = options or ReplayOptions()
    started = time.perf_counter()
    problems = Problems(options.keep_going)
    values: Mapping[str, Any] = options.parameters
    with open_for_replay(path, problems) as bag:
        try:
            check_policy(policy, values)
            cameras = used_cameras(policy, values)
            topics = find_topics(bag.contents, options.topics, cameras, values, problems, options.instruction)
            if IMAGE_HAND not in topics:
                values = {**values, "images.hand.enabled": False}
            recorder = Recorder(policy.profile)
            runtime = ReplayRuntime(
                policy,
                values,
                options.history_length,
                round(options.inference_time * NANOSECONDS),
                recorder,
                problems,
            )
            warm_up(policy, used_cameras(policy, values))
        except ReplayError:
            raise
        except ValueError as error:
            raise ReplayError(str(error)) from error
        contents, span = bag.contents, _span(bag, options)
        feed = Feed(bag, topics, values, action_frame(policy, values), runtime, recorder, problems, span[0])
        _play(bag, feed, runtime, options, span, set(topics.values()), problems, progress)
    if not recorder.actions:
        reasons = ", ".join(f"{reason} ({count})" for reason, count in recorder.holds.most_common(3))
        problems.told("no action", f"no action came of this bag: {reasons or 'no image was heard'}")
    card = model_card(policy, values)
    differences = () if feed.recorded_card is None else card_differences(feed.recorded_card, card)
    if differences:
        problems.notice("model", f"the bag was recorded with another model or other settings: {differences[0]}")
    overtaken = {"overtaken image": runtime.controller.overtaken} if runtime.controller.overtaken else {}
    return ReplayResult(
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        seconds=time.perf_counter() - started,
        machine=machine(),
        versions=versions(),
        bag=_bag_info(path, contents, feed.digest, problems),
        model=_model_info(policy, values, card, feed.recorded_card, differences),
        options=Options(
            topics={role: topic for role, topic in topics.items() if role != ACTION},
            action_topic=topics.get(ACTION, ""),
            instruction=options.instruction,
            # As JSON has them.
            parameters={name: list(v) if isinstance(v, tuple) else v for name, v in values.items()},
            history_length=options.history_length,
            inference_time=options.inference_time,
            start=options.start,
            duration=options.duration,
            keep_going=options.keep_going,
        ),
        problems=problems.problems,
        notices=problems.notices,
        counts={**dict(sorted(runtime.controller.counts.items())), **overtaken},
        holds=dict(sorted(recorder.holds.items())),
        inferences=tuple(recorder.inferences),
        actions=tuple(recorder.actions),
        recorded=tuple(recorder.recorded),
        events=tuple(recorder.events),
    )


def _span(bag: Bag, options: ReplayOptions) -> tuple[int, int | None]:
    """When the replay begins, and ends if that is before the end of the bag."""
    contents = bag.contents
    start_ns = contents.start_ns + round(options.start * NANOSECONDS)
    if start_ns > contents.end_ns:
        length = (contents.end_ns - contents.start_ns) / NANOSECONDS
        raise ReplayError(f"--start {options.start:g} is after the end of the bag, which is {length:.1f} s long")
    # Where a bag ends is what its metadata say; its messages count.
    end_ns = start_ns + round(options.duration * NANOSECONDS) if options.duration else None
    return start_ns, end_ns


def _play(
    bag: Bag,
    feed: Feed,
    runtime: ReplayRuntime,
    options: ReplayOptions,
    span: tuple[int, int | None],
    topics: set[str],
    problems: Problems,
    progress: Callable[[int, int], None],
) -> None:
    start_ns, end_ns = span
    total = sum(bag.contents.counts.get(topic, 0) for topic in topics)
    runtime.begin(start_ns)
    if options.instruction is not None:
        runtime.say(options.instruction)
    try:
        for done, message in enumerate(bag.messages(topics), 1):
            if end_ns is not None and message.time_ns > end_ns:
                break
            if message.time_ns < start_ns:
                feed.before(message)
            else:
                feed.take(message)
            progress(done, total)
    except BagError as error:
        problems.input("damaged", f"{error}: what follows is lost")
    last_ns = bag.contents.end_ns if end_ns is None else min(end_ns, bag.contents.end_ns)
    # Metadata may be wrong about the end.
    runtime.finish(last_ns if last_ns - runtime.now_ns < LONGEST_PAUSE_NS else runtime.now_ns)


def _bag_info(path: Path, contents: BagContents, digest: str, problems: Problems) -> BagInfo:
    return BagInfo(
        path=str(path),
        files=tuple(file.name for file in files_of(path)),
        start_ns=contents.start_ns,
        end_ns=contents.end_ns,
        topics=tuple(
            Topic(name=name, type=kind, messages=contents.counts.get(name, 0))
            for name, kind in sorted(contents.topics.items())
        ),
        digest=digest,
        complete=not problems.problems,
    )


def _model_info(
    policy: RobotPolicy,
    values: Mapping[str, Any],
    card: dict[str, object],
    recorded: dict[str, Any] | None,
    differences: tuple[str, ...],
) -> ModelInfo:
    profile = policy.profile
    applied = settings_for(policy, values).limits
    limits = {"translation": applied.translation, "rotation": applied.rotation}
    return ModelInfo(
        path=str(values["model.path"]),
        card=card,
        frame=action_frame(policy, values),
        rotation_format="axis_angle" if profile.rotation_format == "axis_angle" else "rpy",
        step_duration=profile.step_duration,
        limits={name: limit for name, limit in limits.items() if math.isfinite(limit)},
        recorded_card=recorded,
        differences=differences,
    )
