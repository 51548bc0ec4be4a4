"""A user's own covers in SVG as scenes: plain shapes on a plain or graded page.

Here belongs reading. A file that is more than such a scene can hold (pictures, free paths, more than 24 shapes) is one
rejected record with its reason.
"""

from __future__ import annotations

import colorsys
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from ai_assets.content_generation.covers.scene import (
    NEUTRAL,
    SHAPES,
    STYLES,
    Backdrop,
    Condition,
    Shape,
    encode,
    style_of,
)

_MOST_BYTES = 1_000_000
_IGNORED = {"title", "desc", "metadata", "defs", "svg", "g"}
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?"
Colour = tuple[float, float, float]


class CoverError(ValueError):
    """An SVG file that cannot be used; the message says why."""


@dataclass(frozen=True)
class OwnCover:
    """A user's cover: its path below the folder, its scene, and what leads it (from its folder's name and colours)."""

    name: str
    tokens: np.ndarray
    lead: Condition


def read_covers(folder: Path) -> tuple[list[OwnCover], list[tuple[str, str]]]:
    """Every SVG below ``folder`` (a missing one is empty), and (path, reason) of those that cannot be used."""
    covers, refused = [], []
    for file in sorted(file for file in folder.rglob("*") if file.suffix.lower() == ".svg" and file.is_file()):
        name = file.relative_to(folder).as_posix()
        try:
            backdrop, shapes = read_svg(file)
            covers.append(OwnCover(name, encode(backdrop, shapes), _lead(file.parent.name, backdrop)))
        except CoverError as error:
            refused.append((name, str(error)))
    return covers, refused


def read_svg(file: Path) -> tuple[Backdrop, list[Shape]]:
    """The page and the shapes of an SVG file. Raises ``CoverError``."""
    try:
        data = file.read_bytes()
        if len(data) > _MOST_BYTES or b"<!DOCTYPE" in data or b"<!ENTITY" in data:
            raise CoverError("SVG above 1 MB or with a document type is not read")
        root = ElementTree.fromstring(data)
        return _scene(root)
    except (OSError, ElementTree.ParseError) as error:
        raise CoverError(f"not a readable SVG file: {error}") from error
    except (ValueError, ZeroDivisionError, LookupError) as error:
        if isinstance(error, CoverError):
            raise
        raise CoverError(f"not a scene of plain shapes: {error}") from error


def _scene(root: ElementTree.Element) -> tuple[Backdrop, list[Shape]]:
    if _tag(root) != "svg":
        raise CoverError(f"expected an svg element, found {_tag(root)}")
    left, top, width, height = _page(root)
    if abs(width - height) > 0.02 * max(width, height):
        raise CoverError(f"a cover is square, this one is {width:g} by {height:g}")
    gradients = {str(item.get("id")): item for item in root.iter() if _tag(item) == "linearGradient"}
    backdrop = Backdrop((1.0, 1.0, 1.0), (1.0, 1.0, 1.0), 90.0)
    shapes: list[Shape] = []
    for element in _drawn(root):
        fill = element.get("fill", "#000000")
        graded = fill.startswith("url(#")
        if graded:
            element.set("fill", "#000000")
        shape = _shape(element, left, top, width)
        page = not shapes and shape.kind == "rectangle" and min(shape.width, shape.height) >= 0.99
        if graded and not page:
            raise CoverError("a gradient on a shape is not read, only on the page")
        if graded:
            backdrop = _graded(gradients[fill[5:].rstrip(") ")])
        elif page:
            backdrop = Backdrop(shape.rgb, shape.rgb, 90.0)
        else:
            shapes.append(shape)
    if not shapes or len(shapes) > SHAPES:
        raise CoverError(f"{len(shapes)} shapes, a scene has 1 to {SHAPES}")
    return backdrop, shapes


def _drawn(element: ElementTree.Element) -> Iterator[ElementTree.Element]:
    for child in element:
        tag = _tag(child)
        if tag == "g" and child.get("transform") is None:
            yield from _drawn(child)
        elif tag not in _IGNORED and child.get("role") != "text" and tag != "text":
            yield child


