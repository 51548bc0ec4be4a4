"""The room's words: complete in three languages, each used, and the small things each language writes its own way."""

from __future__ import annotations

import re
import string
from typing import Any, get_args

import numpy as np
import pytest
from fastapi import Request

from ai_assets.audio_analysis.defects import Severity
from ai_assets.recommendation_update.candidates import Sources
from ai_assets.recommendation_update.reasons import POPULAR, reasons_for
from ai_assets.serving.room_door import Session
from ai_assets.serving.room_pages import Pages
from ai_assets.serving.room_pictures import palette_png, wave_path
from ai_assets.serving.room_sound import NoSound, Part, asked_part
from ai_assets.serving.room_why import OBSTACLES
from ai_assets.serving.room_words import FOLDER, LANGUAGES, Words, chosen_language, texts

SAME = {"fr": 0.15, "de": 0.15}


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_every_sentence_exists_in_every_language_with_the_same_blanks() -> None:
    for key, found in texts().items():
        assert set(found) == set(LANGUAGES), key
        assert all(text.strip() for text in found.values()), key
        assert len({frozenset(fields(text)) for text in found.values()}) == 1, key
        assert len({text.count("<code>") for text in found.values()}) == 1, key
    for lang, share in SAME.items():
        same = [key for key, found in texts().items() if found[lang] == found["en"]]
        assert len(same) < share * len(texts()), f"not translated into {lang}: {same}"


def test_every_sentence_is_used_and_every_used_one_is_there() -> None:
    sources = [*FOLDER.glob("*.html"), *FOLDER.parent.glob("room_*.py")]
    text = "\n".join(path.read_text() for path in sources)
    named = set(re.findall(r'(?<!\w)t\("([a-z_]+)"[,)]', text)) | set(re.findall(r'Refused\(\d+, "(\w+)"\)', text))
    assert named <= set(texts())
    built = ("mood_", "find_", "fix_", "severity_", "sort_", "kind_", "do_", "did_", "file_", "out_")
    assert all(f'"{key}"' in text or key.startswith(built) for key in texts())
    assert {f"severity_{name}" for name in get_args(Severity)} <= set(texts())


def test_every_defect_that_the_rules_can_find_has_a_name() -> None:
    rules = (FOLDER.parents[1] / "audio_analysis" / "defects.py").read_text()
    kinds = set(re.findall(r'Anomaly\(\s*"(\w+)"', rules)) | {"outlier"}
    assert len(kinds) > 10 and {f"find_{kind}" for kind in kinds} | {f"fix_{kind}" for kind in kinds} <= set(texts())


@pytest.mark.parametrize(
    ("cookie", "accepted", "lang"),
    [
        ("fr", "de", "fr"), (None, "de-CH;q=0.7, fr;q=0.8", "fr"), ("xx", "es, de;q=0.1", "de"), (None, "", "en"),
        (None, "fr;q=0, de;q=nonsense", "en"), (None, ",,;;q=", "en"),
    ],
)  # fmt: skip
def test_the_language_is_the_chosen_one_else_the_browsers(cookie: str | None, accepted: str, lang: str) -> None:
    assert chosen_language(cookie, accepted) == lang


def test_keys_and_numbers_are_written_as_each_language_does() -> None:
    en, de, fr = (Words(lang) for lang in ("en", "de", "fr"))
    assert [words.key("C# minor") for words in (en, de, fr)] == ["C♯ minor", "cis-Moll", "do♯ mineur"]
    assert [words.key("B major") for words in (en, de, fr)] == ["B major", "H-Dur", "si majeur"]
    assert [words.number(1234.5, 1) for words in (en, de, fr)] == ["1,234.5", "1.234,5", "1\u202f234,5"]
    assert [words.number(value) for words in (en,) for value in (None, float("nan"))] == ["–", "–"]
    assert en.length(3725) == "1:02:05" and de.length(59.7) == "1:00" and fr.length(None) == "–"


def test_every_form_of_a_reason_is_translated() -> None:
    plays, artists = np.ones(3, np.float32), np.array([0, 0, 1])
    content = np.eye(3, dtype=np.float32) * 0.5 + 0.5
    titles, names = np.array(["One", "Two", "Three"]), np.array(["Ann", "Ann", "Ben"])
    sources = Sources(plays=plays, artists=artists, tower=None, ials=None, content=content)
    reasons = reasons_for(sources, np.array([0]), np.array([1]), titles, names)[0] + [POPULAR]
    assert len(reasons) == 3
    german, french = ([Words(lang).reason(text) for text in reasons] for lang in ("de", "fr"))
    assert german == ["weil Sie gehört haben: „One“ von Ann", "Ann haben Sie schon gehört", "bei allen beliebt"]
    assert french[0] == "parce que vous avez écouté «\u00a0One\u00a0» de Ann" and french[2] != POPULAR
    assert [Words("en").reason(text) for text in reasons] == reasons
    assert Words("de").reason("something new") == "something new"


