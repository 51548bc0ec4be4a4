"""From a scene to pictures: SVG, PNG at any size, the title where it can be read, the mark of its origin."""

from __future__ import annotations

import html
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ai_assets.content_generation.covers.scenes import Scene
from ai_assets.content_generation.provenance import DIGITAL_SOURCE_TYPE

CONTRAST = 4.5
LARGEST, SMALLEST, LINES = 0.085, 0.035, 3
MARGIN = 0.07
XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
    f'Iptc4xmpExt:DigitalSourceType="{DIGITAL_SOURCE_TYPE}"/></rdf:RDF></x:xmpmeta>'
)


@dataclass(frozen=True)
class Caption:
    """Title and artist as they are set: lines with size and top (in units of the edge), or none."""

    lines: tuple[tuple[str, float, float], ...] = ()
    reason: str = ""


def svg(scene: Scene, caption: Caption, *, dark_text: bool) -> str:
    """The master: the scene as SVG, 1024 units wide, marked as made by a model."""
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1024 1024" width="1024" height="1024">',
        f"<metadata>{XMP}</metadata>",
        f'<rect width="1024" height="1024" fill="{_hex(scene[0])}"/>',
    ]
    parts += [_shape(token) for token in scene[1:]]
    ink = "#111111" if dark_text else "#ffffff"
    for text, size, top in caption.lines:
        where = f'x="{MARGIN * 1024:.0f}" y="{(top + size * 0.8) * 1024:.0f}" font-size="{size * 1024:.0f}"'
        parts.append(f'<text {where} font-family="DejaVu Sans, sans-serif" fill="{ink}">{html.escape(text)}</text>')
    return "".join([*parts, "</svg>"])


def _shape(token: NDArray[np.float32]) -> str:
    kind = int(np.argmax(token[:6]))
    if kind in (0, 5):
        return ""
    x, y, w, h = (float(value) * 1024 for value in token[6:10])
    turn = math.degrees(0.5 * math.atan2(float(token[11]), float(token[10])))
    paint = f'fill="{_hex(token)}" fill-opacity="{_unit(token[15]):.3f}"'
    place = f'transform="translate({x:.1f} {y:.1f}) rotate({turn:.1f})"'
    w, h = max(abs(w), 1.0), max(abs(h), 1.0)
    if kind == 1:
        return f'<ellipse rx="{w / 2:.1f}" ry="{h / 2:.1f}" {place} {paint}/>'
    if kind == 2:
        stroke = (
            f'fill="none" stroke="{_hex(token)}" stroke-opacity="{_unit(token[15]):.3f}" stroke-width="{w * 0.045:.1f}"'
        )
        return f'<ellipse rx="{w / 2:.1f}" ry="{h / 2:.1f}" {place} {stroke}/>'
    if kind == 3:
        return f'<rect x="{-w / 2:.1f}" y="{-h / 2:.1f}" width="{w:.1f}" height="{h:.1f}" {place} {paint}/>'
    return f'<path d="M0 {-h / 2:.1f}L{w / 2:.1f} {h / 2:.1f}L{-w / 2:.1f} {h / 2:.1f}Z" {place} {paint}/>'


def raster(scene: Scene, size: int) -> Any:
    """The scene as a Pillow image, drawn by skia, or by Pillow at four times the size where skia does not load."""
    try:
        return _skia(scene, size)
    except ImportError:
        return _pillow(scene, size)


def _skia(scene: Scene, size: int) -> Any:
    import skia
    from PIL import Image

    surface = skia.Surface(size, size)
    with surface as canvas:
        canvas.clear(skia.Color4f(*(_unit(value) for value in scene[0, 12:15]), 1.0))
        for token in scene[1:]:
            kind = int(np.argmax(token[:6]))
            if kind in (0, 5):
                continue
            _skia_shape(skia, canvas, token, kind, size)
    return Image.fromarray(surface.makeImageSnapshot().toarray(colorType=skia.kRGBA_8888_ColorType)).convert("RGB")


