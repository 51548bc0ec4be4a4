"""Writes a score as a standard MIDI file: one track per part, chord names as text, sections as markers.

Here belongs the symbolic file that lies beside a track, an ordinary input like a user's own. Nothing of the truth that
a score would not show (mood, energy) goes into it.
"""

from __future__ import annotations

import io

import mido

from ai_assets.synthesis.composition import Note, Score, pitch_name
from ai_assets.synthesis.voices import VOICES

TICKS_PER_BEAT = 480
_CHANNELS = {"melody": 0, "chords": 1, "bass": 2, "drums": 9}


def midi_bytes(score: Score, *, title: str) -> bytes:
    """The score as the bytes of a type 1 MIDI file; times are exact to a tick (1/480 of a quarter note)."""
    file = mido.MidiFile(type=1, ticks_per_beat=TICKS_PER_BEAT, charset="utf-8")
    conductor = mido.MidiTrack()
    key = pitch_name(score.tonic, score.tonic, score.mode) + ("m" if score.mode == "minor" else "")
    conductor.append(mido.MetaMessage("track_name", name=title, time=0))
    conductor.append(mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(score.tempo_bpm), time=0))
    conductor.append(mido.MetaMessage("time_signature", numerator=score.beats_per_bar, denominator=4, time=0))
    conductor.append(mido.MetaMessage("key_signature", key=_printable_key(key), time=0))
    markers = [
        (section.start_bar * score.beats_per_bar, mido.MetaMessage("marker", text=section.name))
        for section in score.sections
    ]
    _append(conductor, [(_ticks(beat), 0, message) for beat, message in markers])
    file.tracks.append(conductor)
    for part, channel in _CHANNELS.items():
        if score.notes[part]:
            file.tracks.append(_part(score, part, channel))
    target = io.BytesIO()
    file.save(file=target)
    return target.getvalue()


def _printable_key(key: str) -> str:
    """The enharmonic spelling that the MIDI key signature event knows."""
    return {"D#m": "Ebm", "Dbm": "C#m", "G#": "Ab", "A#": "Bb", "D#": "Eb", "Abm": "G#m", "Gbm": "F#m"}.get(key, key)


def _part(score: Score, part: str, channel: int) -> mido.MidiTrack:
    track = mido.MidiTrack()
    track.append(mido.MetaMessage("track_name", name=part, time=0))
    if part != "drums":
        program = VOICES[score.voices[part]].program
        track.append(mido.Message("program_change", channel=channel, program=program, time=0))
    events: list[tuple[int, int, mido.Message | mido.MetaMessage]] = []
    if part == "chords":
        events += [(_ticks(c.start), 0, mido.MetaMessage("text", text=c.name)) for c in score.chords]
    for start, end, note in _without_overlap(score.notes[part]):
        on = mido.Message("note_on", channel=channel, note=note.pitch, velocity=note.velocity)
        off = mido.Message("note_off", channel=channel, note=note.pitch, velocity=0)
        events += [(start, 2, on), (end, 1, off)]
    _append(track, events)
    return track


def _without_overlap(notes: tuple[Note, ...]) -> list[tuple[int, int, Note]]:
    """Start and end in ticks; a note ends at the latest where its pitch is struck again."""
    timed: list[tuple[int, int, Note]] = []
    following: dict[int, int] = {}
    for note in sorted(notes, key=lambda n: (-_ticks(n.start), n.pitch, -n.velocity)):
        start = _ticks(note.start)
        if following.get(note.pitch) == start:
            continue
        end = min(_ticks(note.start + note.beats), following.get(note.pitch, 1 << 30))
        timed.append((start, max(end, start + 1), note))
        following[note.pitch] = start
    return timed[::-1]


def _ticks(beats: float) -> int:
    return round(beats * TICKS_PER_BEAT)


def _append(track: mido.MidiTrack, events: list[tuple[int, int, mido.Message | mido.MetaMessage]]) -> None:
    now = 0
    for tick, _, message in sorted(events, key=lambda event: event[:2]):
        track.append(message.copy(time=tick - now))
        now = tick
