"""Made defects over noise, tones and real clips are found; the clips themselves are not accused."""

from __future__ import annotations

import dataclasses
import io
from dataclasses import dataclass

import numpy as np
import pytest
import soundfile
import soxr
from descriptor_signals import public_data

from ai_assets.audio_analysis.defects import (
    Anomaly,
    DefectFamily,
    DefectThresholds,
    Evidence,
    TagClaims,
    find_anomalies,
    measure_defects,
)
from ai_assets.audio_analysis.key_profiles import key_distance, parse_key
from ai_assets.audio_analysis.loudness import Loudness
from ai_assets.audio_analysis.rhythm import Rhythm
from ai_assets.audio_analysis.tonality import Tonality

RATE = 44_100
EXAMPLES = public_data() / "librosa_examples" / "audio"
needs_examples = pytest.mark.skipif(not EXAMPLES.exists(), reason="no public test data (set AI_ASSETS_TEST_DATA)")


@dataclass(frozen=True)
class Report:
    status: str = "ok"
    detected_format: str | None = "WAV"
    declared_seconds: float | None = None
    duration_seconds: float = 10.0
    nonfinite_samples: int = 0


def noise(seconds: float = 5.0, channels: int = 2, seed: int = 0) -> np.ndarray:
    """Independent noise in each channel at about -23 dBFS RMS."""
    samples = 0.07 * np.random.default_rng(seed).standard_normal((round(seconds * RATE), channels))
    return samples.astype(np.float32)


def kinds(samples: np.ndarray, rate: int = RATE, **evidence: object) -> set[str]:
    found = find_anomalies(Evidence(measure_defects(samples, rate), **evidence))
    return {anomaly.kind for anomaly in found}


def only(kind: str, samples: np.ndarray, rate: int = RATE, **evidence: object) -> Anomaly:
    found = find_anomalies(Evidence(measure_defects(samples, rate), **evidence))
    return next(anomaly for anomaly in found if anomaly.kind == kind)


def clipped(samples: np.ndarray, decibel: float = 3.0) -> np.ndarray:
    gain = 10 ** (decibel / 20) / np.abs(samples).max()
    return np.clip(samples * gain, -1, 1).astype(np.float32)


def test_sound_without_a_fault_gives_no_anomaly():
    assert kinds(noise(), report=Report()) == set()


def test_clipping_by_three_decibels_is_found_where_it_begins():
    samples = noise()
    loud = samples.copy()
    loud[2 * RATE : 3 * RATE] = clipped(samples[2 * RATE : 3 * RATE])
    found = only("clipping", loud)
    assert found.time == pytest.approx(2.0, abs=0.05)
    assert found.value > found.threshold


def test_clipping_is_found_after_the_gain_was_lowered_again():
    assert "clipping" in kinds(0.2 * clipped(noise()))


def test_a_loud_sine_and_a_quantised_bass_note_are_not_clipping():
    time = np.arange(5 * RATE) / RATE
    bass = np.round(0.9 * np.sin(2 * np.pi * 30 * time) * 32767) / 32767
    assert "clipping" not in kinds(bass.astype(np.float32))
    eight_bit = np.round(0.9 * np.sin(2 * np.pi * 441.3 * time) * 127) / 127
    assert "clipping" not in kinds(eight_bit.astype(np.float32))


def test_each_dropout_of_twenty_milliseconds_is_found_in_its_place():
    samples = noise()
    places = (0.7, 1.9, 3.3)
    for place in places:
        samples[round(place * RATE) : round((place + 0.02) * RATE)] = 0
    measures = measure_defects(samples, RATE)
    assert measures.dropout_count == 3
    assert [each.time for each in measures.dropouts] == pytest.approx(places, abs=0.006)
    assert [each.seconds for each in measures.dropouts] == pytest.approx([0.02] * 3, abs=0.01)
    assert only("dropout", samples).severity == "error"


def test_a_note_that_dies_away_before_the_next_is_no_dropout():
    time = np.arange(RATE) / RATE
    note = (np.sin(2 * np.pi * 440 * time) * np.exp(-20 * time)).astype(np.float32)
    note[np.abs(note) < 1e-5] = 0
    assert "dropout" not in kinds(np.tile(note, 5))


def test_a_silent_file_is_an_error_and_nothing_else():
    found = find_anomalies(Evidence(measure_defects(np.zeros((RATE, 2), dtype=np.float32), RATE)))
    assert [(anomaly.kind, anomaly.severity) for anomaly in found] == [("silence", "error")]


