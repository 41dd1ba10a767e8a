"""What a replay gives: every inference, every action, and all that a report or a comparison needs to know of it.

Times named ``..._ns`` are nanoseconds of the bag's clock, which is the time at which its messages were received;
``stamp_ns`` is what a message says of itself. Timings are seconds of this machine. Everything but timings,
``created``, ``seconds`` and ``machine`` is the same in every replay with the same bag, model and options.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from robovlms_ros.replay.errors import ReplayError

FORMAT = 1
ACTING = "acting"
"""The outcome of an inference that gave an action, or a chunk for the schedule."""

Row = Annotated[tuple[float, ...], Field(min_length=7, max_length=7)]
"""Translation x y z in metres, rotation in radians, gripper opening from 0 to 1; or the same normalised."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ImageReference(_Part):
    """An image of the bag: message ``number`` of those on ``topic``, from 0, in the order of their reception."""

    topic: str
    number: int = Field(ge=0)
    time_ns: int
    stamp_ns: int


class Inference(_Part):
    """One step of the policy: what it was shown and what it answered."""

    number: int = Field(ge=0)
    start_ns: int
    end_ns: int
    stamp_ns: int
    """Of the older image: the stamp of the action that answers."""
    images: dict[str, ImageReference]
    """By camera, ``"static"`` and perhaps ``"hand"``."""
    instruction: str
    episode: int
    state: tuple[float, ...] | None = None
    """x y z in metres, roll pitch yaw in radians and perhaps the gripper's opening."""
    history_rows: int = 0
    """Executed actions that the model was shown."""
    normalized: tuple[Row, ...] = ()
    """The predicted chunk as the model said it, before any limit; empty where the inference failed."""
    actions: tuple[Row, ...] = ()
    """The same in metres and radians."""
    fresh: bool = True
    """False where the model did not run: the session went on with its last chunk (``open_loop``)."""
    outcome: str = ACTING
    """`ACTING`, or why nothing came of it."""
    problem: str = ""
    """The error's message, where it failed."""
    timings: dict[str, float] = {}
    """Seconds per stage: ``decode``, ``preprocess``, ``vision``, ``language``, ``head``, ``model`` (the three);
    ``wait`` is the age of the images at ``start_ns``."""


class PublishedAction(_Part):
    """One action that the node would have published at ``time_ns``."""

    time_ns: int
    stamp_ns: int
    """Of the image that it answers; ``time_ns`` of a stop action."""
    episode: int
    sequence: int
    instruction: str
    action: Row
    """After limits."""
    normalized: Row
    saturated: int = 0
    """Bit i is set where dimension i was limited."""
    step_index: int = 0
    chunk_size: int = 1
    stop: bool = False
    """No image asked for it: no motion, gripper held."""
    inference: int | None = None
    """Number of the inference whose chunk it is from (of several chunks, the newest)."""


class RecordedAction(_Part):
    """A ``VLAAction`` that the bag holds: what some run published when it was recorded.

    ``number`` is its place among the messages of its topic. ``latency`` and ``inference_time`` are seconds, as the
    message says.
    """

    number: int = Field(ge=0)
    time_ns: int
    stamp_ns: int
    episode: int
    sequence: int
    instruction: str
    action: Row
    normalized: Row
    saturated: int = 0
    step_index: int = 0
    chunk_size: int = 1
    frame: str = ""
    rotation_format: Literal["rpy", "axis_angle"] = "rpy"
    model_id: str = ""
    latency: float = 0.0
    inference_time: float = 0.0


class Event(_Part):
    """Something else that happened: see ``kind``.

    ``dropped image``, ``dropped state``, ``unreadable message`` (with ``topic`` and the message's ``number``),
    ``overtaken image`` (a newer one replaced it before the model could see it), ``instruction`` (``detail`` is the
    text; empty = stop), ``refused instruction``, ``failure`` of an inference, ``gave up`` (the node would have
    deactivated itself).
    """

    time_ns: int
    kind: str
    detail: str = ""
    topic: str = ""
    number: int | None = None


class Topic(_Part):
    """A topic of the bag."""

    name: str
    type: str
    messages: int = Field(ge=0)


class BagInfo(_Part):
    """The bag that was played. ``digest`` is the SHA-256 of what the node heard of it, whatever files it is in."""

    path: str
    files: tuple[str, ...]
    start_ns: int
    end_ns: int
    topics: tuple[Topic, ...]
    digest: str = ""
    complete: bool = True
    """False where part of it could not be read."""


