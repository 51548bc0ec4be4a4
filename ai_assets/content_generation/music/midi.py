"""An arrangement as a standard MIDI file: the master of a generated tune.

Here belongs writing; reading foreign files is in ``scores``. The file is marked as made by a model.
"""

from __future__ import annotations

import io
import json

import mido

from ai_assets.content_generation.music.arrangement import DRUM_CHANNEL, Arrangement, Part
from ai_assets.content_generation.music.harmony import PITCH_NAMES
from ai_assets.content_generation.music.scores import TICKS_PER_QUARTER
from ai_assets.content_generation.provenance import DIGITAL_SOURCE_TYPE

TICKS_PER_BEAT = 480
_TICK = TICKS_PER_BEAT // TICKS_PER_QUARTER
# The spellings that the key signature event knows, where they differ from ``PITCH_NAMES``.
_SIGNATURES = {"C#": "Db", "Ebm": "Ebm", "Abm": "G#m", "Bbm": "Bbm"}


def midi_bytes(arrangement: Arrangement) -> bytes:
    """The bytes of a type 1 file: a conductor track with one tempo, meter and key, then one track for each part."""
    file = mido.MidiFile(type=1, ticks_per_beat=TICKS_PER_BEAT, charset="utf-8")
    numerator, denominator = arrangement.meter
    key = PITCH_NAMES[arrangement.tonic] + ("m" if arrangement.mode == "minor" else "")
    mark = json.dumps({"digitalSourceType": DIGITAL_SOURCE_TYPE, "aiGenerated": True})
    conductor = mido.MidiTrack()
    conductor.append(mido.MetaMessage("text", text=mark, time=0))
    conductor.append(mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(arrangement.tempo_bpm), time=0))
    conductor.append(mido.MetaMessage("time_signature", numerator=numerator, denominator=denominator, time=0))
    conductor.append(mido.MetaMessage("key_signature", key=_SIGNATURES.get(key, key), time=0))
    conductor.append(mido.MetaMessage("end_of_track", time=arrangement.ticks * _TICK))
    file.tracks.append(conductor)
    for part in arrangement.parts:
        file.tracks.append(_track(part, arrangement))
    target = io.BytesIO()
    file.save(file=target)
    return target.getvalue()


def _track(part: Part, arrangement: Arrangement) -> mido.MidiTrack:
    track = mido.MidiTrack()
    track.append(mido.MetaMessage("track_name", name=part.name, time=0))
    if part.channel != DRUM_CHANNEL:
        track.append(mido.Message("program_change", channel=part.channel, program=part.program, time=0))
    events: list[tuple[int, int, mido.Message | mido.MetaMessage]] = []
    if part.name == "chords":
        events += [(at * _TICK, 0, mido.MetaMessage("text", text=name)) for at, name in arrangement.chords]
    for note in part.notes:
        on = mido.Message("note_on", channel=part.channel, note=note.pitch, velocity=note.velocity)
        off = mido.Message("note_off", channel=part.channel, note=note.pitch, velocity=0)
        events += [(note.start * _TICK, 2, on), ((note.start + note.length) * _TICK, 1, off)]
    now = 0
    for at, _, message in sorted(events, key=lambda event: event[:2]):
        track.append(message.copy(time=at - now))
        now = at
    return track
