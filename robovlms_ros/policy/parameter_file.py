"""ROS 2 parameter files, and ``name:=value`` of a command line, read without ROS."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from robovlms_ros.policy.parameters import ParameterError, ParameterTable

PARAMETERS = "ros__parameters"
# Every node has them; a replay goes by the bag's clock anyway.
COMMON = ("use_sim_time", "start_type_description_service")


def read_parameter_file(path: Path, node: str) -> dict[str, Any]:
    """Return what a file says of ``node`` in any namespace, by full names; later sections win, as in ROS.

    Raises ParameterError where the file cannot be read or is no parameter file.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ParameterError(f"{path} does not exist") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise ParameterError(f"{path} cannot be read as YAML: {reason}") from error
    sections = list(_sections(document, ""))
    if not sections:
        raise ParameterError(f"{path} is no ROS 2 parameter file: it has no section with {PARAMETERS!r}")
    values: dict[str, Any] = {}
    for name, section in sections:
        if name.rpartition("/")[2] in ("*", "**", node):
            if not isinstance(section, Mapping):
                raise ParameterError(f"{path}: {PARAMETERS} of {name!r} must hold names and values")
            values.update(_flat(section, ""))
    return values


def read_assignment(text: str) -> tuple[str, Any]:
    """Return name and value of ``name:=value``; the value is YAML. Raises ParameterError."""
    name, sign, value = text.partition(":=")
    if not sign or not name:
        raise ParameterError(f"{text!r} is no parameter: write NAME:=VALUE, as in chunk.mode:=open_loop")
    try:
        return name, yaml.safe_load(value) if value else ""
    except yaml.YAMLError as error:
        raise ParameterError(f"the value of {name} cannot be read: {' '.join(str(error).split())}") from error


def checked(table: ParameterTable, given: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return all values of ``table`` with those ``given``, and the names given that no row has.

    Raises ParameterError for a value that its row does not allow.
    """
    values: dict[str, Any] = table.defaults()
    unknown = []
    for name, value in given.items():
        row = table.rows.get(name)
        if row is None:
            if name not in COMMON:
                unknown.append(name)
            continue
        given_value: Any = () if row.length and not isinstance(value, str) and value in (None, []) else value
        problem = row.check(given_value)
        if problem:
            raise ParameterError(problem)
        values[name] = row.typed(given_value)
    return values, unknown


def _sections(document: Any, name: str) -> Iterator[tuple[str, Any]]:
    if not isinstance(document, Mapping):
        return
    for key, value in document.items():
        if key == PARAMETERS:
            yield name, value
        else:
            yield from _sections(value, f"{name}/{str(key).strip('/')}")


def _flat(section: Mapping[Any, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in section.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
