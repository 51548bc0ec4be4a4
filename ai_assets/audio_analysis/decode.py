"""The single way into an audio file: open, read float32 blocks forward, end with one report whatever happens.

Belongs here: limits, the choice of the decoder, sanitising of samples, the audio hash and the verdict (`DecodeReport`).
Does not belong here: opening below a landing root (`resources.roots`), processes with limits (`resources.isolation`),
and everything computed from samples.

>>> with open_audio("track.flac") as reader:          # doctest: +SKIP
...     for block in reader.blocks():                 # float32, (n, channels)
...         ...
>>> reader.report.status                              # doctest: +SKIP
'ok'
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from ai_assets.audio_analysis import backends
from ai_assets.audio_analysis.containers import Container, parse
from ai_assets.audio_analysis.formats import ByteSource, detect
from ai_assets.audio_analysis.truncation import FlacChecksum, missing_audio
from ai_assets.audio_status import AudioStatus
from resources.isolation import Outcome
from resources.roots import PathRefused, StorageFault, open_any, storage_fault

AudioSource = str | os.PathLike[str] | int | BinaryIO

BLOCK_FRAMES = 65536


@dataclass(frozen=True)
class DecodeLimits:
    """What is accepted at most. Rates in Hz, `short_seconds`: complete audio below it is reported as "short".

    `max_expansion` bounds decoded float32 bytes per byte of file once `expansion_grace_seconds` of audio are read:
    hours of digital silence in a small file reach 1,500 to 9,000, speech at 8 kbit/s about 180, music at most 100.
    """

    min_sample_rate: int = 4_000
    max_sample_rate: int = 384_000
    max_channels: int = 8
    max_seconds: float = 4 * 3600.0
    max_file_bytes: int = 4 << 30
    max_decoded_bytes: int = 24 << 30
    max_expansion: float = 1_000.0
    expansion_grace_seconds: float = 900.0
    short_seconds: float = 1.0


@dataclass(frozen=True)
class AudioInfo:
    """What is known before the first block. `declared_frames` is a claim of the header, never a promise."""

    detected_format: str
    subtype: str
    sample_rate: int
    channels: int
    declared_frames: int | None


@dataclass(frozen=True)
class DecodeReport:
    """How the decode of one file ended; exactly one per file.

    Attributes
    ----------
    status : "ok"; "short" (complete, but under a second); "partial" (damaged or cut, what precedes was delivered);
        "refused"; "limit" (longer than allowed, the prefix was delivered); "timeout" and "killed" come from the
        worker pool.
    reason : why the status is not "ok"; "" otherwise.
    detected_format : by content ("WAV FLAC MP3 OGG AIFF M4A", or the name of a refused format); None if unknown.
    sample_rate, channels : Hz and count; None for a file refused before they were known.
    declared_seconds : claimed by the header; None when it claims nothing.
    duration_seconds : read.
    nonfinite_samples : NaN, infinite or absurd (beyond 2^32) samples that were replaced by zero.
    audio_hash : "sha256:…" over rate, channels and float32 samples; the same for any lossless container and any tags.
        None when nothing was read or hashing was switched off.
    decoder : "soundfile", "miniaudio" or "pyav".
    """

    status: AudioStatus
    reason: str = ""
    detected_format: str | None = None
    sample_rate: int | None = None
    channels: int | None = None
    declared_seconds: float | None = None
    duration_seconds: float = 0.0
    nonfinite_samples: int = 0
    audio_hash: str | None = None
    decoder: str | None = None


class AudioRefused(Exception):
    """The file cannot be opened as accepted audio; `report` says why (status "refused")."""

    def __init__(self, report: DecodeReport) -> None:
        super().__init__(report.reason)
        self.report = report

    def __reduce__(self) -> tuple[type[AudioRefused], tuple[DecodeReport]]:
        return type(self), (self.report,)


def open_audio(
    path_or_fd: AudioSource, *, limits: DecodeLimits | None = None, hash_audio: bool = True, verify_md5: bool = True
) -> AudioReader:
    """Open one audio file for reading in blocks.

    Parameters
    ----------
    path_or_fd : a path (opened with `resources.roots.open_any`), a file descriptor or a binary file with one (for
        instance from `open_confined`); a descriptor stays the caller's, its position is undefined afterwards.
    limits : what is accepted; the defaults if None.
    hash_audio, verify_md5 : switch off to save their cost (6 ms and, for FLAC, 10 ms per 30 s of stereo).

    Raises
    ------
    AudioRefused : not accepted audio, with the report; also a file that both claims and holds more than the limits.
    StorageFault : the storage failed, which says nothing about the file.
    """
    owned: BinaryIO | None = None
    if isinstance(path_or_fd, int):
        fd = path_or_fd
    elif isinstance(path_or_fd, (str, os.PathLike)):
        try:
            owned = open_any(Path(path_or_fd))
        except PathRefused as error:
            raise AudioRefused(DecodeReport("refused", error.reason)) from error
        fd = owned.fileno()
    else:
        fd = path_or_fd.fileno()
    within = limits or DecodeLimits()
    try:
        reader = AudioReader(fd, within, hash_audio=hash_audio, verify_md5=verify_md5, owned=owned)
        if not reader.claims_too_much:
            return reader
        # Headers lie in both directions: only a decode, which is cheap beside an analysis, tells a bomb from a liar.
        # Readers of one descriptor share its position, so the first one makes room.
        reader.close(keep_file=True)
        with AudioReader(fd, within, hash_audio=False, verify_md5=False) as trial:
            report = exhausted(trial)
        if report.status == "limit":
            raise AudioRefused(report)
        return AudioReader(fd, within, hash_audio=hash_audio, verify_md5=verify_md5, owned=owned)
    except BaseException:
        if owned is not None:
            owned.close()
        raise


def exhausted(reader: AudioReader) -> DecodeReport:
    """Read to the end, keep nothing. Raises StorageFault."""
    for _ in reader.blocks():
        pass
    return reader.report


def decode_report(path_or_fd: AudioSource, *, limits: DecodeLimits | None = None) -> DecodeReport:
    """Decode one file completely, keeping nothing, and say how it ended. Raises StorageFault only."""
    try:
        with open_audio(path_or_fd, limits=limits) as reader:
            return exhausted(reader)
    except AudioRefused as error:
        return error.report


def failure_report(outcome: Outcome) -> DecodeReport:
    """The report of a file whose worker gave no result (`outcome.status` is not "ok").

    Running out of memory counts as "killed". Raises StorageFault if that is what the worker met, and RuntimeError for
    any other exception: that is a fault of the program and no property of the file.
    """
    if outcome.status == "error":
        if isinstance(outcome.exception, StorageFault):
            raise outcome.exception
        raise RuntimeError(f"analysis failed in its worker: {outcome.error}") from outcome.exception
    if outcome.status == "timeout":
        return DecodeReport("timeout", outcome.error)
    if outcome.status in ("killed", "memory"):
        return DecodeReport("killed", outcome.error)
    raise ValueError("the worker gave a result")


class AudioReader:
    """An open audio file; made by `open_audio`, used as a context manager.

    `info` is known at once, `report` after `blocks` is exhausted.
    """

    def __init__(
        self, fd: int, limits: DecodeLimits, *, hash_audio: bool, verify_md5: bool, owned: BinaryIO | None = None
    ) -> None:
        self._fd, self._limits, self._owned = fd, limits, owned
        self._hash_audio = hash_audio
        self._report: DecodeReport | None = None
        try:
            self._source = ByteSource(fd)
            self._before = os.fstat(fd)
            if not stat.S_ISREG(self._before.st_mode):
                raise self._refuse("not a regular file")
            if self._before.st_size > limits.max_file_bytes:
                raise AudioRefused(DecodeReport("limit", f"a file of more than {limits.max_file_bytes} bytes"))
            self._container = self._accept()
            self._backend, self._first, self._fault = self._open_backend()
        except OSError as error:
            fault = storage_fault(error, f"descriptor {fd}")
            raise fault or AudioRefused(DecodeReport("refused", str(error))) from error
        self._checksum = FlacChecksum(self._container) if verify_md5 else None
        claimed = self._container.claimed_frames
        if claimed is None and isinstance(self._backend, backends.PyavBackend):
            claimed = self._backend.declared_frames
        self.info = AudioInfo(
            self._container.format, self._backend.subtype, self._backend.sample_rate, self._backend.channels, claimed
        )

    def __enter__(self) -> AudioReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self, *, keep_file: bool = False) -> None:
        """Close the decoder and, if the reader opened it, the file."""
        self._backend.close()
        if self._owned is not None and not keep_file:
            self._owned.close()

    @property
    def claims_too_much(self) -> bool:
        """Whether the headers announce more than the limits allow (they may lie)."""
        declared, rate = self.info.declared_frames or 0, self.info.sample_rate
        return bool(self._allowance(0, declared, rate, self.info.channels)[1])

    @property
    def report(self) -> DecodeReport:
        """How the decode ended; RuntimeError while blocks are still to come."""
        if self._report is None:
            raise RuntimeError("the report exists only after the blocks have been read to the end")
        return self._report

    def blocks(self, frames: int = BLOCK_FRAMES) -> Iterator[npt.NDArray[np.float32]]:
        """Yield float32 blocks (n, channels), finite, forward, once; n = `frames` except for the last block.

        A fault of the file ends the iteration and shows in `report`; a fault of the storage raises StorageFault.
        """
        if frames == BLOCK_FRAMES:
            yield from self._read()
            return
        rest: npt.NDArray[np.float32] | None = None
        for block in self._read():
            whole = block if rest is None else np.concatenate((rest, block))
            end = len(whole) - len(whole) % frames
            for start in range(0, end, frames):
                yield whole[start : start + frames]
            rest = whole[end:]
        if rest is not None and len(rest):
            yield rest

    # -- opening ------------------------------------------------------------------------------------------------

    def _refuse(
        self, reason: str, container: Container | None = None, *, format_name: str | None = None
    ) -> AudioRefused:
        return AudioRefused(
            DecodeReport(
                "refused",
                reason,
                container.format if container else format_name,
                container.sample_rate if container else None,
                container.channels if container else None,
            )
        )

    def _accept(self) -> Container:
        detected = detect(self._source)
        if detected.name is None:
            raise self._refuse(detected.reason, format_name=detected.other)
        container = parse(self._source, detected)
        if container.unaccepted:
            raise self._refuse(container.unaccepted, container)
        if container.sample_rate is not None and container.channels is not None:
            self._check_shape(container.sample_rate, container.channels, container)
        return container

    def _check_shape(self, rate: int, channels: int, container: Container) -> None:
        limits = self._limits
        if not limits.min_sample_rate <= rate <= limits.max_sample_rate:
            span = f"{limits.min_sample_rate} to {limits.max_sample_rate} Hz"
            raise self._refuse(f"sample rate {rate} Hz; accepted are {span}", container)
        if not 1 <= channels <= limits.max_channels:
            raise self._refuse(f"{channels} channels; accepted are 1 to {limits.max_channels}", container)

    def _open_backend(self) -> tuple[backends.Backend, npt.NDArray[np.float32], str]:
        """The first decoder that delivers audio, its first block, and the fault that followed it ("" = none)."""
        kinds: list[type[Any]] = [backends.SoundfileBackend, backends.MiniaudioBackend, backends.PyavBackend]
        if self._container.format == "M4A":
            kinds = [backends.PyavBackend]
        reasons: list[str] = []
        for kind in kinds:
            try:
                backend: backends.Backend = kind(self._fd, self._container)
            except backends.DecoderFault as fault:
                reasons.append(f"{kind.name}: {fault}")
                continue
            try:
                self._check_shape(backend.sample_rate, backend.channels, self._container)
                block, fault_text = backend.read(BLOCK_FRAMES), ""
            except backends.DecoderFault as fault:
                empty = np.empty((0, backend.channels), np.float32)
                block, fault_text = fault.block if fault.block is not None else empty, str(fault)
            except BaseException:
                backend.close()
                raise
            if len(block):
                return backend, block, fault_text
            reasons.append(f"{kind.name}: {fault_text or 'no samples'}")
            backend.close()
        self._check_storage()
        if all(reason.endswith(": no samples") for reason in reasons):
            raise self._refuse(self._container.damage or "the file holds no audio samples", self._container)
        damage = f"{self._container.damage}; " if self._container.damage else ""
        raise self._refuse(f"{damage}no decoder delivers a sample ({'; '.join(reasons)})", self._container)

    # -- reading ------------------------------------------------------------------------------------------------

    def _read(self) -> Iterator[npt.NDArray[np.float32]]:
        rate, channels = self._backend.sample_rate, self._backend.channels
        digest = hashlib.sha256(b"audio/1 %d %d\n" % (rate, channels)) if self._hash_audio else None
        total, nonfinite, limit = 0, 0, ""
        block, fault = self._first, self._fault
        self._first = block[:0]
        while len(block):
            allowed, limit = self._allowance(total, len(block), rate, channels)
            block = block[:allowed]
            nonfinite += _zero_nonfinite(block)
            if digest is not None:
                digest.update(np.ascontiguousarray(block, "<f4").data)
            if self._checksum is not None:
                self._checksum.update(block)
            total += len(block)
            yield block
            if limit or fault:
                break
            try:
                block = self._backend.read(BLOCK_FRAMES)
            except backends.DecoderFault as error:
                fault = str(error) or "the decoder failed"
                block = error.block if error.block is not None else block[:0]
        self._finish(total, nonfinite, limit, fault, f"sha256:{digest.hexdigest()}" if digest else None)

    def _allowance(self, total: int, coming: int, rate: int, channels: int) -> tuple[int, str]:
        """How many of the coming frames are allowed, and the limit that is hit with them ("" = none)."""
        limits = self._limits
        most = int(limits.max_seconds * rate)
        if total + coming > most:
            return most - total, f"longer than {limits.max_seconds:g} s"
        decoded = (total + coming) * channels * 4
        if decoded > limits.max_decoded_bytes:
            return coming, f"more than {limits.max_decoded_bytes} decoded bytes"
        grace = limits.expansion_grace_seconds * rate
        if total + coming > grace and decoded > limits.max_expansion * self._source.size:
            times = f"more than {limits.max_expansion:g} times the size of the file"
            return coming, f"expands to {times}: digital silence or a decompression bomb"
        return coming, ""

    def _finish(self, total: int, nonfinite: int, limit: str, fault: str, digest: str | None) -> None:
        container, rate = self._container, self._backend.sample_rate
        if self._checksum is not None and self._checksum.matches():
            # Every sample the encoder saw is here: libsndfile complains at the end of streams of unknown length.
            fault = ""
        missing = missing_audio(container, total, rate)
        seconds = total / rate
        status: AudioStatus = "ok"
        reason = ""
        if limit:
            status, reason = "limit", limit
        elif fault or missing:
            status, reason = "partial", "; ".join(part for part in (missing, fault) if part)
        elif self._checksum is not None and self._checksum.applies and not self._checksum.matches():
            status, reason = "partial", "damaged: the FLAC MD5 does not match the decoded samples"
        elif 2 * nonfinite > total * self._backend.channels:
            status, reason = "partial", f"damaged: {nonfinite} samples are not finite numbers and were zeroed"
        elif seconds < self._limits.short_seconds:
            status, reason = "short", f"complete, but only {seconds:.3f} s long"
        if not limit and (status == "partial" or self.info.declared_frames is None):
            self._check_storage()
        after = os.fstat(self._fd)
        if (after.st_size, after.st_mtime_ns) != (self._before.st_size, self._before.st_mtime_ns):
            status, reason = "partial", "the file changed while it was read"
        declared = self.info.declared_frames
        self._report = DecodeReport(
            status,
            reason,
            container.format,
            rate,
            self._backend.channels,
            declared / rate if declared is not None else None,
            seconds,
            nonfinite,
            digest,
            self._backend.name,
        )

    def _check_storage(self) -> None:
        """Read the bytes once more: decoders swallow an I/O error and make it look like a short or damaged file."""
        at = 0
        while at < self._source.size:
            try:
                part = os.pread(self._fd, 1 << 20, at)
            except OSError as error:
                raise StorageFault(error.errno or 5, f"cannot read: {error.strerror}", str(self._fd)) from error
            if not part:
                return
            at += len(part)


def _zero_nonfinite(block: npt.NDArray[np.float32]) -> int:
    """Replace samples that are no sample values by zero, in place; returns how many."""
    flat = block.reshape(-1)
    # One pass without a temporary array; NaN, infinities and absurd values all make the sum of squares large or NaN.
    with np.errstate(over="ignore"):
        if float(np.dot(flat, flat)) < 2.0**60:
            return 0
    bad = ~(np.abs(flat) < 2.0**32)
    flat[bad] = 0.0
    return int(bad.sum())
