"""One self-contained HTML page per file: waveform with findings, spectrogram, and the numbers."""

from __future__ import annotations

import base64
import html
import io
import re
from pathlib import Path
from typing import Any

import numpy as np

from ai_assets.audio_analysis.decode import open_audio
from resources.blobs import write_atomically

SHOWN = (
    "status", "reason", "detected_format", "duration_seconds", "sample_rate", "channels", "tempo_bpm",
    "tempo_confidence", "tempo_alternative_bpm", "key", "key_confidence", "loudness_lufs", "loudness_range_lu",
    "true_peak_dbtp", "onset_rate_hz", "energy_index", "danceability_index", "feature_version",
)  # fmt: skip
LONGEST_SECONDS = 600

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>body{{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}}
table{{border-collapse:collapse}}td,th{{padding:.2rem .8rem .2rem 0;text-align:left;vertical-align:top}}
img{{width:100%}}h1{{font-size:1.3rem}}</style>
<h1>{title}</h1><img alt="waveform and spectrogram; findings are marked by lines" src="data:image/png;base64,{picture}">
<h2>Findings</h2>{findings}<h2>Numbers</h2><table>{numbers}</table></html>
"""


def write_page(folder: Path, number: int, answer: dict[str, Any]) -> Path:
    """Write the page of one analysed file and return its path. Raises OSError."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", Path(answer["path"]).stem).strip("-")[:60] or "track"
    target = folder / f"{number:03d}-{name}.html"
    findings = "".join(
        f"<tr><td>{html.escape(item['kind'])}<td>{html.escape(item['severity'])}<td>{_number(item['time'])} s"
        f"<td>{_number(item['value'])} (limit {_number(item['threshold'])})<td>{html.escape(item['suggested_action'])}"
        for item in answer["anomalies"]
    )
    numbers = "".join(f"<tr><th>{key.replace('_', ' ')}<td>{html.escape(_number(answer.get(key)))}" for key in SHOWN)
    page = PAGE.format(
        title=html.escape(Path(answer["path"]).name),
        picture=base64.b64encode(draw(answer)).decode(),
        findings=f"<table>{findings}</table>" if findings else "<p>none</p>",
        numbers=numbers,
    )
    write_atomically(target, page.encode())
    return target


def draw(answer: dict[str, Any]) -> bytes:
    """Waveform with marked findings over a spectrogram, as PNG (at most the first ten minutes)."""
    from matplotlib.figure import Figure
    from scipy.signal import spectrogram

    with open_audio(answer["path"], hash_audio=False, verify_md5=False) as reader:
        rate, parts, left = reader.info.sample_rate, [], reader.info.sample_rate * LONGEST_SECONDS
        for block in reader.blocks():
            parts.append(block[:left].mean(axis=1))
            left -= len(parts[-1])
            if left <= 0:
                break
    mono = np.concatenate(parts) if parts else np.zeros(1, np.float32)
    figure = Figure(figsize=(10, 5), layout="constrained")
    wave, spectrum = figure.subplots(2, 1, sharex=True)
    step = max(1, len(mono) // 4000)
    usable = mono[: len(mono) // step * step].reshape(-1, step)
    seconds = np.arange(len(usable)) * step / rate
    wave.fill_between(seconds, usable.min(1), usable.max(1), color="#2a6f97", linewidth=0)
    wave.set_ylabel("amplitude")
    for item in answer["anomalies"]:
        if item["time"] is not None:
            wave.axvline(item["time"], color="#c1121f")
            wave.annotate(
                item["kind"], (item["time"], 1.0), xycoords=("data", "axes fraction"), fontsize=8, color="#c1121f"
            )
    if len(mono) >= 2048:
        frequencies, times, power = spectrogram(
            mono, rate, nperseg=2048, noverlap=max(0, 2048 - max(512, len(mono) // 1500))
        )
        spectrum.pcolormesh(
            times, frequencies / 1000, 10 * np.log10(power + 1e-12), vmin=-120, shading="nearest", rasterized=True
        )
    spectrum.set_ylabel("kHz")
    spectrum.set_xlabel("seconds")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=80, metadata={"Software": None})
    return buffer.getvalue()


def _number(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:,.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
