"""`~/overlay`: drawn for those who look, of the image inferred from, and never in the way of an action."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")
from sensor_msgs.msg import Image

from robovlms_ros.policy.overlay import OverlayView, draw_overlay, overlay_size
from robovlms_ros.ros import overlay

Start = Callable[..., Any]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[OverlayView]:
    """What is drawn in this test; drawing itself is as ever."""
    views: list[OverlayView] = []

    def draw(image: Any, view: OverlayView) -> Any:
        views.append(view)
        return draw_overlay(image, view)

    monkeypatch.setattr(overlay, "draw_overlay", draw)
    return views


def look(node: Any) -> list[Any]:
    """Subscribe to the overlay of ``node``; return the list that fills with pictures."""
    pictures: list[Any] = node.graph.collect(Image, "vla_node/overlay")
    publisher = node.node._runtime.output.overlay._publisher
    node.graph.wait_for(publisher.get_subscription_count, "a listener")
    return pictures


def pixels(message: Any) -> Any:
    return np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, 3)


def test_without_a_listener_nothing_is_drawn(vla: Start, drawn: list[OverlayView]) -> None:
    node = vla()
    node.say("go")
    for _ in range(5):
        node.act()
    node.graph.stays(lambda: not drawn, 0.3)


def test_a_listener_gets_the_image_of_the_action_with_its_stamp(vla: Start, drawn: list[OverlayView]) -> None:
    node = vla()
    pictures = look(node)
    node.say("pick up the block")
    image = node.see(node.graph.image(value=200))
    node.graph.wait_for(lambda: pictures, "a picture")
    picture = pictures[0]
    assert picture.header.stamp == image.header.stamp
    assert (picture.height, picture.width) == overlay_size(48, 64)
    assert (picture.encoding, picture.step, len(picture.data)) == (
        "rgb8",
        3 * picture.width,
        3 * picture.width * picture.height,
    )
    assert (pixels(picture)[100:150] == 200).all()
    shown = drawn[0]
    assert (shown.instruction, shown.state, shown.episode, shown.step) == ("pick up the block", "acting", 0, 0)
    np.testing.assert_allclose(shown.actions[0, 0], node.actions[0].translation.x)
    assert shown.frame == "base_link"
    assert shown.latency is not None
    assert 0 < shown.latency < 5


def test_the_rest_of_the_chunk_and_what_was_limited_are_shown(
    vla: Start, scripted: Any, drawn: list[OverlayView]
) -> None:
    parameters = {"chunk.mode": "open_loop", "chunk.horizon": 3, "limits.translation": 0.001, "overlay.rate": 60.0}
    node = vla(scripted(chunk=5), parameters=parameters)
    look(node)
    node.say("go")
    for number in range(4):
        node.act()
        node.graph.wait_for(lambda n=number: drawn and drawn[-1].step == n, "its picture")
    shown = {view.step: view for view in drawn}
    assert [len(shown[step].actions) for step in range(4)] == [5, 4, 3, 5]
    np.testing.assert_array_equal(shown[1].actions[1:], shown[0].actions[2:])
    assert [int(view.saturated[0]) for view in shown.values()] == [action.saturated for action in node.actions]
    assert all(int(view.saturated[0]) & 0b111 for view in shown.values())
    assert shown[0].limits.translation == 0.001


def test_a_picture_does_not_go_on_to_say_that_the_arm_is_acting(vla: Start, drawn: list[OverlayView]) -> None:
    node = vla(parameters={"overlay.rate": 60.0})
    pictures = look(node)
    node.say("go")
    image = node.act()
    node.graph.wait_for(lambda: drawn, "a picture")
    node.say("")
    node.graph.wait_for(lambda: drawn[-1].state == "stopped: the instruction is empty", "the new state")
    assert not drawn[-1].actions[:, :6].any()
    assert pictures[-1].header.stamp == image.header.stamp
    node.transition("deactivate")
    node.graph.wait_for(lambda: drawn[-1].state == "the node is not active", "the last state")


def test_pictures_keep_to_their_rate_and_show_the_newest_action(vla: Start, drawn: list[OverlayView]) -> None:
    node = vla(parameters={"overlay.rate": 4.0})
    look(node)
    node.say("go")
    started = time.monotonic()
    for _ in range(10):
        node.act()
    node.graph.wait_for(lambda: drawn and drawn[-1].step == 9, "the picture of the last action")
    assert len(drawn) <= 4.0 * (time.monotonic() - started) + 1


def test_a_rate_of_zero_is_no_overlay(vla: Start, drawn: list[OverlayView]) -> None:
    node = vla(parameters={"overlay.rate": 0.0})
    look(node)
    node.say("go")
    node.act()
    node.graph.stays(lambda: not drawn, 0.2)


def test_actions_do_not_wait_for_a_picture(vla: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    release, drawing = threading.Event(), threading.Event()

    def draw(image: Any, view: OverlayView) -> Any:
        drawing.set()
        assert release.wait(20)
        return draw_overlay(image, view)

    monkeypatch.setattr(overlay, "draw_overlay", draw)
    node = vla()
    pictures = look(node)
    node.say("go")
    node.act()
    assert drawing.wait(10)
    for _ in range(5):
        node.act()
    assert not pictures
    release.set()
    node.graph.wait_for(lambda: len(pictures) == 2, "the picture of the first and of the last action")


def test_a_picture_that_cannot_be_drawn_stops_nothing(vla: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []

    def draw(image: Any, view: OverlayView) -> Any:
        tried.append(view.step)
        raise MemoryError("no room for a picture")

    monkeypatch.setattr(overlay, "draw_overlay", draw)
    node = vla(parameters={"overlay.rate": 60.0})
    look(node)
    node.say("go")
    for number in range(3):
        node.act()
        node.graph.wait_for(lambda n=number: n in tried, "the attempt")
    assert node.state == "active"


def test_it_is_drawn_again_after_the_node_was_active_again(vla: Start, drawn: list[OverlayView]) -> None:
    node = vla()
    pictures = look(node)
    node.say("go")
    node.act()
    node.graph.wait_for(lambda: pictures, "a picture")
    for transition in ("deactivate", "activate"):
        assert node.transition(transition)
    count = len(pictures)
    node.act()
    node.graph.wait_for(lambda: len(pictures) > count and drawn[-1].state == "acting", "another picture")
