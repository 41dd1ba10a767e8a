from __future__ import annotations

import json

import pytest
from golden_backbones import tokenizer
from golden_cases import FOLDER, arrays

from robovlms_ros.model.discrete_prompt import IGNORED_LABEL, discrete_prompt, prompt_ids, training_row
from robovlms_ros.model.errors import ModelError
from robovlms_ros.model.policy_head.action_tokenizer import ActionTokenizer

PROMPTS = json.loads((FOLDER / "prompts.json").read_text())
TOKENS = {"paligemma": ("<bos>", "<eos>"), "mpt": ("<|endoftext|>", "<|endoftext|>")}


@pytest.mark.parametrize("model", PROMPTS)
def test_prompts_match_upstream(model: str) -> None:
    bos, eos = TOKENS.get(model, ("<s>", "</s>"))
    assert discrete_prompt("X", 11, model, bos, eos) == PROMPTS[model]


def test_the_style_goes_by_a_part_of_the_name() -> None:
    assert discrete_prompt("X", 11, "Meta-Llama-3", "<s>", "</s>") == PROMPTS["llama"]
    assert discrete_prompt("X", 11, "kosmos", "<s>", "</s>") == PROMPTS["phi"]


def test_one_action_is_asked_for_without_a_number() -> None:
    assert "What action should the robot take to X?" in discrete_prompt("X", 1, "phi", "<s>", "</s>")


def test_a_tokenizer_without_begin_or_end_token_gets_the_styles_own() -> None:
    assert discrete_prompt("X", 11, "vicuna", None, None) == PROMPTS["vicuna"]
    assert discrete_prompt("X", 11, "phi", None, "</s>") == PROMPTS["phi"]


def test_an_instruction_is_stripped_of_white_space_and_image_marks() -> None:
    assert discrete_prompt(" <image>X\n", 11, "phi", "<s>", "</s>") == PROMPTS["phi"]


def test_prompt_ids_match_upstream() -> None:
    words = tokenizer("kosmos2_tiny_untied")
    prompt = discrete_prompt("pick up the red block", 4, "kosmos", words.bos_token, words.eos_token)
    assert prompt_ids(words, prompt) == arrays("wrappers")["calvin_discrete__text"][0].tolist()


@pytest.mark.parametrize(("sample", "length"), [(0, 27), (1, 25)])
def test_training_rows_match_upstream(sample: int, length: int) -> None:
    golden = arrays("kosmos_discrete")
    words = ActionTokenizer(tokenizer("kosmos2_tiny_untied"))
    for step in range(4):
        chunk = golden["train_action_chunk"][sample, step].copy()
        chunk[:, -1] = 2 * chunk[:, -1] - 1
        ids, labels = (golden[f"train_instr_{name}"][sample, step] for name in ("ids", "labels"))
        row = training_row(ids[:length].tolist(), words.encode(chunk).ravel().tolist(), valid=21, end=2)
        used = golden["train_instr_mask"][sample, step]
        assert row.ids == ids[used].tolist()
        assert row.labels == labels[used].tolist()


def test_actions_beyond_the_episode_and_a_stop_token_nobody_wants_have_no_label() -> None:
    row = training_row([5, 6], [20, 21, 22, 23], valid=2, end=2, predict_stop_token=False)
    assert row.ids == [5, 6, 20, 21, 22, 23, 2]
    assert row.labels == [IGNORED_LABEL] * 2 + [20, 21] + [IGNORED_LABEL] * 3


def test_a_tokenizer_without_end_token_gets_none() -> None:
    assert training_row([5], [20, 21], valid=2, end=None).ids == [5, 20, 21]


def test_more_valid_tokens_than_there_are_is_refused() -> None:
    with pytest.raises(ModelError, match="between 0 and the 2"):
        training_row([5], [20, 21], valid=3, end=2)
