"""Key, tuning and the pitch class profile on cadences in known keys and on rendered tunes."""

from __future__ import annotations

import json

import mir_eval
import numpy as np
import pytest
import soundfile
from descriptor_signals import SAMPLE_RATE, cadence, fed, public_data, table, tone

from ai_assets.audio_analysis.key_profiles import KEY_NAMES, PROFILES, key_templates
from ai_assets.audio_analysis.tonality import (
    TonalityFamily,
    estimate_key,
    estimate_tuning_cents,
    hpcp_from_histogram,
    key_correlations,
    peak_histogram,
)

FOLK = public_data() / "rendered_folk"
GOLDEN = public_data() / "mir_eval_golden" / "key"


@pytest.mark.parametrize("mode", ["major", "minor"])
@pytest.mark.parametrize("tonic", range(12))
def test_a_cadence_in_each_of_the_24_keys_is_named(tonic, mode):
    found = fed(TonalityFamily(), cadence(tonic, mode)).finish()
    assert found.key == KEY_NAMES[tonic + (12 if mode == "minor" else 0)]
    assert 0.0 < found.key_confidence <= 1.0


@pytest.mark.parametrize("cents", [-40.0, -20.0, 20.0, 40.0])
def test_a_detuned_cadence_keeps_its_key_and_tells_its_tuning(cents):
    found = fed(TonalityFamily(), cadence(9, "minor", cents)).finish()
    assert found.key == "A minor"
    assert found.tuning_cents == pytest.approx(cents, abs=4.0)


def test_keys_are_named_with_sharps():
    assert len(set(KEY_NAMES)) == 24
    assert "C# minor" in KEY_NAMES
    assert not any("b" in name.split()[0] for name in KEY_NAMES)


def test_templates_are_the_published_profile_rotated_to_each_tonic():
    templates = key_templates()
    major, minor = PROFILES["bgate"]
    np.testing.assert_array_equal(templates[0], major)
    np.testing.assert_array_equal(templates[12 + 9], np.roll(minor, 9))
    for weights in (major, minor):
        assert sorted(weights)[:4] == [0.0] * 4
        assert max(weights) == weights[0] == 1.0


def test_a_profile_correlates_perfectly_with_its_own_key():
    scores = key_correlations(np.roll(PROFILES["bgate"][1], 1))
    assert KEY_NAMES[int(np.argmax(scores))] == "C# minor"
    assert scores.max() == pytest.approx(1.0)


def test_chroma_and_hpcp_are_both_heard():
    c_major, g_minor = np.array(PROFILES["bgate"][0]), np.roll(PROFILES["bgate"][1], 7)
    assert estimate_key(c_major).name == "C major"
    assert estimate_key(None, g_minor).name == "G minor"
    assert estimate_key(c_major, c_major).confidence > estimate_key(c_major, g_minor).confidence


def test_a_pure_tone_falls_into_its_pitch_class():
    histogram = sum((peak_histogram(each) for each in [next_magnitude(tone(440.0, 2))]), np.zeros(120))
    assert int(np.argmax(hpcp_from_histogram(histogram))) == 9
    assert estimate_tuning_cents(histogram) == pytest.approx(0.0, abs=2.0)


def next_magnitude(samples):
    from descriptor_signals import blocks

    return next(blocks(samples, frames=10_000)).magnitude


def test_silence_has_no_key_and_says_why():
    found = fed(TonalityFamily(), np.zeros(3 * SAMPLE_RATE)).finish(np.ones(12))
    assert (found.key, found.key_confidence, found.tuning_cents) == (None, None, None)
    assert found.reason.startswith("silent")


@pytest.mark.parametrize(
    "samples",
    [0.1 * np.random.default_rng(0).standard_normal(3 * SAMPLE_RATE), tone(9000.0, 3), np.full(3 * SAMPLE_RATE, 0.5)],
    ids=["noise", "a tone above all notes", "a constant"],
)
def test_audio_that_is_not_silent_always_has_a_key_with_little_confidence(samples):
    found = fed(TonalityFamily(), samples).finish(np.zeros(12))
    assert found.key in KEY_NAMES
    assert 0.0 <= found.key_confidence < 0.5


def test_the_key_does_not_depend_on_how_the_spectrum_is_cut_into_blocks():
    whole = fed(TonalityFamily(), cadence(2, "major"), frames=10_000).finish()
    pieces = fed(TonalityFamily(), cadence(2, "major"), frames=7).finish()
    assert pieces.key == whole.key
    np.testing.assert_allclose(pieces.hpcp, whole.hpcp, rtol=1e-9)


def test_a_vector_of_the_wrong_length_is_refused():
    with pytest.raises(ValueError, match="12 values"):
        key_correlations(np.ones(24))


@pytest.mark.skipif(not GOLDEN.exists(), reason="no public test data (set AI_ASSETS_TEST_DATA)")
def test_the_key_score_that_is_reported_is_the_reference_one():
    for number in range(len(list(GOLDEN.glob("ref*.txt")))):
        reference, estimate = (mir_eval.io.load_key(str(GOLDEN / f"{kind}{number:02d}.txt")) for kind in ("ref", "est"))
        expected = json.loads((GOLDEN / f"output{number:02d}.json").read_text())
        assert mir_eval.key.weighted_score(reference, estimate) == pytest.approx(expected["Weighted Score"], abs=1e-9)


@pytest.mark.skipif(not FOLK.exists(), reason="no public test data (set AI_ASSETS_TEST_DATA)")
def test_every_eighth_rendered_tune_has_a_key_near_the_right_one_by_its_peaks_alone():
    scores = []
    for row in table("rendered_folk", "clips.csv")[::8]:
        samples, _ = soundfile.read(FOLK / "audio" / row["filename"], dtype="float32")
        scores.append(mir_eval.key.weighted_score(row["key"], fed(TonalityFamily(), samples).finish().key))
    assert np.mean(scores) >= 0.7


@pytest.mark.skipif(not FOLK.exists(), reason="no public test data (set AI_ASSETS_TEST_DATA)")
def test_the_constant_q_chroma_makes_the_key_better():
    import librosa

    with_chroma, without = [], []
    for row in table("rendered_folk", "clips.csv")[::8]:
        samples, rate = soundfile.read(FOLK / "audio" / row["filename"], dtype="float32")
        spectrum = np.abs(librosa.cqt(samples, sr=rate, tuning=float(row["detune_cents"]) / 100))
        family = fed(TonalityFamily(), samples)
        chroma = librosa.feature.chroma_cqt(C=spectrum, bins_per_octave=12).mean(axis=1)
        with_chroma.append(mir_eval.key.weighted_score(row["key"], family.finish(chroma).key))
        without.append(mir_eval.key.weighted_score(row["key"], family.finish().key))
    assert np.mean(with_chroma) >= max(0.8, np.mean(without))
