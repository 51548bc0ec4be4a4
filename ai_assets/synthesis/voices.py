"""Pitched instruments: evolving wavetables for additive, plucked-string and frequency-modulation synthesis.

Here belongs how one note sounds. A voice draws a table of single cycles (rows = moments, columns = phase) and one
lookup with interpolation between rows plays it; partials above the Nyquist limit are never put in, so nothing aliases.
Plucked strings follow the loss law of Karplus and Strong (1983) in the closed form of Jaffe and Smith (1983): each
harmonic decays on its own, the higher the faster. FM follows Chowning (1973).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Audio = NDArray[np.float32]
_TABLE = 2048
_MAX_HARMONICS = 48


@dataclass(frozen=True)
class Voice:
    """Parameters of an instrument.

    ``rolloff`` is the exponent of the harmonic amplitudes, ``even`` the level of even harmonics, ``pluck`` the place of
    plucking (0 = none), ``decay`` and ``damping`` the losses in 1/s of the note and of each further harmonic,
    ``attack``/``release`` are in seconds, ``vibrato`` and ``detune`` in cents, ``fm`` is (ratio, index, index decay),
    ``formant`` a resonance in Hz (0 = none), ``noise`` the level of breath or bow noise, ``program`` the General MIDI
    program (0-based).
    """

    program: int
    rolloff: float = 1.0
    even: float = 1.0
    pluck: float = 0.0
    decay: float = 0.0
    damping: float = 0.0
    attack: float = 0.01
    release: float = 0.08
    vibrato: float = 0.0
    detune: float = 0.0
    fm: tuple[float, float, float] | None = None
    formant: float = 0.0
    noise: float = 0.0


VOICES: dict[str, Voice] = {
    "piano": Voice(0, rolloff=1.3, pluck=0.12, decay=1.4, damping=0.35, attack=0.003, release=0.12),
    "grand piano": Voice(0, rolloff=1.5, pluck=0.12, decay=0.9, damping=0.28, attack=0.004, release=0.3),
    "electric piano": Voice(4, fm=(1.0, 1.6, 3.0), decay=1.3, attack=0.004, release=0.15),
    "vibraphone": Voice(11, fm=(4.0, 0.9, 5.0), decay=1.6, attack=0.003, release=0.3, vibrato=6),
    "organ": Voice(16, rolloff=0.9, even=0.6, attack=0.012, release=0.05, vibrato=8, detune=3),
    "harmonica": Voice(22, rolloff=0.8, even=0.45, attack=0.04, release=0.06, vibrato=14, formant=1800, noise=0.01),
    "melodica": Voice(21, rolloff=0.9, even=0.3, attack=0.03, release=0.06, vibrato=10, formant=1300, noise=0.01),
    "nylon guitar": Voice(24, rolloff=1.2, pluck=0.3, decay=1.8, damping=0.9, attack=0.003, release=0.1),
    "steel guitar": Voice(25, rolloff=0.85, pluck=0.17, decay=1.3, damping=0.35, attack=0.002, release=0.12),
    "clean guitar": Voice(27, rolloff=0.8, pluck=0.13, decay=2.4, damping=0.4, attack=0.002, release=0.04),
    "electric guitar": Voice(27, rolloff=0.9, pluck=0.22, decay=0.9, damping=0.18, release=0.06, vibrato=14),
    "power guitar": Voice(30, rolloff=0.6, pluck=0.1, decay=0.7, damping=0.06, attack=0.002, release=0.02, detune=6),
    "crunch guitar": Voice(29, rolloff=0.75, pluck=0.14, decay=1.0, damping=0.12, attack=0.002, release=0.04, detune=4),
    "lead guitar": Voice(29, rolloff=0.65, decay=0.4, attack=0.008, release=0.08, vibrato=22, formant=1500),
    "upright bass": Voice(32, rolloff=1.5, pluck=0.3, decay=2.2, damping=0.8, attack=0.006, release=0.06),
    "finger bass": Voice(33, rolloff=1.1, pluck=0.2, decay=1.6, damping=0.3, attack=0.003, release=0.04),
    "pick bass": Voice(34, rolloff=0.85, pluck=0.1, decay=1.2, damping=0.18, attack=0.002, release=0.03),
    "dub bass": Voice(33, rolloff=2.2, decay=0.7, damping=0.3, attack=0.008, release=0.05),
    "sub bass": Voice(38, rolloff=3.0, decay=0.6, attack=0.006, release=0.09),
    "synth bass": Voice(38, rolloff=0.9, decay=1.0, damping=0.7, attack=0.004, release=0.03, detune=5),
    "violin": Voice(40, rolloff=0.95, attack=0.07, release=0.15, vibrato=18, formant=2600, noise=0.012),
    "fiddle": Voice(110, rolloff=0.85, attack=0.035, release=0.08, vibrato=10, formant=2900, noise=0.02),
    "cello": Voice(42, rolloff=1.2, attack=0.09, release=0.2, vibrato=10, formant=700, noise=0.006),
    "strings": Voice(48, rolloff=1.15, attack=0.09, release=0.25, vibrato=9, detune=9, formant=1500),
    "brass": Voice(61, rolloff=0.75, attack=0.03, release=0.07, vibrato=6, detune=5, formant=1200),
    "muted trumpet": Voice(59, rolloff=0.5, attack=0.025, release=0.06, vibrato=12, formant=2300, noise=0.004),
    "saxophone": Voice(66, rolloff=0.8, attack=0.03, release=0.08, vibrato=16, formant=900, noise=0.015),
    "flute": Voice(73, rolloff=2.1, attack=0.05, release=0.09, vibrato=14, noise=0.03),
    "square lead": Voice(80, rolloff=1.0, even=0.0, decay=0.8, attack=0.004, release=0.06, vibrato=8),
    "saw lead": Voice(81, rolloff=0.95, decay=0.4, damping=0.1, attack=0.004, release=0.07, detune=8),
    "super saw": Voice(90, rolloff=0.85, attack=0.015, release=0.1, detune=14),
    "pad": Voice(89, rolloff=1.4, attack=0.22, release=0.4, detune=11),
}  # fmt: skip


def play(voice: Voice, *, pitch: int, seconds: float, samplerate: int, rng: np.random.Generator) -> Audio:
    """One note of ``seconds`` (plus its release) at full level, mono float32, peak about 1."""
    frequency = 440.0 * 2.0 ** ((pitch - 69) / 12.0)
    count = int((seconds + voice.release) * samplerate)
    rows = int(np.clip(count / samplerate / 0.03, 2, 32))
    table = _table(voice, frequency, count / samplerate, rows, samplerate, rng)
    table /= np.max(np.abs(table)) + np.float32(1e-9)
    time = np.arange(count, dtype=np.float32) / np.float32(samplerate)
    sound = _lookup(table, _phase(voice, frequency, time), rows, count)
    if voice.detune:
        ratio = 2.0 ** (voice.detune / 1200.0)
        sound = 0.5 * (sound + _lookup(table, _phase(voice, frequency * ratio, time) + 0.37, rows, count))
    if voice.noise:
        breath = rng.standard_normal(count + 3, dtype=np.float32)
        # a running mean of four: breath and bow hiss, but not up to the last octave
        sound = sound + np.float32(0.3 * voice.noise) * (breath[:-3] + breath[1:-2] + breath[2:-1] + breath[3:])
    peak = float(np.max(np.abs(sound))) or 1.0
    return (sound * _envelope(voice, seconds, time, samplerate) / np.float32(peak)).astype(np.float32)


def _phase(voice: Voice, frequency: float, time: Audio) -> NDArray[np.float64]:
    phase = frequency * time.astype(np.float64)
    if voice.vibrato:
        rate = 5.3
        depth = frequency * (2.0 ** (voice.vibrato / 1200.0) - 1.0) / (2.0 * np.pi * rate)
        # vibrato sets in after the attack, as players do it
        onset = np.minimum(time * 2.5, 1.0)
        phase -= depth * onset * np.cos(np.float32(2.0 * np.pi * rate) * time)
    return phase


def _table(
    voice: Voice, frequency: float, seconds: float, rows: int, samplerate: int, rng: np.random.Generator
) -> Audio:
    moments = np.linspace(0.0, seconds, rows)[:, None]
    limit = int(np.clip(0.45 * samplerate / frequency, 1, _MAX_HARMONICS))
    if voice.fm is not None:
        ratio, index, fade = voice.fm
        index = min(index, max(0.0, (limit - 1) / ratio - 1.0))
        angle = 2.0 * np.pi * np.arange(_TABLE)[None, :] / _TABLE
        swing = index * np.exp(-fade * moments) * np.sin(ratio * angle)
        return np.asarray(np.exp(-voice.decay * moments) * np.sin(angle + swing), dtype=np.float32)
    h = np.arange(1, limit + 1)[None, :]
    level = h**-voice.rolloff * np.where(h % 2 == 0, voice.even, 1.0)
    if voice.pluck:
        level = level * np.abs(np.sin(np.pi * h * voice.pluck)) + 1e-4
    if voice.formant:
        octaves = np.log2(h * frequency / voice.formant)
        level = level * (0.35 + 1.3 * np.exp(-0.5 * (octaves / 0.7) ** 2))
    losses = (voice.decay + voice.damping * (h - 1)) * (frequency / 220.0) ** 0.4
    spectrum = np.zeros((rows, _TABLE // 2 + 1), dtype=np.complex64)
    turn = np.exp(2j * np.pi * rng.random((1, limit)))
    spectrum[:, 1 : limit + 1] = level * np.exp(-losses * moments) * turn
    return np.fft.irfft(spectrum, n=_TABLE, axis=1).astype(np.float32)


def _lookup(table: Audio, phase: NDArray[np.float64], rows: int, count: int) -> Audio:
    place = (phase * _TABLE).astype(np.int64) & (_TABLE - 1)
    row = np.linspace(0.0, rows - 1.001, count, dtype=np.float32)
    base = row.astype(np.int64)
    flat = base * _TABLE + place
    cells = table.reshape(-1)
    first = cells[flat]
    sound: Audio = first + (cells[flat + _TABLE] - first) * (row - base.astype(np.float32))
    return sound


def _envelope(voice: Voice, seconds: float, time: Audio, samplerate: int) -> Audio:
    rise = np.minimum(time / np.float32(voice.attack), 1.0)
    fall = np.clip((np.float32(seconds + voice.release) - time) / np.float32(voice.release), 0.0, 1.0)
    return np.asarray(rise * fall * fall, dtype=np.float32)
