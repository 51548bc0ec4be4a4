"""What is measured on a finished cover. Plain functions of pixels; the verdict over one cover is ``check``.

Pixels are arrays [height, width, 3] in uint8. Comparing covers with each other is left to the caller of
``hash_distance``: one cover alone cannot be a duplicate.
"""

from __future__ import annotations

import colorsys
from typing import Any

import numpy as np

from ai_assets.content_generation.covers.lettering import CONTRAST, Lettering, luminance

LEAST_SPREAD = 0.01
DUPLICATE_BITS = 6
_HASH_EDGE = 8
Box = tuple[int, int, int, int]


def text_box(lettering: Lettering, size: int) -> Box | None:
    """Left, top, right, bottom of the veiled text box in pixels, None without lettering; it holds all the letters."""
    if lettering.box is None:
        return None
    left, top, right, bottom = (round(value * size) for value in lettering.box)
    return left, top, right, bottom


def worst_contrast(without_text: np.ndarray, box: Box, ink: tuple[float, float, float]) -> float:
    """Least WCAG contrast between the ink and any pixel of the box, before letters are drawn on it."""
    left, top, right, bottom = box
    # One pixel at the border is mixed with what lies outside and carries no letter.
    levels = _luminances(without_text[top + 1 : bottom - 1, left + 1 : right - 1])
    own = luminance(ink)
    ratios = (np.maximum(levels, own) + 0.05) / (np.minimum(levels, own) + 0.05)
    return float(ratios.min())


def fits(lettering: Lettering) -> bool:
    """Whether every line lies within the text box and the box within the page."""
    if lettering.box is None:
        return True
    left, top, right, bottom = lettering.box
    inside = 0 <= left < right <= 1 and 0 <= top < bottom <= 1
    return inside and all(
        left <= line.x and line.x + line.width <= right and line.baseline - line.size >= top - 1e-6
        and line.baseline + 0.25 * line.size <= bottom + 1e-6
        for line in lettering.lines
    )  # fmt: skip


def spread(picture: np.ndarray) -> float:
    """Standard deviation of the colour values, 0 to .5: a blank page has none."""
    levels, most = np.arange(256), 0.0
    for channel in range(3):
        # From counts of the 256 levels: the same number as of the pixels, in a tenth of the time.
        counts = np.bincount(picture[:, :, channel].reshape(-1), minlength=256)
        mean = counts @ levels / counts.sum()
        most = max(most, float(counts @ (levels - mean) ** 2 / counts.sum()))
    return most**0.5 / 255


def perceptual_hash(picture: np.ndarray) -> str:
    """Difference hash of 64 bits in hexadecimal: is a field lighter than its left neighbour, in 8 rows of 9 fields."""
    from PIL import Image

    grey = Image.fromarray(picture).convert("L").resize((_HASH_EDGE + 1, _HASH_EDGE), Image.Resampling.BOX)
    fields = np.asarray(grey, dtype=np.int16)
    return np.packbits(fields[:, 1:] > fields[:, :-1]).tobytes().hex()


def hash_distance(one: str, other: str) -> int:
    """Number of differing bits of two perceptual hashes; ``DUPLICATE_BITS`` or fewer mean near-duplicates."""
    return (int(one, 16) ^ int(other, 16)).bit_count()


def hue(picture: np.ndarray) -> float:
    """Mean hue in degrees, each pixel weighted by its chroma."""
    values = picture.reshape(-1, 3).astype(np.float64) / 255
    colours, counts = np.unique((values * 63).round().astype(np.int64), axis=0, return_counts=True)
    total = 0j
    for (red, green, blue), count in zip(colours / 63, counts, strict=True):
        chroma = max(red, green, blue) - min(red, green, blue)
        angle = 2 * np.pi * colorsys.rgb_to_hls(red, green, blue)[0]
        total += count * chroma * complex(np.cos(angle), np.sin(angle))
    return float(np.degrees(np.angle(total)) % 360)


def check(picture: np.ndarray, lettering: Lettering) -> dict[str, Any]:
    """All values of one cover, drawn without its letters, and ``passed``.

    ``text_box`` and ``contrast`` are there when there are letters. Blankness and the hash speak of the scene, so that
    a title neither hides an empty page nor makes two equal scenes different.
    """
    size = len(picture)
    box = text_box(lettering, size)
    found: dict[str, Any] = {
        "spread": round(spread(picture), 4),
        "perceptual_hash": perceptual_hash(picture),
        "text_fits": fits(lettering),
        "title_drawn": box is not None,
        "size": size,
    }
    passed = found["spread"] >= LEAST_SPREAD and found["text_fits"]
    if box is not None:
        found["text_box"] = list(box)
        found["contrast"] = round(worst_contrast(picture, box, lettering.ink), 3)
        passed = passed and found["contrast"] >= CONTRAST
    if lettering.notes:
        found["notes"] = list(lettering.notes)
    found["passed"] = bool(passed)
    return found


def _luminances(picture: np.ndarray) -> np.ndarray:
    table = np.array([value / 255 for value in range(256)])
    table = np.where(table <= 0.04045, table / 12.92, ((table + 0.055) / 1.055) ** 2.4)
    linear: np.ndarray = table[picture] @ np.array([0.2126, 0.7152, 0.0722])
    return linear