def _shape(element: ElementTree.Element, left: float, top: float, edge: float) -> Shape:
    def value(name: str) -> float:
        return float(element.get(name, "0"))

    tag = _tag(element)
    if tag == "rect":
        kind, width, height = "rectangle", value("width"), value("height")
        x, y = value("x") + width / 2, value("y") + height / 2
    elif tag in ("circle", "ellipse"):
        kind, x, y = "ellipse", value("cx"), value("cy")
        width, height = (2 * (value(name) or value("r")) for name in ("rx", "ry"))
    elif tag in ("polygon", "path"):
        kind, x, y, width, height = _outlined(element)
    else:
        raise CoverError(f"{tag} elements are not read, only rect, circle, ellipse, triangles, rings and half discs")
    move_x, move_y, turn = _moved(element.get("transform", ""))
    if turn and (x, y) != (0.0, 0.0) and tag != "polygon":
        angle = math.radians(turn)
        x, y = x * math.cos(angle) - y * math.sin(angle), x * math.sin(angle) + y * math.cos(angle)
    alpha = float(element.get("fill-opacity", "1")) * float(element.get("opacity", "1"))
    return Shape(
        kind, (x + move_x - left) / edge, (y + move_y - top) / edge, width / edge, height / edge, turn,
        _colour(element.get("fill", "#000000")), alpha,
    )  # fmt: skip


def _outlined(element: ElementTree.Element) -> tuple[str, float, float, float, float]:
    """Kind, centre and size of a polygon or path of the forms that this product writes."""
    if _tag(element) == "polygon":
        numbers = [float(number) for number in re.findall(_NUMBER, element.get("points", ""), re.I)]
        return ("triangle", *_box(numbers[0::2], numbers[1::2], 3))
    path = element.get("d", "")
    letters = "".join(re.findall(r"[a-df-zA-DF-Z]", path))
    numbers = [float(number) for number in re.findall(_NUMBER, path, re.I)]
    if letters == "MLHZ":
        return ("triangle", *_box([numbers[0], numbers[2], numbers[4]], [numbers[1], numbers[3], numbers[3]], 3))
    if letters == "MAZ":
        return "half_disc", (numbers[0] + numbers[7]) / 2, numbers[1], abs(numbers[7] - numbers[0]), 2 * numbers[3]
    if letters == "MAAZMAAZ":
        return "ring", (numbers[0] + numbers[7]) / 2, numbers[1], 2 * numbers[2], 2 * numbers[3]
    raise CoverError("free paths are not read, only triangles, rings and half discs")


def _box(xs: list[float], ys: list[float], points: int) -> tuple[float, float, float, float]:
    if len(xs) != points or len(ys) != points:
        raise CoverError(f"a polygon of {len(xs)} points: only triangles are read")
    return (min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2, max(xs) - min(xs), max(ys) - min(ys)


def _moved(transform: str) -> tuple[float, float, float]:
    x = y = turn = 0.0
    for name, arguments in re.findall(r"(\w+)\s*\(([^)]*)\)", transform):
        numbers = [float(number) for number in re.findall(_NUMBER, arguments, re.I)]
        if name == "translate":
            x, y = numbers[0], (numbers[1] if len(numbers) > 1 else 0.0)
        elif name == "rotate" and len(numbers) == 1:
            turn = numbers[0]
        else:
            raise CoverError(f"the transform {name} is not read, only translate and rotate")
    return x, y, turn


def _graded(gradient: ElementTree.Element) -> Backdrop:
    stops = [stop for stop in gradient if _tag(stop) == "stop"]
    x1, y1, x2, y2 = (float(gradient.get(name, "0").rstrip("%")) for name in ("x1", "y1", "x2", "y2"))
    turn = math.degrees(math.atan2(y2 - y1, x2 - x1))
    return Backdrop(_colour(stops[0].get("stop-color", "")), _colour(stops[-1].get("stop-color", "")), turn)


def _colour(text: str) -> Colour:
    from PIL import ImageColor

    red, green, blue = ImageColor.getrgb(text)[:3]
    return red / 255, green / 255, blue / 255


def _page(root: ElementTree.Element) -> tuple[float, float, float, float]:
    numbers = [float(number) for number in re.findall(_NUMBER, root.get("viewBox", ""), re.I)]
    if len(numbers) == 4:
        return numbers[0], numbers[1], numbers[2], numbers[3]
    sizes = [re.match(_NUMBER, root.get(name, "")) for name in ("width", "height")]
    if None in sizes:
        raise CoverError("neither a viewBox nor width and height")
    return 0.0, 0.0, *(float(size.group()) for size in sizes if size)  # type: ignore[return-value]


def _lead(folder: str, backdrop: Backdrop) -> Condition:
    """Style by the folder's name (a style or a genre); the rest from the page's colour, as the artist chooses it."""
    style = STYLES.index(folder if folder in STYLES else style_of(folder))
    hue, light, saturation = colorsys.rgb_to_hls(*backdrop.start)
    energy, valence = (saturation - 0.4) / 0.5, (light - 0.16) / 0.62
    clipped = [min(1.0, max(0.0, value)) for value in (energy, valence)]
    return Condition(style, clipped[0], clipped[1], NEUTRAL, hue * 360)


def _tag(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else "comment"
