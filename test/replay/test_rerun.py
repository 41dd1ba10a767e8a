"""Recordings for the Rerun viewer: of a replay and of a live run, read back with Rerun's own tool."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from replayed import START, STEP_NS, images_of, made_up

pytest.importorskip("rerun")

from robovlms_ros.replay.errors import ReplayError
from robovlms_ros.replay.rerun_file import DIMENSIONS, RerunFile, write_rerun


def printed(path: Path, *options: str) -> str:
    """What ``rerun rrd print`` shows of a file. A home of its own: it asks about statistics, once."""
    environment = {**os.environ, "HOME": str(path.parent), "XDG_CONFIG_HOME": str(path.parent)}
    command = [sys.executable, "-m", "rerun", "rrd", "print", *(options or ["-v"]), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def rows(text: str) -> Counter[str]:
    """How many rows each entity has, static ones included."""
    found: Counter[str] = Counter()
    for count, entity in re.findall(r"Chunk\(\w+\) with (\d+) rows? \([^)]*\) - (/\S*) ", text):
        found[entity] += int(count)
    return found


def test_a_replay_is_recorded_whole(tmp_path: Path) -> None:
    result = made_up(12, cameras=("static", "hand"))
    write_rerun(tmp_path / "out.rrd", result, images_of(result))
    found = rows(printed(tmp_path / "out.rrd"))
    assert found["/camera/static"] == found["/camera/hand"] == 12
    assert found["/chunk/way"] == found["/chunk/steps"] == 12
    for name in DIMENSIONS:
        assert found[f"/action/{name}"] == found[f"/recorded/{name}"] == 12 + 1  # and how the line looks
    assert found["/instruction"] == 1
    assert found["/timing/model"] == 12
    assert found["/log"] == 3  # what an inference came to, a limit, and an image that was dropped


def test_texts_and_times_are_those_of_the_bag(tmp_path: Path) -> None:
    write_rerun(tmp_path / "out.rrd", made_up(2), ())
    said = printed(tmp_path / "out.rrd", "-vvv", "--entity", "/instruction")
    assert "pick up the red block" in said
    acted = printed(tmp_path / "out.rrd", "-vvv", "--entity", "/action/x")
    for time in (START, START + STEP_NS):
        assert str(np.datetime64(time, "ns")) in acted


def test_a_file_that_cannot_be_written_is_an_error_of_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ReplayError, match=r"x\.rrd cannot be written: "):
        RerunFile(tmp_path / "file" / "x.rrd")


def test_a_live_run_is_recorded(tmp_path: Path, graph: Any) -> None:
    from sensor_msgs.msg import Image
    from std_msgs.msg import String

    from robovlms_ros.replay.rerun_live import RerunListener
    from robovlms_ros.ros import qos
    from robovlms_ros.ros.interfaces import VLAAction, VLAActionChunk

    with RerunFile(tmp_path / "live.rrd", ["static"]) as file:
        topics = {"image": "/cam", "image_hand": "", "action": "/arm/command"}
        listener = graph.add(RerunListener(file, topics, compressed=False, rate=100.0, context=graph.context))
        cameras = graph.publisher(Image, "/cam", qos.images("best_effort"))
        actions = graph.publisher(VLAAction, "/arm/command", qos.actions())
        chunks = graph.publisher(VLAActionChunk, "/action_chunk", qos.actions())
        told = graph.publisher(String, "/instruction", qos.latched(), subscribers=2)
        told.publish(String(data="go"))
        now = graph.now_ns()

        def show_and_act() -> bool:
            nonlocal now
            now += 20_000_000
            cameras.publish(graph.image(now))
            actions.publish(VLAAction(saturated=1))
            chunks.publish(VLAActionChunk(steps=[VLAAction()] * 3))
            return min(listener.counts[name] for name in ("/cam", "action", "action_chunk", "instruction")) >= 1

        graph.wait_for(show_and_act, "one of each is written")
        cameras.publish(graph.image(now + 10**9, encoding="unknown"))
        listener.close()
        counts = dict(listener.counts)
    found = rows(printed(tmp_path / "live.rrd"))
    assert found["/camera/static"] == counts["/cam"]
    assert found["/action/x"] == counts["action"] + 1
    assert found["/chunk/way"] == counts["action_chunk"]
    assert found["/instruction"] == counts["instruction"] == 1
    assert found["/camera/hand"] == 0
