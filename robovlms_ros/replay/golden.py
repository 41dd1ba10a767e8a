"""Golden files: the actions of a replay that a later one must repeat, in a user's continuous integration."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from robovlms_ros.replay.comparison import Comparison, Tolerances, compare
from robovlms_ros.replay.errors import ReplayError
from robovlms_ros.replay.result import ReplayResult, Row, load_result, write_records

# Parameters that say where a model is and how fast it may be, not what it does.
IRRELEVANT = ("model.path", "model.threads", "model.device", "overlay.rate", "autostart", "images.reliability")
KIND: Literal["robovlms golden actions"] = "robovlms golden actions"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class GoldenAction(_Part):
    """An action that was published, in metres, radians and gripper opening; see `PublishedAction`."""

    stamp_ns: int
    episode: int
    sequence: int
    step_index: int
    action: Row
    saturated: int = 0
    stop: bool = False


class Golden(_Part):
    """What a replay must give again, and of what."""

    kind: Literal["robovlms golden actions"] = KIND
    format: Literal[1] = 1
    bag_digest: str = Field(min_length=1)
    model_id: str
    weights_sha256: str
    rotation_format: Literal["rpy", "axis_angle"]
    versions: dict[str, str]
    """Of the replay that it was made from; not compared."""
    parameters: dict[str, Any]
    """Of the node, as far as they change what it does."""
    history_length: int
    inference_time: float
    actions: tuple[GoldenAction, ...]


def golden_of(result: ReplayResult) -> Golden:
    """Return what is kept of a replay."""
    return Golden(
        bag_digest=result.bag.digest,
        model_id=str(result.model.card.get("model_id", "")),
        weights_sha256=str(result.model.card.get("weights_sha256", "")),
        rotation_format=result.model.rotation_format,
        versions=result.versions,
        parameters={name: value for name, value in result.options.parameters.items() if name not in IRRELEVANT},
        history_length=result.options.history_length,
        inference_time=result.options.inference_time,
        actions=tuple(
            GoldenAction(**action.model_dump(include=set(GoldenAction.model_fields))) for action in result.actions
        ),
    )


def save_golden(golden: Golden, path: Path) -> None:
    """Write it as JSON, one action per line. Raises `ReplayError` where that fails."""
    write_records(golden, path)


def load_golden(path: Path) -> Golden:
    """Read a golden file, or make one of a result of ``robovlms replay --out``. Raises `ReplayError`."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        cure = f"'robovlms replay BAG --model DIR --save-golden {path}' makes it"
        raise ReplayError(f"{path} does not exist: {cure}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ReplayError(f"{path} cannot be read: {error}") from error
    if KIND not in text[:200]:
        return golden_of(load_result(path))
    try:
        return Golden.model_validate_json(text)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in problem["loc"])
        raise ReplayError(f"{path} is no golden file: {key + ': ' if key else ''}{problem['msg']}") from error


def against_golden(result: ReplayResult, golden: Golden, path: Path, tolerances: Tolerances) -> Comparison:
    """Compare all actions of a replay, stops included, with those of a golden file.

    What else differs is in the comparison's ``notes``. Raises `ReplayError` where the file is of another bag, or
    has its rotations in another format.
    """
    fresh = golden_of(result)
    if golden.bag_digest != fresh.bag_digest:
        raise ReplayError(
            f"{path} was made of another bag, or with other topics or another part of it: replay that one, or "
            "make a new file with --save-golden"
        )
    if golden.rotation_format != fresh.rotation_format:
        raise ReplayError(
            f"{path} has rotations as {golden.rotation_format}, the model's are {fresh.rotation_format}: they "
            "cannot be compared"
        )
    notes = []
    if golden.weights_sha256 != fresh.weights_sha256:
        notes.append(f"another model: {fresh.model_id} instead of {golden.model_id}")
    for name in sorted(golden.parameters.keys() & fresh.parameters.keys()):
        before, now = golden.parameters[name], fresh.parameters[name]
        if before != now:
            notes.append(f"another parameter: {name} is {now} instead of {before}")
    new = ", ".join(sorted(fresh.parameters.keys() - golden.parameters.keys()))
    if new:
        notes.append(f"parameters that the file does not know, at what they are here: {new}")
    for name in ("history_length", "inference_time"):
        if getattr(golden, name) != getattr(fresh, name):
            notes.append(f"another option: {name} is {getattr(fresh, name)} instead of {getattr(golden, name)}")
    changed = [
        f"{name} {version} instead of {golden.versions[name]}"
        for name, version in fresh.versions.items()
        if golden.versions.get(name, version) != version
    ]
    if changed:
        notes.append(f"other versions: {', '.join(changed)}")
    compared = compare(fresh.actions, golden.actions, str(path), tolerances)
    return replace(compared, notes=tuple(notes))