@pytest.mark.parametrize(
    ("lang", "words"), [("en", "and the base of 0.100"), ("de", "Grundwert 0,100"), ("fr", "0,100")]
)
def test_why_says_what_the_ranking_model_counted(lang: str, words: str) -> None:
    made = {"run_id": "run-1", "trace_id": "trace-1"}
    file = {
        "path": "/<a>.wav", "batch": "b", "file_hash": "0" * 64, "file_now": "changed", "versions": {"audio_features": "1"},
        "made_by": {"audio_quality": made, "track_tags": None},
    }  # fmt: skip
    model = {"model": "ranking_model/2", "digest": "d" * 64, "made_by": None, "trained_on": {"interactions": "i" * 64}}
    ranking = {"score": 0.5, "base": 0.1, "candidates": 1234, "contributions": {}}
    ranking["contributions"] = {f"feature_{n}": {"value": None, "contribution": 0.25} for n in range(20)}
    why = {
        "recommended": True, "rank": 2, "score": 0.75, "reasons": [POPULAR], "kept_out_by": None, "ranking": ranking,
        "listening": {"events": 3, "tracks_heard": 2, "last_played": ["<b>"]}, "generation": {"name": "gen-1"},
        "models": [model], "sound": [file], "made_by": {"tracks": made},
    }  # fmt: skip
    scope = {
        "type": "http", "path": "/room/why/t", "query_string": b"", "headers": [(b"accept-language", lang.encode())],
        "server": ("h", 1), "scheme": "http", "method": "GET",
    }  # fmt: skip
    pages: Any = Pages(state=None, gallery=None, listening=None)  # type: ignore[arg-type]
    card = {"title": "<i>", "artist": "A", "href": "/t"}
    page = pages.page(Request(scope), "why", Session(0.0), why=why, card=card, obstacles=OBSTACLES).body.decode()
    assert words in page and page.count("feature_") == 8 and "run-1" in page and "<b>" not in page and "<i>" not in page
    out = why | {"recommended": False, "kept_out_by": "the listener has heard it", "ranking": None, "sound": []}
    page = pages.page(Request(scope), "why", Session(0.0), why=out, card=card, obstacles=OBSTACLES).body.decode()
    assert Words(lang)("out_heard") in page and Words(lang)("why_no_ranker") in page


def test_every_obstacle_that_why_names_is_translated() -> None:
    source = (FOLDER.parents[1] / "recommendation_update" / "why.py").read_text()
    named = set(re.findall(r'^        return "([^"]+)"$', source, flags=re.M)) - {"gone"}
    assert named == set(OBSTACLES)


def test_a_waveform_is_drawn_from_its_envelope() -> None:
    path = wave_path([-1.0, -0.5, -0.1, 1.0, 0.5, 0.1])
    assert path.startswith("M0.0 4.0L") and path.endswith("Z") and path.count("L") == 5
    assert wave_path(None) == wave_path([]) == "" and "nan" not in wave_path([float("nan")] * 8)
    assert wave_path(np.zeros(20_000)).count("L") == 999


def test_a_picture_is_a_png_that_others_read() -> None:
    import io

    from PIL import Image

    shades = np.arange(60, dtype=np.uint8).reshape(6, 10) * 4
    image = Image.open(io.BytesIO(palette_png(shades)))
    assert image.size == (10, 6) and np.array_equal(np.asarray(image), shades)
    assert sum(image.convert("RGB").getpixel((9, 5))) > sum(image.convert("RGB").getpixel((0, 0)))


def test_ranges_are_read_as_the_standard_says() -> None:
    assert asked_part("bytes=0-9", 100) == Part(0, 9) and asked_part("bytes=90-200", 100) == Part(90, 99)
    assert asked_part("bytes=-200", 100) == Part(0, 99) and asked_part(None, 100) is None
    for header in ("bytes=100-", "bytes=-0", "bytes=0-0"):
        with pytest.raises(NoSound):
            asked_part(header, 0 if header == "bytes=0-0" else 100)
    assert asked_part(f"bytes={'9' * 30}-", 100) is None
