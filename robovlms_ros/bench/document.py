"""Puts measured tables into a document: only what stands between a part's two marks changes, the prose stays."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from pathlib import Path

from robovlms_ros.bench.machine import in_words
from robovlms_ros.bench.parts import PARTS
from robovlms_ros.bench.table import Section
from robovlms_ros.model.errors import ModelError


def write_document(path: Path, sections: Mapping[str, Section], facts: Mapping[str, str], command: str) -> None:
    """Write the parts that were measured into ``path``, and what they were measured on and with.

    A file that is not there is made, with a section for every part. Raises `ModelError` for a file that has no
    place for any part, lest another document be spoiled.
    """
    if not path.exists():
        text = _skeleton()
    else:
        text = path.read_text(encoding="utf-8")
        if not any(_begin(name) in text for name in PARTS):
            raise ModelError(f"{path} is no document of 'robovlms bench --write': give the name of a new file")
    for name, section in sections.items():
        if section.tables:
            text = _replaced(text, name, _block(section, facts, f"{command} {name}"))
        elif f"{_begin(name)}\n{_end(name)}" in text:
            text = _replaced(text, name, f"Not measured: {section.skipped or section.failed}.\n")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _begin(name: str) -> str:
    return f"<!-- robovlms bench: {name} -->"


def _end(name: str) -> str:
    return f"<!-- end of {name} -->"


def _replaced(text: str, name: str, block: str) -> str:
    begin, end = _begin(name), _end(name)
    between = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    marked = f"{begin}\n{block}{end}"
    if not between.search(text):
        return f"{text.rstrip()}\n\n## {PARTS[name].title}\n\n{marked}\n"
    return between.sub(lambda _: marked, text, count=1)


def _block(section: Section, facts: Mapping[str, str], command: str) -> str:
    busy = (
        f"; other processes kept {section.others:.1f} cores busy meanwhile"
        if section.others == section.others
        else ""
    )
    lines = [
        f"```bash\n{command}   # {section.seconds:.0f} s\n```",
        f"{date.today().isoformat()}: {in_words(dict(facts))}{busy}.",
        *(table.as_markdown() for table in section.tables),
        *(f"- **Problem:** {problem}" for problem in section.problems),
    ]
    return "\n\n".join(lines) + "\n"


def _skeleton() -> str:
    parts = [f"## {part.title}\n\n{_begin(name)}\n{_end(name)}\n" for name, part in PARTS.items()]
    return "# Performance\n\nWritten by `robovlms bench --write`.\n\n" + "\n".join(parts)
