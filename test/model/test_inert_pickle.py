"""Checkpoints with Python objects beside the tensors: the tensors come out, and nothing in the file is run."""

from __future__ import annotations

import collections
import contextlib
import datetime
import os
import pickle
import subprocess
import sys
import types
import zipfile
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robovlms_ros.model.checkpoint import read_checkpoint
from robovlms_ros.model.errors import WeightsError
from robovlms_ros.model.inert_pickle import Inert, read_inert

SHARED = torch.arange(6.0)
TENSORS = {
    "model.act_head.weight": SHARED.view(2, 3),
    "model.act_head.transposed": SHARED.view(2, 3).T,
    "model.act_head.slice": SHARED[2:4],
    "model.act_head.half": torch.ones(3, dtype=torch.bfloat16),
    "model.act_head.parameter": torch.nn.Parameter(torch.full((2,), 7.0)),
    "model.act_head.scalar": torch.tensor(3),
    "model.act_head.empty": torch.zeros(0, 4),
}


def metadata() -> dict[str, Any]:
    """What Lightning, OmegaConf, argparse and NumPy leave in checkpoints."""
    return {
        "hyper_parameters": Namespace(lr=1e-4, folder=Path("/data"), betas={0.9, 0.999}),
        "callbacks": {"ModelCheckpoint": {"best": np.float64(0.5), "history": np.arange(3)}},
        "config": collections.defaultdict(list, {"a": [1]}),
        "loops": collections.deque([1, 2], maxlen=4),
        "started": datetime.datetime(2024, 1, 24, tzinfo=datetime.timezone.utc),
        "types": [Namespace, os.path.join],
        "epoch": 4,
    }


def assert_tensors_intact(path: Path) -> None:
    tensors = read_checkpoint(path)
    assert {f"model.{name}" for name in tensors} == TENSORS.keys()
    for name, expected in TENSORS.items():
        actual = tensors[name.removeprefix("model.")]
        assert actual.dtype == expected.dtype
        assert torch.equal(actual, expected)


