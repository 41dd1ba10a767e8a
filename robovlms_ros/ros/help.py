"""The text behind `--help`: short enough to read, generated from the tables that the node itself uses."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rclpy.utilities import remove_ros_args

from robovlms_ros.policy.parameters import ParameterTable

WIDTH = 100


@dataclass(frozen=True)
class Endpoint:
    """A topic, service or action of a node. ``name`` as it is remapped."""

    name: str
    kind: Literal["subscribes", "publishes", "serves", "calls"]
    type: str
    meaning: str


@dataclass(frozen=True)
class Option:
    """A switch of an executable, before `--ros-args`."""

    name: str
    meaning: str


def wants_help(arguments: Sequence[str]) -> bool:
    """Whether the command line asks for help."""
    return any(argument in ("-h", "--help") for argument in arguments[1:])


def given_options(arguments: Sequence[str], options: Sequence[Option]) -> set[str]:
    """Return the names of ``options`` on the command line; SystemExit, with a message, for any other word."""
    words = remove_ros_args(args=list(arguments))[1:]
    known = {option.name for option in options}
    if wrong := [word for word in words if word not in known]:
        raise SystemExit(f"unknown argument {wrong[0]!r}: there are {', '.join(known)}, --help and --ros-args")
    return set(words)


def help_text(
    executable: str,
    summary: str,
    endpoints: Sequence[Endpoint],
    parameters: ParameterTable,
    examples: Sequence[str],
    options: Sequence[Option] = (),
) -> str:
    """Return the whole help of one executable."""
    switches = "".join(f"[{option.name}] " for option in options)
    parts = [f"ros2 run robovlms_ros {executable} {switches}[--ros-args ...]", "", textwrap.fill(summary, WIDTH)]
    if options:
        parts += ["", "Options:", *_columns([(option.name, option.meaning) for option in options])]
    for kind in ("subscribes", "publishes", "serves", "calls"):
        rows = [(e.name, f"{e.type}: {e.meaning}") for e in endpoints if e.kind == kind]
        if rows:
            parts += ["", f"{kind.capitalize()}:", *_columns(rows)]
    rows = []
    for row in parameters.rows.values():
        pick = "Any" if isinstance(row.default, tuple) else "One"
        choices = f" {pick} of: {', '.join(row.choices)}." if row.choices else ""
        rows.append((row.name, f"[{row.shown_default}] {row.description}{choices}"))
    parts += ["", "Parameters [default] (-p NAME:=VALUE, or a file with --params-file):", *_columns(rows)]
    parts += ["", "Examples:", *(f"  {example}" for example in examples)]
    return "\n".join(parts)


def _columns(rows: Sequence[tuple[str, str]]) -> list[str]:
    width = max(len(name) for name, _ in rows)
    lines = []
    for name, meaning in rows:
        lines.append(
            textwrap.fill(
                meaning, WIDTH, initial_indent=f"  {name:<{width}}  ", subsequent_indent=" " * (width + 4)
            )
        )
    return lines
