"""Models, recordings and configurations come from anywhere: nothing in them is run, and nothing is fetched."""

from __future__ import annotations

import ast
import contextlib
import json
import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

from robovlms_ros.policy import Observation, VLAPolicy
from robovlms_ros.policy.untrained import make_untrained

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted(
    path for folder in ("robovlms_ros", "scripts", "launch", "bench") for path in (ROOT / folder).rglob("*.py")
)
# Subclasses of Unpickler that make inert objects whatever a pickle names; each has its own tests.
INERT = {"robovlms_ros/model/inert_pickle.py", "robovlms_ros/data/inert_npy.py"}
UNPICKLERS = {"marshal", "shelve", "dill", "cloudpickle", "joblib"}
# Where a download begins, each behind allow_download.
DOWNLOADERS = {"robovlms_ros/model/local_folder.py", "robovlms_ros/policy/vla_policy.py"}
NETWORK = {"urllib.request", "requests", "httpx", "http.client", "socket", "ftplib"}


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """Every call in a file, with its name as it is written: ``torch.load``, ``eval``."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def given(call: ast.Call, name: str) -> object:
    """The constant that a keyword is given; None without it."""
    value = next((keyword.value for keyword in call.keywords if keyword.arg == name), None)
    return value.value if isinstance(value, ast.Constant) else None


def problems(path: Path) -> list[str]:
    """What in a file could run what a file says, or fetch something."""
    name = path.relative_to(ROOT).as_posix()
    found = []
    for called, call in calls(path):
        last = called.split(".")[-1]
        if called in ("eval", "exec", "os.system", "os.popen", "yaml.load", "yaml.unsafe_load", "yaml.full_load"):
            found.append(f"{called}() runs what it reads")
        if called in ("pickle.load", "pickle.loads") or (called == "pickle.Unpickler" and name not in INERT):
            found.append(f"{called}() runs what it reads")
        if called == "torch.load" and given(call, "weights_only") is not True:
            found.append("torch.load() without weights_only=True")
        if given(call, "allow_pickle") is True or given(call, "shell") is True:
            found.append(f"{called}() with allow_pickle or shell")
        if any(keyword.arg == "trust_remote_code" for keyword in call.keywords):
            if given(call, "trust_remote_code") is not False:
                found.append(f"{called}() with trust_remote_code")
        elif last == "from_pretrained" and called.startswith("Auto"):
            found.append(f"{called}() asks at the terminal whether to run a model's code")
        if last == "from_pretrained" and given(call, "local_files_only") is not True:
            found.append(f"{called}() may go to the network")
        chosen = name in DOWNLOADERS and any(keyword.arg == "allow_patterns" for keyword in call.keywords)
        if last in ("snapshot_download", "hf_hub_download") and not chosen:
            found.append(f"{called}() fetches whatever lies there")
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        found += [f"imports {module}" for module in modules if module in UNPICKLERS | NETWORK]
    return found


def test_no_source_file_runs_or_fetches_what_a_file_names() -> None:
    assert len(FILES) > 100
    assert {str(path.relative_to(ROOT)): problems(path) for path in FILES if problems(path)} == {}


@pytest.mark.parametrize(
    "source",
    [
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "pickle.load(file)",
        "pickle.Unpickler(file)",
        "AutoModel.from_pretrained(folder, local_files_only=True)",
        "AutoModel.from_pretrained(folder, local_files_only=True, trust_remote_code=True)",
        "Kosmos2.from_pretrained(folder)",
        "np.load(path, allow_pickle=True)",
        "subprocess.run(command, shell=True)",
        "yaml.load(text, yaml.Loader)",
        "eval(text)",
        "snapshot_download(name)",
        "import joblib",
        "from urllib.request import urlopen",
    ],
)
def test_the_search_finds_what_it_looks_for(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    (tmp_path / "bad.py").write_text(source)
    assert problems(tmp_path / "bad.py")


def test_the_document_on_security_names_files_that_exist() -> None:
    text = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(test/[^`]+)`", text)) | {
        f"docs/{link}" for link in re.findall(r"\]\(([^)#:]+)\)", text)
    }
    assert len(named) > 15
    assert not {name for name in named if not (ROOT / name).exists()}


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_untrained(tmp_path_factory.mktemp("untrusted") / "model")


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Refuses every connection and every look-up of a name, and notes the attempt."""
    attempts: list[Any] = []

    def refuse(*arguments: Any, **_: Any) -> NoReturn:
        attempts.append(arguments)
        raise OSError("this test has no network")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    return attempts


def look(policy: VLAPolicy) -> np.ndarray:
    image = np.zeros((48, 64, 3), np.uint8)
    images = {camera: image for camera in policy.cameras}
    return policy.session().step(Observation(images, "pick up the block")).actions


def test_a_packed_model_loads_and_acts_without_looking_for_a_network(packed: Path, no_network: list[Any]) -> None:
    assert np.isfinite(look(VLAPolicy.load(packed))).all()
    assert no_network == []


def test_a_name_is_never_looked_up_unless_downloading_is_allowed(no_network: list[Any]) -> None:
    with pytest.raises(ValueError, match="organisation/model"):
        VLAPolicy.load("organisation/model")
    assert no_network == []


def test_what_is_downloaded_is_neither_code_nor_a_pickle(monkeypatch: pytest.MonkeyPatch, packed: Path) -> None:
    import huggingface_hub

    asked: dict[str, Any] = {}

    def download(name: str, **options: Any) -> str:
        asked.update(options, name=name)
        return str(packed)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    VLAPolicy.load("organisation/model", allow_download=True)
    assert asked["name"] == "organisation/model"
    kept = set(asked["allow_patterns"])
    assert not {pattern for pattern in kept if pattern.endswith((".py", ".bin", ".pt", ".pkl", "*"))}
    for path in packed.rglob("*"):
        assert not path.is_file() or any(path.match(pattern) for pattern in kept), path


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_code_beside_a_packed_model_is_not_run(packed: Path, tmp_path: Path, file: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(packed, folder)
    sentinel = tmp_path / "ran"
    evil = f"import pathlib\npathlib.Path({str(sentinel)!r}).touch()\nclass Evil: pass\n"
    classes = ("AutoConfig", "AutoModel", "AutoTokenizer", "AutoProcessor", "AutoImageProcessor")
    for place in (folder, folder / "vlm"):
        (place / "evil.py").write_text(evil)
        if not (place / file).exists():
            continue
        content = json.loads((place / file).read_text())
        content["auto_map"] = {name: "evil.Evil" for name in classes}
        (place / file).write_text(json.dumps(content))
    with contextlib.suppress(ValueError):  # refusing the model is right, too
        look(VLAPolicy.load(folder))
    assert not sentinel.exists()