def test_a_gap_of_silence_is_found_where_it_begins():
    samples = noise()
    samples[2 * RATE : round(3.2 * RATE)] = 0
    found = only("silence", samples)
    assert (found.time, found.value) == (pytest.approx(2.0, abs=0.01), pytest.approx(1.2, abs=0.01))


def test_silence_at_both_ends_is_measured():
    samples = np.concatenate([np.zeros((2 * RATE, 2)), noise(20), np.zeros((4 * RATE, 2))]).astype(np.float32)
    assert only("leading_silence", samples).value == pytest.approx(2.0, abs=0.01)
    trailing = only("trailing_silence", samples)
    assert (trailing.time, trailing.value) == (pytest.approx(22.0, abs=0.01), pytest.approx(4.0, abs=0.01))


def test_an_offset_is_reported_with_its_sign():
    samples = noise()
    samples[:, 1] -= 0.02
    assert only("dc_offset", samples).value == pytest.approx(-0.02, abs=0.001)


def test_two_equal_channels_are_mono_as_stereo_even_after_a_little_coding_noise():
    mono = noise(channels=1)
    both = np.repeat(mono, 2, axis=1) + 1e-6 * noise(seed=1)
    assert "mono_as_stereo" in kinds(both.astype(np.float32))
    assert "mono_as_stereo" not in kinds(mono)
    assert "mono_as_stereo" not in kinds(np.repeat(mono, 2, axis=1) + 0.01 * noise(seed=1))


def test_an_inverted_channel_is_phase_inversion_whatever_its_level():
    mono = noise(channels=1)
    assert only("phase_inversion", np.hstack([mono, -0.4 * mono])).value < -0.99
    assert "phase_inversion" not in kinds(np.hstack([mono, 0.4 * mono]))


@pytest.mark.parametrize("older", [16_000, 22_050])
def test_a_raised_sample_rate_is_found_with_the_old_one_named(older):
    samples = soxr.resample(soxr.resample(noise(), RATE, older), older, RATE)
    found = only("upsampled", samples, report=Report())
    assert f"{older} Hz" in found.suggested_action
    assert found.value == pytest.approx(older / 2, rel=0.1)


def test_a_lossless_file_made_from_a_lossy_one_is_found():
    buffer = io.BytesIO()
    samples = noise(10)
    with soundfile.SoundFile(
        buffer, "w", RATE, 2, format="MP3", bitrate_mode="CONSTANT", compression_level=0.8
    ) as file:
        for start in range(0, len(samples), 65_536):
            file.write(samples[start : start + 65_536])
    buffer.seek(0)
    decoded, _ = soundfile.read(buffer, dtype="float32")
    found = only("transcoded", decoded, report=Report(detected_format="FLAC"))
    assert 14_000 < found.value < 17_000
    assert "transcoded" not in kinds(decoded, report=Report(detected_format="MP3"))


def test_a_truncated_file_is_reported_with_what_was_promised():
    report = Report(status="partial", declared_seconds=180.0, duration_seconds=12.0)
    found = only("truncation", noise(), report=report)
    assert (found.severity, found.time, found.value, found.threshold) == ("error", 12.0, 12.0, 180.0)


def test_samples_that_are_no_numbers_are_reported():
    assert only("nonfinite_samples", noise(), report=Report(nonfinite_samples=7)).value == 7.0


@pytest.mark.parametrize(("lufs", "accused"), [(-50.0, True), (-3.0, True), (-14.0, False), (None, False)])
def test_loudness_out_of_range_is_reported(lufs, accused):
    loudness = Loudness(lufs, 5.0, -1.0, -1.2, 10.0)
    assert ("loudness_out_of_range" in kinds(noise(), loudness=loudness)) is accused


def test_peaks_above_full_scale_are_reported():
    assert only("true_peak", noise(), loudness=Loudness(-9.0, 5.0, 0.8, 0.0, 6.0)).value == 0.8


