"""Tempo, beats, onsets and the danceability index on signals with known answers and on rendered tunes."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
import soxr
from descriptor_signals import SAMPLE_RATE, clicks, fed, public_data, table, tone

from ai_assets.audio_analysis.danceability import DanceabilityFamily, danceability_index
from ai_assets.audio_analysis.rhythm import (
    FRAME_RATE,
    RhythmFamily,
    detect_onsets,
    estimate_tempo,
    onset_flux,
    track_beats,
)

FOLK = public_data() / "rendered_folk"
needs_folk = pytest.mark.skipif(not FOLK.exists(), reason="no public test data (set AI_ASSETS_TEST_DATA)")


@pytest.mark.parametrize("bpm", [72.0, 96.5, 120.0, 133.3, 160.0])
def test_the_tempo_of_clicks_is_within_half_a_percent(bpm):
    rhythm = fed(RhythmFamily(), clicks(bpm, 20)).finish()
    assert rhythm.tempo_bpm == pytest.approx(bpm, rel=0.005)
    assert rhythm.tempo_confidence > 0.4
    assert rhythm.tempo_alternative_bpm / rhythm.tempo_bpm in (pytest.approx(0.5), pytest.approx(2.0))


LOOPS = public_data() / "sonic_pi_samples" / "audio"


@pytest.mark.skipif(not LOOPS.exists(), reason="no public test data (set AI_ASSETS_TEST_DATA)")
@pytest.mark.parametrize(
    ("loop", "beats"), [("loop_electric", 4), ("loop_mehackit1", 4), ("loop_perc2", 4), ("loop_amen_full", 16)]
)
def test_syncopation_is_not_taken_for_a_faster_or_slower_beat(loop, beats):
    # Accents every three sixteenths repeat as strongly as the beat here, but their multiples do not.
    samples, rate = soundfile.read(LOOPS / f"{loop}.flac", dtype="float32", always_2d=True)
    truth = 60.0 * beats * rate / len(samples)
    mono = np.tile(samples.mean(axis=1), int(20 * rate / len(samples)) + 1)
    found = fed(RhythmFamily(), soxr.resample(mono, rate, SAMPLE_RATE)).finish().tempo_bpm
    assert min(abs(found / (factor * truth) - 1) for factor in (0.5, 1, 2)) < 0.02


def test_beats_fall_on_the_clicks():
    beats = np.array(fed(RhythmFamily(), clicks(100.0, 20)).finish().beats_seconds)
    truth = np.arange(0.5, 19.9, 0.6)
    assert len(beats) >= len(truth) - 1
    assert np.max(np.min(np.abs(beats[:, None] - truth), axis=1)) < 0.03


def test_the_onset_rate_counts_the_clicks():
    assert fed(RhythmFamily(), clicks(150.0, 20)).finish().onset_rate_hz == pytest.approx(2.5, abs=0.15)


def test_the_answer_does_not_depend_on_how_the_spectrum_is_cut_into_blocks():
    samples = clicks(111.0, 10)
    whole = fed(RhythmFamily(), samples, frames=10_000).finish()
    pieces = fed(RhythmFamily(), samples, frames=7).finish()
    assert pieces.tempo_bpm == pytest.approx(whole.tempo_bpm, rel=1e-6)
    assert pieces.tempo_confidence == pytest.approx(whole.tempo_confidence, abs=1e-6)
    assert pieces.beats_seconds == whole.beats_seconds


def test_the_tempo_does_not_depend_on_the_gain():
    loud = fed(RhythmFamily(), clicks(118.0, 15)).finish()
    quiet = fed(RhythmFamily(), 0.05 * clicks(118.0, 15)).finish()
    assert quiet.tempo_bpm == pytest.approx(loud.tempo_bpm, rel=0.01)


def test_silence_has_no_rhythm_and_says_why():
    rhythm = fed(RhythmFamily(), np.zeros(5 * SAMPLE_RATE)).finish()
    assert (rhythm.tempo_bpm, rhythm.tempo_confidence, rhythm.onset_rate_hz, rhythm.beats_seconds) == (
        None,
        None,
        None,
        (),
    )
    assert rhythm.reason.startswith("silent")


def test_nothing_at_all_has_no_rhythm():
    assert RhythmFamily().finish().reason.startswith("silent")


def test_a_clip_of_two_seconds_has_onsets_but_no_tempo():
    rhythm = fed(RhythmFamily(), clicks(120.0, 2)).finish()
    assert rhythm.tempo_bpm is None
    assert "shorter than 3 s" in rhythm.reason
    assert rhythm.onset_rate_hz > 1.0


def test_steady_noise_gets_less_confidence_than_clicks():
    noise = 0.1 * np.random.default_rng(1).standard_normal(15 * SAMPLE_RATE)
    unsure = fed(RhythmFamily(), noise).finish().tempo_confidence
    assert unsure is None or unsure < 0.3 < fed(RhythmFamily(), clicks(120.0, 15)).finish().tempo_confidence


def test_flux_carries_over_the_edge_of_a_block():
    mel = np.random.default_rng(0).random((20, 128))
    whole, _ = onset_flux(mel)
    first, row = onset_flux(mel[:9])
    second, _ = onset_flux(mel[9:], row)
    np.testing.assert_allclose(np.concatenate([first, second]), whole, rtol=1e-5)


def test_the_plain_functions_take_what_the_caller_has():
    envelope = fed(RhythmFamily(), clicks(90.0, 20)).onset_envelope
    tempo = estimate_tempo(envelope, FRAME_RATE)
    assert tempo.bpm == pytest.approx(90.0, rel=0.005)
    assert np.median(np.diff(track_beats(envelope, tempo.bpm))) == pytest.approx(60 / 90, abs=0.03)
    assert len(detect_onsets(envelope)) == pytest.approx(30, abs=2)
    assert estimate_tempo(np.zeros(1000)) is None
    assert len(track_beats(np.zeros(1000), 120.0)) == 0


@needs_folk
def test_every_fourth_rendered_tune_has_the_right_tempo():
    exact, octave = [], []
    for row in table("rendered_folk", "clips.csv")[::4]:
        samples, _ = soundfile.read(FOLK / "audio" / row["filename"], dtype="float32")
        bpm, truth = fed(RhythmFamily(), samples).finish().tempo_bpm, float(row["bpm"])
        exact.append(abs(bpm / truth - 1) <= 0.04)
        octave.append(any(abs(bpm / (factor * truth) - 1) <= 0.04 for factor in (1, 2, 1 / 2, 3, 1 / 3)))
    assert np.mean(exact) >= 0.75
    assert np.mean(octave) >= 0.95


def walk_with_exponent_one_half(steps: int) -> np.ndarray:
    return 1.0 + 0.2 * np.random.default_rng(3).standard_normal(steps)


def test_uncorrelated_amplitude_has_the_exponent_one_half():
    # Detrended fluctuation analysis of white noise grows with the square root of the scale: the index is 2.
    assert danceability_index(walk_with_exponent_one_half(20_000)) == pytest.approx(2.0, rel=0.08)


def test_drifting_amplitude_is_less_danceable_than_a_pulse():
    drift = 1.0 + 0.05 * np.cumsum(np.random.default_rng(4).standard_normal(6000))
    pulse = 0.2 + (np.arange(6000) % 50 < 10) + 0.01 * np.random.default_rng(5).standard_normal(6000)
    assert danceability_index(drift - drift.min()) < 1.0
    assert danceability_index(pulse) > danceability_index(drift - drift.min())


def test_the_index_of_hours_is_that_of_minutes():
    minutes = walk_with_exponent_one_half(12_000)
    hours = np.tile(minutes, 60)
    assert danceability_index(hours) == pytest.approx(danceability_index(minutes), rel=0.05)


@pytest.mark.parametrize(
    ("samples", "why"),
    [
        (np.zeros((44_100 * 5, 2), dtype=np.float32), "silent"),
        (np.zeros((0, 2), dtype=np.float32), "silent"),
        (np.random.default_rng(0).standard_normal((44_100, 2)).astype(np.float32), "shorter"),
    ],
)
def test_no_index_comes_with_a_reason(samples, why):
    family = DanceabilityFamily()
    family.start(44_100, 2)
    family.push(samples)
    result = family.finish()
    assert result.index is None
    assert why in result.reason


def test_the_danceability_family_does_not_depend_on_the_block_size():
    samples = np.stack([tone(300, 6, 44_100) * (1 + np.sin(np.arange(264_600) / 9000))] * 2, axis=1).astype(np.float32)
    indices = []
    for size in (1000, 65_536):
        family = DanceabilityFamily()
        family.start(44_100, 2)
        for start in range(0, len(samples), size):
            family.push(samples[start : start + size])
        indices.append(family.finish().index)
    assert indices[0] == pytest.approx(indices[1], rel=1e-6)
