"""Text for pictures: any script on one line or a few, in a font that is there."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

from PIL import ImageFont, features

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
# Many scripts and on most machines; Pillow's own font knows Latin letters only.
PREFERRED = "DejaVuSans.ttf"
ELLIPSIS = "…"


@lru_cache(maxsize=32)
def font(size: int, any_script: bool = False) -> Font:
    """A font of ``size`` pixels; without FreeType a small one of one size.

    ``any_script`` joins letters and orders them from right to left where a script wants it so, and takes longer.
    """
    layout = ImageFont.Layout.RAQM if any_script and features.check("raqm") else ImageFont.Layout.BASIC
    try:
        return ImageFont.truetype(PREFERRED, size, layout_engine=layout)
    except (OSError, ImportError):
        try:
            return ImageFont.load_default(size)
        except TypeError:  # before Pillow 10.1
            return ImageFont.load_default()


def drawable(text: str, face: Font) -> str:
    """Return ``text`` on one line and without what cannot be drawn; glyphs that ``face`` lacks become boxes."""
    visible = "".join(" " if unicodedata.category(character) in ("Cc", "Cs") else character for character in text)
    line = " ".join(visible.split())
    if not isinstance(face, ImageFont.FreeTypeFont):
        line = line.encode("latin-1", "replace").decode("latin-1")
    return line


def wrapped(text: str, face: Font, width: float, lines: int) -> list[str]:
    """Break ``text`` into at most ``lines`` lines of ``width`` pixels; what does not fit is cut, and marked so."""
    rest = drawable(text, face)
    mark = drawable(ELLIPSIS, face)
    result: list[str] = []
    while rest and len(result) < lines:
        end = _fitting(rest, face, width)
        if end < len(rest) and len(result) == lines - 1:
            end = _fitting(rest, face, width - face.getlength(mark))
            return [*result, rest[:end].rstrip() + mark]
        if end < len(rest):
            space = rest.rfind(" ", 0, end + 1)
            end = space if space > 0 else end
        result.append(rest[:end].rstrip())
        rest = rest[end:].lstrip()
    return result


def _fitting(text: str, face: Font, width: float) -> int:
    """How many characters of ``text`` fit into ``width``; at least one, so that there is an end."""
    low, high = 1, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if face.getlength(text[:middle]) <= width:
            low = middle
        else:
            high = middle - 1
    return low