def test_tags_that_contradict_the_sound_are_reported():
    rhythm = Rhythm(120.0, 0.7, 60.0, (), 2.0)
    tonality = Tonality("A minor", 0.8, "C major", 0.0, (0.0,) * 12)
    wrong = TagClaims(bpm=133.0, key="F# major", duration_seconds=300.0)
    found = kinds(noise(), rhythm=rhythm, tonality=tonality, tags=wrong)
    assert found == {"tag_tempo", "tag_key", "tag_duration"}
    for close in ("8A", "C major", "E minor"):  # the same, its relative, a fifth up: what listeners confuse
        assert kinds(noise(), tonality=tonality, tags=TagClaims(key=close)) == set()
    right = TagClaims(bpm=60.5, key="8A", duration_seconds=5.4)
    assert kinds(noise(), rhythm=rhythm, tonality=tonality, tags=right) == set()


def test_tags_are_not_contradicted_by_an_unsure_estimate():
    unsure = {"rhythm": Rhythm(120.0, 0.1, 60.0, (), 2.0), "tonality": Tonality("A minor", 0.1, "", 0.0, (0.0,) * 12)}
    assert kinds(noise(), tags=TagClaims(bpm=133.0, key="F# major"), **unsure) == set()
    assert kinds(noise(), tags=TagClaims(bpm=133.0, key="no key"), rhythm=None) == set()


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("Am", "A minor"), ("C# minor", "C# minor"), ("Db", "C# major"), ("F#m", "F# minor"), ("bb maj", "A# major"),
        ("8A", "A minor"), ("8B", "C major"), ("1A", "G# minor"), ("12b", "E major"), ("Gmin", "G minor"),
        ("hello", None), ("", None), ("13A", None),
    ],
)  # fmt: skip
def test_key_tags_are_read_in_their_usual_spellings(text, key):
    assert parse_key(text) == key


def test_keys_are_as_far_apart_as_on_the_circle_of_fifths():
    assert key_distance("C major", "C major") == 0
    assert key_distance("C major", "G major") == key_distance("C major", "A minor") == 1
    assert key_distance("C major", "C minor") == 4
    assert key_distance("C major", "F# major") == 6


@pytest.mark.parametrize("size", [100, 4_410, 65_536])
def test_the_measures_do_not_depend_on_the_block_size(size):
    samples = clipped(noise(4))
    samples[2 * RATE : 2 * RATE + 900] = 0
    samples[: RATE // 2] = 0
    family = DefectFamily()
    family.start(RATE, 2)
    for start in range(0, len(samples), size):
        family.push(samples[start : start + size])
    pieces, whole = family.finish(), measure_defects(samples, RATE)
    for field in ("peak", "dropouts", "dropout_count", "silent_share", "leading_silence", "longest_gap"):
        assert getattr(pieces, field) == getattr(whole, field)
    assert pieces.dc_offset == pytest.approx(whole.dc_offset, abs=1e-6)
    assert pieces.side_to_mid_db == pytest.approx(whole.side_to_mid_db, abs=1e-3)
    assert pieces.clipped_share == pytest.approx(whole.clipped_share, rel=0.1)


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_nothing_and_a_single_sample_are_measured_without_a_fault(channels):
    for frames in (0, 1):
        measures = measure_defects(np.full((frames, channels), 0.5, dtype=np.float32), RATE)
        numbers = [value for value in dataclasses.astuple(measures) if isinstance(value, float)]
        assert np.all(np.isfinite(numbers))
        find_anomalies(Evidence(measures))


def test_thresholds_can_be_moved_without_measuring_again():
    measures = measure_defects(noise() + np.float32(0.005), RATE)
    assert {each.kind for each in find_anomalies(Evidence(measures))} == {"dc_offset"}
    assert find_anomalies(Evidence(measures), DefectThresholds(dc_offset=0.01)) == ()


@needs_examples
def test_made_defects_over_real_recordings_stand_out_and_the_recordings_do_not():
    accused, missed = [], []
    for path in sorted(EXAMPLES.glob("*_hq.ogg")):
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True, frames=10 * 44_100)
        gap = samples.copy()
        loudest = int(np.argmax(np.abs(samples[rate : -rate // 2]).max(axis=1))) + rate
        gap[loudest : loudest + rate // 50] = 0
        made = {"clipping": clipped(samples), "dropout": gap, "dc_offset": samples + np.float32(0.02)}
        made["mono_as_stereo"] = np.repeat(samples[:, :1], 2, axis=1)
        real = kinds(samples, rate)
        accused += [(path.name, kind) for kind in made if kind in real]
        missed += [(path.name, kind) for kind, each in made.items() if kind not in kinds(each, rate)]
    assert missed == []
    assert len(accused) <= 1
