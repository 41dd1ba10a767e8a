"""What an import left out, and why: nothing is dropped without a line here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

# Places named for each reason; the count says how many there are in all.
EXAMPLES = 20
Unit = Literal["step", "episode", "message", "file"]


class Drop(BaseModel):
    """``count`` units that were left out, from ``step`` of ``episode`` on where these are known.

    ``reason`` is the same for all of one kind, so that they can be counted; ``detail`` is this one's.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    reason: str
    unit: Unit
    episode: str = ""
    step: int | None = None
    detail: str = ""
    count: int = Field(default=1, ge=1)

    @property
    def last_step(self) -> int:
        """The last of ``count`` steps from ``step`` on."""
        return (self.step or 0) + self.count - 1

    @property
    def place(self) -> str:
        """Where it was and what it was, for people."""
        episode = f"episode {self.episode}" if self.episode and self.unit != "file" else self.episode
        where = episode
        if self.step is not None:
            where += f", step {self.step}" if self.count == 1 else f", steps {self.step} to {self.last_step}"
        return ": ".join(part for part in (where, self.detail) if part)


class DropGroup(BaseModel):
    """All that was left out for one reason."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reason: str
    unit: Unit
    count: int = Field(ge=1)
    examples: list[str]


class DropReport:
    """Collects drops while a source is read and converted."""

    def __init__(self, drops: Iterable[Drop] = ()) -> None:
        self.drops = list(drops)

    def add(
        self,
        reason: str,
        unit: Unit,
        episode: str = "",
        step: int | None = None,
        *,
        detail: str = "",
        count: int = 1,
    ) -> None:
        """Note that ``count`` units were left out; see `Drop`."""
        self.drops.append(Drop(reason=reason, unit=unit, episode=episode, step=step, detail=detail, count=count))

    def __len__(self) -> int:
        return len(self.drops)

    def groups(self) -> list[DropGroup]:
        """By reason, the largest first."""
        return group_drops(self.drops)


def note(drops: list[Drop], drop: Drop) -> None:
    """Append ``drop``, or count it with the last one where it is the next step of the same."""
    if drops and drops[-1].step is not None:
        last = drops[-1]
        if (last.reason, last.unit, last.episode, last.last_step + 1) == (
            drop.reason,
            drop.unit,
            drop.episode,
            drop.step,
        ):
            drops[-1] = last.model_copy(update={"count": last.count + drop.count})
            return
    drops.append(drop)


def group_drops(drops: Iterable[Drop]) -> list[DropGroup]:
    """Drops by reason, the largest first, with the first places of each."""
    by_reason: dict[tuple[str, Unit], list[Drop]] = {}
    for drop in drops:
        by_reason.setdefault((drop.reason, drop.unit), []).append(drop)
    groups = [
        DropGroup(
            reason=reason,
            unit=unit,
            count=sum(drop.count for drop in same),
            examples=[drop.place for drop in same if drop.place][:EXAMPLES],
        )
        for (reason, unit), same in by_reason.items()
    ]
    return sorted(groups, key=lambda group: -group.count)
