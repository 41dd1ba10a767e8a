"""Replays against recordings and against one another: by how much, and where first."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import bags
import numpy as np
import pytest
from replaying import ARRIVAL, PERIOD, Scripted, record, replayed

from robovlms_ros.data.rotations import rpy_to_axis_angle
from robovlms_ros.policy.null_policy import NullPolicy
from robovlms_ros.replay.comparison import Tolerances, against_recorded, compare
from robovlms_ros.replay.errors import ReplayError
from robovlms_ros.replay.golden import against_golden, golden_of, load_golden, save_golden
from robovlms_ros.replay.replay import ReplayOptions
from robovlms_ros.replay.result import ReplayResult

EXACT = Tolerances()


@dataclass(frozen=True)
class Step:
    stamp_ns: int
    action: tuple[float, ...]
    step_index: int = 0


def steps(count: int = 5) -> list[Step]:
    return [Step(i * 100, (0.01 * i, 0.0, 0.0, 0.1, 0.0, 0.0, 1.0)) for i in range(count)]


def moved(step: Step, dimension: int, by: float) -> Step:
    row = list(step.action)
    row[dimension] += by
    return replace(step, action=tuple(row))


def test_equal_actions_are_the_same() -> None:
    compared = compare(steps(), steps(), "itself", EXACT)
    assert compared.same
    assert compared.first is None
    assert (compared.matched, compared.missing, compared.extra) == (5, 0, 0)
    assert compared.most.tolist() == [0.0] * 6
    assert compared.gripper == 1.0


@pytest.mark.parametrize(
    ("dimension", "tolerances", "allowed"),
    [
        (1, Tolerances(translation=2e-3), True),
        (1, Tolerances(rotation=2e-3), False),
        (4, Tolerances(rotation=2e-3), True),
        (4, Tolerances(translation=2e-3), False),
        (6, Tolerances(gripper=2e-3), True),
        (6, Tolerances(translation=1.0, rotation=1.0), False),
    ],
)
def test_every_dimension_has_its_tolerance(dimension: int, tolerances: Tolerances, allowed: bool) -> None:
    ours = steps()
    ours[3] = moved(ours[3], dimension, -1e-3)
    compared = compare(ours, steps(), "before", tolerances)
    assert compared.same is allowed
    if not allowed:
        assert compared.first is not None
        assert (compared.first.index, compared.first.stamp_ns, compared.differing) == (3, 300, 1)
    if dimension < 6:
        assert compared.most[dimension] == pytest.approx(1e-3)
        assert compared.mean[dimension] == pytest.approx(2e-4)


def test_a_gripper_on_the_other_side_differs_whatever_is_tolerated() -> None:
    ours = steps()
    ours[2] = moved(ours[2], 6, -0.51)
    compared = compare(ours, steps(), "before", Tolerances(1.0, 1.0, 1.0))
    assert not compared.same
    assert compared.gripper == pytest.approx(0.8)
    assert compared.first is not None
    assert "gripper" in compared.first.what


def test_the_first_divergence_may_be_an_action_that_is_missing_or_surplus() -> None:
    lacking = compare(steps()[:1] + steps()[2:], steps(), "before", EXACT)
    assert lacking.first is not None
    assert (lacking.missing, lacking.first.index, lacking.first.what) == (1, 1, "it is missing")
    surplus = compare([*steps(), Step(50, steps()[0].action)], steps(), "before", EXACT)
    assert surplus.first is not None
    assert (surplus.extra, surplus.first.stamp_ns) == (1, 50)


def test_nothing_in_common_is_no_agreement() -> None:
    compared = compare([], steps(), "before", EXACT)
    assert not compared.same
    assert math.isnan(compared.gripper)
    assert np.isnan(compared.mean).all()


def test_actions_of_one_image_are_told_apart_by_their_place_in_the_chunk() -> None:
    chunk = [Step(7, (0.1 * i,) * 7, i) for i in range(3)]
    assert compare(chunk[::-1], chunk, "before", EXACT).same


def recorded_bag(path: Path, result: ReplayResult, rotation_format: int = 0, **changes: Any) -> Path:
    """The bag of ``result`` with its actions in it, as the node would have published them."""

    def acted(writer: Any) -> None:
        for action in result.actions:
            row = np.array(action.action)
            if rotation_format == 1:
                row[3:6] = rpy_to_axis_angle(row[3:6])
            seconds = (action.stamp_ns - bags.START_NS) / 1e9
            message = bags.action(
                row,
                seconds,
                sequence=action.sequence,
                episode=action.episode,
                rotation_format=rotation_format,
                header=bags.header(seconds, changes.get("frame", "base_link")),
                gripper=float(np.float32(row[6])),
            )
            writer.put("/action", message, seconds + ARRIVAL + 0.03)
        stop = bags.action(np.zeros(7), 5.0, inference_time=bags.duration(0.0))
        writer.put("/action", stop, 5.0)

    return record(path, extra=acted)


@pytest.mark.parametrize("rotation_format", [0, 1])
def test_a_replay_agrees_with_what_the_same_model_published(tmp_path: Path, rotation_format: int) -> None:
    live = replayed(record(tmp_path / "live"))
    result = replayed(recorded_bag(tmp_path / "bag", live, rotation_format))
    assert len(result.recorded) == 7
    compared = against_recorded(result, Tolerances(0.0, 0.0 if rotation_format == 0 else 1e-12))
    assert compared is not None
    assert compared.same
    assert compared.matched == 6
    assert compared.latency == pytest.approx((0.03, 0.03))
    assert compared.inference_time == pytest.approx((0.02, 0.02))
    assert compared.notes == ("1 recorded stop actions are left out",)


def test_another_policy_differs_from_the_recorded_one_by_what_it_says(tmp_path: Path) -> None:
    live = replayed(record(tmp_path / "live"))
    path = recorded_bag(tmp_path / "bag", live, frame="tool0")

    def script(observation: Any, chunk: Any) -> Any:
        return replace(chunk, actions=chunk.actions + np.array([0.001, 0, 0, 0, 0, 0, 0]))

    compared = against_recorded(replayed(path, Scripted(script)))
    assert compared is not None
    assert compared.mean[0] == pytest.approx(1e-3)
    assert compared.first is not None
    assert compared.first.index == 0
    assert "frame tool0" in compared.notes[1]


def test_a_bag_without_actions_has_nothing_to_compare_with(tmp_path: Path) -> None:
    assert against_recorded(replayed(record(tmp_path / "bag"))) is None


def test_a_golden_file_holds_a_later_replay_to_it(tmp_path: Path) -> None:
    path, file = record(tmp_path / "bag"), tmp_path / "golden.json"
    save_golden(golden_of(replayed(path)), file)
    golden = load_golden(file)
    again = against_golden(replayed(record(tmp_path / "copy", storage="sqlite3")), golden, file, EXACT)
    assert again.same
    assert again.notes == ()
    other = against_golden(replayed(path, rate=5.0), golden, file, EXACT)
    assert not other.same
    assert other.missing == 3
    assert "another parameter: rate is 5.0 instead of 0.0" in other.notes


def test_a_result_serves_as_a_golden_file_too(tmp_path: Path) -> None:
    result = replayed(record(tmp_path / "bag"))
    result.save(tmp_path / "actions.json")
    assert load_golden(tmp_path / "actions.json") == golden_of(result)


def test_a_stop_that_is_gone_is_a_difference(tmp_path: Path) -> None:
    path = record(tmp_path / "bag", said=[(-0.05, "go"), (3 * PERIOD + 0.05, "")])
    result = replayed(path)
    golden = golden_of(result)
    without = result.model_copy(update={"actions": result.actions[:-1]})
    assert against_golden(without, golden, Path("g"), EXACT).missing == 1


def test_what_the_golden_file_is_of_is_checked(tmp_path: Path) -> None:
    golden = golden_of(replayed(record(tmp_path / "bag")))
    with pytest.raises(ReplayError, match="another bag"):
        against_golden(replayed(record(tmp_path / "other", 5)), golden, Path("g.json"), EXACT)
    part = replayed(tmp_path / "bag", options=ReplayOptions(start=0.3))
    with pytest.raises(ReplayError, match="another part of it"):
        against_golden(part, golden, Path("g.json"), EXACT)
    turned = golden.model_copy(update={"rotation_format": "axis_angle"})
    with pytest.raises(ReplayError, match="axis_angle"):
        against_golden(replayed(tmp_path / "bag"), turned, Path("g.json"), EXACT)
    changed = golden.model_copy(
        update={"weights_sha256": "1" * 64, "model_id": "old", "versions": {"torch": "1.0"}}
    )
    notes = against_golden(replayed(tmp_path / "bag", NullPolicy()), changed, Path("g.json"), EXACT).notes
    assert notes[0].startswith("another model: null/none@0 instead of old")
    assert "instead of 1.0" in notes[-1]


@pytest.mark.parametrize("text", ["", "{}", '{"kind": "robovlms golden actions"}', "\x00\xff"])
def test_what_is_no_golden_file_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    file = tmp_path / "golden.json"
    file.write_text(text, encoding="latin-1")
    with pytest.raises(ReplayError, match=r"golden\.json") as error:
        load_golden(file)
    assert "\n" not in str(error.value)
