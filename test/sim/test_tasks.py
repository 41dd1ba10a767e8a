"""What the arm can be told: every task, in words that differ between training and test."""

from __future__ import annotations

import pytest

from robovlms_ros.sim.scene import COLOURS
from robovlms_ros.sim.tasks import FAMILIES, Family, Task, all_tasks, draw_instruction, draw_task


def test_there_are_three_blocks_to_pick_and_six_pairs_to_stack() -> None:
    assert len(all_tasks("pick")) == 3
    assert len(set(all_tasks("stack"))) == 6


@pytest.mark.parametrize("family", FAMILIES)
def test_training_and_held_out_sentences_differ_and_every_sentence_means_one_task(family: Family) -> None:
    meaning: dict[str, Task] = {}
    for task in [task for other in FAMILIES for task in all_tasks(other)]:
        train, held_out = task.sentences("train"), task.sentences("held_out")
        assert not set(train) & set(held_out)
        assert len(held_out) >= 4
        for sentence in train + held_out:
            assert meaning.setdefault(sentence, task) == task
    for task in all_tasks(family):
        assert task.sentences()[0] == task.sentences("train")[0]


def test_the_canonical_sentences_are_those_of_the_specification() -> None:
    assert Task("pick", "red").sentences() == ["pick up the red block"]
    assert Task("stack", "red", "blue").sentences() == ["put the red block on the blue block"]


@pytest.mark.parametrize("family", FAMILIES)
def test_seeds_cover_all_tasks_evenly_and_all_sentences(family: Family) -> None:
    drawn = [draw_task(family, seed) for seed in range(600)]
    assert drawn == [draw_task(family, seed) for seed in range(600)]
    for task in all_tasks(family):
        assert drawn.count(task) == pytest.approx(600 / len(all_tasks(family)), rel=0.3)
    task = drawn[0]
    assert {draw_instruction(task, "train", seed) for seed in range(100)} == set(task.sentences("train"))


@pytest.mark.parametrize(
    "wrong", [("pick", "purple", None), ("pick", "red", "blue"), ("stack", "red", None), ("stack", "red", "red")]
)
def test_what_is_no_task_is_refused(wrong: tuple[Family, str, str | None]) -> None:
    with pytest.raises(ValueError, match=f"no task.*{COLOURS[0]}"):
        Task(*wrong)
