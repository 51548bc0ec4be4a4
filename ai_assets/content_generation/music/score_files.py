"""Scores in MusicXML (also compressed) and in this product's JSON form.

The JSON form: ``{"meter": [4, 4], "key": "D minor" or null, "notes": [[start, end, pitch], …], "chords": [[start,
"Dm7"], …]}`` with times in quarter notes. Here belongs reading only; MIDI is in ``scores``.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from xml.etree import ElementTree

from ai_assets.content_generation.music.harmony import ChordSymbol, parse_chord, parse_key
from ai_assets.content_generation.music.scores import Score, ScoreError, make_score

_MOST_BYTES = 20_000_000
_STEPS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_KINDS = {
    "major": "", "minor": "m", "dominant": "7", "minor-seventh": "m7", "major-seventh": "maj7", "diminished": "dim",
    "diminished-seventh": "dim", "half-diminished": "dim", "augmented": "aug", "suspended-fourth": "sus4",
    "suspended-second": "", "major-sixth": "", "minor-sixth": "m", "dominant-ninth": "7", "power": "",
}  # fmt: skip


def read_json(file: Path) -> Score:
    """A score in the JSON form; raises ``ScoreError`` that says what is wrong."""
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        notes = [(float(start), float(end), int(pitch)) for start, end, pitch in data["notes"]]
        named = [(float(start), parse_chord(name)) for start, name in data.get("chords", ())]
        meter = (int(data["meter"][0]), int(data["meter"][1]))
        key = parse_key(data["key"]) if data.get("key") else None
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        IndexError,
        AttributeError,
        OverflowError,
        RecursionError,
    ) as error:
        raise ScoreError(f"not a score in the JSON form: {error!r}") from error
    return make_score(file.name, notes, [(at, symbol) for at, symbol in named if symbol], meter=meter, key=key)


def read_musicxml(file: Path) -> Score:
    """The first part with notes of a MusicXML file (score-partwise): its first voice, its chord symbols.

    Repeats are not played out. Raises ``ScoreError`` for a damaged file, or a change of meter or key.
    """
    try:
        root = ElementTree.fromstring(_text(file))
    except (OSError, ElementTree.ParseError, zipfile.BadZipFile, KeyError) as error:
        raise ScoreError(f"not a readable MusicXML file: {error!r}") from error
    parts = [part for part in root.findall("part") if part.find(".//pitch") is not None]
    if root.tag != "score-partwise" or not parts:
        raise ScoreError("expected MusicXML of the kind score-partwise with a part that has notes")
    try:
        return _read_part(parts[0], file.name)
    except (ValueError, KeyError, AttributeError, TypeError, ZeroDivisionError) as error:
        if isinstance(error, ScoreError):
            raise
        raise ScoreError(f"not valid MusicXML: {error!r}") from error


def _text(file: Path) -> bytes:
    if file.suffix.lower() != ".mxl":
        data = file.read_bytes()
    else:
        with zipfile.ZipFile(file) as archive:
            inside = [info for info in archive.infolist() if info.filename.endswith((".xml", ".musicxml"))]
            chosen = next(info for info in [*inside, None] if info is None or not info.filename.startswith("META-INF"))
            if chosen is None or chosen.file_size > _MOST_BYTES:
                raise ScoreError("the archive has no score, or one above 20 MB")
            data = archive.read(chosen)
    if len(data) > _MOST_BYTES or b"<!ENTITY" in data:
        raise ScoreError("MusicXML above 20 MB or with entity declarations is not read")
    return data


def _read_part(part: ElementTree.Element, name: str) -> Score:
    notes: list[tuple[float, float, int]] = []
    chords: list[tuple[float, ChordSymbol]] = []
    meters: set[tuple[int, int]] = set()
    keys: set[tuple[int, str]] = set()
    voice, divisions, now, before = None, 1.0, 0.0, 0.0
    tied: dict[int, int] = {}
    for element in part.iterfind("measure/*"):
        length = float(element.findtext("duration") or 0) / divisions
        if element.tag == "attributes":
            divisions = float(element.findtext("divisions") or divisions)
            if element.find("time/beats") is not None:
                meters.add((int(element.findtext("time/beats") or 4), int(element.findtext("time/beat-type") or 4)))
            if element.find("key/fifths") is not None:
                keys.add(_key(int(element.findtext("key/fifths") or 0), element.findtext("key/mode") or "major"))
        elif element.tag == "harmony" and (symbol := _chord(element)) is not None:
            chords.append((now, symbol))
        elif element.tag in ("backup", "forward"):
            now += length if element.tag == "forward" else -length
        elif element.tag == "note" and element.find("grace") is None:
            start = before if element.find("chord") is not None else now
            before, now = start, start + length
            voice = voice or element.findtext("voice")
            if element.find("pitch") is None or element.findtext("voice") != voice:
                continue
            pitch = _pitch(element)
            stops = {tie.get("type") for tie in element.findall("tie")}
            if "stop" in stops and pitch in tied:
                notes[tied[pitch]] = (notes[tied[pitch]][0], now, pitch)
            else:
                tied[pitch] = len(notes)
                notes.append((start, now, pitch))
    if len(meters) > 1 or len(keys) > 1:
        raise ScoreError("the meter or the key changes")
    return make_score(name, notes, chords, meter=next(iter(meters), (4, 4)), key=next(iter(keys), None))


def _pitch(note: ElementTree.Element) -> int:
    step, octave = note.findtext("pitch/step") or "C", int(note.findtext("pitch/octave") or 4)
    return 12 * (octave + 1) + _STEPS[step] + round(float(note.findtext("pitch/alter") or 0))


def _key(fifths: int, mode: str) -> tuple[int, str]:
    minor = mode == "minor"
    return (fifths * 7 + (9 if minor else 0)) % 12, "minor" if minor else "major"


def _chord(harmony: ElementTree.Element) -> ChordSymbol | None:
    step = harmony.findtext("root/root-step")
    quality = _KINDS.get(harmony.findtext("kind") or "")
    if step is None or quality is None:
        return None
    return ChordSymbol((_STEPS[step] + round(float(harmony.findtext("root/root-alter") or 0))) % 12, quality)
