"""Reading scores and writing them as tokens: what is heard in the file is what comes back."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from music_scores import write_library, write_midi

from ai_assets.content_generation.music.harmony import ChordSymbol, key_scores, parse_chord, recognise_chord
from ai_assets.content_generation.music.scores import (
    Score,
    ScoreChord,
    ScoreError,
    ScoreNote,
    read_folder,
    read_score,
    read_scores,
    without_duplicates,
)
from ai_assets.content_generation.music.tokens import Automaton, Vocabulary, decode, density_bounds, encode

DATA = Path(os.environ.get("AI_ASSETS_TEST_DATA", Path(__file__).parents[3] / "shared/data"))
NOTTINGHAM = DATA / "nottingham"
MUSICXML = """<?xml version="1.0"?><score-partwise><part-list/><part id="P1"><measure number="1">
<attributes><divisions>2</divisions><key><fifths>-1</fifths><mode>minor</mode></key>
<time><beats>3</beats><beat-type>4</beat-type></time></attributes>
<harmony><root><root-step>D</root-step></root><kind>minor-seventh</kind></harmony>
{notes}</measure></part></score-partwise>"""


def musicxml_note(step: str, octave: int, duration: int, extra: str = "") -> str:
    pitch = f"<pitch><step>{step}</step><octave>{octave}</octave></pitch>"
    return f"<note>{pitch}<duration>{duration}</duration><voice>1</voice>{extra}</note>"


def test_the_sample_librarys_scores_are_read_with_their_key_meter_melody_and_chords(tmp_path: Path) -> None:
    truths = write_library(tmp_path, 12)
    scores = read_scores(tmp_path)
    assert len(scores) == 12
    for score, truth in zip(scores, truths, strict=True):
        assert (score.tonic, score.mode, score.meter[0]) == (truth.tonic, truth.mode, truth.beats_per_bar)
        struck = {round(note.start * 12) for note in truth.notes["melody"]}
        assert len(score.notes) >= 0.97 * len(struck)
        assert {note.pitch for note in score.notes} <= {note.pitch for note in truth.notes["melody"]}
        assert len(score.chords) >= 2


@pytest.mark.skipif(not NOTTINGHAM.exists(), reason="no public test data (set AI_ASSETS_TEST_DATA)")
def test_nottingham_tunes_have_their_abc_key_and_their_chords(tmp_path: Path) -> None:
    for name in [f"jigs{number}.mid" for number in range(2, 40)]:
        if (NOTTINGHAM / "midi" / name).is_file():
            (tmp_path / name).symlink_to(NOTTINGHAM / "midi" / name)
    scores = read_scores(tmp_path)
    assert len(scores) > 30
    assert {score.meter for score in scores} == {(6, 8)}
    found = [heard.argmax() == score.tonic + 12 * (score.mode == "minor") for score in scores
             for heard in [key_scores(score.pitch_class_weights())]]  # fmt: skip
    assert np.mean(found) > 0.7
    tonics = [score.chords[-1].symbol.root == score.tonic for score in scores]
    assert np.mean(tonics) > 0.8


def test_files_that_cannot_be_used_are_rejected_with_a_reason_and_the_others_are_read(tmp_path: Path) -> None:
    write_library(tmp_path, 2)
    whole = (tmp_path / "000.mid").read_bytes()
    (tmp_path / "cut.mid").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.mid").write_bytes(b"")
    (tmp_path / "text.mid").write_text("no music")
    write_midi(tmp_path / "changes.mid", [60] * 16, meters=((4, 4), (3, 4)))
    write_midi(tmp_path / "short.mid", [60, 62, 64])
    write_midi(tmp_path / "long_bar.mid", [60] * 16, meters=((17, 4),))
    (tmp_path / "broken.musicxml").write_text("<score-partwise><part>")
    (tmp_path / "broken.json").write_text('{"meter": [4, 4], "notes": 3}')
    (tmp_path / "deep.json").write_text("[" * 100_000)
    (tmp_path / "ignored.txt").write_text("not a score")
    found = read_folder(tmp_path)
    assert [score.name for score in found.scores] == ["000.mid", "001.mid"]
    reasons = dict(found.rejected)
    assert set(reasons) == {
        "cut.mid", "empty.mid", "text.mid", "changes.mid", "short.mid", "long_bar.mid", "broken.musicxml",
        "broken.json", "deep.json",
    }  # fmt: skip
    assert "meter changes (3/4, 4/4)" in reasons["changes.mid"]
    assert "too early" in reasons["empty.mid"]
    assert "17/4" in reasons["long_bar.mid"]


def test_names_in_an_old_code_page_do_not_cost_the_file(tmp_path: Path) -> None:
    write_midi(tmp_path / "a.mid", [60, 62, 64, 65] * 4, text="Fantaisie d'été".encode("latin1"))
    write_midi(tmp_path / "b.mid", [60, 62, 64, 65] * 4, text="B♭7".encode())
    old, sharp = read_scores(tmp_path)
    assert len(old.notes) == len(sharp.notes) == 16
    assert [chord.symbol.name for chord in old.chords + sharp.chords] == ["Bb7"]


def test_a_missing_folder_has_no_scores(tmp_path: Path) -> None:
    assert read_scores(tmp_path / "nowhere") == []


def test_musicxml_is_read_with_ties_rests_and_chord_symbols_also_compressed(tmp_path: Path) -> None:
    notes = musicxml_note("D", 4, 2, '<tie type="start"/>') + musicxml_note("D", 4, 2, '<tie type="stop"/>')
    notes += "<note><rest/><duration>2</duration><voice>1</voice></note>"
    notes += "".join(musicxml_note(step, 4, 2) for step in "EFGAGFED")
    text = MUSICXML.format(notes=notes)
    (tmp_path / "a.musicxml").write_text(text)
    with zipfile.ZipFile(tmp_path / "b.mxl", "w") as archive:
        archive.writestr("META-INF/container.xml", "<container/>")
        archive.writestr("score.xml", text)
    plain, packed = read_scores(tmp_path)
    assert plain.notes == packed.notes
    assert plain.notes[:3] == (ScoreNote(0, 24, 62), ScoreNote(36, 12, 64), ScoreNote(48, 12, 65))
    assert (plain.tonic, plain.mode, plain.meter) == (2, "minor", (3, 4))
    assert [chord.symbol.name for chord in plain.chords] == ["Dm7"]
    (tmp_path / "c.xml").write_text('<!DOCTYPE x [<!ENTITY a "b">]>' + text.split("?>")[1])
    with pytest.raises(ScoreError, match="entity"):
        read_score(tmp_path / "c.xml")


def test_the_json_form_is_read(tmp_path: Path) -> None:
    notes = [[n, n + 1, 60 + 2 * n] for n in range(9)]
    data = {"meter": [4, 4], "key": "Bb major", "notes": notes, "chords": [[0, "Bb"], [4, "F7"]]}
    (tmp_path / "a.json").write_text(json.dumps(data))
    score = read_scores(tmp_path)[0]
    assert (score.tonic, score.mode) == (10, "major")
    assert score.chords == (ScoreChord(0, ChordSymbol(10, "")), ScoreChord(48, ChordSymbol(5, "7")))


def test_tokens_give_back_every_score_in_c_major_or_a_minor(tmp_path: Path) -> None:
    write_library(tmp_path, 28)
    scores = read_scores(tmp_path)
    bounds = density_bounds(scores)
    for score in scores:
        plain, back = score.normalised(), decode(encode(score, bounds))
        assert plain.tonic == (9 if plain.mode == "minor" else 0)
        assert back.notes == plain.notes
        end = plain.bars * plain.bar_ticks
        assert back.chords == tuple(chord for chord in plain.chords if chord.start < end)


def test_a_bar_that_returns_is_one_copy_token_and_a_note_over_the_bar_line_is_tied() -> None:
    bar = ((0, 36, 60), (36, 24, 64), (60, 36, 67))
    notes = tuple(ScoreNote(96 * n + start, length, pitch) for n in range(4) for start, length, pitch in bar)
    tokens = encode(Score("x", notes, (), (4, 4), 0, "major"), (1.0, 2.0, 3.0, 4.0))
    assert tokens[5:] == [
        "Bar", "N60:36", "N64:12", "Bar", "T:12", "N67:36", *["Copy2"] * 2, *["Copy4"] * 4, "End",
    ]  # fmt: skip


def test_duplicates_are_told_by_their_opening_in_any_key(tmp_path: Path) -> None:
    write_library(tmp_path, 3)
    scores = read_scores(tmp_path)
    assert without_duplicates([*scores, scores[0].transposed(5)]) == scores


def test_the_automaton_accepts_every_real_score_up_to_its_last_bar(tmp_path: Path) -> None:
    write_library(tmp_path, 14)
    scores = read_scores(tmp_path)
    rows = [encode(score, density_bounds(scores)) for score in scores]
    words = Vocabulary.of(rows)
    for score, row in zip(scores, rows, strict=True):
        automaton = Automaton(words, score.bars + 4, {})
        for token in row[1:-1]:
            number = words.numbers.get(token)
            if number is None:
                break
            assert automaton.allowed()[number], (score.name, token)
            automaton.push(number)


@pytest.mark.parametrize(
    ("text", "name"),
    [("Am7", "Am7"), ("F#", "F#"), ("C/G", "C"), ("Gmaj9", "Gmaj7"), ("Bb7", "Bb7"), ("D#dim", "Ebdim")],
)
def test_chord_names_are_reduced_to_known_qualities(text: str, name: str) -> None:
    chord = parse_chord(text)
    assert chord is not None
    assert chord.name == name
    assert recognise_chord([36 + chord.root, *(60 + pitch for pitch in chord.pitch_classes)]) == chord


@pytest.mark.parametrize("text", ["verse", "H", "A long text", "", "C??"])
def test_other_texts_are_no_chords(text: str) -> None:
    assert parse_chord(text) is None


@pytest.mark.parametrize("time", ["1e400", "1e9", "-1e400", "NaN"])
def test_times_without_end_are_refused_and_do_not_fill_the_memory(tmp_path: Path, time: str) -> None:
    notes = ", ".join(f"[{n}, {n + 1}, 60]" for n in range(10))
    file = tmp_path / "endless.json"
    file.write_text(f'{{"meter": [4, 4], "key": null, "notes": [{notes}, [10, {time}, 62]]}}')
    found = read_folder(tmp_path)
    assert found.scores == [] and found.rejected[0][0] == "endless.json"
