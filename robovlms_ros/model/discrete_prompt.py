"""What a model with discrete actions is asked, and the rows it is trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from robovlms_ros.model.errors import ModelError

IGNORED_LABEL = -100
"""Label of a position that takes no part in the loss (PyTorch's default ``ignore_index``)."""


@dataclass(frozen=True)
class ChatStyle:
    """How a language model was trained to see one question: a text with ``{message}`` and ``{eos}``.

    ``bos`` and ``eos`` stand in for a tokenizer that has neither.
    """

    text: str
    bos: str = "<s>"
    eos: str = "</s>"


_PHI = ChatStyle("{bos}Input: {message}\nOutput: \n{eos}", bos="<|endoftext|>", eos="<|endoftext|>")

# By a part of the model's name, tried in this order. The texts are OpenVLA's, "<<SYS>" included.
CHAT_STYLES: Mapping[str, ChatStyle] = {
    "vicuna": ChatStyle(
        "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, "
        "detailed, and polite answers to the user's questions. USER: {message} ASSISTANT:  {eos}"
    ),
    "mistral": ChatStyle("[INST] {message} [/INST]  {eos}"),
    "llama": ChatStyle(
        "[INST] <<SYS>\nYou are a helpful language and vision assistant. You are able to understand the visual "
        "content that the user provides, and assist the user with a variety of tasks using natural language."
        "\n<</SYS>>\n\n{message} [/INST]  {eos}"
    ),
    "mpt": _PHI,
    "qwen": ChatStyle("Input: {message}\nOutput: \n", bos="", eos=""),
}
DEFAULT_STYLE = _PHI


def discrete_prompt(instruction: str, steps: int, model: str, bos: str | None, eos: str | None) -> str:
    """The text to tokenize, special tokens to be added by the tokenizer.

    Args:
        instruction: what the robot should do.
        steps: how many actions to ask for; upstream asks for one more than it predicts on CALVIN.
        model: name of the model (configuration key ``model``), which selects the style.
        bos: the tokenizer's begin token, None where it has none. It is taken out of the text: the tokenizer
            adds it. With ``bos == eos`` that takes the end token too, as upstream does.
        eos: the tokenizer's end token, None where it has none.
    """
    style = next((style for name, style in CHAT_STYLES.items() if name in model.lower()), DEFAULT_STYLE)
    if bos is None and eos is None:
        bos, eos = style.bos, style.eos
    task = instruction.replace("<image>", "").strip()
    number = "" if steps == 1 else f"{steps} step "
    message = f"What {number}{'action' if steps == 1 else 'actions'} should the robot take to {task}?"
    text = style.text.format(message=message, bos=bos or "", eos=eos or "")
    return (text.replace(bos, "") if bos else text).rstrip()


def prompt_ids(tokenizer: Any, prompt: str) -> list[int]:
    """Token ids of a prompt at inference: the answer goes where the end token was."""
    ids: list[int] = tokenizer(prompt, add_special_tokens=True).input_ids
    return ids if tokenizer.eos_token is None else ids[:-1]


class TrainingRow(NamedTuple):
    """Token ids of one window position, and the label of each, `IGNORED_LABEL` where there is none."""

    ids: list[int]
    labels: list[int]


def training_row(
    prompt: Sequence[int],
    action_ids: Sequence[int],
    valid: int,
    end: int | None,
    *,
    predict_stop_token: bool = True,
) -> TrainingRow:
    """``[prompt] [actions] [end]``, with labels for the actions and the end only.

    Args:
        prompt: ids from `prompt_ids`.
        action_ids: ids of the whole chunk, ``N * action_dim``.
        valid: how many of these belong to actions inside the episode; the labels of the others are ignored.
        end: id of the end token; None where the tokenizer has none.
        predict_stop_token: also train the model to stop after the actions.
    """
    if not 0 <= valid <= len(action_ids):
        raise ModelError(f"valid must be between 0 and the {len(action_ids)} action tokens, it is {valid}")
    ids = [*prompt, *action_ids]
    labels = [IGNORED_LABEL] * len(prompt) + [*action_ids[:valid]] + [IGNORED_LABEL] * (len(action_ids) - valid)
    if end is not None:
        ids.append(end)
        labels.append(end if predict_stop_token else IGNORED_LABEL)
    return TrainingRow(ids, labels)
