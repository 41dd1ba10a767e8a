"""Instructions are untrusted text: normalised, bounded, and free of what a model would take for markup."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

MAX_LENGTH = 512

# Markup of the vision-language models that RoboVLMs builds on, refused even where a model's own tokenizer
# does not list it: an instruction that carries one is an attack or a mistake.
COMMON_SPECIAL_TOKENS = (
    "<image>",
    "<grounding>",
    "<phrase>",
    "<object>",
    "<|endofchunk|>",
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<s>",
    "</s>",
    "<bos>",
    "<eos>",
    "<pad>",
    "<unk>",
)


class InstructionError(ValueError):
    """An instruction that must not reach the model; the message says what is wrong with it."""


def clean_instruction(text: str, special_tokens: Iterable[str] = ()) -> str:
    """Return ``text`` in Unicode NFC without surrounding white space; an empty result means "stop".

    Raises InstructionError for more than 512 characters, for control characters (NUL, escape, line breaks
    inside the text) and for special tokens: ``special_tokens`` of the loaded model and those common to all.
    """
    text = unicodedata.normalize("NFC", text).strip()
    if len(text) > MAX_LENGTH:
        raise InstructionError(f"it has {len(text)} characters, more than the {MAX_LENGTH} allowed")
    for character in text:
        # Cc are the control characters, Cs lone surrogates that no tokenizer can encode. Format characters
        # (Cf) stay: emoji and right-to-left scripts need them.
        if unicodedata.category(character) in ("Cc", "Cs"):
            raise InstructionError(f"it contains the control character U+{ord(character):04X}")
    lowered = text.lower()
    for token in (*COMMON_SPECIAL_TOKENS, *special_tokens):
        if token.strip() and token.lower() in lowered:
            raise InstructionError(f"it contains {token!r}, which the model reads as markup")
    return text
