"""The music itself: scores agree with the truth, and styles sound unlike each other."""

from __future__ import annotations

import io

import mido
import numpy as np
import pytest
from synthetic_home import Library

from ai_assets.synthesis.composition import Score, compose, parse_numeral
from ai_assets.synthesis.rendering import render
from ai_assets.synthesis.scores import midi_bytes
from ai_assets.synthesis.styles import STYLES

RATE = 22050


def test_the_midi_file_beside_a_track_agrees_with_the_truth(library: Library) -> None:
    for record in library.whole:
        file = mido.MidiFile(library.scores / record["score"], charset="utf-8")
        assert record["score"] == record["path"].rsplit(".", 1)[0] + ".mid"
        meta = [message for track in file.tracks for message in track if message.is_meta]
        (tempo,) = [m for m in meta if m.type == "set_tempo"]
        (meter,) = [m for m in meta if m.type == "time_signature"]
        (key,) = [m for m in meta if m.type == "key_signature"]
        assert mido.tempo2bpm(tempo.tempo) == pytest.approx(record["tempo_bpm"], abs=0.01)
        assert meter.numerator == record["beats_per_bar"]
        assert (mido_tonic(key.key), key.key.endswith("m")) == (record["tonic"], record["mode"] == "minor")
        assert [m.text for m in meta if m.type == "marker"] == [section[0] for section in record["sections"]]
        tracks = {track.name: track for track in file.tracks[1:]}
        assert file.tracks[0].name == record["title"] and {"melody", "chords", "bass"} <= set(tracks)
        assert [m.text for m in tracks["chords"] if m.type == "text"] == [chord[0] for chord in record["chords"]]
        melody = [m.note for m in tracks["melody"] if m.type == "note_on"]
        assert len(melody) >= 8 and {note % 12 for note in melody} <= set(record["scale"])
        assert all(m.channel == 9 for m in tracks.get("drums", []) if m.type == "note_on")
        assert all(m.channel != 9 for name in ("melody", "chords", "bass") for m in tracks[name] if m.type == "note_on")
        assert file.length <= record["seconds"] + 0.5


def mido_tonic(name: str) -> int:
    letter = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}[name[0]]
    return (letter + name.count("#") - name.count("b")) % 12


@pytest.mark.parametrize("style", STYLES)
def test_every_style_composes_in_every_key_with_notes_that_end_before_they_are_struck_again(style: str) -> None:
    for seed in range(12):
        score = compose(style, seconds=16, rng=np.random.default_rng(seed))
        low, high = STYLES[style].tempo
        assert low <= score.tempo_bpm <= high and 15.9 <= score.seconds < 16 + 4 * score.beats_per_bar
        assert [s.name for s in score.sections] == ["intro", "A", "B", "A'", "ending"]
        assert {note.pitch % 12 for note in score.notes["melody"]} <= set(score.scale)
        tonic_chord = score.chords[-1]
        assert tonic_chord.root == score.tonic
        file = mido.MidiFile(file=_reader(midi_bytes(score, title="Über")), charset="utf-8")
        for track in file.tracks:
            sounding: set[int] = set()
            for message in track:
                if message.type == "note_on":
                    assert message.note not in sounding
                    sounding.add(message.note)
                elif message.type == "note_off":
                    sounding.remove(message.note)
            assert not sounding


def _reader(data: bytes) -> io.BytesIO:
    return io.BytesIO(data)


def test_the_melody_returns_in_the_last_part() -> None:
    """A and A' share the rhythm of their first bar: a motif, not a random walk."""
    shared = 0
    for seed in range(10):
        score = compose("folk", seconds=18, rng=np.random.default_rng(seed))
        first, last = (_bar_rhythm(score, name) for name in ("A", "A'"))
        shared += first == last
    assert shared >= 8


def _bar_rhythm(score: Score, section: str) -> list[float]:
    origin = next(s.start_bar for s in score.sections if s.name == section) * score.beats_per_bar
    starts = [note.start - origin for note in score.notes["melody"]]
    return [round(s, 3) for s in starts if 0 <= s < score.beats_per_bar]


@pytest.mark.parametrize(
    ("numeral", "meaning"), [("bVII", (10, "")), ("ii7", (2, "m7")), ("IVmaj7", (5, "maj7")), ("iim7b5", (2, "m7b5"))]
)
def test_roman_numerals_are_read_as_musicians_read_them(numeral: str, meaning: tuple[int, str]) -> None:
    assert parse_numeral(numeral) == meaning


def test_a_word_that_is_no_roman_numeral_is_refused() -> None:
    with pytest.raises(ValueError, match="'H7'"):
        parse_numeral("H7")


def _spectrogram(audio: np.ndarray) -> np.ndarray:
    mono = audio.mean(axis=1)
    frames = np.lib.stride_tricks.sliding_window_view(mono, 1024)[::512] * np.hanning(1024)
    return np.abs(np.fft.rfft(frames, axis=1))


@pytest.fixture(scope="module")
def measured() -> dict[str, np.ndarray]:
    """Per style, rows of log2 of the spectral centroid, share above 4 kHz (dB), strokes per second, loudness (dB)."""
    table: dict[str, list[list[float]]] = {}
    for style in STYLES:
        for seed in range(3):
            rng = np.random.default_rng([seed, 9])
            audio = render(compose(style, seconds=12, rng=rng), samplerate=RATE, rng=rng)
            power = _spectrogram(audio) ** 2
            hertz = np.fft.rfftfreq(1024, 1 / RATE)
            centroid = float((power.sum(0) * hertz).sum() / power.sum())
            high = float(power[:, hertz > 4000].sum() / power.sum())
            flux = np.maximum(np.diff(np.log1p(100 * np.sqrt(power)), axis=0), 0).sum(1)
            peaks = (flux[1:-1] > flux[:-2]) & (flux[1:-1] >= flux[2:]) & (flux[1:-1] > 1.5 * np.median(flux))
            loudness = 10 * np.log10(np.mean(audio**2))
            row = [np.log2(centroid), 10 * np.log10(high + 1e-9), peaks.sum() / (len(audio) / RATE), loudness]
            table.setdefault(style, []).append([float(v) for v in row])
    return {style: np.array(rows) for style, rows in table.items()}


def test_styles_differ_in_brightness_rhythm_and_loudness(measured: dict[str, np.ndarray]) -> None:
    means = np.array([rows.mean(0) for rows in measured.values()])
    within = np.sqrt(np.mean([rows.var(0) for rows in measured.values()], axis=0))
    # for each measure the styles lie further apart than the pieces of one style
    assert (means.std(0) > within).sum() >= 3, (means.std(0), within)


def test_metal_is_brighter_and_louder_than_classical_and_every_piece_has_onsets(
    measured: dict[str, np.ndarray],
) -> None:
    metal, classical = measured["metal"].mean(0), measured["classical"].mean(0)
    assert metal[1] > classical[1] + 3 and metal[3] > classical[3] + 4
    assert min(rows[:, 2].min() for rows in measured.values()) > 0.5


def test_the_stereo_picture_is_wide_but_keeps_its_middle() -> None:
    rng = np.random.default_rng(3)
    audio = render(compose("rock", seconds=8, rng=rng), samplerate=RATE, rng=rng)
    correlation = np.corrcoef(audio[:, 0], audio[:, 1])[0, 1]
    assert 0.2 < correlation < 0.98
