"""Every fault that this package promises to survive has a test that says so: ``@pytest.mark.fault(number)``.

``pytest -m fault`` runs them all.
"""

from __future__ import annotations

import ast
from pathlib import Path

TESTS = Path(__file__).parent
FAULTS = {
    # inputs
    1: "NaN, +Inf, -Inf in each of the seven dimensions: nothing is published, and it is counted",
    2: "an action of six or eight dimensions, a chunk without actions",
    3: "1e9: limited, marked, the direction kept",
    4: "limits that are negative, NaN or of the wrong length: refused with a reason",
    5: "images: all encodings, padded, odd, one pixel, empty, short, long, big-endian, claiming 100 megapixels",
    6: "a corrupt JPEG",
    7: "a camera that stops: stale within its age, one stop action, and on when it returns",
    8: "60 Hz and an inference of 300 ms: the newest frame is used, and the counter of the others is right",
    9: "stamps that repeat, go back, are zero, or lie in the future",
    10: "a clock that jumps back: disarmed, a new episode",
    11: "use_sim_time without /clock",
    12: "instructions: none, empty, 10 kB, emoji, right to left, NUL, control characters, markup, in mid-chunk",
    13: "an instruction latched for a late node, a volatile publisher, an incompatible QoS",
    # the model
    14: "files: missing, folder, empty, truncated, with code; keys missing or too many; sizes; an unknown head",
    15: "a GPU that is not there",
    16: "an exception of the model, once and always",
    17: "an inference that hangs",
    18: "a history longer or shorter than the window; two episodes alike after a reset",
    # lifecycle
    19: "twenty cycles without a leaked thread or entity",
    20: "a configuration that fails, and succeeds when a parameter is corrected",
    21: "transitions that a state does not have",
    22: "deactivated during an inference: nothing is published afterwards",
    23: "cleaned up during an inference",
    24: "SIGTERM during an inference: exit code 0 within two seconds",
    25: "two namespaces do not hear each other; every topic and service can be remapped",
    # history
    26: "a gap in the sequence: a row that is not valid, and no shift",
    27: "out of order",
    28: "another episode clears it",
    29: "the encoder equals its reference in torch",
    30: "a start without history: no deadlock",
    # replay
    31: "mcap, sqlite3, split files: offline equals DDS, with tolerance 0",
    32: "twice and half the rate",
    33: "a topic that is missing or empty: the error names it",
    34: "a truncated bag",
    # metrics and launch
    35: "percentiles of latency; ten minutes of soak with flat memory",
    36: "the form of diagnostics",
    37: "contracts of launch files, parameters and installed executables",
    38: "the launch files under launch_testing",
}
# Without a test that is marked, and why. A number that gets one must leave this list.
NOT_YET = {
    38: "needs a full ROS installation; test/launch/test_vla_launch.py runs where launch_ros is installed",
}


def numbers(decorator: ast.expr) -> list[int]:
    """The faults that a decorator names."""
    if not isinstance(decorator, ast.Call) or ast.unparse(decorator.func) != "pytest.mark.fault":
        return []
    return [int(ast.literal_eval(argument)) for argument in decorator.args]


def marked() -> dict[int, set[str]]:
    """The tests that hold each fault, by its number."""
    tests: dict[int, set[str]] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                for number in (number for decorator in node.decorator_list for number in numbers(decorator)):
                    tests.setdefault(number, set()).add(f"{path.relative_to(TESTS)}::{node.name}")
    return tests


def test_every_fault_has_a_test_or_a_reason() -> None:
    assert sorted(FAULTS) == list(range(1, 39))
    missing = {number: FAULTS[number] for number in FAULTS.keys() - marked().keys() - NOT_YET.keys()}
    assert not missing


def test_what_has_a_test_needs_no_reason() -> None:
    assert not marked().keys() & NOT_YET.keys()


def test_no_test_names_a_fault_that_is_not_in_the_list() -> None:
    assert not marked().keys() - FAULTS.keys()
