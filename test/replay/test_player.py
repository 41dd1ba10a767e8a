import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rclpy
from builtin_interfaces.msg import Time
from domain_coordinator import domain_id
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image
from std_msgs.msg import String

from robovlms_ros.replay.bag import Bag, BagError, open_bag, write_camera_bag
from robovlms_ros.replay.player import BagPlayer, message_class

FRAMES = list(np.random.default_rng(1).integers(0, 256, (6, 12, 16, 3), dtype=np.uint8))
START_NS = 1_700_000_000_000_000_000


@pytest.fixture
def node() -> Iterator[Node]:
    with domain_id() as domain:
        context = rclpy.Context()
        rclpy.init(context=context, domain_id=domain)
        node = Node("test_player", context=context)
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(node)
        thread = threading.Thread(target=executor.spin)
        thread.start()
        yield node
        executor.shutdown()
        thread.join()
        node.destroy_node()
        rclpy.try_shutdown(context=context)


@pytest.fixture
def bag(tmp_path: Path) -> Iterator[Bag]:
    write_camera_bag(tmp_path / "bag", FRAMES, "pick up the cup", rate=20.0, start_ns=START_NS)
    with open_bag(tmp_path / "bag") as bag:
        yield bag


def _nanoseconds(stamp: Time) -> int:
    return stamp.sec * 10**9 + stamp.nanosec


def _wait(condition: threading.Event) -> None:
    assert condition.wait(10), "nothing came within 10 s"


def test_messages_arrive_as_recorded_and_the_clock_is_never_behind_them(node: Node, bag: Bag) -> None:
    images: list[Image] = []
    clock: list[int] = [0]
    complete = threading.Event()

    def on_image(image: Image) -> None:
        images.append(image)
        if len(images) == len(FRAMES):
            complete.set()

    player = BagPlayer(node, bag)
    node.create_subscription(Image, "/camera/image_raw", on_image, qos_profile_sensor_data)
    node.create_subscription(Clock, "/clock", lambda message: clock.append(_nanoseconds(message.clock)), 100)
    publisher = player.publishers["/camera/image_raw"]
    matched = threading.Event()
    node.create_timer(0.02, lambda: matched.set() if publisher.get_subscription_count() else None)
    _wait(matched)

    played = list(player.play(threading.Event()))
    _wait(complete)

    assert [message.topic for message in played] == ["/instruction"] + ["/camera/image_raw"] * len(FRAMES)
    assert [_nanoseconds(image.header.stamp) for image in images] == [
        START_NS + i * 50_000_000 for i in range(len(FRAMES))
    ]
    for image, frame in zip(images, FRAMES, strict=True):
        np.testing.assert_array_equal(np.frombuffer(image.data, np.uint8).reshape(frame.shape), frame)
    ticks = clock[1:]
    assert ticks == sorted(ticks), "the clock only goes forward"
    assert {START_NS + i * 50_000_000 for i in range(1, len(FRAMES))} <= set(ticks), "one tick per message"


def test_an_instruction_is_latched_for_a_node_that_comes_late(node: Node, bag: Bag) -> None:
    list(BagPlayer(node, bag, rate=10.0).play(threading.Event()))
    heard: list[str] = []
    arrived = threading.Event()
    latched = rclpy.qos.QoSProfile(depth=1, durability=rclpy.qos.DurabilityPolicy.TRANSIENT_LOCAL)
    node.create_subscription(String, "/instruction", lambda m: (heard.append(m.data), arrived.set()), latched)
    _wait(arrived)
    assert heard == ["pick up the cup"]


def test_stop_ends_the_replay_at_once(node: Node, bag: Bag) -> None:
    stop = threading.Event()
    played = 0
    for _ in BagPlayer(node, bag, rate=0.01).play(stop):  # at this rate the next message is seconds away
        played += 1
        stop.set()
    assert played == 1


def test_a_type_that_ros_does_not_know_is_named() -> None:
    with pytest.raises(BagError, match="'acme_msgs/msg/Wheel'"):
        message_class("acme_msgs/msg/Wheel")


def test_a_rate_that_would_stand_still_is_refused(node: Node, bag: Bag) -> None:
    with pytest.raises(ValueError, match="rate must be positive"):
        BagPlayer(node, bag, rate=0.0)
