"""What the arm can be told to do, in how many words."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import Literal

import numpy as np

from robovlms_ros.sim.scene import COLOURS

Family = Literal["pick", "stack"]
Wording = Literal["canonical", "train", "held_out"]
FAMILIES: tuple[Family, ...] = ("pick", "stack")


@dataclass(frozen=True)
class Sentences:
    """Ways to say the same. The first of ``train`` is the canonical one; a policy never trains on ``held_out``."""

    train: tuple[str, ...]
    held_out: tuple[str, ...]


SENTENCES: dict[Family, Sentences] = {
    "pick": Sentences(
        train=(
            "pick up the {target} block",
            "lift the {target} block",
            "grab the {target} cube",
            "take the {target} block",
            "pick the {target} cube up",
            "raise the {target} block off the table",
        ),
        held_out=(
            "please pick up the {target} cube",
            "grasp the {target} block and lift it",
            "hold up the {target} block",
            "get the {target} cube off the table",
        ),
    ),
    "stack": Sentences(
        train=(
            "put the {target} block on the {base} block",
            "stack the {target} block on the {base} block",
            "place the {target} cube on top of the {base} cube",
            "move the {target} block onto the {base} one",
            "set the {target} cube on the {base} block",
            # The other way round, so that the order of the colours alone does not tell which is which.
            "on the {base} block, put the {target} block",
        ),
        held_out=(
            "please put the {target} cube on the {base} cube",
            "take the {target} block and set it on top of the {base} block",
            "lay the {target} cube onto the {base} one",
            "onto the {base} block, stack the {target} cube",
        ),
    ),
}


@dataclass(frozen=True)
class Task:
    """One thing to do: lift the block of colour ``target``, or put it on the one of colour ``base``."""

    family: Family
    target: str
    base: str | None = None

    def __post_init__(self) -> None:
        bases = (None,) if self.family == "pick" else tuple(colour for colour in COLOURS if colour != self.target)
        if self.family not in FAMILIES or self.target not in COLOURS or self.base not in bases:
            raise ValueError(
                f"{self} is no task: families are {', '.join(FAMILIES)}, colours {', '.join(COLOURS)}, and only "
                "stack has a base, of another colour than the target"
            )

    def sentences(self, wording: Wording = "canonical") -> list[str]:
        """All instructions for this task of one wording."""
        known = SENTENCES[self.family]
        chosen = {"canonical": known.train[:1], "train": known.train, "held_out": known.held_out}[wording]
        return [sentence.format(target=self.target, base=self.base) for sentence in chosen]


def all_tasks(family: Family) -> list[Task]:
    """Every task of a family, in a fixed order."""
    if family == "pick":
        return [Task("pick", colour) for colour in COLOURS]
    return [Task("stack", target, base) for target, base in permutations(COLOURS, 2)]


def draw_task(family: Family, seed: int) -> Task:
    """The task that ``seed`` stands for, the same on every machine."""
    tasks = all_tasks(family)
    return tasks[int(np.random.default_rng([seed, 1]).integers(len(tasks)))]


def draw_instruction(task: Task, wording: Wording, seed: int) -> str:
    """The sentence for ``task`` that ``seed`` stands for."""
    sentences = task.sentences(wording)
    return sentences[int(np.random.default_rng([seed, 2]).integers(len(sentences)))]
