"""The parity report: every golden case is in it, and a wrong number is noticed."""

from __future__ import annotations

import re
from pathlib import Path

import golden_cases
import numpy as np
import pytest
from typer.testing import CliRunner

from robovlms_ros.cli.main import app
from robovlms_ros.model.errors import ModelError
from robovlms_ros.parity.comparison import Comparison
from robovlms_ros.parity.golden import GoldenFolder
from robovlms_ros.parity.report import BEGIN, END, compare_all, table, write_table

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "parity.md"
GOLDEN = GoldenFolder(golden_cases.FOLDER)


@pytest.fixture(scope="module")
def rows() -> list[Comparison]:
    return list(compare_all(GOLDEN))


def listed(content: str) -> list[str]:
    """The cases of a table, in its order."""
    return re.findall(r"^\| `(.+?)` \|", content.partition(BEGIN)[2].partition(END)[0], re.MULTILINE)


def test_every_case_is_within_its_tolerance(rows: list[Comparison]) -> None:
    assert [row.case for row in rows if not row.passed] == []
    assert all(row.compared or row.not_run for row in rows)


def test_every_golden_file_has_its_row(rows: list[Comparison]) -> None:
    cases = {row.case for row in rows}
    models = {path.name.removesuffix(".config.json") for path in golden_cases.FOLDER.glob("*.config.json")}
    wrappers = {key.split("__")[0] for key in golden_cases.arrays("wrappers") if "__" in key}
    assert cases >= models | wrappers | {"prompts", "kosmos2_full_lstm_state_dict_keys"}
    rest = {case for case in cases - models - wrappers if case.startswith("functions: ")}
    assert cases == models | wrappers | rest | {"prompts", "kosmos2_full_lstm_state_dict_keys"}


def test_the_document_lists_exactly_these_cases(rows: list[Comparison]) -> None:
    assert listed(DOCUMENT.read_text(encoding="utf-8")) == [row.case for row in rows]
    assert "DIFFERS" not in DOCUMENT.read_text(encoding="utf-8")


def test_a_table_is_put_between_the_marks_and_replaces_the_old_one(rows: list[Comparison], tmp_path: Path) -> None:
    path = tmp_path / "parity.md"
    path.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    for _ in range(2):
        write_table(path, table(rows[:2]))
    assert path.read_text() == f"before\n{BEGIN}\n{table(rows[:2])}\n{END}\nafter\n"
    path.write_text("no marks")
    with pytest.raises(ModelError, match="add them where the table belongs"):
        write_table(path, "")


@pytest.mark.parametrize("wrong", [[1.0, 2.1], [1.0], [1.0, np.nan], [1.0, np.inf]])
def test_a_wrong_number_is_noticed(wrong: list[float]) -> None:
    row = Comparison("case")
    row.close("numbers", wrong, [1.0, 2.0])
    row.equal("ids", [1], [1])
    assert not row.passed
    assert "**DIFFERS: numbers**" in table([row])


def test_a_wrong_id_is_noticed() -> None:
    row = Comparison("case")
    row.equal("ids", [1, 2], [1, 3])
    assert "**DIFFERS: ids (exact)**" in table([row])


def test_another_folder_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["parity", "--golden", str(tmp_path)])
    assert isinstance(result.exception, ModelError)
    assert "holds no test vectors" in str(result.exception)
