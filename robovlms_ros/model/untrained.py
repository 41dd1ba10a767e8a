"""Makes a small Kosmos-2 with random weights, offline, in upstream's format.

It takes the same path as a published checkpoint (configuration, ``.pt``, backbone folder with tokenizer) and
runs in milliseconds. Its actions mean nothing, and everything made here says so.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from robovlms_ros.model.backbone.base_backbone import BaseRoboVLM
from robovlms_ros.model.config_reader import parse_config
from robovlms_ros.model.errors import ConfigError
from robovlms_ros.model.vlm_builder import build_model

_WORDS = (
    "pick up put place move push pull open close turn rotate slide lift grasp stack press reach go to take and "
    "the a an red green blue yellow orange pink white black block cube bowl plate cup spoon carrot drawer door "
    "cabinet button light bulb lever table basket towel eggplant pot sink apple can coke left right top middle "
    "bottom switch in into on onto of off from near over under toward robot image arm gripper"
)
_SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
_TAGS = (
    *("</doc>", "<image>", "</image>", "</chunk>", "</line>", "<phrase>", "</phrase>", "<object>", "</object>"),
    *("</delimiter_of_multi_objects/>", "<grounding>"),
)


@dataclass(frozen=True)
class UntrainedModel:
    """Where the files of `write_untrained` lie."""

    config: Path
    checkpoint: Path


def write_untrained(
    folder: Path,
    window: int = 8,
    chunk: int = 10,
    hand: bool = False,
    image_size: int = 224,
    seed: int = 0,
    action_encoder: bool = False,
) -> UntrainedModel:
    """Write ``config.json``, ``untrained.pt`` and ``vlm/`` below ``folder``, which is created.

    Args:
        folder: where to write.
        window: steps that the policy head remembers.
        chunk: actions per prediction.
        hand: whether the model takes a hand camera beside the static one.
        image_size: side of its images in pixels, a multiple of 14.
        seed: of the random weights; the same seed gives the same model.
        action_encoder: whether it takes the previous actions, ``window`` of them, as tokens.
    """
    if image_size % 14:
        raise ConfigError(f"image_size is {image_size}; Kosmos-2 needs a multiple of its patches of 14 pixels")
    vlm = folder / "vlm"
    vlm.mkdir(parents=True, exist_ok=True)
    tokenizer = make_tokenizer()
    tokenizer.save_pretrained(vlm)
    _backbone_config(len(tokenizer), image_size).save_pretrained(vlm)
    content = _model_config(window, chunk, hand, image_size, action_encoder)
    config = folder / "config.json"
    config.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build_model(parse_config(content, str(config)), vlm, device="cpu")
        _spread(model)
    checkpoint = folder / "untrained.pt"
    weights = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    torch.save({"state_dict": weights}, checkpoint)
    return UntrainedModel(config, checkpoint)


def _spread(model: BaseRoboVLM) -> None:
    """Make the actions differ visibly between images: fresh weights give almost the same everywhere."""
    with torch.no_grad():
        model.action_token.normal_(std=0.5)
        for name, weight in model.act_head.named_parameters():
            if name.startswith("rnn.weight"):
                weight.mul_(3)
            elif name.endswith("mlp.6.weight"):
                weight.mul_(8)


def make_tokenizer() -> Any:
    """A tokenizer of Kosmos-2's form: Unigram pieces, ``<s>`` text ``</s>``, and its tags.

    Words and letters with scores of their own: a trained vocabulary differs from one training to the next.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = list(dict.fromkeys(f"▁{word}" for word in _WORDS.split()))
    letters = ["▁", *(chr(code) for code in range(33, 127))]
    vocabulary = [(token, 0.0) for token in _SPECIAL]
    vocabulary += [(word, -5.0) for word in words] + [(letter, -10.0) for letter in letters]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=_SPECIAL.index("<unk>")))
    tokenizer.add_special_tokens([*_SPECIAL])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    make: Any = PreTrainedTokenizerFast  # it comes without types
    names = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    fast = make(tokenizer_object=tokenizer, **names)
    fast.add_tokens(list(_TAGS), special_tokens=True)
    return fast


def _backbone_config(vocabulary: int, image_size: int) -> Any:
    from transformers import Kosmos2Config

    text = {
        "vocab_size": vocabulary,
        "embed_dim": 128,
        "layers": 2,
        "ffn_dim": 256,
        "attention_heads": 4,
        "max_position_embeddings": 1024,
        "init_std": 0.1,
    }
    vision = {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": image_size,
        "patch_size": 14,
    }
    return Kosmos2Config(text_config=text, vision_config=vision, latent_query_num=16)


def _model_config(window: int, chunk: int, hand: bool, image_size: int, action_encoder: bool) -> dict[str, Any]:
    return {
        "untrained": True,
        "robovlm_name": "RoboKosMos",
        "model": "kosmos",
        "image_size": image_size,
        "window_size": window,
        "fwd_pred_next_n": chunk,
        "use_hand_rgb": hand,
        "norm_action": True,
        "norm_min": -0.65,
        "norm_max": 0.65,
        "act_encoder": {"type": "ActionLinearEncoder", "window": window} if action_encoder else None,
        "act_head": {
            "type": "LSTMDecoder",
            "hidden_size": 128,
            "action_dim": 7,
            "down_sample": "none",
            "latent": 1,
            "action_space": "continuous",
            "history_type": "post",
        },
        "vlm": {"type": "AutoModelForVision2Seq", "name": "kosmos", "pretrained_model_name_or_path": "vlm"},
        "tokenizer": {"type": "AutoProcessor", "pretrained_model_name_or_path": "vlm", "tokenizer_type": "kosmos"},
    }
