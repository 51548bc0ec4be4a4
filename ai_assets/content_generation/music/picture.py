"""The piano roll of an arrangement as PNG. Pillow is imported when used."""

from __future__ import annotations

import io

from ai_assets.content_generation.music.arrangement import DRUM_CHANNEL, Arrangement
from ai_assets.content_generation.provenance import DIGITAL_SOURCE_TYPE

_BACKGROUND, _LINE, _BAR_LINE, _INK = (250, 249, 246), (235, 233, 228), (190, 186, 178), (60, 58, 54)
_COLOURS = {"melody": (196, 62, 47), "chords": (120, 164, 190), "bass": (58, 92, 120)}
_MARGIN = 36


def piano_roll(arrangement: Arrangement, *, width: int = 1200, height: int = 480) -> bytes:
    """PNG of all pitched parts over time (drums left out), bar lines and the names of the Cs and chords; marked."""
    from PIL import Image, ImageDraw
    from PIL.PngImagePlugin import PngInfo

    image = Image.new("RGB", (width, height), _BACKGROUND)
    draw = ImageDraw.Draw(image)
    parts = [part for part in arrangement.parts if part.channel != DRUM_CHANNEL]
    pitches = [note.pitch for part in parts for note in part.notes] or [60]
    low, high = min(pitches) - 2, max(pitches) + 2
    across = (width - 2 * _MARGIN) / arrangement.ticks
    row = (height - 2 * _MARGIN) / (high - low + 1)

    def top(pitch: int) -> float:
        return _MARGIN + (high - pitch) * row

    for pitch in range(low, high + 1):
        if pitch % 12 == 0:
            draw.line([(_MARGIN, top(pitch) + row), (width - _MARGIN, top(pitch) + row)], fill=_LINE)
            draw.text((6, top(pitch) + row / 2 - 6), f"C{pitch // 12 - 1}", fill=_INK)
    bar = arrangement.meter[0] * 48 // arrangement.meter[1]
    for at in range(0, arrangement.ticks + 1, bar):
        x = _MARGIN + at * across
        draw.line([(x, _MARGIN), (x, height - _MARGIN)], fill=_BAR_LINE)
    for at, name in arrangement.chords:
        draw.text((_MARGIN + at * across + 2, height - _MARGIN + 6), name, fill=_INK)
    for part in sorted(parts, key=lambda each: each.name == "melody"):
        for note in part.notes:
            left, right = _MARGIN + note.start * across, _MARGIN + (note.start + note.length) * across - 1
            box = [left, top(note.pitch), max(left, right), top(note.pitch) + max(1.0, row - 1)]
            draw.rectangle(box, fill=_COLOURS[part.name])
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", _xmp())
    target = io.BytesIO()
    image.save(target, "PNG", pnginfo=info)
    return target.getvalue()


def _xmp() -> str:
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" rdf:about="">'
        f"<Iptc4xmpExt:DigitalSourceType>{DIGITAL_SOURCE_TYPE}</Iptc4xmpExt:DigitalSourceType>"
        "</rdf:Description></rdf:RDF></x:xmpmeta>"
    )
