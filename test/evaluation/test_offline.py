"""A policy against recordings: of itself, of others, and of what cannot be read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import golden_cases
import numpy as np
import pytest

from robovlms_ros.data.episodes import ArrayEpisode, MemorySource
from robovlms_ros.data.errors import DataError
from robovlms_ros.evaluation.errors import EvaluationError
from robovlms_ros.evaluation.offline import Comparison, compare, compare_episode, summarize
from robovlms_ros.evaluation.report import as_json, write_html
from robovlms_ros.model.errors import ConfigError
from robovlms_ros.policy import Observation, VLAPolicy

WRAPPERS = golden_cases.arrays("wrappers")
INSTRUCTION = "pick up the red block"
IMAGES = {"static": WRAPPERS["static"], "hand": WRAPPERS["gripper"]}


def source(*episodes: ArrayEpisode, frame: str = "world") -> MemorySource:
    return MemorySource("recordings", episodes, frame=frame)


def recorded(actions: np.ndarray, identifier: str = "one", **changes: object) -> ArrayEpisode:
    images = {camera: frames[: len(actions)] for camera, frames in IMAGES.items()}
    values = {"images": images} | changes
    return ArrayEpisode(identifier, INSTRUCTION, 1 / 30, actions, **values)  # type: ignore[arg-type]


def own_actions(policy: VLAPolicy) -> np.ndarray:
    """What the policy itself would do in the frames of the vectors, in SI units."""
    session = policy.session()
    looks = zip(*IMAGES.values(), strict=True)
    chunks = [session.step(Observation({"static": a, "hand": b}, INSTRUCTION)) for a, b in looks]
    return np.stack([policy.profile.to_si(chunk.actions)[0] for chunk in chunks])


@pytest.fixture(scope="module")
def policy(golden_policy: Callable[..., VLAPolicy]) -> VLAPolicy:
    return golden_policy("kosmos_lstm", "calvin")


def test_a_policy_agrees_with_its_own_actions(policy: VLAPolicy) -> None:
    actions = own_actions(policy)
    found = compare_episode(policy, source(), recorded(actions))
    np.testing.assert_allclose(found.errors[:, 0], 0, atol=1e-8)
    assert found.gripper_agrees[:, 0].all()
    assert found.predicted.shape == (len(actions), policy.card["chunk"], 7)


def test_later_rows_are_compared_with_later_actions_and_nothing_beyond_the_end(policy: VLAPolicy) -> None:
    actions = own_actions(policy)
    found = compare_episode(policy, source(), recorded(actions))
    steps, chunk, _ = found.predicted.shape
    for step in range(steps):
        for row in range(chunk):
            if step + row < steps:
                np.testing.assert_allclose(found.recorded[step, row], actions[step + row], atol=1e-8)
            else:
                assert np.isnan(found.recorded[step, row]).all()


def test_the_first_steps_alone_may_be_compared(policy: VLAPolicy) -> None:
    assert len(compare_episode(policy, source(), recorded(own_actions(policy)), length=3).predicted) == 3


def test_errors_are_in_metres_and_radians_whatever_the_robots_units(policy: VLAPolicy) -> None:
    # CALVIN's own unit is 2 cm.
    actions = own_actions(policy)
    moved = actions.copy()
    moved[:, 1] += np.where(moved[:, 1] > 0, -0.004, 0.004)
    moved[:, 6] = 1 - moved[:, 6]
    summary = summarize([compare_episode(policy, source(), recorded(moved))])
    np.testing.assert_allclose(summary.mean_error, [0, 0.004, 0, 0, 0, 0], atol=1e-8)
    assert summary.gripper_accuracy == 0
    np.testing.assert_allclose(summary.translation_by_horizon[0], 0.004, atol=1e-8)
    np.testing.assert_allclose(summary.still_error, np.abs(moved[:, :6]).mean(axis=0), atol=1e-8)


def test_every_step_counts_the_same_and_rows_beyond_the_end_count_not() -> None:
    long = Comparison("long", "", np.zeros((3, 2, 7)), np.zeros((3, 2, 7)))
    short = Comparison("short", "", np.full((1, 2, 7), 0.1), np.zeros((1, 2, 7)))
    short.recorded[:, 1] = np.nan
    summary = summarize([long, short])
    np.testing.assert_allclose(summary.mean_error, np.full(6, 0.1 / 4))
    np.testing.assert_allclose(summary.translation_by_horizon, [0.1 * 3**0.5 / 4, 0])
    assert (summary.episodes, summary.steps) == (2, 4)


def test_an_unreadable_episode_is_reported_and_the_others_are_kept(policy: VLAPolicy) -> None:
    class Corrupt(MemorySource):
        def __getitem__(self, index: int) -> ArrayEpisode:
            if index == 1:
                raise DataError("step 4: the image is no JPEG")
            return super().__getitem__(index)  # type: ignore[return-value]

    actions = own_actions(policy)
    dropped: list[str] = []
    many = Corrupt("recordings", [recorded(actions, str(i)) for i in range(3)], frame="world")
    found = list(compare(policy, many, range(3), dropped.append))
    assert [each.identifier for each in found] == ["0", "2"]
    assert dropped == ["episode 1: step 4: the image is no JPEG"]


def test_recordings_of_another_robot_are_refused(policy: VLAPolicy) -> None:
    actions = own_actions(policy)
    with pytest.raises(ConfigError, match="base_link"):
        list(compare(policy, source(recorded(actions), frame="base_link"), [0], print))
    blind = recorded(actions, images={"hand": IMAGES["hand"]})
    with pytest.raises(EvaluationError, match="no images of camera 'static'"):
        list(compare(policy, source(blind), [0], print))
    with pytest.raises(EvaluationError, match="no episode could be compared"):
        summarize([])


def test_the_report_is_one_file_that_needs_no_network(policy: VLAPolicy, tmp_path: Path) -> None:
    pytest.importorskip("plotly")
    hostile = ArrayEpisode("<script>alert(1)</script>", "<b>&", 1 / 30, own_actions(policy), IMAGES)
    found = [compare_episode(policy, source(), hostile)]
    write_html(tmp_path / "new" / "report.html", "A <title>", {"model": "<i>"}, summarize(found), found)
    text = (tmp_path / "new" / "report.html").read_text()
    assert "A &lt;title&gt;" in text
    assert "<script>alert(1)" not in text
    assert "<i>" not in text.split("</table>")[0]
    assert "src=" not in text.split("<body>")[0]
    assert '<script src="http' not in text
    numbers = json.loads(json.dumps(as_json(summarize(found))))
    assert numbers["steps"] == len(found[0].predicted)
    assert 0 <= numbers["dimensions"]["x"]["mean_error"] <= numbers["dimensions"]["x"]["p95_error"]
