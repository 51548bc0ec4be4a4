"""One decode serves every family; bad files become rows with a reason."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ai_assets.audio_analysis import one_pass, reference
from ai_assets.audio_analysis.features import fma518
from ai_assets.audio_analysis.one_pass import ALL, FAMILIES, analyse, analyse_for_pool
from resources.isolation import LimitedPool


@pytest.fixture()
def song(tmp_path: Path) -> Path:
    """Twelve seconds of stereo: a chord that is struck twice a second."""
    time = np.arange(12 * 44_100) / 44_100
    chord = sum(np.sin(2 * np.pi * hertz * time) for hertz in (261.63, 329.63, 392.0, 523.25))
    left = 0.1 * chord * np.exp(-8 * (time % 0.5)) + 1e-4 * np.random.default_rng(0).standard_normal(len(time))
    soundfile.write(tmp_path / "song.wav", np.stack([left, 0.7 * left], axis=1), 44_100)
    return tmp_path / "song.wav"


def test_one_pass_answers_every_family(song: Path) -> None:
    found = analyse(song)
    assert found.report.status == "ok"
    assert found.features is not None and found.features.shape == (518,)
    assert found.features.dtype == np.float64
    assert found.rhythm is not None and found.rhythm.tempo_bpm == pytest.approx(120.0, rel=0.02)
    assert found.tonality is not None and found.tonality.key == "C major"
    assert found.loudness is not None and found.loudness.integrated_lufs is not None
    assert found.defects is not None and found.energy_index is not None
    assert found.danceability is not None and found.fingerprint
    assert found.log_mel is not None and found.log_mel.shape == (1 + 12 * 22_050 // 512, 64)
    assert found.log_mel.dtype == np.float16
    assert found.waveform is not None and 100 < len(found.waveform.lowest) <= 1000
    assert (found.waveform.lowest <= found.waveform.highest).all()
    assert found.waveform.seconds_per_point * len(found.waveform.lowest) == pytest.approx(12.0, abs=0.1)
    assert found.families == ALL == set(FAMILIES)


def test_the_features_are_those_of_the_canonical_signal(song: Path) -> None:
    expected = fma518(reference.load(str(song)))
    found = analyse(song, families=frozenset({"features"}))
    assert expected is not None and found.features is not None
    np.testing.assert_allclose(found.features, expected, rtol=1e-4, atol=1e-4)
    assert found.rhythm is None and found.loudness is None and found.log_mel is None


def test_a_long_file_goes_through_in_segments_with_the_same_answers(
    song: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = analyse(song)
    monkeypatch.setattr(one_pass, "SEGMENT_FRAMES", 150)
    parts = analyse(song)
    assert whole.features is not None and parts.features is not None
    close = np.abs(whole.features - parts.features) <= 0.01 * np.abs(whole.features) + 0.02
    assert close.mean() > 0.97
    assert parts.fingerprint == whole.fingerprint
    assert parts.rhythm is not None and whole.rhythm is not None
    assert parts.rhythm.beats_seconds == whole.rhythm.beats_seconds
    assert parts.tonality is not None and whole.tonality is not None and parts.tonality.key == whole.tonality.key
    assert parts.waveform is not None and whole.waveform is not None
    np.testing.assert_array_equal(parts.waveform.highest, whole.waveform.highest)


def test_silence_has_reasons_instead_of_values(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silence.wav", np.zeros((44_100 * 4, 2)), 44_100)
    found = analyse(tmp_path / "silence.wav")
    assert found.features is None and found.fingerprint is None
    assert {"features", "fingerprint", "rhythm", "tonality", "loudness"} <= set(found.reasons)
    assert "silence" in {each.kind for each in found.anomalies}


def test_a_pool_gives_one_picklable_answer_per_file_in_order(song: Path) -> None:
    (song.parent / "text.wav").write_text("no audio at all")
    items = [{"root": str(song.parent), "path": name} for name in ("song.wav", "text.wav", "missing.wav", "../up.wav")]
    items.append({"file": str(song), "families": ["features"], "cache_dir": str(song.parent / "cache")})
    items.append({"file": str(song), "families": ["loudness"], "limits": {"max_seconds": 5.0}})
    with LimitedPool(1, memory_bytes=1 << 31) as pool:
        outcomes = list(pool.map("ai_assets.audio_analysis.one_pass:analyse_for_pool", items))
    assert [each.status for each in outcomes] == ["ok"] * 6, [each.error for each in outcomes]
    reports = [each.value.report for each in outcomes]
    assert [each.status for each in reports] == ["ok", "refused", "refused", "refused", "ok", "limit"]
    assert all(each.reason for each in reports[1:4])
    assert outcomes[0].value.features is not None and outcomes[4].value.rhythm is None


def test_an_analysis_survives_pickling(song: Path) -> None:
    found = analyse_for_pool({"file": str(song)})
    again = pickle.loads(pickle.dumps(found))
    assert again.fingerprint == found.fingerprint and again.anomalies == found.anomalies


def test_an_unknown_family_is_an_error_that_names_it(song: Path) -> None:
    with pytest.raises(ValueError, match="valence"):
        analyse(song, families=frozenset({"valence"}))
