"""Signals with known answers, and the spectrum blocks that the descriptor families take."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 22_050
N_FFT, HOP = 2048, 512


def public_data() -> Path:
    """Where the public test data lies: `AI_ASSETS_TEST_DATA`, else `../shared/data` beside the project."""
    default = Path(__file__).resolve().parents[3] / "shared" / "data"
    return Path(os.environ.get("AI_ASSETS_TEST_DATA", default))


def table(folder: str, name: str) -> list[dict[str, str]]:
    with (public_data() / folder / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@dataclass(frozen=True)
class Block:
    magnitude: NDArray[Any]
    power: NDArray[Any]
    mel: NDArray[Any]
    first_frame: int


@lru_cache(maxsize=1)
def mel_filters() -> NDArray[np.float64]:
    import librosa

    return np.asarray(librosa.filters.mel(sr=SAMPLE_RATE, n_fft=N_FFT), dtype=np.float64)


def blocks(samples: NDArray[Any], frames: int = 128) -> Iterator[Block]:
    """Centred, zero-padded Hann spectra of mono samples at 22,050 Hz, as librosa's STFT gives them."""
    padded = np.pad(np.asarray(samples, dtype=np.float64), N_FFT // 2)
    windows = np.lib.stride_tricks.sliding_window_view(padded, N_FFT)[::HOP]
    window = np.hanning(N_FFT + 1)[:-1]
    for first in range(0, len(windows), frames):
        magnitude = np.abs(np.fft.rfft(windows[first : first + frames] * window, axis=1))
        yield Block(magnitude, magnitude**2, magnitude**2 @ mel_filters().T, first)


def fed(family: Any, samples: NDArray[Any], frames: int = 128) -> Any:
    """The spectrum family after all blocks of `samples`."""
    for block in blocks(samples, frames):
        family.push(block)
    return family


def tone(hertz: float, seconds: float, sample_rate: int = SAMPLE_RATE, amplitude: float = 0.3) -> NDArray[np.float64]:
    return amplitude * np.sin(2 * np.pi * hertz * np.arange(round(seconds * sample_rate)) / sample_rate)


def clicks(bpm: float, seconds: float, seed: int = 0) -> NDArray[np.float64]:
    """A decaying noise burst on every beat over faint noise; the first beat at 0.5 s."""
    rng = np.random.default_rng(seed)
    samples = 1e-4 * rng.standard_normal(round(seconds * SAMPLE_RATE))
    burst = rng.standard_normal(2000) * np.exp(-np.arange(2000) / 300.0) * 0.5
    for beat in np.arange(0.5, seconds - 0.1, 60.0 / bpm):
        start = round(beat * SAMPLE_RATE)
        samples[start : start + 2000] += burst
    return samples


def chord(semitones: tuple[int, ...], seconds: float, cents: float = 0.0) -> NDArray[np.float64]:
    """A chord from C4 with six harmonics and an abrupt start; `semitones` above C4."""
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    envelope = np.minimum(1.0, time / 0.01) * np.exp(-time)
    total = np.zeros_like(time)
    for semitone in semitones:
        base = 261.625565 * 2.0 ** ((semitone + cents / 100.0) / 12.0)
        total += sum(np.sin(2 * np.pi * base * h * time) / h**1.5 for h in range(1, 7))
    return 0.1 * envelope * total


def cadence(tonic: int, mode: str, cents: float = 0.0) -> NDArray[np.float64]:
    """I IV V I (major) or i iv V i (minor) twice, over the tonic pitch class `tonic` (C = 0)."""
    third = 4 if mode == "major" else 3
    one, four, five = (0, third, 7), (5, 5 + third, 12), (7, 11, 14)
    sequence = [one, four, five, one] * 2
    return np.concatenate([chord(tuple(tonic + each for each in notes), 1.0, cents) for notes in sequence])
