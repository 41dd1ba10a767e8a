from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from golden_backbones import kosmos, kosmos_image_tokens, tokenizer
from golden_cases import arrays, config_path, images
from torch import Tensor, nn
from transformers import GPT2Config, GPT2Model

from robovlms_ros.model.config_reader import read_config
from robovlms_ros.model.errors import ModelError
from robovlms_ros.model.policy_head.discrete import (
    DiscreteDecoder,
    LanguageModel,
    decode_tokens,
    decode_tokens_in_parallel,
    hide_answer,
)
from robovlms_ros.model.sequence import merge

GOLDEN = arrays("kosmos_discrete")
# Logits here reach 34, where float32 is exact to 4e-6 (AVX-512 sums differ by 2.9e-5); the token that wins leads
# by 0.14 or more.
LOGIT_TOLERANCE = 5e-5


@pytest.fixture
def head() -> DiscreteDecoder:
    return DiscreteDecoder(read_config(config_path("kosmos_discrete")), 64, tokenizer("kosmos2_tiny_untied"))


@pytest.fixture
def model() -> Any:
    return kosmos("kosmos_discrete", "kosmos2_tiny_untied")


def embed(model: Any, ids: Tensor) -> Tensor:
    embedded: Tensor = model.text_model.model.embed_tokens(ids)
    return embedded


def inputs(model: Any, pixels: Tensor, ids: Tensor) -> Tensor:
    """Images behind the first token, whatever the tokenizer has."""
    tokens = kosmos_image_tokens(model, pixels)
    return merge(embed(model, ids), tokens, bos=1, eos=0).embeddings


def language_model(text: Any) -> LanguageModel:
    def run(embeddings: Tensor, mask: Tensor | None, cache: Any) -> Tensor:
        output = text(inputs_embeds=embeddings, past_key_values=cache, use_cache=cache is not None)
        hidden: Tensor = output.last_hidden_state
        return hidden

    return run


@torch.no_grad()
@pytest.mark.parametrize("step", [0, 1, 2])
def test_decoding_matches_upstream(head: DiscreteDecoder, model: Any, step: int) -> None:
    prompt = torch.from_numpy(GOLDEN["text_ids"])[:, :-1]
    prefix = inputs(model, images("rgb_q")[step : step + 1], prompt)
    text = model.text_model
    answer = decode_tokens(language_model(text.model), text.lm_head, lambda ids: embed(model, ids), prefix, 7)
    expected = torch.from_numpy(GOLDEN["rollout_logits"][step])
    torch.testing.assert_close(answer.logits[0], expected, atol=LOGIT_TOLERANCE, rtol=0)
    _, output = head.step(None, answer.ids)
    action = GOLDEN["rollout_action"][step]
    np.testing.assert_array_equal(output.pose[0].numpy(), action[:, :6].astype(np.float32))
    np.testing.assert_array_equal(output.gripper[0].numpy(), action[:, 6])


@torch.no_grad()
def test_decoding_with_a_cache_equals_reading_the_whole_sequence_again(model: Any) -> None:
    text = model.text_model
    prefix = inputs(model, images("rgb_q")[:1], torch.from_numpy(GOLDEN["text_ids"])[:, :-1])
    answer = decode_tokens(language_model(text.model), text.lm_head, lambda ids: embed(model, ids), prefix, 7)
    whole = torch.cat([prefix, embed(model, answer.ids)], dim=1)
    logits = text.lm_head(text.model(inputs_embeds=whole, use_cache=False).last_hidden_state)
    torch.testing.assert_close(answer.logits, logits[:, -8:-1], atol=LOGIT_TOLERANCE, rtol=0)


