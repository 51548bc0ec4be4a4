"""The 518 features: speed against two librosa scripts, the floor, start-up, equality; writes docs/quality/features.md.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python tests/benchmarks/bench_features.py

Needs the public test data (`AI_ASSETS_TEST_DATA`, else `../shared/data`). About three minutes on one core. All variants
run interleaved in one process; what is compared is CPU time, the median over rounds, the mean over clips.
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_name] = "1"

import platform  # noqa: E402
import resource  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
import warnings  # noqa: E402
from collections.abc import Callable  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402
import soundfile  # noqa: E402
import soxr  # noqa: E402

from ai_assets.audio_analysis import reference  # noqa: E402
from ai_assets.audio_analysis.features import FEATURE_VERSION, feature_series  # noqa: E402
from ai_assets.audio_analysis.one_pass import ALL, analyse  # noqa: E402
from ai_assets.audio_analysis.statistics import seven_statistics  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
COMMAND = "OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python tests/benchmarks/bench_features.py"
PIECES = ("brahms", "choice", "fishin", "nutcracker", "pistachio", "sweetwaltz", "vibeace")
ROUNDS = 3
PAGE = """# The 518 features: speed and equality

    {command}

{machine}. Feature version `{version}`. CPU time of one thread, all variants interleaved in one process. The clips are
30 s of seven pieces, 44.1 kHz stereo, MP3 at about 256 kbit/s; all times include decoding.

{speed}

{share} The floor is decoding, mixing, resampling and one double-precision FFT of every frame. {start} No librosa,
numba, torch or scikit-learn is imported on the way.

"Tutorial" calls every librosa function with the samples and its defaults; "FMA-style" computes one spectrum and one
constant-Q transform and hands them on, as the script of the FMA data set does.

## Equality with plain librosa

A value counts as equal within 1e-3 relative or 1e-4 absolute. In digital silence librosa normalises rounding noise, so
that the chroma of those frames is arbitrary there; the second column leaves out frames under -80 dBFS on both sides,
and the twenty frames around them, over which chroma_cens is smoothed.

{equality}

## What is different from the FMA script

- The sample rate is passed to every feature; FMA's script describes a 44.1 kHz file as if it had 22.05 kHz.
- Chroma folds a constant-Q transform of 12 bins per octave; librosa's default of 36 gives other numbers.
- Skewness and kurtosis of a constant series are 0 instead of NaN. A silent recording has no features, and a reason.
- Recordings over 20 minutes are tuned by their first 20 minutes and keep mel decibels to a hundredth.
"""
FEATURES = frozenset({"features"})


def public_data() -> Path:
    return Path(os.environ.get("AI_ASSETS_TEST_DATA", ROOT.parent / "shared" / "data"))


def make_clips(folder: Path) -> list[str]:
    """Thirty seconds of each piece as 44.1 kHz stereo in four formats; MP3 at about 256 kbit/s."""
    for piece in PIECES:
        samples, rate = soundfile.read(public_data() / "librosa_examples" / "audio" / f"{piece}_hq.ogg", always_2d=True)
        samples = soxr.resample(samples[: 30 * rate], rate, 44_100)
        stereo = np.stack([samples[:, 0], 0.9 * samples[:, -1]], axis=1).astype(np.float32)
        stereo = np.resize(stereo, (30 * 44_100, 2))
        for suffix in ("wav", "flac"):
            soundfile.write(folder / f"{piece}.{suffix}", stereo, 44_100, subtype="PCM_16")
        with soundfile.SoundFile(
            folder / f"{piece}.mp3", "w", 44_100, 2, format="MP3", bitrate_mode="CONSTANT", compression_level=0.2
        ) as file:
            file.write(stereo)
        with soundfile.SoundFile(folder / f"{piece}.ogg", "w", 44_100, 2, format="OGG", subtype="VORBIS") as file:
            for start in range(0, len(stereo), 65_536):
                file.write(stereo[start : start + 65_536])
    return list(PIECES)


def floor(path: str) -> None:
    """What cannot be saved: decode, mono, resample, one double-precision FFT of every frame."""
    from scipy.fft import rfft

    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    mono = soxr.resample(samples @ np.full(samples.shape[1], 1 / samples.shape[1], np.float32), rate, 22_050)
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(mono, 1024), 2048)[::512]
    window = np.hanning(2049)[:-1]
    for start in range(0, len(frames), 128):
        rfft(frames[start : start + 128] * window, axis=1)


VARIANTS: dict[str, tuple[str, Callable[[str], object]]] = {
    "tutorial librosa, MP3": (
        "mp3",
        lambda path: reference.series_statistics(reference.tutorial_series(reference.load(path))),
    ),
    "FMA-style librosa, MP3": ("mp3", lambda path: reference.fma518(reference.load(path))),
    "ours, MP3": ("mp3", lambda path: analyse(path, families=FEATURES)),
    "ours, WAV": ("wav", lambda path: analyse(path, families=FEATURES)),
    "ours, FLAC": ("flac", lambda path: analyse(path, families=FEATURES)),
    "ours, OGG": ("ogg", lambda path: analyse(path, families=FEATURES)),
    "ours, MP3, all families": ("mp3", lambda path: analyse(path, families=ALL)),
    "floor, MP3": ("mp3", floor),
    "floor, WAV": ("wav", floor),
}


def measure(folder: Path, clips: list[str]) -> dict[str, float]:
    """CPU milliseconds per clip and variant: median over rounds, mean over clips."""
    times: dict[str, list[list[float]]] = {name: [] for name in VARIANTS}
    for suffix, function in VARIANTS.values():
        function(str(folder / f"{clips[0]}.{suffix}"))
    for clip in clips:
        spent: dict[str, list[float]] = {name: [] for name in VARIANTS}
        for _ in range(ROUNDS):
            for name, (suffix, function) in VARIANTS.items():
                start = time.process_time()
                function(str(folder / f"{clip}.{suffix}"))
                spent[name].append(time.process_time() - start)
        for name, values in spent.items():
            times[name].append(values)
    return {name: 1000 * float(np.mean(np.median(values, axis=1))) for name, values in times.items()}


def compare(samples: np.ndarray) -> tuple[int, int, int, int, float]:
    """(values, within 1e-3, masked values, within 1e-3 after masking silent frames, largest masked difference)."""
    theirs, ours = reference.shared_series(samples), feature_series(samples)
    expected = np.concatenate([np.asarray(theirs[name], dtype=np.float64) for name in reference.SERIES])
    # chroma_cens spreads each frame over twenty on either side.
    silent = np.convolve(expected[list_rows("rms")[0]] < 1e-4, np.ones(41), mode="same") > 0.5
    heard = ~silent if len(silent) > 41 else np.zeros(len(silent), dtype=bool)
    plain = close(reference.series_statistics(theirs), seven_by_series(ours))
    if not heard.any():
        return plain.size, int(plain.sum()), 0, 0, 0.0
    masked_theirs, masked_ours = seven_by_series(expected[:, heard]), seven_by_series(ours[:, heard])
    masked = close(masked_theirs, masked_ours)
    difference = np.abs(masked_theirs - masked_ours) / (np.abs(masked_theirs) + 0.1)
    return plain.size, int(plain.sum()), masked.size, int(masked.sum()), float(difference.max())


def seven_by_series(rows: np.ndarray) -> np.ndarray:
    """The 518 values of series (74, frames)."""
    return np.concatenate([seven_statistics(rows[list_rows(name)]).reshape(-1) for name in reference.SERIES])


def list_rows(name: str) -> list[int]:
    at = 0
    for series, size in reference.SERIES.items():
        if series == name:
            return list(range(at, at + size))
        at += size
    raise KeyError(name)


def close(expected: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Within 1e-3 relative, or 1e-4 absolute."""
    return np.abs(expected - found) <= 1e-3 * np.abs(expected) + 1e-4


