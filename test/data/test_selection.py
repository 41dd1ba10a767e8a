from __future__ import annotations

from dataclasses import replace

import pytest

from robovlms_ros.data.episodes import MemorySource
from robovlms_ros.data.errors import DataError
from robovlms_ros.data.selection import Joined, Selected, numbers_of


def test_joined_sources_follow_each_other(source: MemorySource) -> None:
    joined = Joined("both", [source, MemorySource("empty", [], "axis_angle", "world"), source])
    assert len(joined) == 8
    assert [episode.identifier for episode in joined] == ["e0", "e1", "e2", "e3"] * 2
    with pytest.raises(IndexError):
        joined[8]


@pytest.mark.parametrize("change", [{"frame": "tool"}, {"rotation_format": "rpy"}])
def test_sources_with_other_action_spaces_are_not_joined(source: MemorySource, change: dict[str, str]) -> None:
    other = replace(source, name="other", **change)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=f"made and other cannot be joined: {next(iter(change))}"):
        Joined("both", [source, other])


@pytest.mark.parametrize(
    ("text", "numbers"),
    [(":", [0, 1, 2, 3]), ("1:3", [1, 2]), ("-1:", [3]), ("::2", [0, 2]), ("3,0", [3, 0]), ("-1", [3])],
)
def test_episodes_are_chosen_as_python_writes_it(source: MemorySource, text: str, numbers: list[int]) -> None:
    chosen = Selected(source, numbers_of(text, len(source)))
    assert [episode.identifier for episode in chosen] == [f"e{number}" for number in numbers]


@pytest.mark.parametrize("text", ["", "a", "1:2:3:4", "9", "7:9", "1.5"])
def test_what_selects_nothing_is_an_error(text: str) -> None:
    with pytest.raises(DataError, match="episodes"):
        numbers_of(text, 4)
