"""Fingerprints: the same recording is found whatever its file, different recordings never."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ai_assets.audio_analysis.one_pass import analyse
from ai_assets.data_processing.fingerprint_match import (
    MATCH_ERROR,
    SHORTEST_OVERLAP,
    best_offset_error,
    match_candidates,
    same_recording,
)

FAMILY = frozenset({"fingerprint"})


def fingerprint(path: Path) -> bytes:
    found = analyse(path, families=FAMILY).fingerprint
    assert found is not None
    return found


@pytest.fixture(scope="module")
def examples(public_data: Path) -> dict[str, bytes]:
    return {path.stem: fingerprint(path) for path in sorted((public_data / "librosa_examples/audio").glob("*.ogg"))}


def test_both_encodings_of_each_example_match_and_no_two_recordings_do(examples: dict[str, bytes]) -> None:
    expected = sorted((name, f"{name}_hq") for name in examples if f"{name}_hq" in examples)
    assert len(expected) == 14
    assert match_candidates(examples) == expected
    different = [pair for pair in combinations(sorted(examples), 2) if pair not in expected]
    assert min(best_offset_error(examples[a], examples[b]) for a, b in different) > MATCH_ERROR + 0.05


def test_a_recording_is_found_as_mp3_with_less_gain_and_trimmed(
    public_data: Path, examples: dict[str, bytes], tmp_path: Path
) -> None:
    samples, rate = soundfile.read(public_data / "librosa_examples/audio/choice_hq.ogg", always_2d=True)
    variants = {"trim": samples[rate // 2 :], "gain": 0.3 * samples, "mp3": samples}
    for name, changed in variants.items():
        path = tmp_path / f"{name}.{'mp3' if name == 'mp3' else 'flac'}"
        soundfile.write(path, changed, rate)
        found = fingerprint(path)
        assert best_offset_error(examples["choice_hq"], found) < 0.15, name
        assert ("choice_hq", "zz") in match_candidates({**examples, "zz": found}), name


def test_single_notes_of_the_same_pitch_are_not_one_recording_but_their_copies_are(
    public_data: Path, tmp_path: Path
) -> None:
    """Before short sounds had a limit of their own, 190 pairs of the 586 notes counted as one recording."""
    notes = sorted((public_data / "philharmonia_notes/audio").rglob("*_very-long_*.mp3"))[::3]
    found = {path.stem: fingerprint(path) for path in notes}
    assert len(found) >= 30
    assert match_candidates(found) == []
    copied = [path for path in notes if len(found[path.stem]) >= 4 * SHORTEST_OVERLAP][:8]
    assert len(copied) == 8
    for path in copied:
        samples, rate = soundfile.read(path, always_2d=True)
        soundfile.write(tmp_path / f"{path.stem}.ogg", samples, rate)
        assert same_recording(found[path.stem], fingerprint(tmp_path / f"{path.stem}.ogg")), path.stem


def test_silence_and_short_sounds_match_nothing() -> None:
    silence, short = bytes(4000), np.arange(1, 50, dtype="<u4").tobytes()
    assert best_offset_error(silence, silence) == 1.0
    assert best_offset_error(short, short) == 1.0
    assert match_candidates({"a": silence, "b": silence, "c": short, "d": short}) == []
    assert match_candidates({}) == []


def test_a_fingerprint_of_broken_length_is_an_error() -> None:
    with pytest.raises(ValueError, match="4-byte"):
        match_candidates({"a": b"12345"})


def test_a_hundred_noisy_copies_are_found_among_two_thousand_tracks() -> None:
    rng = np.random.default_rng(5)
    tracks = {f"t{number:04d}": rng.integers(1, 2**32, 400, dtype=np.uint32) for number in range(2000)}
    for number in range(100):
        words = tracks[f"t{number:04d}"].copy()
        wrong = np.packbits(rng.random((len(words), 32)) < 0.05, axis=1).view(np.uint32)[:, 0]
        tracks[f"copy{number:04d}"] = (words ^ wrong)[20:]
    found = match_candidates({name: words.astype("<u4").tobytes() for name, words in tracks.items()})
    assert found == [(f"copy{number:04d}", f"t{number:04d}") for number in range(100)]