def test_tensors_are_read_beside_a_training_frameworks_objects(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torch.save(metadata() | {"state_dict": collections.OrderedDict(TENSORS)}, tmp_path / "model.pt")
    assert_tensors_intact(tmp_path / "model.pt")
    assert "argparse.Namespace" in caplog.text
    assert "datetime.datetime" in caplog.text


def test_a_module_s_own_state_dict_with_its_attributes_is_read(tmp_path: Path) -> None:
    # state_dict() is an OrderedDict with an attribute, which the pickle sets with BUILD.
    state = torch.nn.Linear(2, 3).state_dict(prefix="model.act_head.")
    torch.save({"state_dict": state, "args": Namespace()}, tmp_path / "model.pt")
    tensors = read_checkpoint(tmp_path / "model.pt")
    assert torch.equal(tensors["act_head.weight"], state["model.act_head.weight"])


def test_tensors_are_mapped_and_shared_ones_stay_shared(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save(metadata() | {"state_dict": TENSORS}, path)
    tensors = read_checkpoint(path)
    assert tensors["act_head.weight"].data_ptr() == tensors["act_head.transposed"].data_ptr()
    maps = Path("/proc/self/maps")
    if maps.exists():
        assert str(path) in maps.read_text()
    tensors["act_head.weight"].zero_()
    del tensors
    assert_tensors_intact(path)


def test_objects_become_inert_and_plain_values_stay(tmp_path: Path) -> None:
    torch.save(metadata(), tmp_path / "model.pt")
    content = read_inert(tmp_path / "model.pt").content
    assert content["epoch"] == 4
    assert isinstance(content["hyper_parameters"], Inert)
    assert isinstance(content["started"], Inert)


# -- malicious files


class Call:
    """Pickles as a call of ``function``."""

    def __init__(self, function: Callable[..., object], *args: object) -> None:
        self.function, self.args = function, args

    def __reduce__(self) -> tuple[object, ...]:
        return self.function, self.args


def opcodes(value: object) -> bytes:
    """The pickle of ``value`` without its beginning and end."""
    return pickle.dumps(value, 2, fix_imports=False).removeprefix(b"\x80\x02").removesuffix(b".")


def state_setter(sentinel: Path) -> bytes:
    """An object whose ``__setstate__`` acts, from the module ``gadgets``."""
    return b"cgadgets\nActs\n)\x81" + opcodes(str(sentinel)) + b"b"


GADGETS: dict[str, Callable[[Path], bytes]] = {
    "os.system": lambda s: opcodes(Call(os.system, f"touch '{s}'")),
    "builtins.eval": lambda s: opcodes(Call(eval, f"open({str(s)!r}, 'w').close()")),
    "builtins.exec": lambda s: opcodes(Call(exec, f"open({str(s)!r}, 'w').close()")),
    "subprocess": lambda s: opcodes(Call(subprocess.check_call, ["touch", str(s)])),
    "inst opcode": lambda s: f"(S\"touch '{s}'\"\nios\nsystem\n".encode(),
    "posixpath, dotted": lambda s: b"\x8c\x09posixpath\x8c\x09os.system\x93" + opcodes((f"touch '{s}'",)) + b"R",
    "nested call": lambda s: opcodes([{"a": (Call(eval, f"open({str(s)!r}, 'w').close()"),)}]),
    "call that returns a function": lambda s: (
        opcodes(Call(eval, "__import__('os').system")) + opcodes((f"touch '{s}'",)) + b"R"
    ),
    "setstate": state_setter,
    "new": lambda s: b"cgadgets\nMakes\n" + opcodes((str(s),)) + b"\x81",
    "torch shell helper": lambda s: b"ctorch.utils.collect_env\nrun\n" + opcodes((f"touch '{s}'",)) + b"R",
    "torch nested pickle": lambda s: b"ctorch.storage\n_load_from_bytes\n" + opcodes((nested_file(s),)) + b"R",
    "torch file writer": lambda s: b"ctorch\nfrom_file\n" + opcodes((str(s), True, 1)) + b"R",
}


def nested_file(sentinel: Path) -> bytes:
    import io

    stream = io.BytesIO()
    torch.save(Call(os.system, f"touch '{sentinel}'"), stream)
    return stream.getvalue()


class Acts:
    """Touches the file that it is given as its state."""

    def __setstate__(self, path: str) -> None:
        Path(path).touch()


class Makes:
    """Touches the file that it is made with."""

    def __new__(cls, path: str) -> Makes:
        Path(path).touch()
        return super().__new__(cls)


@pytest.fixture
def gadgets(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("gadgets")
    module.Acts, module.Makes = Acts, Makes  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "gadgets", module)


def rewrite_pickle(path: Path, change: Callable[[bytes], bytes]) -> None:
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, change(content) if name.endswith("/data.pkl") else content)


def poisoned(path: Path, payload: bytes) -> Path:
    """A good checkpoint whose pickle first runs ``payload`` and drops what it gives."""
    torch.save({"state_dict": TENSORS, "args": Namespace()}, path)
    rewrite_pickle(path, lambda good: b"\x80\x04" + payload + b"0" + good[2:])
    return path


@pytest.mark.usefixtures("gadgets")
@pytest.mark.parametrize("gadget", GADGETS)
def test_nothing_in_a_file_is_run(tmp_path: Path, gadget: str) -> None:
    sentinel = tmp_path / "sentinel"
    payload = GADGETS[gadget](sentinel)
    path = poisoned(tmp_path / "model.pt", payload)
    assert_tensors_intact(path)
    assert not sentinel.exists()
    pickle.loads(b"\x80\x04" + payload + b".")
    assert sentinel.exists(), "the sentinel must be able to fire, or this test shows nothing"


@pytest.mark.parametrize("place", ["value", "key", "tensor", "container"])
def test_a_call_anywhere_in_the_state_dict_does_not_run(tmp_path: Path, place: str) -> None:
    sentinel = tmp_path / "sentinel"
    call = Call(os.system, f"touch '{sentinel}'")
    content: dict[str, object] = {
        "value": {"state_dict": {**TENSORS, "model.act_head.x": call}},
        "key": {"state_dict": TENSORS, call: 1},
        "tensor": {"state_dict": {**TENSORS, "model.act_head.weight": call}},
        "container": {"state_dict": call},
    }
    torch.save(content[place], tmp_path / "model.pt")
    try:
        read_checkpoint(tmp_path / "model.pt")
    except WeightsError:
        assert place == "container"
    assert not sentinel.exists()


def test_a_file_cannot_alter_the_functions_that_it_may_name(tmp_path: Path) -> None:
    # BUILD with a pair sets attributes on whatever is on the stack, if it has no __setstate__.
    attack = opcodes((None, {"__defaults__": (1,), "_function": None, "__call__": None}))
    names = "torch._utils\n_rebuild_tensor_v2", "torch\nFloatStorage", "collections\nOrderedDict", "os\nsystem"
    for name in names:
        path = poisoned(tmp_path / "model.pt", f"c{name}\n".encode() + attack + b"b")
        with contextlib.suppress(WeightsError):
            read_checkpoint(path)
    torch.save({"state_dict": TENSORS, "args": Namespace()}, tmp_path / "good.pt")
    assert_tensors_intact(tmp_path / "good.pt")


@given(position=st.floats(0, 1), value=st.integers(0, 255))
@settings(max_examples=150, deadline=None)
def test_a_damaged_pickle_gives_tensors_or_a_clear_error(
    tmp_path_factory: pytest.TempPathFactory, position: float, value: int
) -> None:
    path = tmp_path_factory.mktemp("damaged") / "model.pt"
    torch.save({"state_dict": TENSORS, "args": Namespace(a=np.float32(1))}, path)

    def damage(content: bytes) -> bytes:
        changed = bytearray(content)
        changed[int(position * (len(content) - 1))] = value
        return bytes(changed)

    rewrite_pickle(path, damage)
    try:
        tensors = read_checkpoint(path)
    except WeightsError:
        return
    assert all(torch.isfinite(tensor.float()).shape == tensor.shape for tensor in tensors.values())


def test_a_storage_that_is_named_by_no_tuple_is_a_damaged_file(tmp_path: Path) -> None:
    torch.save({"state_dict": TENSORS}, tmp_path / "model.pt")
    # Protocol 2, the number 1, "load the storage of that name", stop: torch meets it with an assertion.
    rewrite_pickle(tmp_path / "model.pt", lambda content: b"\x80\x02K\x01Q.")
    with pytest.raises(WeightsError, match="damaged"):
        read_checkpoint(tmp_path / "model.pt")


@pytest.mark.parametrize("reach", [{"size": 100}, {"offset": 5, "size": 3}, {"offset": -1}, {"stride": -1}])
def test_a_tensor_that_reaches_beyond_its_data_is_refused(tmp_path: Path, reach: dict[str, int]) -> None:
    class Beyond:
        def __reduce__(self) -> tuple[object, ...]:
            arguments = {"offset": 0, "size": 2, "stride": 1} | reach
            storage = SHARED.untyped_storage()
            typed = torch.storage.TypedStorage(wrap_storage=storage, dtype=torch.float32, _internal=True)
            size, stride = (arguments["size"],), (arguments["stride"],)
            return torch._utils._rebuild_tensor_v2, (typed, arguments["offset"], size, stride, False, {})

    torch.save({"state_dict": {"model.act_head.weight": Beyond()}, "args": Namespace()}, tmp_path / "model.pt")
    with pytest.raises(WeightsError, match="damaged"):
        read_checkpoint(tmp_path / "model.pt")
