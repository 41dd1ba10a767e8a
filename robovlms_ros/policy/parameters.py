"""Parameters as data: one table drives declaration, validation, the YAML contract and the documentation."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

Value = bool | int | float | str | tuple[float, ...] | tuple[str, ...]
Changes = Literal["any time", "unconfigured", "at start"]


@dataclass(frozen=True)
class Row:
    """One parameter, of the type of ``default``; a whole number may stand for a float. Bounds are inclusive.

    A tuple is an array: with a ``length`` of as many numbers, or none at all; otherwise of one or more of what its
    default holds, numbers or texts.

    ``changes`` says when it may be set: at any time, only while the node is unconfigured (so that a failed
    configuration can be cured), or only on the command line and in files.
    """

    name: str
    default: Value
    description: str
    changes: Changes = "unconfigured"
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    length: int = 0

    def check(self, value: Any) -> str | None:
        """Return what is wrong with ``value``, or None."""
        if isinstance(self.default, tuple):
            return self._check_array(value)
        if type(value) is not type(self.default) and not (type(value) is int and isinstance(self.default, float)):
            return f"{self.name} must be {_type_name(self.default)}, not {value!r}"
        if isinstance(value, float) and not math.isfinite(value):
            return f"{self.name} must be a finite number, not {value}"
        if self.low is not None and not isinstance(value, str) and value < self.low:
            return f"{self.name} must be at least {self.low:g}, not {value}"
        if self.high is not None and not isinstance(value, str) and value > self.high:
            return f"{self.name} must be at most {self.high:g}, not {value}"
        if self.choices and value not in self.choices:
            return f"{self.name} must be one of {', '.join(self.choices)}, not {value!r}"
        return None

    def _check_array(self, value: Any) -> str | None:
        wanted = f"{self.name} must be {self.allowed()}"
        if isinstance(value, bool | int | float | str | bytes | None):
            return f"{wanted}, not {value!r}"
        if not all(type(each) in self._element_types for each in value):
            return f"{wanted}, not {list(value)}"
        if not all(isinstance(each, str) or math.isfinite(each) for each in value):
            return f"{self.name} must hold finite numbers, not {list(value)}"
        if len(value) not in (0, self.length) if self.length else not len(value):
            return f"{wanted}, not {len(value)}"
        if self.choices and not set(value) <= set(self.choices):
            return f"{wanted}, not {list(value)}"
        return None

    @property
    def _element_types(self) -> tuple[type, ...]:
        texts = isinstance(self.default, tuple) and self.default and isinstance(self.default[0], str)
        return (str,) if texts else (int, float)

    def typed(self, value: Any) -> Any:
        """Return a checked value in the type of the default: 10 is as good a number as 10.0."""
        if isinstance(self.default, tuple):
            element = self._element_types[-1]
            return tuple(element(each) for each in value)
        return type(self.default)(value)

    @property
    def declared_default(self) -> Any:
        """The default as rclpy takes it."""
        return list(self.default) if isinstance(self.default, tuple) else self.default

    @property
    def shown_default(self) -> str:
        """The default as one writes it in a parameter file."""
        if isinstance(self.default, str):
            return f'"{self.default}"'
        if isinstance(self.default, tuple):
            return json.dumps(self.default)
        return str(self.default).lower()

    def allowed(self) -> str:
        """Return the allowed values in words."""
        if self.length:
            return f"{self.length} numbers, or none"
        if isinstance(self.default, tuple):
            kind = "texts" if self._element_types == (str,) else "numbers"
            return f"one or more of {', '.join(self.choices)}" if self.choices else f"one or more {kind}"
        words = _type_name(self.default)
        if self.choices:
            return f"{words}, one of {', '.join(self.choices)}"
        if self.low is None:
            return words
        upper = f", at most {self.high:g}" if self.high is not None else ""
        return f"{words}, at least {self.low:g}{upper}"


class ParameterError(ValueError):
    """Parameter values that cannot be used; names the parameter and what it must be."""


class ParameterTable:
    """The rows of one node."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = {row.name: row for row in rows}

    def defaults(self) -> dict[str, Value]:
        """All values as they are without any file or argument."""
        return {name: row.default for name, row in self.rows.items()}

    def markdown(self) -> str:
        """The documentation table."""
        lines = ["| parameter | default | allowed | may change | meaning |", "|---|---|---|---|---|"]
        for row in self.rows.values():
            lines.append(
                f"| `{row.name}` | `{row.shown_default}` | {row.allowed()} | {row.changes} | {row.description} |"
            )
        return "\n".join(lines)


def _type_name(value: Value) -> str:
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
    return names[type(value)]