def _skia_shape(skia: Any, canvas: Any, token: NDArray[np.float32], kind: int, size: int) -> None:
    x, y, w, h = (float(value) * size for value in token[6:10])
    w, h = max(abs(w), 1.0), max(abs(h), 1.0)
    colour = skia.Color4f(*(_unit(value) for value in token[12:16]))
    paint = skia.Paint(AntiAlias=True, Color4f=colour)
    canvas.save()
    canvas.translate(x, y)
    canvas.rotate(math.degrees(0.5 * math.atan2(float(token[11]), float(token[10]))))
    box = skia.Rect.MakeLTRB(-w / 2, -h / 2, w / 2, h / 2)
    if kind == 2:
        paint.setStyle(skia.Paint.kStroke_Style)
        paint.setStrokeWidth(w * 0.045)
    if kind in (1, 2):
        canvas.drawOval(box, paint)
    elif kind == 3:
        canvas.drawRect(box, paint)
    else:
        path = skia.Path.Polygon([skia.Point(0, -h / 2), skia.Point(w / 2, h / 2), skia.Point(-w / 2, h / 2)], True)
        canvas.drawPath(path, paint)
    canvas.restore()


def _pillow(scene: Scene, size: int) -> Any:
    from PIL import Image, ImageDraw

    big = size * 4
    image = Image.new("RGB", (big, big), tuple(round(255 * _unit(value)) for value in scene[0, 12:15]))
    for token in scene[1:]:
        kind = int(np.argmax(token[:6]))
        if kind in (0, 5):
            continue
        x, y, w, h = (float(value) * big for value in token[6:10])
        turn = 0.5 * math.atan2(float(token[11]), float(token[10]))
        corners = _outline(kind, x, y, max(abs(w), 1.0), max(abs(h), 1.0), turn)
        layer = Image.new("RGBA", image.size, (0, 0, 0, 0))
        colour = tuple(round(255 * _unit(value)) for value in token[12:16])
        draw = ImageDraw.Draw(layer)
        if kind == 2:
            draw.line([*corners, corners[0]], fill=colour, width=max(1, round(abs(w) * 0.045)))
        else:
            draw.polygon(corners, fill=colour)
        image = Image.alpha_composite(image.convert("RGBA"), layer).convert("RGB")
    return image.resize((size, size), Image.Resampling.LANCZOS)


def _outline(kind: int, x: float, y: float, w: float, h: float, turn: float) -> list[tuple[float, float]]:
    if kind in (1, 2):
        angles = np.linspace(0, 2 * np.pi, 64, endpoint=False)
        points = [(w / 2 * math.cos(a), h / 2 * math.sin(a)) for a in angles]
    elif kind == 3:
        points = [(-w / 2, -h / 2), (w / 2, -h / 2), (w / 2, h / 2), (-w / 2, h / 2)]
    else:
        points = [(0, -h / 2), (w / 2, h / 2), (-w / 2, h / 2)]
    cos, sin = math.cos(turn), math.sin(turn)
    return [(x + px * cos - py * sin, y + px * sin + py * cos) for px, py in points]


@lru_cache(maxsize=1)
def _font_file() -> tuple[str, frozenset[int]]:
    """DejaVu Sans as matplotlib ships it, and the characters it can draw."""
    import matplotlib
    from fontTools.ttLib import TTFont

    path = f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf"
    return path, frozenset(TTFont(path).getBestCmap())


def caption_of(title: str | None, artist: str | None) -> Caption:
    """Title and artist fitted into at most three lines; none where a character has no glyph (no boxes)."""
    text = (title or "").strip()
    if not text:
        return Caption(reason="no title")
    path, glyphs = _font_file()
    if any(ord(letter) not in glyphs for letter in text + (artist or "") if not letter.isspace()):
        return Caption(reason="the font lacks a character of the title or artist")
    from PIL import ImageFont

    room = 1.0 - 2 * MARGIN
    size = LARGEST
    while True:
        font = ImageFont.truetype(path, round(size * 1000))
        lines = _wrapped(text, font, room * 1000)
        if len(lines) < LINES or size <= SMALLEST:
            break
        size *= 0.88
    if len(lines) > LINES - 1:
        lines = [*lines[: LINES - 2], lines[LINES - 2].rstrip() + "…"]
    small = max(size * 0.6, SMALLEST * 0.8)
    tail = _wrapped(artist, ImageFont.truetype(path, round(small * 1000)), room * 1000)[:1] if artist else []
    height = size * 1.2 * len(lines) + small * 1.3 * len(tail)
    top = 1.0 - MARGIN - height
    placed = [(line, size, top + place * size * 1.2) for place, line in enumerate(lines)]
    placed += [(line, small, top + len(lines) * size * 1.2 + 0.1 * small) for line in tail]
    return Caption(tuple(placed))


