"""Turns a score into sound: plays every part, places it in the stereo picture, adds a room, limits softly.

Here belongs mixing. Notes come from ``composition``, single sounds from ``voices`` and ``drums``, files are written
by ``audio_files``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ai_assets.synthesis.composition import Note, Score
from ai_assets.synthesis.drums import KITS, strike
from ai_assets.synthesis.styles import CRASH, HAT, KICK, OPEN_HAT, RIDE, SHAKER, STYLES, TOM
from ai_assets.synthesis.voices import VOICES, play

Audio = NDArray[np.float32]
TAIL_SECONDS = 1.2
_PEAK = 0.8  # about -2 dBFS: Vorbis was seen to overshoot by 1.1 dB
_DRUM_PAN = {HAT: 0.35, OPEN_HAT: 0.35, RIDE: -0.4, CRASH: -0.45, SHAKER: -0.3, TOM: 0.2}


def render(score: Score, *, samplerate: int, rng: np.random.Generator) -> Audio:
    """Render a score to stereo float32 of shape (frames, 2), peak at most 0.8; 1.2 s are added for the last sound."""
    profile = STYLES[score.style]
    frames = int((score.seconds + TAIL_SECONDS) * samplerate)
    mix = np.zeros((2, frames), dtype=np.float32)
    send = np.zeros(frames, dtype=np.float32)
    pans = {
        "melody": float(rng.uniform(-0.3, 0.3)),
        "chords": float(rng.choice((-1, 1)) * rng.uniform(0.3, 0.6)),
        "bass": 0.0,
    }
    for part, gain in zip(("melody", "chords", "bass"), profile.levels, strict=False):
        bus = _pitched(score, part, frames, samplerate, rng)
        if profile.drive and part in ("melody", "chords"):
            bus = _overdrive(bus, profile.drive)
        if profile.pump and part != "melody":
            bus *= _pumping(score, frames, samplerate, profile.pump)
        bus *= np.float32(gain * 0.35 / max(_level(bus), 1e-6) * 0.28)
        if part == "chords":
            _spread(mix, bus, pans[part], samplerate)
        else:
            _place(mix, bus, pans[part])
        if part != "bass":
            send += bus
    _drums(score, mix, send, samplerate, profile.levels[3], rng)
    mix += np.float32(profile.reverb) * _room(send, samplerate, 0.5 + 1.6 * profile.reverb, rng)
    return _master(mix, profile.loudness * (0.8 + 0.4 * score.energy), samplerate)


def _level(bus: Audio) -> float:
    """Root mean square of the parts of a bus that sound."""
    sounding = bus[np.abs(bus) > 1e-4]
    return float(np.sqrt(np.mean(sounding**2))) if sounding.size else 0.0


def _frame(score: Score, note: Note, samplerate: int, rng: np.random.Generator) -> int:
    """First frame of a note, with the few milliseconds by which players miss the beat."""
    late = 0.003 * rng.standard_normal()
    return max(0, int((note.start * 60.0 / score.tempo_bpm + late) * samplerate))


def _pitched(score: Score, part: str, frames: int, samplerate: int, rng: np.random.Generator) -> Audio:
    voice = VOICES[score.voices[part]]
    bus = np.zeros(frames, dtype=np.float32)
    played: dict[tuple[int, int], Audio] = {}
    for note in score.notes[part]:
        seconds = note.beats * 60.0 / score.tempo_bpm
        key = (note.pitch, round(seconds * 40))
        if key not in played:
            played[key] = play(voice, pitch=note.pitch, seconds=max(seconds, 0.05), samplerate=samplerate, rng=rng)
        start = _frame(score, note, samplerate, rng)
        sound = played[key][: frames - start]
        bus[start : start + sound.size] += sound * np.float32((note.velocity / 127.0) ** 1.5)
    return bus


def _overdrive(bus: Audio, drive: float) -> Audio:
    """Soft clipping followed by the low-pass of a loudspeaker cabinet."""
    shaped = np.tanh(bus * np.float32(drive))
    kernel = np.hanning(15).astype(np.float32)
    cabinet: Audio = np.convolve(shaped, kernel / kernel.sum(), mode="same").astype(np.float32)
    return cabinet


def _pumping(score: Score, frames: int, samplerate: int, depth: float) -> Audio:
    """Gain that dips on every beat, as a compressor keyed by the kick drum makes it."""
    beats = np.arange(frames, dtype=np.float32) * np.float32(score.tempo_bpm / 60.0 / samplerate)
    return np.asarray(1.0 - depth * np.exp(-6.0 * (beats % 1.0)), dtype=np.float32)


def _place(mix: NDArray[np.float32], bus: Audio, pan: float) -> None:
    angle = (pan + 1.0) * np.pi / 4.0
    mix[0] += bus * np.float32(np.cos(angle) * np.sqrt(2))
    mix[1] += bus * np.float32(np.sin(angle) * np.sqrt(2))


def _spread(mix: NDArray[np.float32], bus: Audio, pan: float, samplerate: int) -> None:
    """A wide placing: the far side hears the same a few milliseconds later."""
    delay = int(0.013 * samplerate)
    near, far = (0, 1) if pan < 0 else (1, 0)
    mix[near] += bus * np.float32(0.9 + 0.2 * abs(pan))
    mix[far, delay:] += bus[:-delay] * np.float32(0.9 - 0.3 * abs(pan))


def _drums(
    score: Score, mix: NDArray[np.float32], send: Audio, samplerate: int, gain: float, rng: np.random.Generator
) -> None:
    frames = send.size
    kit = KITS[score.voices["drums"]]
    strokes: dict[tuple[int, int], Audio] = {}
    for i, note in enumerate(score.notes["drums"]):
        key = (note.pitch, i % 2)  # two takes of each drum, so that no two neighbours are the same samples
        if key not in strokes:
            strokes[key] = strike(kit, note.pitch, samplerate=samplerate, rng=rng)
        start = _frame(score, note, samplerate, rng)
        weight = 0.55 if note.pitch == KICK else 0.4 if note.pitch not in _DRUM_PAN else 0.2
        sound = strokes[key][: frames - start] * np.float32(weight * gain * (note.velocity / 127.0) ** 1.6)
        angle = (_DRUM_PAN.get(note.pitch, 0.0) + 1.0) * np.pi / 4.0
        mix[0, start : start + sound.size] += sound * np.float32(np.cos(angle) * np.sqrt(2))
        mix[1, start : start + sound.size] += sound * np.float32(np.sin(angle) * np.sqrt(2))
        if note.pitch != KICK:
            send[start : start + sound.size] += sound


def _room(send: Audio, samplerate: int, seconds: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Reverberation of shape (2, frames): overlap-add convolution with decaying noise, different on each side."""
    size = 65536
    length = min(int(seconds * samplerate), size // 2)
    time = np.arange(length) / samplerate
    response = rng.standard_normal((2, length)) * np.exp(-time * 6.9 / seconds) * np.minimum(time / 0.012, 1.0)
    # walls swallow treble: a short running mean darkens the noise
    smooth = max(2, samplerate // 9000)
    response = np.stack([np.convolve(side, np.ones(smooth) / smooth, mode="same") for side in response])
    response /= np.sqrt(np.sum(response**2, axis=1, keepdims=True))
    hop = size - length
    blocks = -(-send.size // hop)
    padded = np.zeros((blocks, size), dtype=np.float32)
    for i in range(blocks):
        piece = send[i * hop : (i + 1) * hop]
        padded[i, : piece.size] = piece
    spectrum = np.fft.rfft(padded, axis=1)
    wet = np.zeros((2, blocks * hop + size), dtype=np.float32)
    for side in range(2):
        answers = np.fft.irfft(spectrum * np.fft.rfft(response[side].astype(np.float32), n=size), n=size, axis=1)
        for i in range(blocks):
            wet[side, i * hop : i * hop + size] += answers[i]
    return wet[:, : send.size]


def _master(mix: NDArray[np.float32], loudness: float, samplerate: int) -> Audio:
    reference = float(np.percentile(np.abs(mix[:, ::16]), 99.5)) or 1.0
    # 0.5: even the densest style keeps some 8 dB between its mean and its peaks
    mix = np.tanh(mix * np.float32(0.5 * loudness / reference))
    mix *= np.float32(_PEAK / max(float(np.max(np.abs(mix))), 1e-6) * min(1.0, 0.55 + 0.25 * loudness))
    fade = min(int(0.6 * samplerate), mix.shape[1])
    mix[:, -fade:] *= np.linspace(1.0, 0.0, fade, dtype=np.float32)
    return np.ascontiguousarray(mix.T)