@torch.no_grad()
def test_training_loss_matches_upstream(head: DiscreteDecoder, model: Any) -> None:
    ids, labels, mask = (torch.from_numpy(GOLDEN[f"train_instr_{name}"]) for name in ("ids", "labels", "mask"))
    embeddings = inputs(model, images("train_rgb_q").flatten(0, 1), ids.flatten(0, 1))
    image = torch.full((8, 4), -100)
    labels = torch.cat([labels.flatten(0, 1)[:, :1], image, labels.flatten(0, 1)[:, 1:]], dim=1)
    mask = torch.cat([mask.flatten(0, 1)[:, :1], image < 0, mask.flatten(0, 1)[:, 1:]], dim=1)
    # The steps of one window follow each other in one sequence.
    embeddings, labels, mask = embeddings.view(2, -1, 64), labels.view(2, -1), mask.view(2, -1)
    hidden = model.text_model.model(inputs_embeds=embeddings, attention_mask=mask).last_hidden_state
    losses = head.token_loss(*shifted(model.text_model.lm_head(hidden), labels))
    assert losses.arm.item() == pytest.approx(float(GOLDEN["train_total_loss"]), abs=1e-5)
    assert losses.action_l1.item() == pytest.approx(float(GOLDEN["train_out_action_l1_act"]), abs=1e-6)
    assert losses.arm_accuracy.item() == GOLDEN["train_out_acc_arm_act"]
    assert losses.gripper_accuracy.item() == GOLDEN["train_out_acc_gripper_act"]


def shifted(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    return logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten()


def perfect_logits(labels: Tensor) -> Tensor:
    answers = labels.clamp(min=0).roll(-1, dims=1)
    return 20 * nn.functional.one_hot(answers, 400).float()


def test_perfect_answers_have_no_loss(head: DiscreteDecoder) -> None:
    labels = torch.full((2, 20), -100)
    labels[:, 5:19] = torch.from_numpy(head.action_tokenizer.encode(torch.linspace(-1, 1, 28).view(2, 14).numpy()))
    losses = head.token_loss(*shifted(perfect_logits(labels), labels))
    assert losses.arm < 1e-4
    assert (losses.arm_accuracy, losses.gripper_accuracy, losses.action_l1) == (1, 1, 0)


def test_a_wrong_gripper_counts_against_the_gripper_only(head: DiscreteDecoder) -> None:
    labels = torch.full((1, 9), -100)
    labels[:, 1:8] = torch.from_numpy(head.action_tokenizer.encode([[0, 0.1, 0.2, 0.3, 0.4, 0.5, 1]]))
    answers = labels.clone()
    answers[:, 7] = head.action_tokenizer.end_id - 1
    losses = head.token_loss(*shifted(perfect_logits(answers), labels))
    assert (losses.arm_accuracy, losses.gripper_accuracy) == (1, 0)
    assert losses.action_l1 == pytest.approx(2 / 7, abs=0.01)


def test_half_an_action_is_refused(head: DiscreteDecoder) -> None:
    with pytest.raises(ModelError, match="6 action tokens are not whole actions of 7"):
        head(torch.full((1, 6), 300))
    with pytest.raises(ModelError, match="8 action tokens, not whole actions of 7"):
        head.token_loss(torch.zeros(8, 400), torch.full((8,), 300))


def test_steps_equal_the_window(head: DiscreteDecoder) -> None:
    ids = torch.randint(128, 384, (2, 4, 21))
    window = head(ids)
    assert window.pose.shape == (2, 4, 3, 6)
    for step in range(4):
        _, output = head.step(head.init_state(), ids[:, step])
        assert torch.equal(output.pose, window.pose[:, step])
        assert torch.equal(output.gripper, window.gripper[:, step])


def test_parallel_decoding_reads_the_answer_of_a_model_trained_for_it() -> None:
    torch.manual_seed(0)
    config = GPT2Config(n_layer=2, n_head=2, n_embd=32, vocab_size=50, n_positions=12)
    text, lm_head, placeholder = GPT2Model(config).eval(), nn.Linear(32, 50), torch.zeros(32)
    prompts, answers = torch.randint(50, (2, 5)), torch.randint(50, (2, 7))
    labels = torch.cat([torch.full((2, 5), -100), answers], dim=1)
    optimizer = torch.optim.Adam([*text.parameters(), *lm_head.parameters()], lr=1e-2)
    for _ in range(60):
        embeddings = hide_answer(text.wte(torch.cat([prompts, answers], dim=1)), labels, placeholder)
        logits = lm_head(text(inputs_embeds=embeddings).last_hidden_state)
        loss = nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        answer = decode_tokens_in_parallel(language_model(text), lm_head, placeholder, text.wte(prompts), 7)
    assert torch.equal(answer.ids, answers)
    assert answer.logits.shape == (2, 7, 50)
