"""Whether the audio that came out is all that the file was meant to hold.

libsndfile corrects a WAV's length silently, gives no error for a cut MP3 or OGG and does not check a FLAC's MD5; these
are the checks it leaves out. The evidence that needs no decoding is in `containers`.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

from ai_assets.audio_analysis.containers import Container


class FlacChecksum:
    """MD5 of the samples as a FLAC encoder computed it: interleaved signed little-endian integers (RFC 9639, 8.2)."""

    def __init__(self, container: Container) -> None:
        self._expected = container.md5
        self._bits = container.bits or 0
        # float32 holds integers of up to 24 bits exactly; wider ones cannot be checked after the conversion.
        self.applies = container.format == "FLAC" and container.md5 is not None and self._bits <= 24
        self._md5 = hashlib.md5(usedforsecurity=False)

    def update(self, block: npt.NDArray[np.float32]) -> None:
        """Add one decoded block (n, channels)."""
        if not self.applies:
            return
        scaled = block * np.float32(2.0 ** (self._bits - 1))
        width = (self._bits + 7) // 8
        if width <= 2:
            self._md5.update(scaled.astype("<i2" if width == 2 else "i1").tobytes())
            return
        wide = scaled.astype("<i4").reshape(-1, 1).view(np.uint8)
        self._md5.update(wide[:, :3].tobytes())

    def matches(self) -> bool:
        """Whether everything added so far is the whole stream the encoder saw."""
        return self.applies and self._md5.digest() == self._expected


def missing_audio(container: Container, frames: int, sample_rate: int) -> str:
    """Evidence that a decode which ended quietly delivered too little: "" or a reason. `frames`: what was read."""
    if container.damage:
        return container.damage
    claimed = container.claimed_frames
    if claimed is None:
        return ""
    if frames < claimed - container.tolerance_seconds * sample_rate:
        return f"truncated: {claimed} frames claimed, {frames} read"
    return ""
