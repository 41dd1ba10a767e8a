"""A model on the tabletop: conditions, controls, and the table that comes of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("mujoco")

from robovlms_ros.cli.main import app
from robovlms_ros.evaluation.errors import EvaluationError
from robovlms_ros.evaluation.tabletop import (
    Condition,
    Model,
    Outcome,
    Row,
    Runner,
    _ChangedHistory,
    another_task,
    without_colours,
)
from robovlms_ros.evaluation.tabletop_table import BEGIN, CONDITIONS, END, as_markdown, put_table
from robovlms_ros.policy.types import ActionChunk, HistoryWindow, Observation
from robovlms_ros.sim.rendering import find_backend
from robovlms_ros.sim.tasks import FAMILIES, all_tasks, draw_task


@pytest.fixture(scope="module")
def runner(tabletop_model: Path) -> Iterator[Runner]:
    with Runner(Model(tabletop_model), backend=find_backend()) as made:
        yield made


def test_an_episode_of_a_seed_is_always_the_same(runner: Runner) -> None:
    first, again, other = (runner.run(Condition(), seed) for seed in (3, 3, 4))
    assert (first.steps, first.succeeded, first.instruction) == (again.steps, again.succeeded, again.instruction)
    assert first.instruction == draw_task("pick", 3).sentences()[0]
    assert other.seed == 4
    assert first.latency > 0


@pytest.mark.parametrize("condition", [Condition(), Condition("stack", execute=3), Condition(told="another task")])
def test_the_model_that_comes_with_the_package_does_what_it_is_told(runner: Runner, condition: Condition) -> None:
    """Its rates are in docs/tabletop.md; this holds the weights in the tree to the code beside them."""
    assert sum(runner.run(condition, seed).succeeded for seed in range(100, 105)) >= 3


def test_the_arm_waits_for_a_slow_model_only_before_its_first_chunk(runner: Runner) -> None:
    outcome = runner.run(Condition(delay=0.1), 1)
    # 0.1 s are two steps and a bit.
    assert outcome.idle == 3
    assert runner.run(Condition(delay=0.0), 1).idle == 0


def test_another_task_has_another_target_and_no_colour_tells_nothing() -> None:
    for family in FAMILIES:
        for task in all_tasks(family):
            for seed in range(20):
                other = another_task(task, seed)
                assert other.family == family
                assert other.target != task.target
            assert not {"red", "green", "blue"} & set(without_colours(task).split())
    assert {another_task(all_tasks("pick")[0], seed).target for seed in range(20)} == {"green", "blue"}
    assert without_colours(all_tasks("stack")[0]) == "put the block on the block"


def test_what_counts_is_what_the_model_was_told(runner: Runner) -> None:
    outcome = runner.run(Condition(told="another task"), 5)
    assert outcome.instruction == another_task(draw_task("pick", 5), 5).sentences()[0]
    outcome = runner.run(Condition(told="no colour"), 5)
    assert outcome.instruction == "pick up the block"


class Listening:
    """A session that keeps what it is shown."""

    def __init__(self) -> None:
        self.seen: list[HistoryWindow] = []

    def reset(self) -> None:
        self.seen.clear()

    def step(self, observation: Observation) -> ActionChunk:
        assert observation.history is not None
        self.seen.append(observation.history)
        return ActionChunk(np.zeros((1, 7), np.float32), np.zeros((1, 7)))


def test_a_history_is_hidden_or_put_out_of_order() -> None:
    given = HistoryWindow(np.arange(42, dtype=np.float32).reshape(6, 7), np.array([False, False, *[True] * 4]))
    observation = Observation({}, "pick up the red block", history=given)
    inner = Listening()
    _ChangedHistory(inner, "off", 0).step(observation)
    assert not inner.seen[0].valid.any()
    assert not inner.seen[0].actions.any()
    shuffled = _ChangedHistory(inner, "shuffled", 0)
    for _ in range(5):
        shuffled.step(observation)
    for window in inner.seen[1:]:
        np.testing.assert_array_equal(window.valid, given.valid)
        np.testing.assert_array_equal(window.actions[:2], given.actions[:2])
        np.testing.assert_array_equal(np.sort(window.actions[2:, 0]), given.actions[2:, 0])
    assert any((window.actions != given.actions).any() for window in inner.seen[1:])


def test_the_table_holds_every_condition_once_and_goes_where_its_marks_are(tmp_path: Path) -> None:
    assert len(set(CONDITIONS.values())) == len(CONDITIONS)
    outcomes = [Outcome(seed, "", seed < 3, 10 + seed, 0, 0.01) for seed in range(4)]
    table = as_markdown([Row("pick", Condition(), outcomes)])
    assert "| pick | 3/4 | 30% to 95% | 11.0 |" in table
    assert "| pick | 0/2 | 0% to 66% | - |" in as_markdown([Row("pick", Condition(), outcomes[3:] * 2)])
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    put_table(page, table)
    put_table(page, table)
    assert page.read_text() == f"before\n{BEGIN}\n{table}\n{END}\nafter\n"
    page.write_text("no marks")
    with pytest.raises(EvaluationError, match="no place for the table"):
        put_table(page, table)


def test_the_command_counts_and_names_the_failed(tabletop_model: Path, tmp_path: Path) -> None:
    file = tmp_path / "out.json"
    command = ["evaluate", "tabletop", str(tabletop_model), "--seeds", "1", "--workers", "1", "--json", str(file)]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert "pick: success " in result.output
    content = json.loads(file.read_text())
    assert content["condition"]["family"] == "pick"
    assert [episode["seed"] for episode in content["episodes"]] == [0]
