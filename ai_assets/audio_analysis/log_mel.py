"""The log-mel spectrogram that is kept for the models: 64 bands, 43 frames per second, half precision.

Belongs here: making and gathering it. Does not belong here: the models that read it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ai_assets.audio_analysis.spectrum import SpectrumBlock

BANDS = 64
# Models look at crops of a few seconds; of longer recordings the first twenty minutes are kept (6.6 MB).
MAX_FRAMES = 1200 * 22_050 // 512
_AMIN = 1e-10


class LogMelFamily:
    """Gathers the log-mel block by block."""

    name = "log_mel"
    version = "1"

    def __init__(self) -> None:
        self._parts: list[NDArray[np.float16]] = []
        self._frames = 0

    def push(self, block: SpectrumBlock) -> None:
        """Take the next spectrum block; neighbouring pairs of its 128 mel bands are added."""
        wanted = block.mel[: max(0, MAX_FRAMES - self._frames)]
        if len(wanted):
            pairs = wanted[:, ::2] + wanted[:, 1::2]
            self._parts.append((10.0 * np.log10(np.maximum(pairs, _AMIN))).astype(np.float16))
            self._frames += len(wanted)

    def finish(self) -> NDArray[np.float16]:
        """Power in decibels (frames, 64) re full-scale 1.0, not under -100 dB."""
        return np.concatenate(self._parts) if self._parts else np.zeros((0, BANDS), dtype=np.float16)
