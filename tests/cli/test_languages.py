"""Three languages: the page of results, the page of a file, the docstrings of the families and of their tasks."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from ai_assets.audio_analysis import report, report_words
from ai_assets.audio_analysis.report_words import LANGUAGES, Language, ReportWords
from ai_assets.audio_status import ACCEPTED, STATUSES
from ai_assets.cli import result_page
from ai_assets.cli.language import spoken
from ai_assets.cli.result_page import Made

ROOT = Path(__file__).parents[2]
TASKS = {
    "audio_analysis": "analyze_audio_task",
    "content_generation": "generate_content_task",
    "data_processing": "process_data_task",
    "model_training": "train_model_task",
    "recommendation_update": "update_recommendations_task",
}
WORDS = {
    "en": {"the", "of", "and", "one", "is", "on", "to", "from", "what", "by"},
    "de": {"der", "die", "das", "und", "eine", "einer", "wird", "aus", "dem", "ein", "mit", "oder", "zu", "auf"},
    "fr": {"le", "la", "les", "et", "un", "une", "des", "du", "ou", "de", "aux", "à", "est"},
}


def language_of(text: str) -> str:
    words = re.findall(r"[a-zà-ÿß]+", text.lower())
    return max(WORDS, key=lambda lang: sum(word in WORDS[lang] for word in words))


@pytest.mark.parametrize("family", TASKS)
def test_a_family_and_its_task_are_described_in_three_languages(family: str) -> None:
    package = importlib.import_module(f"ai_assets.{family}")
    task = getattr(package, TASKS[family])
    for text in (package.__doc__, task.__doc__):
        paragraphs = [part for part in (text or "").split("\n\n") if not re.match(r"\s*(Args|Returns|Raises):", part)]
        assert [language_of(part) for part in paragraphs[:3]] == ["en", "de", "fr"], text


@pytest.mark.parametrize("module", [report_words, result_page])
def test_every_sentence_exists_in_each_language_with_the_same_places(module: Any) -> None:
    for key, versions in module.texts().items():
        assert set(versions) == set(LANGUAGES), key
        assert all(versions.values()), key
        places = {lang: sorted(re.findall(r"\{(\w+)\}", text)) for lang, text in versions.items()}
        assert places["de"] == places["fr"] == places["en"], key


def test_every_kind_of_finding_has_a_name_and_an_advice() -> None:
    tree = ast.parse((ROOT / "ai_assets" / "audio_analysis" / "defects.py").read_text(encoding="utf-8"))
    calls = [
        node for node in ast.walk(tree) if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Anomaly"
    ]
    kinds = {node.args[0].value for node in calls if isinstance(node.args[0], ast.Constant)}
    assert len(kinds) > 12
    known = report_words.texts()
    assert {kind for kind in kinds if f"find_{kind}" not in known or f"fix_{kind}" not in known} == set()


@pytest.mark.parametrize(
    ("environment", "lang"),
    [
        ({"LANG": "de_DE.UTF-8"}, "de"),
        ({"LANG": "fr"}, "fr"),
        ({"LANG": "C.UTF-8"}, "en"),
        ({"LANG": "ja_JP.UTF-8"}, "en"),
        ({}, "en"),
        ({"LANG": "de_DE.UTF-8", "LC_MESSAGES": "fr_CA.UTF-8"}, "fr"),
        ({"LANG": "de_DE.UTF-8", "LC_ALL": "C"}, "en"),
        ({"LANG": "de_AT@euro", "LC_ALL": ""}, "de"),
    ],
)
def test_the_language_is_that_of_the_locale(environment: dict[str, str], lang: str) -> None:
    assert spoken(environment) == lang


@pytest.mark.parametrize(
    ("lang", "name", "value", "shown"),
    [
        ("en", "key", "C# minor", "C♯ minor"),
        ("de", "key", "C# minor", "cis-Moll"),
        ("de", "key", "B major", "H-Dur"),
        ("fr", "key", "C# minor", "do♯ mineur"),
        ("en", "duration_seconds", 1234.5, "1,234.5"),
        ("de", "duration_seconds", 1234.5, "1.234,5"),
        ("fr", "duration_seconds", 1234.5, "1\u202f234,5"),
        ("de", "tempo_bpm", None, "-"),
        ("fr", "reason", "", "-"),
        ("en", "value", 0.00002, "2e-05"),
    ],
)
def test_a_value_is_written_as_its_language_writes_it(lang: Language, name: str, value: object, shown: str) -> None:
    assert ReportWords(lang).value(name, value) == shown


@pytest.mark.parametrize("lang", LANGUAGES)
def test_the_page_of_a_file_is_in_its_language_and_silence_has_a_page_too(tmp_path: Path, lang: Language) -> None:
    soundfile.write(tmp_path / "<b>nothing.wav", np.zeros(22_050), 22_050)
    finding = {"kind": "silence", "severity": "error", "time": 0.0, "value": 1.0, "threshold": 0.8}
    action = "Replace the file: it holds no sound."
    answer = {
        "path": str(tmp_path / "<b>nothing.wav"), "status": "ok", "key": None, "duration_seconds": 1.0,
        "anomalies": [finding | {"suggested_action": action}],
    }  # fmt: skip
    text = report.write_page(tmp_path, 1, answer, ReportWords(lang)).read_text(encoding="utf-8")
    assert f'<html lang="{lang}">' in text
    assert "<b>" not in text
    for word in {"en": ("Length (s)", action), "de": ("Länge (s)", "Stille"), "fr": ("Durée (s)", "Silence")}[lang]:
        assert word in text
    body = re.sub(r"<style>.*?</style>|<[^>]+>|[\w/+=]{80,}", " ", text, flags=re.S)
    assert language_of(body) == lang


@pytest.mark.parametrize("status", [status for status in STATUSES if status not in (*ACCEPTED, "partial")])
@pytest.mark.parametrize("lang", LANGUAGES)
def test_a_file_that_could_not_be_used_has_a_page_with_the_reason(tmp_path: Path, lang: Language, status: str) -> None:
    answer = {"path": str(tmp_path / "gone.mp3"), "status": status, "reason": "text, <i>not audio</i>", "anomalies": []}
    text = report.write_page(tmp_path, 1, answer, ReportWords(lang)).read_text(encoding="utf-8")
    assert "text, &lt;i&gt;not audio" in text and "<img" not in text
    assert ReportWords(lang).value("status", status) in text


def test_the_page_of_results_is_in_its_language(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from resources.platform import Platform
    from resources.settings import load_settings

    platform = Platform(load_settings(home=home))
    shown = {}
    for lang in LANGUAGES:
        result_page.result_page(platform, Made(2, 61.4, {"tracks": "2/2"}, []), lang)
        shown[lang] = capsys.readouterr().out
    for lang, words in {
        "en": ("checks passed", "Look further"),
        "de": ("bestandene Prüfungen", "Läufe, 61 s"),
        "fr": ("contrôles réussis", "exécutions, 61 s"),
    }.items():
        assert all(word in shown[lang] for word in words)
        assert all(word not in shown[other] for other in LANGUAGES if other != lang for word in words)
