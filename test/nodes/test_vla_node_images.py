"""What the vla_node does with camera frames: newest first, decoded, matched, dropped where they are bad."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")
from sensor_msgs.msg import CompressedImage

from robovlms_ros.ros.messages import to_nanoseconds

Start = Callable[..., Any]


@pytest.mark.fault(8)
def test_a_slow_policy_gets_the_newest_frame_and_the_others_are_counted(vla: Start, scripted: Any) -> None:
    release = threading.Event()

    def wait(_: Any, chunk: Any) -> Any:
        assert release.wait(10)
        return chunk

    node = vla(scripted(wait))
    node.say("go")
    node.see(node.graph.image(value=1))
    node.graph.wait_for(lambda: node.policy.seen, "the first inference")
    runtime = node.node._runtime
    for value in range(2, 10):
        node.see(node.graph.image(value=value))
        node.graph.wait_for(lambda v=value: runtime.inputs[0].monitor.received >= v, "the frame's arrival")
    release.set()
    node.graph.wait_for(lambda: len(node.actions) == 2, "two actions")
    assert [int(seen.images["static"][0, 0, 0]) for seen in node.policy.seen] == [1, 9]
    assert runtime.controller.overtaken == 7


def test_pixels_arrive_as_rgb_whatever_the_encoding(vla: Start) -> None:
    node = vla()
    node.say("go")
    bgr = node.graph.image(encoding="bgr8")
    bgr.data[0::3] = bgr.data[0::3].__class__("B", [200] * (48 * 64))
    node.see(bgr)
    node.graph.wait_for(lambda: node.policy.seen, "an inference")
    np.testing.assert_array_equal(node.policy.seen[0].images["static"][0, 0], [0, 0, 200])


@pytest.mark.fault(5)
@pytest.mark.parametrize(
    "changes",
    [
        {"encoding": "rgb9"},
        {"encoding": "16UC1"},
        {"height": 47},
        {"height": 49},
        {"width": 0},
        {"step": 191},
        {"height": 10_000, "width": 10_000, "step": 30_000},
    ],
)
def test_a_bad_image_is_dropped_and_counted_and_the_next_is_answered(vla: Start, changes: dict[str, Any]) -> None:
    node = vla()
    node.say("go")
    node.see(node.graph.image(**changes))
    node.wait_for_count("undecodable image")
    assert node.act().sequence == 0
    assert node.state == "active"


@pytest.mark.fault(5)
@pytest.mark.parametrize(
    "changes",
    [
        {"is_bigendian": 1},
        {"width": 1, "height": 1, "step": 3},
        {"width": 63},
        {"encoding": "mono8", "width": 192},
    ],
)
def test_an_unusual_image_is_answered(vla: Start, changes: dict[str, Any]) -> None:
    node = vla()
    node.say("go")
    image = node.graph.image(value=7, **changes)
    image.data = image.data[: image.step * image.height]
    node.see(image)
    node.graph.wait_for(lambda: node.actions, "an action")
    pixels = node.policy.seen[0].images["static"]
    assert pixels.shape == (image.height, image.width, 3)
    assert (pixels == 7).all()


@pytest.mark.fault(6)
def test_compressed_images_are_heard_below_the_topic(vla: Start) -> None:
    pillow = pytest.importorskip("PIL.Image")
    import io

    node = vla(parameters={"images.transport": "compressed"})
    node.say("go")
    buffer = io.BytesIO()
    pillow.fromarray(np.full((8, 8, 3), [10, 20, 30], np.uint8)).save(buffer, "PNG")
    camera = node.graph.publisher(CompressedImage, "image/compressed")
    message = CompressedImage(format="png", data=buffer.getvalue())
    message.header.stamp = node.graph.image().header.stamp
    broken = CompressedImage(format="png", data=buffer.getvalue()[:30])
    broken.header.stamp = node.graph.image().header.stamp
    camera.publish(message)
    node.graph.wait_for(lambda: node.actions, "an action")
    np.testing.assert_array_equal(node.policy.seen[0].images["static"][0, 0], [10, 20, 30])
    camera.publish(broken)
    node.wait_for_count("undecodable image")


def test_two_cameras_are_matched_and_the_action_has_the_older_stamp(vla: Start, scripted: Any) -> None:
    node = vla(scripted(cameras=("static", "hand")))
    node.say("go")
    now = node.graph.now_ns()
    node.see(node.graph.image(now, value=1))
    node.graph.stays(lambda: not node.actions, 0.1)
    node.see(node.graph.image(now - 20_000_000, value=2), "image_hand")
    node.graph.wait_for(lambda: node.actions, "an action")
    assert to_nanoseconds(node.actions[0].header.stamp) == now - 20_000_000
    assert {camera: int(image[0, 0, 0]) for camera, image in node.policy.seen[0].images.items()} == {
        "static": 1,
        "hand": 2,
    }


def test_a_hand_camera_that_is_switched_off_is_not_waited_for(vla: Start, scripted: Any) -> None:
    node = vla(scripted(cameras=("static", "hand")), parameters={"images.hand.enabled": False})
    node.say("go")
    assert node.act()
    assert set(node.policy.seen[0].images) == {"static"}
    assert node.graph.helper.count_subscribers("image_hand") == 0
