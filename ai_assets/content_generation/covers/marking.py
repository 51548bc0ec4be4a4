"""The machine-readable mark that a picture was made by a model: XMP in PNG and SVG, kept by every derived picture.

Uses IPTC's digital source type (see ``provenance``) as ``Iptc4xmpExt:DigitalSourceType``. Pillow drops XMP whenever it
saves again, so thumbnails and contact sheets are made here.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

import numpy as np

from ai_assets.content_generation.provenance import DIGITAL_SOURCE_TYPE

_CHUNK = "XML:com.adobe.xmp"
SHEET_LIMIT = 400_000
RDF = (
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
    'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">'
    f"<Iptc4xmpExt:DigitalSourceType>{DIGITAL_SOURCE_TYPE}</Iptc4xmpExt:DigitalSourceType>"
    "</rdf:Description></rdf:RDF>"
)
XMP = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    f'{RDF}</x:xmpmeta><?xpacket end="w"?>'
)


def png(picture: np.ndarray) -> bytes:
    """A picture [height, width, 3] in uint8 as PNG with the mark."""
    from PIL import Image

    return _saved(Image.fromarray(picture))


def marked(data: bytes) -> bool:
    """Whether a PNG or SVG carries the mark."""
    if not data.startswith(b"\x89PNG"):
        return DIGITAL_SOURCE_TYPE.encode("ascii") in data
    from PIL import Image

    with Image.open(io.BytesIO(data)) as picture:
        return DIGITAL_SOURCE_TYPE in str(picture.info.get(_CHUNK, ""))


def thumbnail(data: bytes, size: int) -> bytes:
    """A PNG made smaller to at most ``size`` pixels an edge, with the mark."""
    from PIL import Image

    with Image.open(io.BytesIO(data)) as picture:
        small = picture.convert("RGB")
    small.thumbnail((size, size), Image.Resampling.LANCZOS)
    return _saved(small)


def contact_sheet(pngs: Sequence[bytes], *, tile: int = 160) -> bytes:
    """All pictures in one PNG below ``SHEET_LIMIT`` bytes, nearly square, in order; tiles shrink until it fits.

    Raises ``ValueError`` without pictures.
    """
    from PIL import Image

    if not pngs:
        raise ValueError("a contact sheet needs at least one picture")
    columns = math.ceil(math.sqrt(len(pngs)))
    gap = 4
    while True:
        rows = math.ceil(len(pngs) / columns)
        edges = columns * (tile + gap) + gap, rows * (tile + gap) + gap
        sheet = Image.new("RGB", edges, (245, 245, 245))
        for number, data in enumerate(pngs):
            with Image.open(io.BytesIO(data)) as picture:
                small = picture.convert("RGB").resize((tile, tile), Image.Resampling.LANCZOS)
            row, column = divmod(number, columns)
            sheet.paste(small, (gap + column * (tile + gap), gap + row * (tile + gap)))
        # 256 colours are plenty for an overview and halve its size.
        saved = _saved(sheet.quantize(256))
        if len(saved) < SHEET_LIMIT or tile <= 8:
            return saved
        tile = int(tile * 0.8)


def _saved(picture: object) -> bytes:
    from PIL import Image, PngImagePlugin

    assert isinstance(picture, Image.Image)
    info = PngImagePlugin.PngInfo()
    info.add_itxt(_CHUNK, XMP)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", pnginfo=info, compress_level=4)
    return buffer.getvalue()
