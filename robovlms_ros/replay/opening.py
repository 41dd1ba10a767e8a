"""Opens a bag for a replay; of a damaged one, where that is wanted, what is left of it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from robovlms_ros.data.bag.file import Bag, BagError, files_of, open_bag, open_files
from robovlms_ros.data.bag.salvage import salvage
from robovlms_ros.replay.errors import ReplayError
from robovlms_ros.replay.problems import Problems


@contextmanager
def open_for_replay(path: Path, problems: Problems) -> Iterator[Bag]:
    """Open a rosbag2 folder, an .mcap or a .db3 file.

    With ``problems.keep_going`` the readable part of damaged files is copied aside, and what is lost is told.

    Raises `BagError` where there is nothing to open, `ReplayError` where it is damaged and that was not wanted.
    """
    with ExitStack() as stack:
        try:
            bag = stack.enter_context(open_bag(path))
        except BagError as error:
            if not path.exists() or not files_of(path):
                raise
            if not problems.keep_going:
                raise ReplayError(f"{error}. --keep-going replays what can be read of it") from error
            bag = stack.enter_context(_open_damaged(path, str(error), problems))
        yield bag


@contextmanager
def _open_damaged(path: Path, reason: str, problems: Problems) -> Iterator[Bag]:
    with tempfile.TemporaryDirectory(prefix="robovlms-salvage-") as folder, ExitStack() as stack:
        usable: list[Path] = []
        told = False
        for number, file in enumerate(files_of(path)):
            try:
                with open_files([file]):
                    usable.append(file)
                continue
            except BagError as error:
                told = True
                aside = Path(folder, str(number))
                aside.mkdir()
                try:
                    saved, count = salvage(file, aside)
                except BagError as lost:
                    problems.input(f"damaged {file.name}", str(lost))
                    continue
                problems.input(f"damaged {file.name}", f"{error}: {count} messages of it could be read")
                usable.append(saved)
        if not usable:
            raise BagError(f"{path}: nothing of it can be read: {reason}")
        if not told:  # every file is whole, so it is what holds them together
            problems.input("damaged folder", f"{reason}: its files are replayed without it")
        yield stack.enter_context(open_files(usable))