def equality(folder: Path, clips: list[str]) -> list[tuple[str, int, str, str, float]]:
    sets = {
        "librosa_examples, MP3": [folder / f"{clip}.mp3" for clip in clips],
        "librosa_examples, OGG as they are": sorted((public_data() / "librosa_examples" / "audio").glob("*.ogg")),
        "esc10, every tenth": sorted((public_data() / "esc10" / "audio").iterdir())[::10],
    }
    rows = []
    for name, paths in sets.items():
        results = []
        for path in paths:
            samples = reference.load(str(path))[: 30 * 22_050]
            if float(np.abs(samples).max(initial=0.0)) >= 1e-4:
                results.append(compare(samples))
        totals = np.array([each[:4] for each in results]).sum(axis=0)
        largest = max(each[4] for each in results)
        plain, masked = 100 * totals[1] / totals[0], 100 * totals[3] / totals[2]
        rows.append((name, len(results), f"{plain:.3f} %", f"{masked:.3f} %", largest))
    return rows


def start_up() -> float:
    """CPU seconds of a fresh process that imports the one pass and what its first file needs."""
    code = (
        "import ai_assets.audio_analysis.one_pass, scipy.fft, soxr, soundfile, sys; "
        "sys.exit(1 if {'librosa', 'torch', 'numba', 'sklearn'} & set(sys.modules) else 0)"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def markdown(header: tuple[object, ...], rows: list[tuple[object, ...]]) -> str:
    def line(cells: tuple[object, ...]) -> str:
        return "| " + " | ".join(f"{each:.2g}" if isinstance(each, float) else str(each) for each in cells) + " |"

    return "\n".join([line(header), "|" + " --- |" * len(header), *(line(row) for row in rows)])


def main() -> int:
    warnings.simplefilter("ignore")
    if not public_data().is_dir():
        raise SystemExit(f"no public test data at {public_data()}; set AI_ASSETS_TEST_DATA")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clips = make_clips(folder)
        times = measure(folder, clips)
        same = equality(folder, clips) if "--speed" not in sys.argv else []
    tutorial, shared = times["tutorial librosa, MP3"], times["FMA-style librosa, MP3"]
    rows = [(name, f"{each:.1f}", f"{tutorial / each:.1f}x", f"{shared / each:.1f}x") for name, each in times.items()]
    speed = markdown(("variant", "CPU ms per 30 s clip", "against tutorial", "against FMA-style"), list(rows))
    share = f"The floor is {100 * times['floor, MP3'] / times['ours, MP3']:.0f} % of our time on MP3."
    begin = f"A worker starts in {start_up():.2f} s of CPU."
    print(speed, share, begin, sep="\n")
    if not same:
        return 0
    table = markdown(
        ("clips", "number", "within 1e-3 as they are", "silent frames masked", "largest difference, masked"), list(same)
    )
    print(table)
    machine = f"{platform.machine()}, Python {platform.python_version()}, numpy {np.__version__}"
    machine += f", {len(clips)} clips, {ROUNDS} rounds"
    page = PAGE.format(
        command=COMMAND, version=FEATURE_VERSION, machine=machine, speed=speed, share=share, start=begin, equality=table
    )
    (ROOT / "docs" / "quality" / "features.md").write_text(page, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
