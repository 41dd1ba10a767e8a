"""Parameters as data: one table drives declaration, validation, the YAML contract and the documentation.

A node gives its table and a function that turns all values into a frozen settings object. A change is
accepted only as a whole: every value passes its row, the settings object can be built, and then the node
gets that object at once. A refused change has a reason that a user can act on.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.exceptions import InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter

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

    def descriptor(self) -> ParameterDescriptor:
        """What `ros2 param describe` shows."""
        # rclpy's own type check knows types by number only ("expected '3' got '8'"), so `check` makes it.
        descriptor = ParameterDescriptor(description=self.description, dynamic_typing=True)
        descriptor.read_only = self.changes == "at start"
        if self.choices:
            descriptor.additional_constraints = f"one of: {', '.join(self.choices)}"
        if self.low is not None and self.high is not None:
            if isinstance(self.default, float):
                descriptor.floating_point_range = [FloatingPointRange(from_value=self.low, to_value=self.high)]
            else:
                descriptor.integer_range = [IntegerRange(from_value=int(self.low), to_value=int(self.high))]
        return descriptor


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


class Parameters:
    """The declared parameters of one node: current values, and the rules for changing them."""

    def __init__(
        self,
        node: Node,
        table: ParameterTable,
        *,
        locked: Callable[[], bool],
        apply: Callable[[Mapping[str, Value]], None],
    ) -> None:
        """Declare ``table`` on ``node``.

        While ``locked()`` only rows that change at any time may change. ``apply(values)`` gets all values with
        the changes included, before they are accepted; a ValueError from it refuses them.
        """
        self._table = table
        self._locked = locked
        self._apply = apply
        self._problems: dict[str, str] = {}
        self._values = table.defaults()
        for row in table.rows.values():
            self._declare(node, row)
        node.add_on_set_parameters_callback(self._on_set)

    def values(self) -> dict[str, Any]:
        """Return all values. Raises ParameterError for one that was wrong at start and not corrected since."""
        if self.problem:
            raise ParameterError(self.problem)
        return dict(self._values)

    @property
    def problem(self) -> str:
        """What was wrong at start and has not been corrected since; empty where all is well."""
        return "; ".join(self._problems.values())

    @property
    def current(self) -> dict[str, Any]:
        """All values, with the default in place of one that was wrong at start."""
        return dict(self._values)

    def _declare(self, node: Node, row: Row) -> None:
        # A wrong value in a file must leave a live node that says so, not a traceback out of its constructor.
        try:
            value: Any = node.declare_parameter(row.name, row.declared_default, row.descriptor()).value
        except InvalidParameterValueException as error:
            node.declare_parameter(row.name, row.declared_default, row.descriptor(), ignore_override=True)
            self._problems[row.name] = f"{error} ({row.allowed()})"
            return
        if row.length and not value:
            # From a file `[]` arrives as nothing at all, and from Python as an array of bytes.
            value = ()
            node.set_parameters([Parameter(row.name, Parameter.Type.DOUBLE_ARRAY, list(value))])
        problem = row.check(value)
        if problem:
            self._problems[row.name] = problem
        else:
            self._values[row.name] = row.typed(value)

    def _on_set(self, changes: Iterable[Parameter[Any]]) -> SetParametersResult:
        known = self._table.rows
        rows = [(known[change.name], change.value) for change in changes if change.name in known]
        for row, value in rows:
            problem = row.check(value)
            changed = not problem and row.typed(value) != self._values[row.name]
            if changed and row.changes == "unconfigured" and self._locked():
                problem = f"{row.name} is read when the node configures; clean the node up first"
            if problem:
                return SetParametersResult(successful=False, reason=problem)
        values = {**self._values, **{row.name: row.typed(value) for row, value in rows}}
        try:
            self._apply(values)
        except ValueError as error:
            return SetParametersResult(successful=False, reason=str(error))
        self._values = values
        for row, _ in rows:
            self._problems.pop(row.name, None)
        return SetParametersResult(successful=True)


def _type_name(value: Value) -> str:
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
    return names[type(value)]
