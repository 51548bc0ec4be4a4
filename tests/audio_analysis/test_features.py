"""The 518 features: equal to librosa's, named as promised, defined for silence."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ai_assets.audio_analysis import cqt, reference, tables
from ai_assets.audio_analysis.features import (
    FEATURE_NAMES,
    FEATURE_VERSION,
    SERIES,
    FeatureFamily,
    feature_matrix,
    feature_series,
    fma518,
)
from ai_assets.audio_analysis.spectrum import MonoResampler, frame_count, spectrum_blocks
from ai_assets.audio_analysis.statistics import seven_statistics

CLIPS = ("librosa_examples/audio/brahms.ogg", "librosa_examples/audio/choice_hq.ogg")
CLIPS += ("librosa_examples/audio/libri1_hq.ogg", "librosa_examples/audio/robin_hq.ogg")


def music(seconds: float, seed: int = 0) -> NDArray[np.float32]:
    """Notes with harmonics that change every quarter of a second, over a little noise."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * 22_050)) / 22_050
    step = (time * 4).astype(int)
    pitch = 220.0 * 2.0 ** (rng.integers(0, 24, step.max() + 1) / 12)
    phase = 2 * np.pi * np.cumsum(pitch[step]) / 22_050
    samples = sum(np.sin(n * phase) / n for n in (1, 2, 3, 4, 5)) * np.exp(-3 * (time * 4 - step))
    return (0.2 * samples + 1e-3 * rng.standard_normal(len(time))).astype(np.float32)


def close(expected: NDArray[np.float64], found: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.abs(expected - found) <= 1e-3 * np.abs(expected) + 1e-4


@pytest.mark.parametrize("clip", CLIPS)
def test_the_features_of_real_clips_equal_those_of_plain_librosa(public_data: Path, clip: str) -> None:
    samples = reference.load(str(public_data / clip))[: 10 * 22_050]
    found = fma518(samples)
    assert found is not None
    assert close(reference.fma518(samples), found).mean() >= 0.999


def test_frames_with_sound_equal_those_of_librosa_in_a_clip_padded_with_digital_silence(public_data: Path) -> None:
    samples = reference.load(str(public_data / "esc10/audio/1-54505-A.ogg"))
    theirs = reference.shared_series(samples)
    # chroma_cens spreads each frame over twenty on either side.
    heard = np.convolve(theirs["rms"][0] < 1e-4, np.ones(41), mode="same") < 0.5
    assert 0.1 < heard.mean() < 0.9
    ours, at = feature_series(samples), 0
    for name, size in SERIES.items():
        expected = seven_statistics(np.asarray(theirs[name], dtype=np.float64)[:, heard])
        assert close(expected, seven_statistics(ours[at : at + size, heard])).mean() >= 0.99, name
        at += size


def test_the_names_are_those_of_fma() -> None:
    assert len(FEATURE_NAMES) == len(set(FEATURE_NAMES)) == 518
    assert FEATURE_NAMES[0] == "chroma_cens.kurtosis.01"
    assert {"mfcc.mean.01", "mfcc.std.20", "tonnetz.skew.06", "zcr.median.01"} <= set(FEATURE_NAMES)
    assert FEATURE_VERSION.startswith("fma518/v1+")


def test_a_silent_signal_has_no_features_and_a_signal_with_silent_parts_no_nan() -> None:
    assert fma518(np.zeros(22_050, dtype=np.float32)) is None
    assert fma518(np.full(22_050, 5e-5, dtype=np.float32)) is None
    samples = music(2.0)
    samples[5000:30_000] = 0.0
    for signal in (samples, np.ones(22_050, dtype=np.float32), np.eye(1, 4096, 2000, dtype=np.float32)[0]):
        values = fma518(signal)
        assert values is not None
        assert np.isfinite(values).all()


def test_a_signal_shorter_than_a_frame_is_an_error_that_says_so() -> None:
    with pytest.raises(ValueError, match="2048"):
        fma518(np.ones(2047, dtype=np.float32))


def test_a_recording_in_segments_has_the_features_of_the_whole() -> None:
    samples = music(40.0)
    whole = fma518(samples)
    family, frames, table = FeatureFamily(), frame_count(len(samples)), tables.spectrum_tables()
    bounds = [0, 700, 1300, frames]
    for start, stop in pairwise(bounds):
        begin = max(0, (start - cqt.CONTEXT_FRAMES) * 512)
        stretch = samples[begin : (stop + cqt.CONTEXT_FRAMES) * 512]
        for block in spectrum_blocks(stretch, start, stop, begin, table):
            family.push(block)
        family.close_segment(stretch, start, stop, begin, last=stop == frames)
    assert whole is not None
    found = family.finish()
    assert close(whole, found).mean() > 0.97  # the mel decibels are kept to a hundredth
    assert np.abs(whole - found).max() <= 0.02 * np.abs(whole).max()


def test_the_tables_equal_those_of_librosa() -> None:
    import librosa

    np.testing.assert_allclose(tables.mel_filters(), librosa.filters.mel(sr=22_050, n_fft=2048), atol=1e-8)
    for tuning in (-0.5, 0.0, 0.37):
        expected = librosa.filters.chroma(sr=22_050, n_fft=2048, tuning=tuning)
        np.testing.assert_allclose(tables.chroma_filters(tuning), expected, atol=1e-7)


def test_tables_are_stored_in_the_cache_folder_and_a_damaged_one_is_made_again(tmp_path: Path) -> None:
    fresh = tables.tuning_tables(13)
    tables.tuning_tables(13, tmp_path)
    (stored,) = tmp_path.rglob("*.npz")
    tables.tuning_tables.cache_clear()
    np.testing.assert_array_equal(tables.tuning_tables(13, tmp_path).cqt, fresh.cqt)
    stored.write_bytes(stored.read_bytes()[:1000])
    tables.tuning_tables.cache_clear()
    np.testing.assert_array_equal(tables.tuning_tables(13, tmp_path).chroma, fresh.chroma)


def test_blocks_of_any_size_are_resampled_as_librosa_resamples_the_whole() -> None:
    import librosa

    stereo = np.random.default_rng(1).standard_normal((100_001, 2)).astype(np.float32)
    resampler = MonoResampler(44_100, 2)
    parts = [resampler.push(stereo[start : start + 7777]) for start in range(0, len(stereo), 7777)]
    found = np.concatenate([*parts, resampler.finish()])
    np.testing.assert_allclose(
        found, librosa.resample(stereo.mean(axis=1), orig_sr=44_100, target_sr=22_050), atol=1e-6
    )


def test_the_extractor_imports_neither_librosa_nor_another_heavy_package() -> None:
    code = (
        "import sys, numpy as np; from ai_assets.audio_analysis.features import fma518; "
        "fma518(np.ones(4096, dtype=np.float32)); import ai_assets.audio_analysis.one_pass; "
        "sys.exit(str({'librosa', 'numba', 'torch', 'sklearn', 'pandas', 'dagster'} & set(sys.modules) or ''))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.stderr.strip() == "", done.stderr


def test_a_home_without_audio_has_a_matrix_of_no_rows() -> None:
    assert feature_matrix([]).shape == (0, len(FEATURE_NAMES)) and feature_matrix([[1.0, 2.0]]).shape == (1, 2)
