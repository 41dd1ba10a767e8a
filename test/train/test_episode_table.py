"""What of the data is used, and what is left out with a reason."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from reference import make_model
from training_sets import CALVIN, make_episode, make_source, needs

from robovlms_ros.data.episodes import ArrayEpisode, MemorySource
from robovlms_ros.data.errors import DataError
from robovlms_ros.model.errors import ConfigError
from robovlms_ros.train.episode_table import EpisodeTable, Needs, read_table


@pytest.fixture(scope="module")
def wanted() -> Needs:
    return needs(make_model("kosmos"))


def table_of(wanted: Needs, *episodes: Any) -> EpisodeTable:
    return read_table([MemorySource("memory", episodes, "rpy", CALVIN.frame)], wanted)


def test_episodes_lie_one_behind_the_other(wanted: Needs) -> None:
    source = make_source(3, [4, 2, 5])
    table = read_table([source], wanted)
    assert table.starts.tolist() == [0, 4, 6, 11]
    assert [table.length(e) for e in range(3)] == [4, 2, 5]
    assert table.identifiers == ["memory/e0", "memory/e1", "memory/e2"]
    assert [table.instructions[n] for n in table.instruction_of] == [e.instruction for e in source.episodes]
    assert len(table.instructions) == len(table.prompts) == 2
    per_unit = [CALVIN.units.translation] * 3 + [CALVIN.units.rotation] * 3
    expected = source.episodes[1].actions[:, :6] / per_unit / 0.65
    np.testing.assert_allclose(table.labels[4:6, :6], expected, atol=1e-6)
    np.testing.assert_array_equal(table.labels[4:6, 6], source.episodes[1].actions[:, 6])


def test_a_selection_keeps_each_episode_s_numbers(wanted: Needs) -> None:
    table = read_table([make_source(3, [4, 2, 5])], wanted)
    chosen = table.select([2, 0])
    assert chosen.identifiers == ["memory/e2", "memory/e0"]
    assert chosen.starts.tolist() == [0, 5, 9]
    np.testing.assert_array_equal(chosen.labels, np.concatenate([table.labels[6:], table.labels[:4]]))
    assert chosen.where.tolist() == [[0, 2], [0, 0]]


def test_several_sources_are_one_table(wanted: Needs) -> None:
    table = read_table([make_source(2), replace(make_source(1), name="other")], wanted)
    assert table.where.tolist() == [[0, 0], [0, 1], [1, 0]]
    assert table.identifiers[-1] == "other/e0"


class Unreadable:
    """A source whose second episode is damaged."""

    name, rotation_format, frame = "damaged", "rpy", CALVIN.frame

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> ArrayEpisode:
        if index == 1:
            raise DataError("shard 1 is cut short; import it again")
        return make_episode(index)


def nan_episode() -> Any:
    episode = make_episode(1)
    episode.actions[3, 2] = np.nan
    return episode


BAD = {
    "camera missing": lambda: make_episode(1, cameras=("hand",)),
    "unusable instruction": lambda: make_episode(1, instruction=" "),
    "another rate": lambda: make_episode(1, step_duration=0.2),
    "unusable numbers": nan_episode,
}


@pytest.mark.parametrize("reason", BAD)
def test_an_unusable_episode_is_left_out_by_name_and_the_rest_is_kept(
    wanted: Needs, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        table = table_of(wanted, make_episode(0), BAD[reason](), make_episode(2))
    assert table.identifiers == ["memory/e0", "memory/e2"]
    (group,) = table.dropped.groups()
    assert group.reason.startswith(reason)
    assert "memory/e1" in group.examples[0]
    assert "1 episodes left out of 3" in caplog.text


def test_an_unreadable_episode_is_left_out(wanted: Needs) -> None:
    table = read_table([Unreadable()], wanted)
    assert table.identifiers == ["damaged/e0", "damaged/e2"]
    assert "cut short" in table.dropped.groups()[0].examples[0]


def test_nan_is_named_with_its_step(wanted: Needs) -> None:
    table = table_of(wanted, make_episode(0), nan_episode())
    assert "step 3" in table.dropped.groups()[0].examples[0]


def test_missing_states_are_a_reason_where_the_model_needs_them() -> None:
    model = make_model("kosmos", state_encoder={"arm_dim": 6})
    without = replace(make_episode(1), states=None)
    table = table_of(needs(model), make_episode(0), without)
    assert table.identifiers == ["memory/e0"]
    assert table.states is not None
    assert table.states.shape == (6, 7)


def test_nothing_usable_is_an_error_that_says_why(wanted: Needs) -> None:
    with pytest.raises(ConfigError, match=r"no episode can be used: another rate.*: 1 \(episode memory/e1"):
        table_of(wanted, make_episode(1, step_duration=0.2))
    with pytest.raises(ConfigError, match="there is none"):
        table_of(wanted)


def test_actions_beyond_the_profile_are_reported(wanted: Needs, caplog: pytest.LogCaptureFixture) -> None:
    episode = make_episode(0)
    episode.actions[:, 1] = 0.1
    with caplog.at_level(logging.WARNING):
        table_of(wanted, episode)
    assert "number 1: 100%" in caplog.text
