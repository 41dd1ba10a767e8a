"""What holds for every backbone, whatever its network is."""

from __future__ import annotations

import ast
import inspect

import pytest
import tiny_backbones
import torch
from tiny_backbones import INSTRUCTION, TINY, encode_cameras, folder, make_config, make_model

from robovlms_ros.model.backbone.base_backbone import BaseRoboVLM
from robovlms_ros.model.registry import BACKBONES, backbone_class
from robovlms_ros.model.vlm_builder import build_model
from robovlms_ros.model.weights import assign_weights

# These arrange the sequence in a way of their own.
REARRANGED = ("RoboFlamingo", "RoboKeypoint")
backbones = pytest.mark.parametrize("name", TINY)


def own_lines(cls: type) -> int:
    """Lines of a class that are neither blank nor comment nor docstring."""
    source = inspect.getsource(cls)
    lines = dict(enumerate(source.splitlines(), start=1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            docstring = node.body[0]
            for number in range(docstring.lineno, (docstring.end_lineno or 0) + 1):
                del lines[number]
    return sum(bool(line.strip()) and not line.strip().startswith("#") for line in lines.values())


@pytest.mark.parametrize("name", [name for name in BACKBONES if name not in REARRANGED])
def test_a_backbone_takes_at_most_thirty_lines_beyond_the_base_class(name: str) -> None:
    cls = backbone_class(name)
    parents = [parent for parent in cls.__mro__ if issubclass(parent, BaseRoboVLM) and parent is not BaseRoboVLM]
    assert sum(own_lines(parent) for parent in parents) <= 30


@backbones
def test_tables_of_a_model_built_without_weights_are_those_of_one_built_with_them(name: str) -> None:
    config = make_config(name)
    on_meta, on_cpu = build_model(config, folder(name)), build_model(config, folder(name), device="cpu")
    assert {parameter.device.type for parameter in on_meta.parameters()} == {"meta"}
    assert {parameter.dtype for parameter in on_meta.parameters()} == {torch.float32}
    assert {parameter.dtype for parameter in on_cpu.parameters()} == {torch.float32}
    expected = dict(on_cpu.named_buffers())
    assert expected
    for key, table in on_meta.named_buffers():
        torch.testing.assert_close(table, expected[key], rtol=0, atol=0)


@backbones
def test_weights_that_are_saved_and_loaded_give_the_same_tokens(name: str) -> None:
    model = make_model(name)
    loaded = build_model(model.config, folder(name))
    assign_weights(
        loaded, {key: tensor.clone() for key, tensor in model.state_dict().items()}, torch.float32, "test"
    )
    static, hand = tiny_backbones.images(2).split(1)
    text = model.embed_text(model.encode_text(INSTRUCTION))
    torch.testing.assert_close(
        loaded.fuse(encode_cameras(loaded, static, hand), text),
        model.fuse(encode_cameras(model, static, hand), text),
        rtol=0,
        atol=0,
    )


@backbones
def test_a_window_gives_what_its_steps_give_and_a_new_episode_starts_from_nothing(name: str) -> None:
    model = make_model(name)
    static, hand = tiny_backbones.images(4, seed=1), tiny_backbones.images(4, seed=2)
    ids = model.encode_text(INSTRUCTION)
    together = model(static[None], ids, torch.ones_like(ids), hand=hand[None])
    text = model.embed_text(ids)
    for _ in range(2):
        memory = model.init_state()
        for step in range(4):
            frame = encode_cameras(model, static[step : step + 1], hand[step : step + 1])
            memory, tokens = model.observe(memory, frame, text)
            memory, output = model.decide(memory, tokens)
            torch.testing.assert_close(output.pose, together.pose[:, step], rtol=0, atol=1e-5)
            torch.testing.assert_close(output.gripper, together.gripper[:, step], rtol=0, atol=1e-5)


@backbones
def test_both_cameras_and_the_instruction_matter(name: str) -> None:
    model = make_model(name)
    first, second, third = tiny_backbones.images(3).split(1)
    text = model.embed_text(model.encode_text(INSTRUCTION))
    other = model.embed_text(model.encode_text("open the drawer"))
    seen = model.fuse(encode_cameras(model, first, second), text)
    for different in (
        model.fuse(encode_cameras(model, third, second), text),
        model.fuse(encode_cameras(model, first, third), text),
        model.fuse(encode_cameras(model, first), text),
        model.fuse(encode_cameras(model, first, second), other),
    ):
        assert (seen - different).abs().max() > 1e-3


def test_every_backbone_of_the_registry_is_among_the_tiny_ones() -> None:
    assert {cls for cls, _, _ in TINY.values()} | {"RoboKosMos", "RoboPaliGemma"} == set(BACKBONES)