class ModelInfo(_Part):
    """The model that ran: its folder, its card and what its robot profile says of the actions."""

    path: str
    card: dict[str, Any]
    frame: str
    rotation_format: Literal["rpy", "axis_angle"]
    step_duration: float
    """Seconds."""
    limits: dict[str, float]
    """``translation`` in metres and ``rotation`` in radians of one action; absent = no limit."""
    recorded_card: dict[str, Any] | None = None
    """The card that the bag holds (~/model_info of the run that was recorded)."""
    differences: tuple[str, ...] = ()
    """What differs between the two, in words."""


class Options(_Part):
    """What the replay went by."""

    topics: dict[str, str]
    """What the node calls a topic (``image``, ``image_hand``, ``instruction``, ``tool_pose``, ``joint_states``) ->
    the bag's name of it."""
    action_topic: str = ""
    """Of the recorded actions; empty: none."""
    instruction: str | None = None
    """Given instead of the bag's."""
    parameters: dict[str, Any]
    """All parameters of vla_node, by their full names."""
    history_length: int
    """Of action_history_node."""
    inference_time: float = 0.0
    """Seconds of the bag's clock that an inference takes."""
    start: float = 0.0
    duration: float = 0.0
    """Seconds into the bag at which the replay began, and how many were replayed; 0 = to the end."""
    keep_going: bool = False


class ReplayResult(_Part):
    """A whole replay, which `save` and `load_result` write and read as JSON."""

    kind: Literal["robovlms replay"] = "robovlms replay"
    format: Literal[1] = 1
    created: str = ""
    """When, ISO 8601."""
    seconds: float = 0.0
    """How long it took."""
    machine: dict[str, str] = {}
    versions: dict[str, str]
    bag: BagInfo
    model: ModelInfo
    options: Options
    problems: tuple[str, ...] = ()
    """What was wrong, in words; empty where nothing was."""
    notices: tuple[str, ...] = ()
    """What is odd about the bag though the node copes with it, in words."""
    counts: dict[str, int] = {}
    """Frames, results and steps that gave no action, by reason, as the node counts them."""
    holds: dict[str, int] = {}
    """How often the controller was asked for an action and gave none, by reason."""
    inferences: tuple[Inference, ...] = ()
    actions: tuple[PublishedAction, ...] = ()
    recorded: tuple[RecordedAction, ...] = ()
    events: tuple[Event, ...] = ()

    @property
    def digest(self) -> str:
        """SHA-256 of the actions alone: two replays that would have moved an arm alike have the same."""
        sha = hashlib.sha256()
        for action in self.actions:
            sha.update(json.dumps(action.model_dump(mode="json"), sort_keys=True).encode())
        return sha.hexdigest()

    def images(self) -> Iterator[ImageReference]:
        """Every image that an inference was shown, each once, in the order of use."""
        seen: set[tuple[str, int]] = set()
        for inference in self.inferences:
            for reference in inference.images.values():
                if (reference.topic, reference.number) not in seen:
                    seen.add((reference.topic, reference.number))
                    yield reference

    def save(self, path: Path) -> None:
        """Write it as JSON, one inference and one action per line. Raises `ReplayError` where that fails."""
        write_records(self, path)


def load_result(path: Path) -> ReplayResult:
    """Read what `ReplayResult.save` wrote. Raises `ReplayError` where it is something else."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ReplayError(
            f"{path} does not exist: 'robovlms replay BAG --model DIR --out {path}' makes it"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ReplayError(f"{path} cannot be read: {error}") from error
    try:
        return ReplayResult.model_validate_json(text)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in problem["loc"])
        if key == "format":
            reason = f"it has another format than {FORMAT}, which this version reads"
        else:
            reason = f"{key + ': ' if key else ''}{problem['msg']}"
        raise ReplayError(f"{path} is no result of 'robovlms replay --out': {reason}") from error


def write_records(document: BaseModel, path: Path) -> None:
    """Write ``document`` as JSON that a person can read and diff. Raises `ReplayError` where that fails."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8") as file:
            file.writelines(_lines(document))
    except OSError as error:
        raise ReplayError(f"{path} cannot be written: {error.strerror or error}") from error


def _lines(document: BaseModel) -> Iterator[str]:
    """The elements of a list of records are one line each."""
    fields = document.model_dump(mode="json")
    yield "{\n"
    for place, (name, value) in enumerate(fields.items()):
        end = "\n" if place == len(fields) - 1 else ",\n"
        if isinstance(value, list) and value and isinstance(value[0], dict):
            rows = ",\n".join(f"  {json.dumps(row, ensure_ascii=False)}" for row in value)
            yield f'"{name}": [\n{rows}\n]{end}'
        else:
            yield f'"{name}": {json.dumps(value, ensure_ascii=False)}{end}'
    yield "}\n"
