"""Backbones and heads from folders and installed distributions; a broken one takes no other down."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_backbones

from robovlms_ros.model import plugins
from robovlms_ros.model.errors import ConfigError
from robovlms_ros.model.registry import backbone_class, policy_head_class

BACKBONE = """
from robovlms_ros.model.backbone.robosmolvlm import RoboSmolVLM
from robovlms_ros.model.plugins import register_backbone

@register_backbone("RoboMine")
class RoboMine(RoboSmolVLM):
    pass
"""
HEAD = """
from robovlms_ros.model.plugins import register_policy_head
from robovlms_ros.model.policy_head.lstm import LSTMDecoder

@register_policy_head("MyDecoder")
class MyDecoder(LSTMDecoder):
    pass
"""


@pytest.fixture(autouse=True)
def manager(monkeypatch: pytest.MonkeyPatch) -> plugins.PluginManager:
    monkeypatch.setattr(plugins, "PLUGINS", plugins.PluginManager())
    monkeypatch.delenv(plugins.FOLDERS_VARIABLE, raising=False)
    return plugins.PLUGINS


def test_a_folder_offers_backbones_and_heads(tmp_path: Path, manager: plugins.PluginManager) -> None:
    (tmp_path / "backbone.py").write_text(BACKBONE)
    (tmp_path / "head.py").write_text(HEAD)
    (tmp_path / "_private.py").write_text("raise RuntimeError('not a plugin')")
    assert manager.load_folder(tmp_path) == {}
    assert backbone_class("RoboMine").__name__ == "RoboMine"
    assert policy_head_class("MyDecoder").__name__ == "MyDecoder"
    assert manager.load_folder(tmp_path) == {}  # a second time nothing happens


def test_a_broken_file_is_named_and_the_others_work(
    tmp_path: Path, manager: plugins.PluginManager, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a_broken.py").write_text(BACKBONE.replace("RoboMine", "RoboHalf") + "\nimport no_such_module\n")
    (tmp_path / "b_syntax.py").write_text("def half(:\n")
    (tmp_path / "c_works.py").write_text(BACKBONE)
    broken = manager.load_folder(tmp_path)
    assert list(broken) == [str(tmp_path / "a_broken.py"), str(tmp_path / "b_syntax.py")]
    assert "a_broken.py" in caplog.text
    assert backbone_class("RoboMine").__name__ == "RoboMine"
    with pytest.raises(ConfigError, match=r"'RoboHalf'.*RoboMine.*a_broken\.py is broken: ModuleNotFoundError"):
        backbone_class("RoboHalf")


def test_a_file_cannot_take_the_name_of_another(tmp_path: Path, manager: plugins.PluginManager) -> None:
    (tmp_path / "a.py").write_text(BACKBONE)
    (tmp_path / "b.py").write_text(BACKBONE)
    (tmp_path / "c.py").write_text(BACKBONE.replace('"RoboMine"', '"RoboKosMos"'))
    broken = manager.load_folder(tmp_path)
    assert "'RoboMine' exists already" in broken[str(tmp_path / "b.py")]
    assert "'RoboKosMos' is the name of one that comes with" in broken[str(tmp_path / "c.py")]
    assert backbone_class("RoboMine").__module__.startswith("robovlms_plugin_a_")


def test_what_is_no_backbone_is_refused(tmp_path: Path, manager: plugins.PluginManager) -> None:
    (tmp_path / "a.py").write_text(HEAD.replace("register_policy_head", "register_backbone"))
    manager.load_folder(tmp_path)
    with pytest.raises(ConfigError, match="is no BaseRoboVLM"):
        backbone_class("MyDecoder")


def test_a_folder_is_read_only_where_the_user_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "plugin.py").write_text(BACKBONE)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="this installation has"):
        backbone_class("RoboMine")
    monkeypatch.setenv(plugins.FOLDERS_VARIABLE, str(tmp_path))
    assert backbone_class("RoboMine").__name__ == "RoboMine"


def test_a_folder_that_is_not_there_is_named(tmp_path: Path, manager: plugins.PluginManager) -> None:
    with pytest.raises(ConfigError, match="nowhere is no folder"):
        manager.load_folder(tmp_path / "nowhere")


@pytest.fixture(scope="module")
def distribution(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip has installed a small distribution with two entry points, one of them broken."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("target")
    (source / "pyproject.toml").write_text(
        """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "my-backbones"
version = "1.0"
[project.entry-points."robovlms_ros.backbones"]
RoboInstalled = "my_backbones:RoboInstalled"
RoboBroken = "my_backbones_broken:RoboBroken"
[tool.setuptools]
py-modules = ["my_backbones", "my_backbones_broken"]
"""
    )
    (source / "my_backbones.py").write_text(
        "from robovlms_ros.model.backbone.robosmolvlm import RoboSmolVLM\n"
        "class RoboInstalled(RoboSmolVLM):\n    pass\n"
    )
    (source / "my_backbones_broken.py").write_text("import no_such_module\n")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--target", str(target), str(source)], check=True, timeout=60, capture_output=True)
    return target


def run_with(path: Path, code: str) -> str:
    searched = os.pathsep.join([str(path), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": searched}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout


def test_an_installed_distribution_offers_a_backbone(distribution: Path) -> None:
    config = tiny_backbones.raw_config("smolvlm", robovlm_name="RoboInstalled")
    output = run_with(
        distribution,
        f"""
import sys
from pathlib import Path
from robovlms_ros.model.config_reader import parse_config
from robovlms_ros.model.errors import ConfigError
from robovlms_ros.model.registry import backbone_class
from robovlms_ros.model.vlm_builder import build_model
model = build_model(parse_config({config!r}), Path({str(tiny_backbones.folder("smolvlm"))!r}))
print(type(model).__module__, type(model).__name__, "my_backbones_broken" in sys.modules)
for name in ("RoboBroken", "RoboUnknown"):
    try:
        backbone_class(name)
    except ConfigError as error:
        print(error)
""",
    )
    works, broken, unknown = output.splitlines()
    assert works == "my_backbones RoboInstalled False"
    assert "my-backbones (my_backbones_broken:RoboBroken) offers 'RoboBroken'" in broken
    assert "no_such_module" in broken
    assert "RoboBroken" in unknown
    assert "RoboInstalled" in unknown
