"""The three decoders behind one small interface: soundfile (libsndfile), miniaudio, PyAV (FFmpeg).

Belongs here: opening a decoder on an open file descriptor and reading float32 blocks forward, to the end or to the
first fault. Does not belong here: which files are allowed, limits, and what a fault means for the file (`decode`).

No decoder is ever asked how many frames there are; every one is read until it has no more.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import soundfile

from ai_assets.audio_analysis.containers import Container

Block = npt.NDArray[np.float32]


class DecoderFault(Exception):
    """The decoder refused the file or failed in the middle; `block` holds what it delivered before the fault."""

    def __init__(self, message: str, block: Block | None = None) -> None:
        super().__init__(message)
        self.block = block


class Backend(Protocol):
    """An open decoder."""

    name: str
    sample_rate: int
    channels: int
    subtype: str

    def read(self, frames: int) -> Block:
        """The next block, float32 (n, channels) with n <= frames; n = 0 at the end; DecoderFault on a fault."""
        ...

    def close(self) -> None:
        """Free the decoder; the file descriptor stays the caller's."""
        ...


class _ForwardSoundFile(soundfile.SoundFile):
    """A SoundFile that never seeks: soundfile would seek after each block and clip reads to the claimed length."""

    def seekable(self) -> bool:
        return False


class SoundfileBackend:
    """libsndfile through soundfile: WAV, FLAC, MP3, OGG Vorbis and Opus, AIFF."""

    name = "soundfile"
    _FORMATS = {"WAV": ("WAV", "WAVEX", "RF64"), "MP3": ("MP3",)}  # noqa: RUF012
    _SUBTYPES = ("PCM_", "FLOAT", "DOUBLE", "VORBIS", "OPUS", "MPEG_LAYER_")

    def __init__(self, fd: int, container: Container) -> None:
        os.lseek(fd, container.offset, os.SEEK_SET)
        try:
            # A descriptor, not a name: libsndfile trusts the suffixes .raw and .au over the content.
            self._file = _ForwardSoundFile(fd, closefd=False)
        except (soundfile.LibsndfileError, RuntimeError, TypeError, ValueError) as error:
            raise DecoderFault(_message(error)) from error
        self.sample_rate = int(self._file.samplerate)
        self.channels = int(self._file.channels)
        self.subtype = str(self._file.subtype)
        self._position = 0
        refusal = self._mismatch(container)
        if refusal:
            self._file.close()
            raise DecoderFault(refusal)

    def _mismatch(self, container: Container) -> str:
        """Why this decoder may not read the file although it opened it."""
        found, subtype = str(self._file.format), self.subtype
        # Two parsers can see two things in one hostile header; what libsndfile saw must be acceptable too.
        if found not in self._FORMATS.get(container.format, (container.format,)):
            return f"sees {found} where {container.format} was recognised"
        if not subtype.startswith(self._SUBTYPES):
            return f"sees {subtype}, which is not accepted"
        claimed = container.claimed_frames or 0
        if container.format == "MP3" and self._file.frames < claimed - container.tolerance_seconds * self.sample_rate:
            # libsndfile never reads beyond its estimate, which is far off for variable bit rates without a header.
            return f"would read {self._file.frames} of {claimed} frames"
        return ""

    def read(self, frames: int) -> Block:
        out = np.empty((frames, self.channels), np.float32)
        try:
            block: Block = self._file.read(frames, dtype="float32", always_2d=True, out=out)
        except (soundfile.LibsndfileError, RuntimeError) as error:
            # libsndfile counts what it decoded before it failed; the rows lie in `out` already.
            done = min(max(int(self._file.tell()) - self._position, 0), frames)
            raise DecoderFault(_message(error), out[:done]) from error
        self._position += len(block)
        return block

    def close(self) -> None:
        self._file.close()


def _message(error: Exception) -> str:
    text = str(getattr(error, "error_string", error)).strip().rstrip(".")
    return text.removeprefix("Error : ") or type(error).__name__


