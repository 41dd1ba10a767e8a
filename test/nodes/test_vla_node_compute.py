"""Threads and memory of a real (small, untrained) model inside the node."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy")
pytest.importorskip("torch")
import torch

from robovlms_ros.policy import VLAPolicy
from robovlms_ros.policy.compute import OUT_OF_MEMORY, use_threads
from robovlms_ros.policy.policy_loader import load_policy
from robovlms_ros.policy.untrained import make_untrained

Start = Callable[..., Any]


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(make_untrained(tmp_path_factory.mktemp("packed") / "model", image_size=28, window=2, chunk=2))


@pytest.fixture
def threads() -> Iterator[None]:
    yield
    use_threads(0)


class Watched:
    """A loaded policy whose model says what happens inside it, and fails when it is told to."""

    def __init__(self, packed: Path) -> None:
        self.policies: list[VLAPolicy] = []
        self.threads: list[int] = []
        self.full = False
        self._packed = packed

    def __call__(self, values: Any) -> VLAPolicy:
        policy = load_policy({**values, "model.path": str(self._packed)})
        assert isinstance(policy, VLAPolicy)
        encode = policy.model.encode_images

        def watched(pixels: Any) -> Any:
            self.threads.append(torch.get_num_threads())
            if self.full:
                raise OUT_OF_MEMORY("CUDA out of memory. Tried to allocate 2.00 GiB.")
            return encode(pixels)

        policy.model.encode_images = watched  # type: ignore[method-assign]
        return policy


def test_memory_that_is_used_up_deactivates_at_once_and_the_node_can_be_activated_again(
    vla: Start, packed: Path
) -> None:
    model = Watched(packed)
    node = vla(model)
    node.say("go")
    node.act()
    model.full = True
    node.see()
    node.wait_until("inactive")
    node.graph.wait_for(lambda: len(node.actions) == 2, "the action and the stop")
    assert node.counts()["out of memory"] == 1
    status = node.node._status()[0]
    assert status.level == status.ERROR
    assert "memory is used up" in status.message
    assert "Tried to allocate 2.00 GiB" in status.message
    model.full = False
    assert node.transition("activate")
    assert node.act().sequence == 0
    assert node.node._status()[0].level != status.ERROR


def test_memory_that_does_not_suffice_for_the_first_inference_is_a_configure_failure(
    vla: Start, packed: Path
) -> None:
    model = Watched(packed)
    model.full = True
    node = vla(model, state="unconfigured")
    assert not node.transition("configure")
    assert node.node.last_error.startswith("cannot configure: the device's memory is used up")
    model.full = False
    assert node.transition("configure")


@pytest.mark.usefixtures("threads")
def test_the_model_computes_with_the_threads_that_it_is_given(vla: Start, packed: Path) -> None:
    model = Watched(packed)
    node = vla(model, parameters={"model.threads": 3})
    node.say("go")
    node.act()
    assert model.threads == [3, 3], "the warm-up in the executor's thread, then the inference thread"
