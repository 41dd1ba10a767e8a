"""From an instruction to the token ids that a model is asked with."""

from __future__ import annotations

from typing import Any

from robovlms_ros.model.config import RoboVLMConfig
from robovlms_ros.model.discrete_prompt import discrete_prompt, prompt_ids
from robovlms_ros.model.errors import ObservationError
from robovlms_ros.model.text_template import DEFAULT_TEMPLATE, TEMPLATES, TextTemplate


def text_template(config: RoboVLMConfig) -> TextTemplate:
    """The template of a configuration's backbone."""
    return TEMPLATES.get(config.model, DEFAULT_TEMPLATE)


def special_tokens(tokenizer: Any) -> list[str]:
    """Strings that the tokenizer takes for control tokens and that an instruction therefore must not hold."""
    return sorted({*tokenizer.all_special_tokens, *tokenizer.get_added_vocab()})


def instruction_ids(instruction: str, tokenizer: Any, config: RoboVLMConfig) -> list[int]:
    """Token ids of the prompt for one instruction: the backbone's template, or the question of a discrete model.

    Raises `ObservationError` where the instruction is empty, holds one of `special_tokens`, or is too long.
    """
    if not instruction.strip():
        raise ObservationError("the instruction is empty; say in a few words what the robot should do")
    special = next((token for token in special_tokens(tokenizer) if token in instruction), None)
    if special is not None:
        raise ObservationError(f"the instruction holds {special!r}, a control token; leave it out")
    template = text_template(config)
    if config.act_head is not None and config.act_head.action_space == "discrete":
        # Upstream asks for one action more than there are in a chunk, in training and in its wrapper.
        steps = config.fwd_pred_next_n + 1
        question = discrete_prompt(instruction, steps, config.model, tokenizer.bos_token, tokenizer.eos_token)
        ids = prompt_ids(tokenizer, question)
    else:
        text = template.fill(instruction, tokenizer.eos_token, tokenizer.bos_token)
        ids = tokenizer(text, add_special_tokens=template.add_special_tokens)["input_ids"]
    if len(ids) > template.max_tokens:
        raise ObservationError(
            f"the instruction has {len(ids)} tokens, the model reads at most {template.max_tokens}; shorten it"
        )
    return ids
