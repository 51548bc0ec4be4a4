"""Title and artist on a cover: fitted, readable at the worst pixel, and never boxes for missing glyphs.

Here belong the layout and the choice of ink and veil. It depends on the font file and the scene's numbers alone, so
that every renderer and every size letters a cover alike.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ai_assets.content_generation.covers.scene import Backdrop, Shape

MARGIN = 0.06
LARGEST, SMALLEST = 0.085, 0.035
LINES = 3
CONTRAST = 4.5
UNTITLED = "Untitled"
# A little above the demanded contrast, for what rounding to eight bits takes away.
_AIM = 4.8
_WIDTH = 1 - 2 * MARGIN
_LEADING = 1.18
_ARTIST_SHARE = 0.62
Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Line:
    """One line: its text, the left end of its base line and its size, as shares of the edge."""

    text: str
    x: float
    baseline: float
    size: float
    width: float


class FontError(ValueError):
    """A font file that cannot be used; the message names it."""


@dataclass(frozen=True)
class Lettering:
    """Lines to draw in ``ink`` over a veil of ``veil`` colour and ``opacity`` in ``box`` (left, top, right, bottom)."""

    lines: tuple[Line, ...] = ()
    box: tuple[float, float, float, float] | None = None
    ink: Colour = (1.0, 1.0, 1.0)
    veil: Colour = (0.0, 0.0, 0.0)
    opacity: float = 0.0
    notes: tuple[str, ...] = ()
    font: Path | None = None

    @property
    def face(self) -> Path:
        """The font file of the lines."""
        return self.font or default_font()


def default_font() -> Path:
    """DejaVu Sans Bold (free licence), which matplotlib brings along."""
    from matplotlib import get_data_path

    return Path(get_data_path()) / "fonts/ttf/DejaVuSans-Bold.ttf"


@lru_cache(maxsize=4)
def opened(font: Path) -> Any:
    """The font file, opened once. Raises ``FontError``."""
    from fontTools.ttLib import TTFont, TTLibError

    try:
        return TTFont(font)
    except (OSError, TTLibError) as error:
        raise FontError(f"the font {font} cannot be used: {error}; expected a .ttf or .otf file") from error


@lru_cache(maxsize=4)
def advances(font: Path) -> dict[int, float]:
    """Advance width of every code point that the font can draw, in ems."""
    file = opened(font)
    widths, unit = file["hmtx"].metrics, file["head"].unitsPerEm
    return {code: widths[glyph][0] / unit for code, glyph in file.getBestCmap().items()}


def letter(
    title: str | None, artist: str | None, backdrop: Backdrop, shapes: list[Shape], *, font: Path | None = None
) -> Lettering:
    """The lettering of a cover. A name that the font cannot draw is left out, and ``notes`` says so.

    ``font``: a TrueType or OpenType file instead of the default one. Raises ``FontError`` for a file that is none.
    """
    given, font = font, font or default_font()
    notes: list[str] = []
    if title is None:
        return Lettering(notes=("no title given: the cover has no lettering",))
    name = _drawable(title or UNTITLED, "title", font, notes)
    if name is None:
        return Lettering(notes=tuple(notes))
    by = _drawable(artist, "artist", font, notes) if artist else None
    size, rows = _fitted(name, font)
    lines = _placed(rows, size, by, font)
    top = lines[0].baseline - lines[0].size
    box = (MARGIN / 2, top - MARGIN / 4, 1 - MARGIN / 2, 1 - MARGIN / 2)
    ink, veil, opacity = _ink(box, backdrop, shapes)
    return Lettering(tuple(lines), box, ink, veil, opacity, tuple(notes), given)


def luminance(rgb: Colour) -> float:
    """Relative luminance of an sRGB colour (WCAG 2.2)."""
    red, green, blue = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in rgb)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: float, other: float) -> float:
    """Contrast ratio of two relative luminances (WCAG 2.2), 1 to 21."""
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)


def _drawable(text: str, name: str, font: Path, notes: list[str]) -> str | None:
    known = advances(font)
    missing = sorted({letter for letter in text if ord(letter) not in known})
    if missing:
        codes = ", ".join(f"U+{ord(letter):04X}" for letter in missing[:5])
        notes.append(f"{name} left out: the font has no glyph for {codes}")
        return None
    if any(unicodedata.bidirectional(letter) in ("R", "AL") for letter in text):
        notes.append(f"{name} left out: letters written from right to left need shaping, which is not done here")
        return None
    return text


def _width(text: str, font: Path) -> float:
    known = advances(font)
    return sum(known[ord(letter)] for letter in text)


def _fitted(text: str, font: Path) -> tuple[float, list[str]]:
    size = LARGEST
    while size > SMALLEST:
        rows = _wrapped(text, _WIDTH / size, font, within_words=False)
        if rows is not None and len(rows) <= LINES:
            return size, rows
        size -= 0.0025
    rows = _wrapped(text, _WIDTH / SMALLEST, font, within_words=True) or [text]
    if len(rows) > LINES:
        rows = [*rows[: LINES - 1], _cut(rows[LINES - 1] + "…", _WIDTH / SMALLEST, font)]
    return SMALLEST, rows


def _wrapped(text: str, width: float, font: Path, *, within_words: bool) -> list[str] | None:
    """Rows no wider than ``width`` ems; None when a word is wider and may not be broken."""
    rows, row = [], ""
    for word in text.split(" "):
        while _width(word, font) > width:
            if not within_words:
                return None
            head = _head(word, width, font)
            rows += [row, head] if row else [head]
            row, word = "", word[len(head) :]
        joined = f"{row} {word}" if row else word
        if _width(joined, font) > width:
            rows.append(row)
            joined = word
        row = joined
    return [*rows, row] if row else rows


def _head(word: str, width: float, font: Path) -> str:
    end = 1
    while end < len(word) and _width(word[: end + 1], font) <= width:
        end += 1
    return word[:end]


def _cut(text: str, width: float, font: Path) -> str:
    """``text`` that fits ``width`` ems, its end replaced by an ellipsis where it does not."""
    if _width(text, font) <= width:
        return text
    body = text.rstrip("…")
    while body and _width(body + "…", font) > width:
        body = body[:-1]
    return body.rstrip() + "…"


def _placed(rows: list[str], size: float, by: str | None, font: Path) -> list[Line]:
    small = max(SMALLEST, size * _ARTIST_SHARE)
    lines, baseline = [], 1 - MARGIN - 0.25 * size
    if by is not None:
        shown = _cut(by, _WIDTH / small, font)
        lines.append(Line(shown, MARGIN, round(baseline, 4), round(small, 4), round(_width(shown, font) * small, 4)))
        baseline -= small * 1.35
    for row in reversed(rows):
        lines.append(Line(row, MARGIN, round(baseline, 4), round(size, 4), round(_width(row, font) * size, 4)))
        baseline -= size * _LEADING
    return lines[::-1]


def _ink(
    box: tuple[float, float, float, float], backdrop: Backdrop, shapes: list[Shape]
) -> tuple[Colour, Colour, float]:
    """Ink, veil and the least opacity at which no colour of the scene under the box comes too close to the ink.

    Every pixel mixes colours of the scene, so it lies between their lowest and highest values in each channel.
    """
    near = [shape.rgb for shape in shapes if _touches(shape, box)]
    colours = [backdrop.start, backdrop.end, *near]
    low: Colour = tuple(min(c[channel] for c in colours) for channel in range(3))  # type: ignore[assignment]
    high: Colour = tuple(max(c[channel] for c in colours) for channel in range(3))  # type: ignore[assignment]
    dark, light = _opacity(high, 0.0), _opacity(low, 1.0)
    if dark <= light:
        return (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), dark
    return (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), light


def _opacity(worst: Colour, veil: float) -> float:
    ink = 1.0 - veil
    for hundredth in range(0, 100, 2):
        share = hundredth / 100
        mixed: Colour = tuple(share * veil + (1 - share) * value for value in worst)  # type: ignore[assignment]
        if contrast(luminance(mixed), luminance((ink, ink, ink))) >= _AIM:
            return share
    return 1.0


def _touches(shape: Shape, box: tuple[float, float, float, float]) -> bool:
    reach = 0.5 * (shape.width**2 + shape.height**2) ** 0.5
    return (
        box[0] - reach <= shape.x <= box[2] + reach and box[1] - reach <= shape.y <= box[3] + reach and shape.alpha > 0
    )
