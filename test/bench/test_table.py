"""Tables as they are printed, written and kept, and the document that they are written into."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from robovlms_ros.bench.document import write_document
from robovlms_ros.bench.machine import Load, in_words, machine
from robovlms_ros.bench.parts import PARTS, Part, Settings, chosen, run_part
from robovlms_ros.bench.table import Figure, Section, Table, figure_table, shown
from robovlms_ros.model.errors import ModelError

TABLE = Table(
    "Speed of *it*", ("what", "ms", "of it"), (("a|b", 1234.5678, "10%"), ("c", None, "-")), ("A note.",)
)
FACTS = machine()


def test_a_missed_target_is_said_and_is_a_problem() -> None:
    good, bad = Figure("good", 1.0, "ms", 1.0), Figure("bad", 1.1, "ms", 1.0)
    assert figure_table("a", [good, Figure("free", 9.0, "s")]).problems == ()
    table = figure_table("b", [good, bad])
    assert table.problems == ("bad is 1.1 ms, target 1",)
    assert "| bad | 1.1 | ms | <= 1 ms | MISSED |" in table.as_markdown()
    assert not Figure("nothing", math.nan, "ms", 1.0).reached


def test_markdown_keeps_columns_apart_and_numbers_on_the_right() -> None:
    lines = TABLE.as_markdown().splitlines()
    assert lines[2:6] == [
        "| what | ms | of it |",
        "| --- | ---: | --- |",
        "| a\\|b | 1,235 | 10% |",
        "| c | - | - |",
    ]
    assert lines[-1] == "- A note."


def test_json_keeps_full_numbers_and_is_json() -> None:
    table = Table("t", ("x", "y"), ((1234.5678, math.nan),), problems=("bad",))
    found = json.loads(json.dumps(table.as_json(), allow_nan=False))
    assert found["rows"] == [{"x": 1234.5678, "y": None}]
    assert found["problems"] == ["bad"]
    with pytest.raises(ValueError, match="2 columns"):
        Table("t", ("x", "y"), ((1,),))


@pytest.mark.parametrize(
    ("cell", "text"),
    [(None, "-"), (0.0, "0"), (2.1e-8, "2.1e-08"), (0.0123456, "0.0123"), (123.456, "123.5"), (12345, "12,345")],
)
def test_numbers_are_shown_short(cell: float | None, text: str) -> None:
    assert shown(cell) == text


def test_a_new_document_has_a_place_for_every_part(tmp_path: Path) -> None:
    path = tmp_path / "new" / "performance.md"
    sections = {"chunks": Section((TABLE,), seconds=3.0), "cuda": Section(skipped="there is no CUDA")}
    write_document(path, sections, FACTS, "robovlms bench --quick")
    text = path.read_text()
    assert all(f"## {part.title}" in text for part in PARTS.values())
    assert "robovlms bench --quick chunks   # 3 s" in text
    assert in_words(FACTS) in text
    assert "Not measured: there is no CUDA." in text
    assert "| a\\|b | 1,235 | 10% |" in text


def test_only_what_was_measured_changes(tmp_path: Path) -> None:
    path = tmp_path / "performance.md"
    write_document(path, {name: Section((TABLE,)) for name in PARTS}, FACTS, "robovlms bench")
    before = path.read_text().replace("## Chunk modes\n", "## Chunk modes\n\nProse of ours, with \\1 in it.\n")
    path.write_text(before)
    other = Table("Other", ("x",), (("\\1",),), problems=("it is off",))
    write_document(path, {"chunks": Section((other,)), "cuda": Section(skipped="none")}, FACTS, "robovlms bench")
    after = path.read_text()
    assert "Prose of ours, with \\1 in it." in after
    assert "**Other**" in after
    assert "- **Problem:** Other: it is off" in after
    mark = "<!-- robovlms bench: {} -->"
    assert before.split(mark.format("node"))[1] == after.split(mark.format("node"))[1], "what follows is as it was"
    assert before.split(mark.format("chunks"))[0] == after.split(mark.format("chunks"))[0]
    again = path.read_text()
    write_document(path, {}, FACTS, "robovlms bench")
    assert path.read_text() == again


def test_another_document_is_not_spoiled(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text("# Mine\n")
    with pytest.raises(ModelError, match="no document of 'robovlms bench"):
        write_document(path, {"chunks": Section((TABLE,))}, FACTS, "robovlms bench")
    assert path.read_text() == "# Mine\n"


def test_parts_are_chosen_by_name() -> None:
    assert chosen([]) == list(PARTS)
    assert chosen(["node", "stages"]) == ["stages", "node"]
    with pytest.raises(ModelError, match=r"no part 'nodes'; choose from stages, "):
        chosen(["nodes"])


def test_a_part_that_cannot_run_says_why_and_one_that_breaks_off_is_a_problem(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(settings: Settings, progress: object) -> list[Table]:
        raise ModelError("the node did not come up")

    monkeypatch.setitem(PARTS, "cuda", Part("t", "s", fail, lambda: "there is none"))
    monkeypatch.setitem(PARTS, "node", Part("t", "s", fail))
    skipped, failed = (run_part(name, Settings(), lambda what: None) for name in ("cuda", "node"))
    assert skipped.skipped == "there is none"
    assert skipped.problems == []
    assert failed.problems == ["the node did not come up"]
    assert failed.as_json() == {"failed": "the node did not come up"}


def test_the_load_of_others_is_a_number_of_cores() -> None:
    assert Load().others() >= 0
