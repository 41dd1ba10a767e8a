from __future__ import annotations

import unicodedata

import pytest

from robovlms_ros.policy.instruction import MAX_LENGTH, InstructionError, clean_instruction


@pytest.mark.parametrize(
    "text",
    [
        "pick up the red block",
        "ارفع المكعب الأحمر",
        "拿起红色的积木",
        "grab the 🍎",
        "family 👨‍👩‍👧",
        "5 < 6 and 7 > 3",
    ],
)
def test_ordinary_text_of_any_script_passes_unchanged(text: str) -> None:
    assert clean_instruction(text) == unicodedata.normalize("NFC", text)


def test_different_spellings_of_one_text_become_one() -> None:
    assert clean_instruction("cafe\u0301") == clean_instruction("caf\u00e9") == "caf\u00e9"


@pytest.mark.parametrize("text", ["", " ", "\n\t  \r\n"])
def test_white_space_means_stop(text: str) -> None:
    assert clean_instruction(text) == ""


def test_a_final_line_break_is_no_part_of_the_instruction() -> None:
    assert clean_instruction("go home\n") == "go home"


@pytest.mark.fault(12)
def test_the_length_is_capped() -> None:
    assert len(clean_instruction("x" * MAX_LENGTH)) == MAX_LENGTH
    with pytest.raises(InstructionError, match="10240 characters"):
        clean_instruction("x" * 10240)


@pytest.mark.fault(12)
@pytest.mark.parametrize("character", ["\0", "\x1b", "\x7f", "\x85", "\n", "\ud800"])
def test_control_characters_are_refused(character: str) -> None:
    with pytest.raises(InstructionError, match=f"U\\+{ord(character):04X}"):
        clean_instruction(f"open{character}drawer")


@pytest.mark.fault(12)
@pytest.mark.parametrize("token", ["<image>", "<grounding>", "<|endoftext|>", "</s>", "<IMAGE>"])
def test_markup_of_language_models_is_refused(token: str) -> None:
    with pytest.raises(InstructionError, match="markup"):
        clean_instruction(f"push {token} the block")


def test_special_tokens_of_the_loaded_model_are_refused() -> None:
    assert clean_instruction("use [ACT] now") == "use [ACT] now"
    with pytest.raises(InstructionError, match=r"\[ACT\]"):
        clean_instruction("use [ACT] now", special_tokens=["[ACT]", ""])
