"""One self-contained HTML page per file: waveform with findings, spectrogram, and the numbers; in three languages."""

from __future__ import annotations

import base64
import html
import io
import re
from pathlib import Path
from typing import Any

import numpy as np

from ai_assets.audio_analysis.decode import open_audio
from ai_assets.audio_analysis.report_words import ReportWords
from ai_assets.audio_status import ACCEPTED
from resources.blobs import write_atomically

SHOWN = (
    "status", "reason", "detected_format", "duration_seconds", "sample_rate", "channels", "tempo_bpm",
    "tempo_confidence", "tempo_alternative_bpm", "key", "key_confidence", "loudness_lufs", "loudness_range_lu",
    "true_peak_dbtp", "onset_rate_hz", "energy_index", "danceability_index", "feature_version",
)  # fmt: skip
LONGEST_SECONDS = 600
FLOOR_DB = -120.0

PAGE = """<!doctype html>
<html lang="{lang}"><meta charset="utf-8"><title>{title}</title>
<style>body{{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}}
table{{border-collapse:collapse}}td,th{{padding:.2rem .8rem .2rem 0;text-align:left;vertical-align:top}}
td:nth-child(-n+4){{white-space:nowrap}}img{{width:100%}}h1{{font-size:1.3rem}}</style>
<h1>{title}</h1>{picture}
<h2>{findings_title}</h2>{findings}<h2>{numbers_title}</h2><table>{numbers}</table></html>
"""


def write_page(folder: Path, number: int, answer: dict[str, Any], words: ReportWords | None = None) -> Path:
    """Write the page of one analysed file, in English without `words`, and return its path. Raises OSError."""
    words = words or ReportWords()
    name = re.sub(r"[^A-Za-z0-9]+", "-", Path(answer["path"]).stem).strip("-")[:60] or "track"
    target = folder / f"{number:03d}-{name}.html"
    findings = "".join(_finding(item, words) for item in answer["anomalies"])
    numbers = "".join(
        f"<tr><th>{html.escape(words(key))}<td>{html.escape(words.value(key, answer.get(key)))}" for key in SHOWN
    )
    page = PAGE.format(
        lang=words.lang,
        title=html.escape(Path(answer["path"]).name),
        picture=_picture(answer, words),
        findings_title=html.escape(words("findings")),
        findings=f"<table>{findings}</table>" if findings else f"<p>{html.escape(words('findings_none'))}</p>",
        numbers_title=html.escape(words("numbers")),
        numbers=numbers,
    )
    write_atomically(target, page.encode(errors="backslashreplace"))
    return target


def _picture(answer: dict[str, Any], words: ReportWords) -> str:
    """The picture as an element of the page; for a file of which nothing could be used, the reason instead."""
    if answer["status"] not in (*ACCEPTED, "partial"):
        return f"<p>{html.escape(words.value('status', answer['status']))}: {html.escape(answer['reason'])}</p>"
    data = base64.b64encode(draw(answer, words)).decode()
    return f'<img alt="{html.escape(words("picture"))}" src="data:image/png;base64,{data}">'


def _finding(item: dict[str, Any], words: ReportWords) -> str:
    """A row of the table of findings: what, how bad, where, how much, what to do."""
    name, severity, advice = words.finding(item)
    place = words("everywhere") if item["time"] is None else f"{words.value('time', item['time'])} s"
    value = f"{words.value('value', item['value'])} ({words('limit')} {words.value('threshold', item['threshold'])})"
    return "<tr>" + "".join(f"<td>{html.escape(text)}" for text in (name, severity, place, value, advice))


def draw(answer: dict[str, Any], words: ReportWords) -> bytes:
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
    wave.set_ylabel(words("amplitude"))
    for item in answer["anomalies"]:
        if item["time"] is not None:
            wave.axvline(item["time"], color="#c1121f")
            wave.annotate(
                words.finding(item)[0],
                (item["time"], 1.0),
                xycoords=("data", "axes fraction"),
                fontsize=8,
                color="#c1121f",
            )
    if len(mono) >= 2048:
        overlap = max(0, 2048 - max(512, len(mono) // 1500))
        frequencies, times, power = spectrogram(mono, rate, nperseg=2048, noverlap=overlap)
        level = np.maximum(10 * np.log10(power + 1e-12), FLOOR_DB)  # silence lies at the floor, not below it
        spectrum.pcolormesh(times, frequencies / 1000, level, vmin=FLOOR_DB, shading="nearest", rasterized=True)
    spectrum.set_ylabel("kHz")
    spectrum.set_xlabel(words("seconds"))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=80, metadata={"Software": None})
    return buffer.getvalue()
