"""The small backbone of our own: places in the image as tokens."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny_backbones import INSTRUCTION, folder, images, make_config, make_model
from transformers import LlamaForCausalLM

from robovlms_ros.model.backbone.keypoint_vlm import KeypointConfig, KeypointVisionConfig, KeypointVisionTower
from robovlms_ros.model.discrete_prompt import IGNORED_LABEL
from robovlms_ros.model.errors import ConfigError
from robovlms_ros.model.policy_head.discrete import decode_tokens, decode_tokens_in_parallel
from robovlms_ros.model.transformers_classes import read_backbone_config
from robovlms_ros.model.vlm_builder import build_model


def test_a_place_is_where_something_is() -> None:
    tower = KeypointVisionTower(KeypointVisionConfig(image_size=32, channels=[8, 8], keypoints=1), width=4)
    with torch.no_grad():
        # What is bright attracts the only place.
        for layer in tower.convolutions:
            layer.weight.zero_()
            layer.weight[:, :, layer.kernel_size[0] // 2, layer.kernel_size[1] // 2] = 1.0
            layer.bias.zero_()
        tower.places.weight.fill_(20.0)
    for column, row, x, y in ((0, 0, -1, -1), (31, 0, 1, -1), (0, 31, -1, 1), (31, 31, 1, 1)):
        image = torch.zeros(1, 3, 32, 32)
        image[..., max(row - 3, 0) : row + 3, max(column - 3, 0) : column + 3] = 1.0
        seen = tower.find(image, torch.zeros(1, 4))[0, 0]
        assert torch.sign(seen).tolist() == [x, y]
        assert seen.abs().min() > 0.5


def test_what_is_looked_for_depends_on_the_instruction() -> None:
    tower = make_model("keypoint").vision_tower[1]
    one, other = (tower.find(images(1), torch.full((1, 32), value)) for value in (0.0, 1.0))
    assert (one - other).abs().max() > 1e-2


def test_each_camera_has_an_encoder_of_its_own_and_the_static_one_can_be_alone() -> None:
    model = make_model("keypoint")
    text = model.embed_text(model.encode_text(INSTRUCTION))
    image = images(1)
    both = model.arrange(model.encode_images(torch.stack([image, image], dim=1)).flatten(1, 2), text)
    alone = model.arrange(model.encode_images(image[None])[:, 0], text)
    hand, static = both.embeddings[0, both.vision].chunk(2)
    assert len(static) == model.backbone.config.vision_config.tokens
    assert not torch.allclose(hand, static, atol=1e-3)
    torch.testing.assert_close(alone.embeddings[0, alone.vision], static)


def test_padding_behind_the_instruction_changes_nothing() -> None:
    model = make_model("keypoint")
    ids = model.encode_text(INSTRUCTION)
    padded = torch.nn.functional.pad(ids, (0, 3), value=5)
    mask = torch.arange(padded.shape[1])[None] < ids.shape[1]
    pixels = model.encode_images(images(1)[None])[:, 0]
    one = model.arrange(pixels, model.embed_text(ids))
    other = model.arrange(pixels, model.embed_text(padded), mask)
    torch.testing.assert_close(other.embeddings[:, other.vision], one.embeddings[:, one.vision])


@pytest.mark.parametrize("parallel", [False, True])
def test_an_answer_that_it_is_taught_is_the_one_that_it_gives(parallel: bool) -> None:
    # The answer stands behind the prompt in training; if it told where to look, no robot would see the same.
    head = {"type": "DiscreteDecoder", "action_space": "discrete", "n_bin": 8, "parallel_decoding": parallel}
    model = make_model("keypoint", act_encoder=None, state_encoder=None, act_head=head)
    count = model.act_head.chunk_length * 7
    ids = model.encode_text(INSTRUCTION)
    pixels = model.encode_images(images(1)[None]).flatten(1, 2)
    prefix = model.arrange(pixels, model.embed_text(ids)).embeddings
    given = (
        decode_tokens_in_parallel(model.language_model, model.word_scores, model.action_token, prefix, count)
        if parallel
        else decode_tokens(model.language_model, model.word_scores, model.embed_text, prefix, count)
    )
    row = torch.cat([ids, given.ids], dim=1)[None]
    labels = torch.cat([torch.full_like(ids, IGNORED_LABEL), given.ids], dim=1)[None]
    taught = model(images(1)[None], row, labels=labels)
    expected = torch.nn.functional.cross_entropy(given.logits[0], given.ids[0])
    torch.testing.assert_close(taught.arm, expected)


def test_what_it_cannot_be_is_said() -> None:
    for changes in ({"use_vision_resampler": True}, {"act_head": {"history_type": "video"}}):
        with pytest.raises(ConfigError, match="RoboKeypoint takes no video history or resampler"):
            build_model(make_config("keypoint", **changes), folder("keypoint"))


def test_its_language_model_is_a_llama() -> None:
    model = make_model("keypoint")
    llama = LlamaForCausalLM(model.backbone.config.text_config).eval()
    llama.model.load_state_dict(model.backbone.language_model.state_dict())
    llama.lm_head.load_state_dict(model.backbone.lm_head.state_dict())
    embeddings = model.embed_text(model.encode_text(INSTRUCTION))
    with torch.no_grad():
        scores = llama(inputs_embeds=embeddings).logits
        torch.testing.assert_close(model.word_scores(model.language_model(embeddings, None)), scores)


def test_its_configuration_survives_being_saved(tmp_path: Path) -> None:
    config = read_backbone_config(folder("keypoint"))
    assert isinstance(config, KeypointConfig)
    config.save_pretrained(tmp_path)
    again = read_backbone_config(tmp_path)
    assert again.vision_config.keypoints == 5
    assert again.text_config.hidden_size == config.text_config.hidden_size


def test_the_same_seed_gives_the_same_weights_in_another_process() -> None:
    code = (
        "import torch; from robovlms_ros.model.backbone.keypoint_vlm import *; torch.manual_seed(3);"
        "m = KeypointModel(KeypointConfig({'channels': [8, 8]}, {'hidden_size': 16, 'intermediate_size': 16,"
        "'num_hidden_layers': 1, 'num_attention_heads': 2, 'vocab_size': 9}));"
        "print(sum(w.double().abs().sum().item() for w in m.parameters()))"
    )
    said = [
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
        for _ in range(2)
    ]
    assert said[0] == said[1]
    assert float(said[0]) > 1


def test_the_robots_place_counts_from_the_start() -> None:
    config = make_config("keypoint", state_encoder={"arm_dim": 6})
    torch.manual_seed(0)
    model = build_model(config, folder("keypoint"), device="cpu")
    assert model.embed_arm_state.weight.abs().max() > 1
