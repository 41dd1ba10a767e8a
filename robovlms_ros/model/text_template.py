"""How an instruction becomes the text that a backbone was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class TextTemplate:
    """A prompt with ``{instruction}`` and, where the tokenizer does not add them, ``{bos}`` and ``{eos}``.

    ``max_tokens`` is the longest text the backbone was trained for, special tokens included.
    """

    text: str
    add_special_tokens: bool = True
    max_tokens: int = 512

    def fill(self, instruction: str, eos: str | None, bos: str | None = None) -> str:
        """The prompt for one instruction; white space around the instruction is dropped."""
        return self.text.format(instruction=instruction.strip(), eos=eos or "", bos=bos or "")


# By upstream's short model name (configuration key "model").
TEMPLATES: Mapping[str, TextTemplate] = {
    "kosmos": TextTemplate("<grounding>An image of a robot {instruction}"),
    "paligemma": TextTemplate("{eos}{instruction}\n", add_special_tokens=False),
    "llava": TextTemplate("{instruction}", max_tokens=2048),
    "qwen": TextTemplate("{instruction}"),
    "moondream": TextTemplate("<|endoftext|>{instruction}"),
    "uform": TextTemplate("<image> {instruction}"),
    "flamingo": TextTemplate("<image>{instruction}<|endofchunk|>{eos}", max_tokens=256),
    # Not upstream's. ACT stands before the end token where there is one, so the prompt has one.
    "qwenvl": TextTemplate("{instruction}{eos}", add_special_tokens=False),
    "keypoint": TextTemplate("{bos}{instruction}{eos}", add_special_tokens=False, max_tokens=64),
    "smolvlm": TextTemplate("{bos}{instruction}{eos}", add_special_tokens=False),
    "idefics": TextTemplate("{bos}<image>{instruction}{eos}", add_special_tokens=False),
}
DEFAULT_TEMPLATE = TextTemplate("<|endoftext|>{instruction}")
