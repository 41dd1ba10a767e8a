"""What a model computes with: threads, and memory that is used up."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from robovlms_ros.model.errors import DeviceMemoryError, ModelError
from robovlms_ros.policy import Observation, VLAPolicy, compute
from robovlms_ros.policy.compute import OUT_OF_MEMORY, use_threads, within_memory
from robovlms_ros.policy.untrained import make_untrained


@pytest.fixture
def threads() -> Iterator[int]:
    before = torch.get_num_threads()
    yield before
    use_threads(0)


def of_another_thread() -> int:
    found: list[int] = []
    other = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    other.start()
    other.join()
    return found[0]


def test_a_number_of_threads_holds_for_the_thread_that_infers_and_zero_undoes_it(threads: int) -> None:
    use_threads(3)
    assert (torch.get_num_threads(), of_another_thread()) == (3, 3)
    use_threads(0)
    assert (torch.get_num_threads(), of_another_thread()) == (threads, threads)


def test_memory_that_is_used_up_is_an_error_of_ours_that_says_what_to_do() -> None:
    def work() -> None:
        raise OUT_OF_MEMORY("CUDA out of memory. Tried to allocate 2.00 GiB.")

    with pytest.raises(DeviceMemoryError, match=r"smaller dtype .* Tried to allocate 2.00 GiB"):
        within_memory(work)
    assert issubclass(DeviceMemoryError, ModelError)


def test_the_cache_is_freed_only_when_the_failed_work_holds_no_tensor_any_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held: list[weakref.ref[torch.Tensor]] = []
    alive_when_freed: list[bool] = []
    monkeypatch.setattr(compute, "free_cache", lambda: alive_when_freed.append(held[0]() is not None))

    def work() -> None:
        activations = torch.zeros(1000)
        held.append(weakref.ref(activations))
        raise OUT_OF_MEMORY("CUDA out of memory")

    with pytest.raises(DeviceMemoryError):
        within_memory(work)
    assert alive_when_freed == [False]


def test_other_errors_and_results_pass() -> None:
    assert within_memory(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        within_memory(lambda: 1 // 0)


def test_a_session_goes_on_after_its_memory_was_used_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = VLAPolicy.load(make_untrained(tmp_path / "model", image_size=28, window=2, chunk=2))
    observation = Observation({"static": np.zeros((48, 64, 3), np.uint8)}, "pick")
    expected = policy.session().step(observation).normalized
    session = policy.session()

    def full(*_: object) -> None:
        raise OUT_OF_MEMORY("CUDA out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(policy.model, "encode_images", full)
        with pytest.raises(DeviceMemoryError):
            session.step(observation)
    session.reset()
    np.testing.assert_array_equal(session.step(observation).normalized, expected)


def test_a_model_that_does_not_fit_onto_its_device_is_refused_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_untrained(tmp_path / "model", image_size=28, window=2, chunk=2)

    def full(*_: object) -> None:
        raise OUT_OF_MEMORY("CUDA out of memory")

    monkeypatch.setattr(torch.nn.Module, "to", full)
    with pytest.raises(DeviceMemoryError, match="memory is used up"):
        VLAPolicy.load(folder)
