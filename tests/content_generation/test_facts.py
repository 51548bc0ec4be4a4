from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ai_assets.content_generation.facts import FactError, clean, energy_class, fact_set, shortened
from ai_assets.content_generation.on_demand import read_facts

NEEDED = {"title": "Night Drive", "artist": "Ana"}


def test_a_fact_set_survives_the_way_through_json():
    facts = fact_set(
        {
            **NEEDED,
            "genre": "Techno",
            "tempo_bpm": 72.14,
            "key": "c♯ min",
            "mood": "Calm",
            "energy": 1,
            "playlist": {"tracks": 3},
        }
    )
    assert (facts.genre, facts.tempo_bpm, facts.key, facts.mood, facts.energy) == (
        "techno",
        72.1,
        "C# minor",
        "calm",
        1.0,
    )
    again = fact_set(json.loads(json.dumps(facts.to_mapping())))
    assert again == facts
    assert again.digest() == facts.digest()


def test_an_unknown_mood_is_left_out_and_said():
    facts = fact_set({**NEEDED, "mood": "nostalgic"})
    assert facts.mood is None
    assert "nostalgic" in facts.notes[0] and "calm" in facts.notes[0]


def test_another_genre_stays_as_given():
    assert fact_set({**NEEDED, "genre": "Drum & Bass"}).genre == "Drum & Bass"


@pytest.mark.parametrize(
    ("facts", "field"),
    [
        ({"title": "X"}, "artist"),
        ({**NEEDED, "bpm": 120}, "bpm"),
        ({**NEEDED, "tempo_bpm": "120"}, "tempo_bpm"),
        ({**NEEDED, "tempo_bpm": float("nan")}, "tempo_bpm"),
        ({**NEEDED, "tempo_bpm": True}, "tempo_bpm"),
        ({**NEEDED, "tempo_bpm": 0}, "tempo_bpm"),
        ({**NEEDED, "key": "H minor"}, "key"),
        ({**NEEDED, "energy": 1.2}, "energy"),
        ({**NEEDED, "title": 7}, "title"),
        ({**NEEDED, "playlist": {"minutes": 3}}, "playlist"),
        ({**NEEDED, "playlist": {"tracks": 0}}, "playlist.tracks"),
        ([], "facts"),
    ],
)
def test_a_wrong_fact_is_refused_by_name(facts, field):
    with pytest.raises(FactError, match=field.replace(".", r"\.")) as error:
        fact_set(facts, require=("title", "artist"))
    assert error.value.field == field


def test_control_and_bidirectional_characters_are_gone_and_everything_else_stays():
    assert clean("a\u202eb\u2066c\u200f\x00\x1b[31m") == "abc[31m"
    assert clean("Line\r\nbreak\ttab") == "Line break tab"
    assert clean("e\u0301") == "é"
    assert clean("\ud800x") == "x"
    family = "👩\u200d👩\u200d👧"
    assert clean(f"{family} 夜に駆ける <b>&amp;</b>") == f"{family} 夜に駆ける <b>&amp;</b>"
    assert clean("hidden\U000e0041\U000e0042") == "hidden"


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ("Am", "A minor"), ("AM", "A major"), ("c sharp minor", "C# minor"), ("B-flat maj", "Bb major"),
        ("bb minor", "Bb minor"), ("b minor", "B minor"), ("F♯m", "F# minor"), ("A♭ Major", "Ab major"),
    ],
)  # fmt: skip
def test_a_key_may_be_spelled_in_every_usual_way(given, key):
    assert fact_set({"key": given}).key == key


@pytest.mark.parametrize("name", ["\u200b\u200d", "\u3164", " \u00ad ", "\ufe0f", "\u2800", "\ufffe"])
def test_a_name_that_draws_nothing_counts_as_empty(name):
    facts = fact_set({"title": name, "genre": name})
    assert (facts.title, facts.genre, facts.notes) == ("", None, ("title is empty",))


def test_a_name_that_is_empty_once_cleaned_is_kept_empty_and_said():
    facts = fact_set({"title": "\u202e", "artist": ""}, require=("title", "artist"))
    assert facts.title == facts.artist == ""
    assert facts.notes == ("title is empty", "artist is empty")


def test_a_long_title_is_cut_after_sixty_letters_without_parting_an_emoji():
    assert shortened("x" * 80) == "x" * 80
    assert shortened("x" * 300) == "x" * 79 + "…"
    family = "👩\u200d👩\u200d👧\u200d👦"
    cut = shortened("x" * 75 + family + "y" * 30)
    assert cut == "x" * 75 + "…"
    assert not shortened("x" * 78 + "e\u0323\u0301" + "y" * 30).endswith("e…")


@given(st.text(max_size=400))
@settings(max_examples=200, deadline=None)
def test_cleaning_is_final_and_always_writable(text):
    once = clean(text)
    assert clean(once) == once
    once.encode("utf-8")
    assert len(shortened(once)) <= 80


def test_facts_are_read_from_a_file_or_from_json_of_any_length(tmp_path):
    facts = [{"title": "x" * 5000, "artist": "Ana"}]
    assert read_facts(json.dumps(facts)) == facts
    file = tmp_path / "facts.json"
    file.write_text("\ufeff" + json.dumps(facts[0]), encoding="utf-8")
    assert read_facts(str(file)) == facts
    for wrong in ("nosuch.json", "x" * 5000, "[1]", "[]", "{", "[" * 100_000, "\x00"):
        with pytest.raises(ValueError, match=r"^facts: "):
            read_facts(wrong)


def test_energy_has_three_classes_with_fixed_bounds():
    assert [energy_class(e) for e in (0, 0.34, 0.35, 0.64, 0.65, 1)] == [
        "low",
        "low",
        "medium",
        "medium",
        "high",
        "high",
    ]
