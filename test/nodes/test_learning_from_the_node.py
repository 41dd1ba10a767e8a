"""The whole circle: what the nodes publish becomes a bag, a dataset, a model, and that drives the node again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

pytest.importorskip("rclpy")
pytest.importorskip("accelerate")
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from sensor_msgs.msg import Image
from typer.testing import CliRunner

from robovlms_ros.cli.main import app
from robovlms_ros.data.bag.vla_action import DEFINITION, TYPE_NAME
from robovlms_ros.data.folder.reader import FolderSource
from robovlms_ros.policy import Observation, VLAPolicy
from robovlms_ros.policy.policy_loader import load_policy
from robovlms_ros.policy.untrained import make_untrained
from robovlms_ros.ros.interfaces import VLAAction

INSTRUCTION = "pick up the red block"
STEP_NS = 33_333_333
# Images wait here for each other, whatever the load of the machine.
PATIENT = {"images.max_age": 60.0, "images.future_tolerance": 60.0, "watchdog.timeout": 0.0}


class Recorder:
    """Writes what is on topics to a bag, as it comes from DDS: bytes that nothing of ours has touched."""

    def __init__(self, graph: Any, path: Path, topics: dict[str, Any]) -> None:
        self._graph = graph
        self._store = get_typestore(Stores.ROS2_KILTED)
        self._store.register(get_types_from_msg(DEFINITION, TYPE_NAME))
        self._writer = Writer(path, version=9, storage_plugin=StoragePlugin.MCAP)
        self._writer.open()
        self.counts = dict.fromkeys(topics, 0)
        for topic, (message_type, name) in topics.items():
            connection = self._writer.add_connection(topic, name, typestore=self._store)

            def write(data: bytes, topic: str = topic, connection: Any = connection) -> None:
                self._writer.write(connection, graph.now_ns(), bytes(data))
                self.counts[topic] += 1

            graph.helper.create_subscription(message_type, topic, write, 100, raw=True)

    def close(self) -> None:
        self._writer.close()


def robovlms(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def pixels(step: int) -> np.ndarray:
    """Four coloured squares that no other step has."""
    colours = np.random.default_rng(step).integers(0, 256, (2, 2, 3), dtype=np.uint8)
    return colours.repeat(24, axis=0).repeat(32, axis=1)


def test_a_model_trained_on_what_the_node_did_does_it_again(
    vla: Callable[..., Any], graph: Any, tmp_path: Path
) -> None:
    make_untrained(tmp_path / "teacher", window=2, chunk=2, image_size=28, seed=3)
    recorder = Recorder(
        graph,
        tmp_path / "bag",
        {"/image": (Image, "sensor_msgs/msg/Image"), "/action": (VLAAction, TYPE_NAME)},
    )
    teacher = vla(load_policy, parameters={"model.path": str(tmp_path / "teacher"), **PATIENT})
    teacher.say(INSTRUCTION)
    start, steps = graph.now_ns(), 8
    for step in range(steps):
        image = graph.image(start + step * STEP_NS)
        image.data[:] = type(image.data)("B", pixels(step).tobytes())
        teacher.see(image)
        graph.wait_for(lambda step=step: recorder.counts["/action"] > step, f"action {step}")
    graph.wait_for(lambda: recorder.counts["/image"] == steps, "all images in the bag")
    done = [np.array(action.model_action) for action in teacher.actions]
    assert teacher.transition("deactivate")
    assert teacher.transition("cleanup")
    recorder.close()

    robovlms("import-bag", tmp_path / "bag", "--out", tmp_path / "dataset", "--encoding", "png")
    (episode,) = FolderSource(tmp_path / "dataset")
    assert (len(episode), episode.instruction) == (steps, INSTRUCTION)
    np.testing.assert_array_equal(episode.image("static", 3), pixels(3))

    run = {
        "output": str(tmp_path / "run"),
        "robot": "calvin",
        "model": {
            "untrained": {"window": 2, "chunk": 2, "image_size": 28},
            "overrides": {"act_head": {"type": "FCDecoder"}, "train_setup": {"train_vision": True}},
            "new_head": True,
        },
        "data": {"train": str(tmp_path / "dataset"), "workers": 0},
        "optim": {
            "steps": 60,
            "batch_size": 7,
            "learning_rate": 1e-3,
            "schedule": "half-cosine",
            "warmup_steps": 5,
            "dropout": False,
        },
        "log": {"every": 20, "tensorboard": False},
        "checkpoints": {"every": 60},
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(run))
    robovlms("train", tmp_path / "run.yaml")
    robovlms("pack", tmp_path / "run", tmp_path / "student")

    session = VLAPolicy.load(tmp_path / "student").session()
    learned = [
        session.step(Observation({"static": pixels(step)}, INSTRUCTION)).normalized[0] for step in range(steps)
    ]
    still = np.abs(np.array(done)[:, :6]).mean()
    error = np.abs(np.array(learned)[:, :6] - np.array(done)[:, :6]).mean()
    assert error < 0.5 * still

    student = vla(
        load_policy,
        parameters={"model.path": str(tmp_path / "student"), **PATIENT},
        namespace="student",
    )
    student.say(INSTRUCTION)
    image = graph.image()
    image.data[:] = type(image.data)("B", pixels(0).tobytes())
    stamp = student.see(image).header.stamp
    (action,) = graph.wait_for(lambda: [a for a in student.actions if a.header.stamp == stamp], "an action")
    np.testing.assert_array_equal(action.model_action, learned[0])
