"""Drawing a scene and its lettering: skia where it can be imported, Pillow at four times the size otherwise, and SVG.

Here belongs the geometry of the shapes. What is drawn is decided in ``scene`` and ``lettering``.
"""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from ai_assets.content_generation.covers.lettering import Lettering, opened
from ai_assets.content_generation.covers.scene import RING_WIDTH, Backdrop, Shape

_SUPERSAMPLING = 4
_CURVE_POINTS = 96
Colour = tuple[float, float, float]


@lru_cache(maxsize=1)
def renderer() -> str:
    """``skia``, or ``pillow`` where skia-python or a system library it needs is missing."""
    try:
        import skia  # noqa: F401
    except ImportError:
        return "pillow"
    return "skia"


def pixels(
    backdrop: Backdrop,
    shapes: list[Shape],
    lettering: Lettering,
    size: int,
    *,
    text: bool = True,
    by: str | None = None,
) -> np.ndarray:
    """The picture [size, size, 3] in uint8; ``text=False`` leaves out letters, not the veil; ``by``: a renderer."""
    if (by or renderer()) == "skia":
        return _skia(backdrop, shapes, lettering, size, text)
    return _pillow(backdrop, shapes, lettering, size, text)


def outline(shape: Shape) -> list[list[tuple[float, float]]]:
    """Polygons of a shape in shares of the edge; a ring has an outer and an inner one."""
    if shape.kind == "rectangle":
        rings = [[(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)]]
    elif shape.kind == "triangle":
        rings = [[(0.0, -0.5), (0.5, 0.5), (-0.5, 0.5)]]
    elif shape.kind == "half_disc":
        rings = [_arc(0.5, math.pi, 2 * math.pi)]
    elif shape.kind == "ring":
        rings = [_arc(0.5, 0.0, 2 * math.pi), _arc(0.5 - RING_WIDTH / 2, 0.0, 2 * math.pi)]
    else:
        rings = [_arc(0.5, 0.0, 2 * math.pi)]
    cosine, sine = math.cos(math.radians(shape.turn)), math.sin(math.radians(shape.turn))

    def placed(x: float, y: float) -> tuple[float, float]:
        x, y = x * shape.width, y * shape.height
        return shape.x + x * cosine - y * sine, shape.y + x * sine + y * cosine

    return [[placed(x, y) for x, y in ring] for ring in rings]


def svg(backdrop: Backdrop, shapes: list[Shape], lettering: Lettering, *, name: str, metadata: str) -> str:
    """The cover as SVG with a view box of 1000; letters are paths, so that it needs no font."""
    first, second = _gradient_ends(backdrop)
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1000 1000" role="img">',
        f"<title>{escape(name)}</title>",
        f"<metadata>{metadata}</metadata>",
        f'<defs><linearGradient id="page" gradientUnits="userSpaceOnUse" x1="{first[0] * 1000:.1f}" '
        f'y1="{first[1] * 1000:.1f}" x2="{second[0] * 1000:.1f}" y2="{second[1] * 1000:.1f}">'
        f'<stop offset="0" stop-color="{_hex(backdrop.start)}"/><stop offset="1" stop-color="{_hex(backdrop.end)}"/>'
        "</linearGradient></defs>",
        '<rect width="1000" height="1000" fill="url(#page)"/>',
        *(_svg_shape(shape) for shape in shapes),
    ]
    if lettering.box is not None:
        left, top, right, bottom = (value * 1000 for value in lettering.box)
        if lettering.opacity:
            parts.append(
                f'<rect x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" height="{bottom - top:.1f}" '
                f'fill="{_hex(lettering.veil)}" fill-opacity="{lettering.opacity:.2f}"/>'
            )
        for line in lettering.lines:
            label, path = quoteattr(line.text), _text_path(line.text, line.x, line.baseline, line.size, lettering.face)
            parts.append(f'<path role="text" aria-label={label} fill="{_hex(lettering.ink)}" d="{path}"/>')
    return "\n".join([*parts, "</svg>", ""])


def _svg_shape(shape: Shape) -> str:
    paint = f'fill="{_hex(shape.rgb)}" fill-opacity="{shape.alpha:.3f}"'
    x, y, width, height = shape.x * 1000, shape.y * 1000, shape.width * 1000, shape.height * 1000
    turn = f'transform="translate({x:.1f} {y:.1f}) rotate({shape.turn:.2f})"'
    if shape.kind == "rectangle":
        box = f'x="{-width / 2:.1f}" y="{-height / 2:.1f}" width="{width:.1f}" height="{height:.1f}"'
        return f"<rect {box} {turn} {paint}/>"
    if shape.kind == "ellipse":
        return f'<ellipse rx="{width / 2:.1f}" ry="{height / 2:.1f}" {turn} {paint}/>'
    if shape.kind == "triangle":
        return f'<path d="M0 {-height / 2:.1f}L{width / 2:.1f} {height / 2:.1f}H{-width / 2:.1f}Z" {turn} {paint}/>'
    if shape.kind == "half_disc":
        return (
            f'<path d="M{-width / 2:.1f} 0A{width / 2:.1f} {height / 2:.1f} 0 0 1 {width / 2:.1f} 0Z" {turn} {paint}/>'
        )
    inner = 1 - RING_WIDTH
    path = "".join(
        f"M{-rx:.1f} 0A{rx:.1f} {ry:.1f} 0 0 1 {rx:.1f} 0A{rx:.1f} {ry:.1f} 0 0 1 {-rx:.1f} 0Z"
        for rx, ry in ((width / 2, height / 2), (width / 2 * inner, height / 2 * inner))
    )
    return f'<path fill-rule="evenodd" d="{path}" {turn} {paint}/>'