class PyavBackend:
    """FFmpeg through PyAV: M4A (AAC, ALAC), and the last resort for the other formats."""

    name = "pyav"
    _DEMUXERS = {"M4A": "mov", "FLAC": "flac", "MP3": "mp3", "OGG": "ogg", "WAV": "wav", "AIFF": "aiff"}  # noqa: RUF012
    _CODECS = {  # noqa: RUF012
        "M4A": ("aac", "alac"),
        "FLAC": ("flac",),
        "MP3": ("mp3", "mp3float", "mp2", "mp1", "mp2float", "mp1float"),
        "OGG": ("vorbis", "opus", "libopus", "libvorbis"),
        "WAV": ("pcm_",),
        "AIFF": ("pcm_",),
    }

    def __init__(self, fd: int, container: Container) -> None:
        import av

        av.logging.set_level(None)
        self._raw = _OffsetReader(fd, container.offset)
        try:
            # One named demuxer: FFmpeg never guesses, so that no playlist or exotic demuxer can be reached.
            self._container: Any = av.open(self._raw, mode="r", format=self._DEMUXERS[container.format])
            if not self._container.streams.audio:
                raise DecoderFault("holds no audio stream")
            self._stream = self._container.streams.audio[0]
            codec = self._stream.codec_context
            if codec is None:
                raise DecoderFault("holds an audio stream of an unknown encoding")
            allowed = self._CODECS[container.format]
            if codec.name not in allowed and not (allowed == ("pcm_",) and codec.name.startswith(allowed)):
                raise DecoderFault(f"holds {codec.name}, which is not accepted in {container.format}")
            codec.thread_count = 1
            self.sample_rate, self.channels = int(codec.sample_rate), int(codec.channels)
            self.subtype = {"aac": "AAC", "alac": "ALAC"}.get(codec.name, container.subtype or codec.name.upper())
        except DecoderFault:
            raise
        except (av.FFmpegError, OSError, ValueError, TypeError, AttributeError, RuntimeError) as error:
            raise DecoderFault(f"not readable: {error}") from error
        if self.sample_rate <= 0 or self.channels <= 0:
            raise DecoderFault("holds an audio stream without sample rate or channels")
        self._faults = 0
        self._first_fault = ""
        self._blocks = self._decode()
        self._rest: list[Block] = []

    @property
    def declared_frames(self) -> int | None:
        """Length the container claims, in frames; None when it does not say."""
        stream = self._stream
        if stream.duration is None or stream.time_base is None:
            return None
        return int(stream.duration * stream.time_base * self.sample_rate)

    def _decode(self) -> Iterator[Block]:
        import av

        resampler = av.AudioResampler(format="flt", layout=self._stream.codec_context.layout, rate=self.sample_rate)
        for packet in self._container.demux(self._stream):
            try:
                frames = packet.decode()
            except av.FFmpegError as error:
                # One bad packet is one hole, not the end: what follows is still audio.
                self._faults += 1
                self._first_fault = self._first_fault or str(error)
                continue
            for frame in frames:
                for converted in resampler.resample(frame):
                    yield converted.to_ndarray().reshape(-1, self.channels)

    def read(self, frames: int) -> Block:
        import av

        count = sum(len(part) for part in self._rest)
        fault: str | None = None
        while count < frames:
            try:
                part = next(self._blocks, None)
            except (av.FFmpegError, OSError, ValueError, RuntimeError) as error:
                fault = str(error)
                break
            if part is None:
                break
            self._rest.append(part)
            count += len(part)
        joined: Block = np.concatenate(self._rest) if self._rest else np.empty((0, self.channels), np.float32)
        self._rest = [joined[frames:]] if len(joined) > frames else []
        block = np.ascontiguousarray(joined[:frames])
        if fault is not None:
            raise DecoderFault(fault, block)
        if not len(block) and self._faults:
            raise DecoderFault(f"{self._faults} packets could not be decoded ({self._first_fault})", block)
        return block

    def close(self) -> None:
        self._container.close()


class _OffsetReader:
    """A file object for FFmpeg over a descriptor, which begins at `offset`; uses pread, so it moves no position."""

    name = "audio"

    def __init__(self, fd: int, offset: int) -> None:
        self._fd, self._offset, self._at = fd, offset, 0

    def read(self, count: int = -1) -> bytes:
        data = os.pread(self._fd, count if count >= 0 else 1 << 16, self._offset + self._at)
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        size = os.fstat(self._fd).st_size - self._offset
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: size}.get(whence)
        if base is None or base + offset < 0:
            raise OSError(f"cannot seek to {offset} from {whence}")
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True


class MiniaudioBackend:
    """dr_flac, dr_mp3 and dr_wav through miniaudio: tolerant of what libsndfile refuses."""

    name = "miniaudio"

    def __init__(self, fd: int, container: Container) -> None:
        import miniaudio

        kinds = {"FLAC": "FLAC", "MP3": "MP3", "WAV": "WAV"}
        if container.format not in kinds or not container.sample_rate or not container.channels:
            raise DecoderFault("no such decoder in miniaudio")
        reader = _OffsetReader(fd, container.offset)

        class Source(miniaudio.StreamableSource):
            def read(self, num_bytes: int) -> bytes:
                return reader.read(num_bytes)

            def seek(self, offset: int, origin: Any) -> bool:
                try:
                    reader.seek(offset, os.SEEK_CUR if origin == miniaudio.SeekOrigin.CURRENT else os.SEEK_SET)
                except OSError:
                    return False
                return True

        self.sample_rate, self.channels = container.sample_rate, container.channels
        self.subtype = container.subtype or ""
        self._source = Source()
        try:
            self._stream = miniaudio.stream_any(
                self._source,
                source_format=miniaudio.FileFormat[kinds[container.format]],
                output_format=miniaudio.SampleFormat.FLOAT32,
                nchannels=self.channels,
                sample_rate=self.sample_rate,
                frames_to_read=65536,
            )
        except miniaudio.MiniaudioError as error:
            raise DecoderFault(f"not readable: {error.args[0]}") from error

    def read(self, frames: int) -> Block:
        import miniaudio

        try:
            data = self._stream.send(frames)
        except StopIteration:
            return np.empty((0, self.channels), np.float32)
        except miniaudio.MiniaudioError as error:
            raise DecoderFault(str(error)) from error
        return np.frombuffer(data, np.float32).reshape(-1, self.channels).copy()

    def close(self) -> None:
        self._stream.close()
