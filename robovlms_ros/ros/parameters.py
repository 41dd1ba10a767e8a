"""The parameters of a node on its ROS interface: declaration, descriptors, and the rules for changing them.

A node gives its table and a function that turns all values into a frozen settings object. A change is
accepted only as a whole: every value passes its row, the settings object can be built, and then the node
gets that object at once. A refused change has a reason that a user can act on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.exceptions import InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter

from robovlms_ros.policy.parameters import ParameterError, ParameterTable, Row, Value


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
            value: Any = node.declare_parameter(row.name, row.declared_default, descriptor(row)).value
        except InvalidParameterValueException as error:
            node.declare_parameter(row.name, row.declared_default, descriptor(row), ignore_override=True)
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


def descriptor(row: Row) -> ParameterDescriptor:
    """What `ros2 param describe` shows."""
    # rclpy's own type check knows types by number only ("expected '3' got '8'"), so `check` makes it.
    descriptor = ParameterDescriptor(description=row.description, dynamic_typing=True)
    descriptor.read_only = row.changes == "at start"
    if row.choices:
        descriptor.additional_constraints = f"one of: {', '.join(row.choices)}"
    if row.low is not None and row.high is not None:
        if isinstance(row.default, float):
            descriptor.floating_point_range = [FloatingPointRange(from_value=row.low, to_value=row.high)]
        else:
            descriptor.integer_range = [IntegerRange(from_value=int(row.low), to_value=int(row.high))]
    return descriptor