def _text_path(text: str, x: float, baseline: float, size: float, face: Path) -> str:
    from fontTools.pens.svgPathPen import SVGPathPen
    from fontTools.pens.transformPen import TransformPen

    font = opened(face)
    glyphs, names, scale = font.getGlyphSet(), font.getBestCmap(), size * 1000 / font["head"].unitsPerEm
    pen = SVGPathPen(glyphs, ntos=lambda number: f"{number:.1f}".removesuffix(".0"))
    at = x * 1000
    for letter in text:
        glyph = names[ord(letter)]
        glyphs[glyph].draw(TransformPen(pen, (scale, 0, 0, -scale, at, baseline * 1000)))
        at += font["hmtx"].metrics[glyph][0] * scale
    commands: str = pen.getCommands()
    return commands


def _skia(backdrop: Backdrop, shapes: list[Shape], lettering: Lettering, size: int, text: bool) -> np.ndarray:
    import skia

    surface = skia.Surface(size, size)
    canvas = surface.getCanvas()
    canvas.scale(size, size)
    ends = [skia.Point(*point) for point in _gradient_ends(backdrop)]
    shader = skia.GradientShader.MakeLinear(ends, [_skia_colour(c, 1.0) for c in (backdrop.start, backdrop.end)])
    canvas.drawPaint(skia.Paint(Shader=shader))
    for shape in shapes:
        path = skia.Path()
        path.setFillType(skia.PathFillType.kEvenOdd)
        for ring in outline(shape):
            path.addPoly([skia.Point(*point) for point in ring], True)
        canvas.drawPath(path, skia.Paint(Color=_skia_colour(shape.rgb, shape.alpha), AntiAlias=True))
    if lettering.box is not None:
        veil = skia.Paint(Color=_skia_colour(lettering.veil, lettering.opacity), AntiAlias=True)
        canvas.drawRect(skia.Rect.MakeLTRB(*lettering.box), veil)
        ink = skia.Paint(Color=_skia_colour(lettering.ink, 1.0), AntiAlias=True)
        canvas.resetMatrix()
        for line in lettering.lines if text else ():
            font = skia.Font(_typeface(lettering.face), line.size * size)
            font.setLinearMetrics(True)
            font.setSubpixel(True)
            font.setBaselineSnap(False)
            font.setHinting(skia.FontHinting.kNone)
            canvas.drawString(line.text, line.x * size, line.baseline * size, font, ink)
    array: np.ndarray = surface.toarray(colorType=skia.ColorType.kRGBA_8888_ColorType)[:, :, :3]
    return np.ascontiguousarray(array)


@lru_cache(maxsize=4)
def _typeface(font: Path) -> Any:
    import skia

    return skia.Typeface.MakeFromFile(str(font))


def _skia_colour(rgb: Colour, alpha: float) -> int:
    import skia

    return int(skia.Color(*(round(value * 255) for value in rgb), round(alpha * 255)))


def _pillow(backdrop: Backdrop, shapes: list[Shape], lettering: Lettering, size: int, text: bool) -> np.ndarray:
    from PIL import Image, ImageDraw, ImageFont

    large = size * _SUPERSAMPLING
    picture = Image.fromarray(_gradient(backdrop, size)).resize((large, large))
    for shape in shapes:
        mask = Image.new("L", (large, large), 0)
        for number, ring in enumerate(outline(shape)):
            level = round(shape.alpha * 255) if number == 0 else 0
            ImageDraw.Draw(mask).polygon([(x * large, y * large) for x, y in ring], fill=level)
        picture.paste(_bytes(shape.rgb), (0, 0, large, large), mask)
    if lettering.box is not None:
        mask = Image.new("L", (large, large), 0)
        box = [value * large for value in lettering.box]
        ImageDraw.Draw(mask).rectangle(box, fill=round(lettering.opacity * 255))
        picture.paste(_bytes(lettering.veil), (0, 0, large, large), mask)
        for line in lettering.lines if text else ():
            face = ImageFont.truetype(str(lettering.face), line.size * large, layout_engine=ImageFont.Layout.BASIC)
            place = (line.x * large, line.baseline * large)
            ImageDraw.Draw(picture).text(place, line.text, fill=_bytes(lettering.ink), font=face, anchor="ls")
    return np.asarray(picture.resize((size, size), Image.Resampling.BOX))


def _gradient(backdrop: Backdrop, size: int) -> np.ndarray:
    (x1, y1), (x2, y2) = _gradient_ends(backdrop)
    centres = (np.arange(size) + 0.5) / size
    along = (centres[None, :] - x1) * (x2 - x1) + (centres[:, None] - y1) * (y2 - y1)
    share = np.clip(along / ((x2 - x1) ** 2 + (y2 - y1) ** 2), 0, 1)[..., None]
    mixed = (1 - share) * np.array(backdrop.start) + share * np.array(backdrop.end)
    painted: np.ndarray = np.round(mixed * 255).astype(np.uint8)
    return painted


def _gradient_ends(backdrop: Backdrop) -> list[tuple[float, float]]:
    angle = math.radians(backdrop.turn)
    x, y = math.cos(angle) / 2, math.sin(angle) / 2
    return [(0.5 - x, 0.5 - y), (0.5 + x, 0.5 + y)]


def _arc(radius: float, start: float, end: float) -> list[tuple[float, float]]:
    angles = np.linspace(start, end, _CURVE_POINTS, endpoint=end - start < 2 * math.pi)
    return [(radius * math.cos(angle), radius * math.sin(angle)) for angle in angles]


def _bytes(rgb: Colour) -> tuple[int, int, int]:
    red, green, blue = (round(value * 255) for value in rgb)
    return red, green, blue


def _hex(rgb: Colour) -> str:
    return "#" + "".join(f"{value:02x}" for value in _bytes(rgb))
