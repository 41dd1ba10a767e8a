"""`robovlms replay --report --rerun`, and `robovlms record-rerun`, from the command line."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from robovlms_ros.cli.main import app
from robovlms_ros.policy.untrained import make_untrained
from robovlms_ros.replay.bag import write_camera_bag


def test_a_bag_becomes_a_report_and_a_recording(tmp_path: Path) -> None:
    pytest.importorskip("rerun")
    frames = list(np.random.default_rng(0).integers(0, 256, (6, 60, 80, 3), dtype=np.uint8))
    write_camera_bag(tmp_path / "bag", frames, "pick up the <b>block</b>")
    model = make_untrained(tmp_path / "model", image_size=56)
    report, recording = tmp_path / "out" / "report.html", tmp_path / "out" / "run.rrd"
    arguments = ["replay", tmp_path / "bag", "--model", model, "--report", report, "--rerun", recording]
    done = CliRunner().invoke(app, [*map(str, arguments), "--report-images", "4"])
    assert done.exit_code == 0, done.output
    text = report.read_text()
    assert "RoboKosMos/LSTMDecoder@" in text
    assert text.count("data:image/jpeg;base64,") == 4
    assert "pick up the &lt;b&gt;block" not in text.split('id="data"')[0]  # it is in the script's data alone
    assert "<b>block" not in text
    assert recording.stat().st_size > 10_000


def test_a_report_without_images_needs_none_of_the_bag(tmp_path: Path) -> None:
    frames = [np.zeros((60, 80, 3), np.uint8)] * 2
    write_camera_bag(tmp_path / "bag", frames, "go")
    model = make_untrained(tmp_path / "model", image_size=56)
    arguments = [
        "replay",
        tmp_path / "bag",
        "--model",
        model,
        "--report",
        tmp_path / "r.html",
        "--report-images",
        0,
    ]
    done = CliRunner().invoke(app, [*map(str, arguments)])
    assert done.exit_code == 0, done.output
    assert "data:image/jpeg" not in (tmp_path / "r.html").read_text()


def test_a_live_run_is_recorded_until_a_signal(
    tmp_path: Path, graph: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("rerun")
    from robovlms_ros.ros import qos
    from robovlms_ros.ros.interfaces import VLAAction

    monkeypatch.setenv("ROS_DOMAIN_ID", str(graph.domain))
    out = tmp_path / "live.rrd"
    command = [
        sys.executable,
        "-m",
        "robovlms_ros.cli.main",
        "record-rerun",
        str(out),
        "--image",
        "",
        "--action",
        "/a",
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        publisher = graph.helper.create_publisher(VLAAction, "/a", qos.actions())
        graph.wait_for(publisher.get_subscription_count, "it listens", timeout=60)
        for _ in range(5):
            publisher.publish(VLAAction())
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, said
    assert re.search(r"written: \S+live\.rrd: ", said.replace("\n", " ")), said
    assert out.stat().st_size > 1000
