"""Sources made of other sources: several as one, and some episodes of one."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from robovlms_ros.data.episodes import Episode, EpisodeSource, RotationFormat
from robovlms_ros.data.errors import DataError


class Joined:
    """Several sources with one action space, one after the other."""

    def __init__(self, name: str, sources: Sequence[EpisodeSource]) -> None:
        if not sources:
            raise DataError("no datasets are given; name at least one")
        first = sources[0]
        for other in sources[1:]:
            for key in ("rotation_format", "frame"):
                if getattr(other, key) != getattr(first, key):
                    raise DataError(
                        f"{first.name} and {other.name} cannot be joined: {key} is {getattr(first, key)!r} in the "
                        f"one and {getattr(other, key)!r} in the other; import one of them again to match"
                    )
        self.name = name
        self.rotation_format: RotationFormat = first.rotation_format
        self.frame = first.frame
        self._sources = sources
        self._ends = list(accumulate(len(source) for source in sources))

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int) -> Episode:
        if not 0 <= index < len(self):
            raise IndexError(index)
        number = bisect_right(self._ends, index)
        return self._sources[number][index - (self._ends[number - 1] if number else 0)]


class Selected:
    """The episodes ``numbers`` of a source."""

    def __init__(self, source: EpisodeSource, numbers: Sequence[int]) -> None:
        self.name = source.name
        self.rotation_format: RotationFormat = source.rotation_format
        self.frame = source.frame
        self._source = source
        self._numbers = numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: int) -> Episode:
        return self._source[self._numbers[index]]


def numbers_of(text: str, count: int) -> list[int]:
    """Episode numbers written like Python's slices, by comma: ``"0:90"``, ``"-10:"``, ``"::2"``, ``"3,5,8"``.

    Raises `DataError` where it is nothing of that, or selects none of the ``count`` episodes.
    """
    chosen: list[int] = []
    try:
        for part in text.split(","):
            bounds = [int(bound) if bound.strip() else None for bound in part.split(":")]
            if len(bounds) > 1:
                chosen += range(count)[slice(*bounds)]
            else:
                chosen.append(range(count)[int(part)])
    except (ValueError, TypeError, IndexError):
        raise DataError(f"episodes {text!r}: write them like 0:90, -10: or 3,5,8; there are {count}") from None
    if not chosen:
        raise DataError(f"episodes {text!r} are none of the {count}")
    return chosen