def _wrapped(text: str, font: Any, room: float) -> list[str]:
    """Lines of words that fit; a word that is too long is broken."""
    lines = [""]
    for word in text.split():
        if lines[-1] and font.getlength(f"{lines[-1]} {word}") <= room:
            lines[-1] += f" {word}"
            continue
        if lines[-1]:
            lines.append("")
        while font.getlength(word) > room and len(word) > 1:
            cut = next(n for n in range(len(word) - 1, 0, -1) if n == 1 or font.getlength(word[:n]) <= room)
            lines[-1] = word[:cut]
            word = word[cut:]
            lines.append("")
        lines[-1] = word
    return lines


def with_caption(image: Any, caption: Caption) -> tuple[Any, dict[str, Any], bool]:
    """The picture with its caption, what was checked, and whether the ink is dark.

    A scrim behind the text is raised until the worst pixel of the text box has a WCAG contrast of 4.5.
    """
    from PIL import Image, ImageDraw, ImageFont

    if not caption.lines:
        return image, {"title_drawn": False, "title_reason": caption.reason}, False
    size = image.width
    path, _ = _font_file()
    left = round(MARGIN * size)
    fonts = [ImageFont.truetype(path, max(6, round(height * size))) for _, height, _ in caption.lines]
    right = max(left + font.getlength(text) for font, (text, _, _) in zip(fonts, caption.lines, strict=True))
    top = round(caption.lines[0][2] * size)
    bottom = round((caption.lines[-1][2] + caption.lines[-1][1] * 1.25) * size)
    box = (max(0, left - 4), max(0, top - 4), min(size, round(right) + 4), min(size, bottom + 4))
    pixels = np.asarray(image.crop(box), np.float64) / 255.0
    dark = bool(luminance(pixels).mean() > 0.4)
    paper = 1.0 if dark else 0.0
    ink = 0.005 if dark else 1.0
    for scrim in np.arange(0.0, 1.01, 0.05):
        worst = contrast(luminance(pixels * (1 - scrim) + paper * scrim), ink)
        if worst >= CONTRAST + 0.1:
            break
    veil = Image.new("RGB", (box[2] - box[0], box[3] - box[1]), (round(255 * paper),) * 3)
    image = image.copy()
    image.paste(Image.blend(image.crop(box), veil, float(scrim)), box[:2])
    draw = ImageDraw.Draw(image)
    for font, (text, _, above) in zip(fonts, caption.lines, strict=True):
        draw.text((left, round(above * size)), text, font=font, fill=(17, 17, 17) if dark else (255, 255, 255))
    return image, {"title_drawn": True, "text_box": list(box), "contrast": round(float(worst), 2)}, dark


def luminance(rgb: NDArray[np.float64]) -> NDArray[np.float64]:
    """WCAG 2.1 relative luminance of sRGB values in 0..1."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return np.asarray(linear @ [0.2126, 0.7152, 0.0722])


def contrast(background: NDArray[np.float64], ink: float) -> float:
    """The worst WCAG contrast of a text luminance over background luminances."""
    high, low = np.maximum(background, ink), np.minimum(background, ink)
    return float(((high + 0.05) / (low + 0.05)).min())


def png(image: Any) -> bytes:
    """PNG bytes that carry the mark of their origin; also of resized copies."""
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", XMP)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", pnginfo=info)
    return buffer.getvalue()


def contact_sheet(pngs: Sequence[bytes], *, columns: int = 6, edge: int = 120) -> bytes:
    """Small copies side by side, marked like the originals."""
    from PIL import Image

    rows = max(1, -(-len(pngs) // columns))
    sheet = Image.new("RGB", (columns * edge, rows * edge), (255, 255, 255))
    for place, data in enumerate(pngs):
        small = Image.open(io.BytesIO(data)).convert("RGB").resize((edge - 4, edge - 4))
        sheet.paste(small, (place % columns * edge + 2, place // columns * edge + 2))
    return png(sheet)


def _hex(token: NDArray[np.float32]) -> str:
    return "#" + "".join(f"{round(255 * _unit(value)):02x}" for value in token[12:15])


def _unit(value: float) -> float:
    return min(max(float(value), 0.0), 1.0)
