"""Score folders for the tests of music: composed ones in the sample library's form, and MIDI written by hand."""

from __future__ import annotations

from pathlib import Path

import mido
import numpy as np

from ai_assets.synthesis.composition import Score as ComposedScore
from ai_assets.synthesis.composition import compose
from ai_assets.synthesis.scores import midi_bytes
from ai_assets.synthesis.styles import STYLES


def write_library(folder: Path, pieces: int) -> list[ComposedScore]:
    """`pieces` composed scores as `000.mid`, …; their truth is given back."""
    folder.mkdir(parents=True, exist_ok=True)
    truths = []
    for number in range(pieces):
        style = sorted(STYLES)[number % len(STYLES)]
        score = compose(style, seconds=20, rng=np.random.default_rng([5, number]))
        (folder / f"{number:03}.mid").write_bytes(midi_bytes(score, title=f"Piece {number}"))
        truths.append(score)
    return truths


def write_midi(
    file: Path, pitches: list[int], *, meters: tuple[tuple[int, int], ...] = ((4, 4),), text: bytes = b""
) -> None:
    """One unnamed track of quarter notes and a text event; each further meter begins four quarters later."""
    midi = mido.MidiFile(type=1, ticks_per_beat=480, charset="latin1")
    conductor, track = mido.MidiTrack(), mido.MidiTrack()
    for place, (numerator, denominator) in enumerate(meters):
        event = mido.MetaMessage(
            "time_signature", numerator=numerator, denominator=denominator, time=1920 * (place > 0)
        )
        conductor.append(event)
    conductor.append(mido.MetaMessage("text", text=text.decode("latin1"), time=0))
    for pitch in pitches:
        track.append(mido.Message("note_on", note=pitch, velocity=80, time=0))
        track.append(mido.Message("note_off", note=pitch, velocity=0, time=480))
    midi.tracks += [conductor, track]
    midi.save(file)
