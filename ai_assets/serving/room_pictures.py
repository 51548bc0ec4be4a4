"""Waveform and spectrogram of a track, drawn from what the analysis has stored. Nothing is decoded here.

The waveform is the envelope of `audio_quality`, as one SVG path; the spectrogram is the log-mel blob as a PNG with a
palette, written with zlib alone.
"""

from __future__ import annotations

import struct
import zlib
from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from resources.platform import Platform

WAVE_WIDTH, WAVE_HEIGHT, WAVE_POINTS = 1000, 160, 500
PICTURE_COLUMNS, ROWS_PER_BAND = 1000, 3
FLOOR_DB = 70.0
MOST_PICTURES = 200
STOPS = ((12, 16, 33), (22, 56, 84), (18, 110, 120), (98, 168, 130), (240, 200, 112), (255, 246, 220))


def wave_path(envelope: Sequence[float] | None) -> str:
    """The SVG path (1000 by 160) of an envelope: minima, then maxima; "" for none. The loudest peak fills it."""
    values = np.nan_to_num(np.asarray([] if envelope is None else envelope, np.float64))
    count = len(values) // 2
    if count < 2:
        return ""
    starts = np.linspace(0, count, min(count, WAVE_POINTS), endpoint=False).astype(int)
    low = np.minimum.reduceat(values[:count], starts)
    high = np.maximum.reduceat(values[count : 2 * count], starts)
    scale = (WAVE_HEIGHT / 2 - 4) / max(float(np.abs(values).max()), 1e-3)
    places = np.linspace(0, WAVE_WIDTH, len(starts))
    middle = WAVE_HEIGHT / 2
    top = [f"{x:.1f} {middle - max(y * scale, 0.6):.1f}" for x, y in zip(places, high, strict=True)]
    bottom = [f"{x:.1f} {middle - min(y * scale, -0.6):.1f}" for x, y in zip(places, low, strict=True)]
    return f"M{'L'.join([*top, *reversed(bottom)])}Z"


class Spectrograms:
    """Pictures of log-mel blobs; the last 200 are kept."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._lock = Lock()

    def picture(self, blob: str) -> bytes:
        """PNG of a log-mel blob. Raises ValueError or OSError for one that is missing or is no log-mel."""
        with self._lock:
            if blob in self._kept:
                self._kept.move_to_end(blob)
                return self._kept[blob]
        mels = np.load(self._platform.blobs.path(blob), mmap_mode="r", allow_pickle=False)
        if mels.ndim != 2 or not mels.size or mels.shape[1] > 256:
            raise ValueError(f"blob {blob} is no log-mel: its shape is {mels.shape}")
        made = spectrogram_png(mels)
        with self._lock:
            self._kept[blob] = made
            while len(self._kept) > MOST_PICTURES:
                self._kept.popitem(last=False)
        return made


def spectrogram_png(mels: NDArray[np.floating]) -> bytes:
    """A log-mel (frames, bands) in dB as PNG: time to the right, pitch upwards, 70 dB from dark to bright."""
    frames = len(mels)
    starts = np.linspace(0, frames, min(frames, PICTURE_COLUMNS), endpoint=False).astype(int)
    columns = np.maximum.reduceat(np.nan_to_num(np.asarray(mels, np.float32)), starts)
    brightest = float(np.percentile(columns, 99.7))
    shades = np.clip((columns - (brightest - FLOOR_DB)) / FLOOR_DB * 255, 0, 255).astype(np.uint8)
    return palette_png(np.repeat(shades.T[::-1], ROWS_PER_BAND, axis=0))


def palette_png(shades: NDArray[np.uint8]) -> bytes:
    """An 8-bit PNG (rows, columns) in the room's colours (PNG specification, colour type 3)."""
    height, width = shades.shape
    stops = np.array(STOPS, float)
    places = np.linspace(0, len(stops) - 1, 256)
    palette = np.stack([np.interp(places, np.arange(len(stops)), channel) for channel in stops.T], 1)
    lines = np.concatenate([np.zeros((height, 1), np.uint8), shades], axis=1)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0))
        + _chunk(b"PLTE", palette.round().astype(np.uint8).tobytes())
        + _chunk(b"IDAT", zlib.compress(lines.tobytes(), 6))
        + _chunk(b"IEND", b"")
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
