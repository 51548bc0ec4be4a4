"""fma518 by plain librosa calls: what `features` must equal. For tests and benchmarks only.

Belongs here: the definition in librosa's words, and the two scripts that the benchmark compares with. Does not belong
here: anything the product runs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ai_assets.audio_analysis.features import SERIES
from ai_assets.audio_analysis.statistics import STATISTICS

Series = dict[str, NDArray[Any]]


def load(path: str) -> NDArray[np.float32]:
    """The canonical signal of a file: `librosa.load` at 22,050 Hz."""
    import librosa

    return np.asarray(librosa.load(path, sr=22_050)[0], dtype=np.float32)


def shared_series(samples: NDArray[np.float32]) -> Series:
    """The series as FMA's script makes them: one spectrum and one constant-Q transform, `sr` passed everywhere."""
    import librosa

    feature, rate = librosa.feature, 22_050
    series: Series = {"zcr": feature.zero_crossing_rate(samples, frame_length=2048, hop_length=512)}
    constant_q = np.abs(librosa.cqt(samples, sr=rate, hop_length=512, n_bins=84, bins_per_octave=12, tuning=None))
    series["chroma_cqt"] = feature.chroma_cqt(C=constant_q, n_chroma=12, n_octaves=7, bins_per_octave=12)
    series["chroma_cens"] = feature.chroma_cens(C=constant_q, n_chroma=12, n_octaves=7, bins_per_octave=12)
    series["tonnetz"] = feature.tonnetz(chroma=series["chroma_cens"])
    del constant_q
    spectrum = np.abs(librosa.stft(samples, n_fft=2048, hop_length=512))
    series["chroma_stft"] = feature.chroma_stft(S=spectrum**2, sr=rate, n_chroma=12)
    series["rms"] = feature.rms(S=spectrum)
    series["spectral_centroid"] = feature.spectral_centroid(S=spectrum, sr=rate)
    series["spectral_bandwidth"] = feature.spectral_bandwidth(S=spectrum, sr=rate)
    series["spectral_contrast"] = feature.spectral_contrast(S=spectrum, sr=rate, n_bands=6)
    series["spectral_rolloff"] = feature.spectral_rolloff(S=spectrum, sr=rate)
    mel = feature.melspectrogram(sr=rate, S=spectrum**2)
    series["mfcc"] = feature.mfcc(S=librosa.power_to_db(mel), n_mfcc=20)
    return series


def tutorial_series(samples: NDArray[np.float32]) -> Series:
    """The series as tutorials make them: every function is given the samples and its defaults, and starts from nothing.

    librosa's default of 36 bins per octave gives other chroma than `shared_series`: this one is there to be timed.
    """
    import librosa

    feature, rate = librosa.feature, 22_050
    return {
        "chroma_cens": feature.chroma_cens(y=samples, sr=rate),
        "chroma_cqt": feature.chroma_cqt(y=samples, sr=rate),
        "chroma_stft": feature.chroma_stft(y=samples, sr=rate),
        "mfcc": feature.mfcc(y=samples, sr=rate, n_mfcc=20),
        "rms": feature.rms(y=samples),
        "spectral_bandwidth": feature.spectral_bandwidth(y=samples, sr=rate),
        "spectral_centroid": feature.spectral_centroid(y=samples, sr=rate),
        "spectral_contrast": feature.spectral_contrast(y=samples, sr=rate),
        "spectral_rolloff": feature.spectral_rolloff(y=samples, sr=rate),
        "tonnetz": feature.tonnetz(y=samples, sr=rate),
        "zcr": feature.zero_crossing_rate(samples),
    }


def series_statistics(series: Series) -> NDArray[np.float64]:
    """The 518 values by numpy and scipy.stats, in the order of `features.FEATURE_NAMES`."""
    from scipy import stats

    functions = {"kurtosis": stats.kurtosis, "skew": stats.skew}
    parts = []
    for name in SERIES:
        values = np.asarray(series[name], dtype=np.float64)
        for statistic in STATISTICS:
            parts.append((functions.get(statistic) or getattr(np, statistic))(values, axis=1))
    return np.concatenate(parts)


def fma518(samples: NDArray[np.float32]) -> NDArray[np.float64]:
    """The 518 features of a mono signal at 22,050 Hz, by librosa alone."""
    return series_statistics(shared_series(samples))
