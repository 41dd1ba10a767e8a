"""The vla_node around a real (small, untrained) Kosmos-2 from a packed folder."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("torch")
from std_msgs.msg import String
from std_srvs.srv import Trigger

from robovlms_ros.policy import HistoryWindow, Observation, VLAPolicy
from robovlms_ros.policy.policy_loader import load_policy
from robovlms_ros.policy.untrained import make_untrained
from robovlms_ros.ros import qos

Start = Callable[..., Any]


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packed") / "model"
    make_untrained(folder, window=3, chunk=4, hand=True, image_size=28, action_encoder=True, robot="calvin")
    return folder


def test_the_node_gives_exactly_what_the_policy_gives_offline(vla: Start, packed: Path) -> None:
    node = vla(load_policy, parameters={"model.path": str(packed), "history.source": "internal"})
    cards = node.graph.collect(String, "vla_node/model_info", qos.latched())
    node.say("pick up the red block")
    for value in range(0, 250, 50):
        now, known = node.graph.now_ns(), len(node.actions)
        node.see(node.graph.image(now, value=value))
        node.see(node.graph.image(now, value=255 - value), "image_hand")
        node.graph.wait_for(lambda known=known: len(node.actions) > known, "an action")

    policy = VLAPolicy.load(packed)
    session = policy.session()
    executed: list[np.ndarray] = []
    for value, action in zip(range(0, 250, 50), node.actions, strict=True):
        window = HistoryWindow(np.zeros((16, 7), np.float32), np.zeros(16, bool))
        for index, row in enumerate(reversed(executed)):
            window.actions[-1 - index], window.valid[-1 - index] = row, True
        pixels = {
            "static": np.full((48, 64, 3), value, np.uint8),
            "hand": np.full((48, 64, 3), 255 - value, np.uint8),
        }
        chunk = session.step(Observation(images=pixels, instruction="pick up the red block", history=window))
        np.testing.assert_array_equal(action.model_action[:6], chunk.normalized[0, :6])
        metres = policy.profile.to_si(chunk.actions)[0]
        translation = [action.translation.x, action.translation.y, action.translation.z]
        np.testing.assert_array_equal(translation, metres[:3])
        assert action.gripper == metres[6]
        executed.append(np.array(action.model_action))
    assert action.header.frame_id == policy.profile.frame
    assert (action.chunk_size, action.model_id) == (4, policy.card["model_id"])
    node.graph.wait_for(lambda: cards, "the model card")
    assert json.loads(cards[0].data)["weights_sha256"] == policy.card["weights_sha256"]


@pytest.mark.fault(14, 15)
@pytest.mark.parametrize(
    ("damage", "parameters", "named"),
    [
        ("none", {"model.policy_head": "GPTDecoder"}, "LSTMDecoder"),
        ("none", {"model.device": "cuda:7"}, "cuda:7"),
        ("truncated weights", {}, "model.safetensors"),
        ("empty weights", {}, "model.safetensors"),
        ("no weights", {}, "model.safetensors"),
        ("no configuration", {}, "config.json"),
        ("configuration is no JSON", {}, "config.json"),
    ],
)
def test_a_model_that_cannot_be_loaded_is_named_and_the_node_stays_unconfigured(
    vla: Start, packed: Path, tmp_path: Path, damage: str, parameters: dict[str, str], named: str
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(packed, folder)
    weights, config = folder / "model.safetensors", folder / "config.json"
    if damage == "truncated weights":
        weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
    elif damage == "empty weights":
        weights.write_bytes(b"")
    elif damage == "no weights":
        weights.unlink()
    elif damage == "no configuration":
        config.unlink()
    elif damage == "configuration is no JSON":
        config.write_text("{", encoding="utf-8")
    node = vla(load_policy, state="unconfigured", parameters={"model.path": str(folder), **parameters})
    assert not node.transition("configure")
    assert node.state == "unconfigured"
    assert named in node.node.last_error
    assert node.graph.helper.count_publishers("action") == 0


@pytest.mark.fault(18)
def test_an_episode_after_a_reset_repeats_the_first_to_the_bit(vla: Start, packed: Path) -> None:
    node = vla(load_policy, parameters={"model.path": str(packed), "history.source": "internal"})
    node.say("pick up the red block")
    episodes: list[list[list[float]]] = []
    for _ in range(2):
        answers: list[list[float]] = []
        for value in range(0, 250, 50):  # more frames than the window of three: the LSTM's memory matters
            now, known = node.graph.now_ns(), len(node.actions)
            node.see(node.graph.image(now, value=value))
            node.see(node.graph.image(now, value=255 - value), "image_hand")
            node.graph.wait_for(lambda known=known: len(node.actions) > known, "an action")
            answers.append(list(node.actions[-1].model_action))
        episodes.append(answers)
        assert node.graph.call(Trigger, "vla_node/reset", Trigger.Request()).success
    assert episodes[0] == episodes[1]
    assert episodes[0][0] != episodes[0][-1]
    assert {action.episode for action in node.actions} == {0, 1}


@pytest.fixture
def built_in(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model of ``packed`` in the place of the one that comes with the package."""
    share = tmp_path / "share" / "robovlms_ros" / "models"
    share.mkdir(parents=True)
    (share / "tabletop").symlink_to(packed)
    monkeypatch.setenv("AMENT_PREFIX_PATH", os.pathsep.join([str(tmp_path), os.environ["AMENT_PREFIX_PATH"]]))


@pytest.mark.parametrize(("parameters", "warned"), [({}, True), ({"model.path": "tabletop"}, False)])
def test_without_a_name_the_built_in_model_runs_and_says_so_loudly(
    vla: Start, built_in: None, parameters: dict[str, str], warned: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    node = vla(load_policy, parameters={"history.source": "internal", **parameters})
    said = [line for line in capfd.readouterr().err.splitlines() if "WARN" in line and "built-in model" in line]
    assert len(said) == warned
    assert all("set the parameter model.path (launch argument model:=)" in line for line in said)
    (model,) = [status for status in node.node._status() if status.name == "vla_node: model"]
    assert "model.path names no model" in model.message or not warned


def test_a_built_in_model_that_does_not_fit_the_robot_is_named_as_what_it_is(vla: Start, built_in: None) -> None:
    node = vla(load_policy, state="unconfigured", parameters={"model.policy_head": "GPTDecoder"})
    assert not node.transition("configure")
    assert "GPTDecoder" in node.node.last_error
    assert "no model is named, so this is tabletop, the built-in model" in node.node.last_error
