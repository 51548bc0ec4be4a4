from __future__ import annotations

import itertools
import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from write_text_golden import GOLDEN, PLAYLIST, TRACK, sentences

from ai_assets.content_generation.facts import GENRES, MOODS, FactSet
from ai_assets.content_generation.text.checker import language_votes
from ai_assets.content_generation.text.grammar import Grammar
from ai_assets.content_generation.text.lexicon import LANGUAGES, english_article, lexicon
from ai_assets.content_generation.text.patterns import PatternError, all_patterns, is_slot, patterns, read


def test_every_sentence_is_the_one_that_was_read_by_eye():
    assert sentences() == GOLDEN.read_text(encoding="utf-8"), "run write_text_golden.py and read what changed"


def test_each_language_has_the_promised_number_of_patterns():
    for lang in LANGUAGES:
        track, playlist = patterns(lang, "track"), patterns(lang, "playlist")
        assert len(track) >= 30 and len(playlist) >= 15
        assert sum(pattern.opening for pattern in track) >= 10


@pytest.mark.parametrize("lang", LANGUAGES)
def test_every_lexicon_entry_fits_every_pattern(lang):
    words = lexicon(lang)
    genres, energies = [*GENRES, "Drum & Bass"], [0.1, 0.5, 0.9]
    variants = list(itertools.zip_longest(genres, MOODS, energies))
    rendered = 0
    for kind, base in (("track", TRACK), ("playlist", PLAYLIST)):
        grammar = Grammar(lang, kind)
        for pattern in grammar.patterns:
            tokens = pattern.samples()[0]
            for genre, mood, energy in variants:
                facts = replace(base, genre=genre, mood=mood or "sad", energy=0.5 if energy is None else energy)
                text = grammar.render(tokens, facts).text
                assert "{" not in text and "  " not in text and text.endswith(".")
                if "genre" in pattern.needs:
                    shown = genre if genre not in words.genres else words.genres[genre]["n" if lang == "en" else ""]
                    assert shown.removesuffix(" music") in text
                rendered += 1
    assert rendered > 1000


def test_all_entries_of_a_table_carry_the_same_forms():
    for lang in LANGUAGES:
        words = lexicon(lang)
        for table in (words.genres, words.moods, words.energies):
            assert len({frozenset(forms) for forms in table.values()}) == 1
            assert all(all(forms.values()) for forms in table.values())
        assert set(words.genres) == set(GENRES) and set(words.moods) == set(MOODS)
        assert set(words.other_genre) == set(next(iter(words.genres.values())))


def test_numbers_are_written_as_each_language_does():
    shown = [[lexicon(lang).number(value) for value in (72.1, 120.0, 1234)] for lang in ("en", "de", "fr")]
    assert shown == [["72.1", "120", "1,234"], ["72,1", "120", "1.234"], ["72,1", "120", "1\u00a0234"]]


@pytest.mark.parametrize(
    ("key", "names"),
    [
        ("Db minor", ["D♭ minor", "des-Moll", "ré bémol mineur"]),
        ("C# major", ["C♯ major", "Cis-Dur", "do dièse majeur"]),
        ("B minor", ["B minor", "h-Moll", "si mineur"]),
        ("Bb major", ["B♭ major", "B-Dur", "si bémol majeur"]),
        ("Eb minor", ["E♭ minor", "es-Moll", "mi bémol mineur"]),
        ("Ab major", ["A♭ major", "As-Dur", "la bémol majeur"]),
        ("F# minor", ["F♯ minor", "fis-Moll", "fa dièse mineur"]),
        ("A minor", ["A minor", "a-Moll", "la mineur"]),
    ],
)
def test_keys_have_the_names_of_each_language(key, names):
    assert [lexicon(lang).key(key) for lang in ("en", "de", "fr")] == names


def test_titles_stand_in_the_quotation_marks_of_each_language():
    facts = FactSet(title="Nuit", artist="Ana")
    shown = [lexicon(lang).render("title", facts) for lang in ("en", "de", "fr")]
    assert shown == ["“Nuit”", "„Nuit“", "«\u00a0Nuit\u00a0»"]


def test_a_colon_and_a_unit_have_no_break_spaces_where_the_language_wants_them():
    assert lexicon("fr").render("tempo", TRACK) == "72,1\u00a0BPM"
    assert lexicon("de").render("tempo.long_dat", TRACK) == "72,1\u00a0Schlägen pro Minute"
    tokens = next(p for p in patterns("fr", "track") if p.source.startswith("[En bref|En résumé")).samples()[0]
    assert Grammar("fr", "track").render(tokens, TRACK).text.startswith("En bref\u00a0: 72,1\u00a0BPM, ré bémol mineur")


@pytest.mark.parametrize(
    ("word", "article"),
    [
        ("techno", "a"),
        ("electronic", "an"),
        ("aggressive", "an"),
        ("happy", "a"),
        ("hour-long", "an"),
        ("R&B", "an"),
        ("UK garage", "a"),
        ("urban", "an"),
        ("underground", "an"),
        ("unique", "a"),
        ("EDM", "an"),
        ("8-bit", "an"),
        ("80s pop", "an"),
        ("11-tone", "an"),
        ("90s", "a"),
        ("Euro-dance", "a"),
        ("one-man band", "a"),
        ("Afrobeat", "an"),
        ("ukulele", "a"),
        ("IDM", "an"),
        ("", "a"),
        ("☃", "a"),
    ],
)
def test_the_english_article_follows_the_sound(word, article):
    assert english_article(word) == article


def test_another_genre_is_written_as_given_in_every_form():
    for lang in LANGUAGES:
        for form in lexicon(lang).other_genre:
            assert "Drum & Bass" in lexicon(lang).genre("Drum & Bass", form)
    assert lexicon("en").genre("acid jazz", "a") == "an acid jazz"


def test_a_number_that_counts_one_has_a_singular():
    facts = replace(PLAYLIST, playlist=replace(PLAYLIST.playlist, artists=1))
    assert [lexicon(lang).render("artists", facts) for lang in LANGUAGES] == [
        "1 artist",
        "1\u00a0Act",
        "1\u00a0artiste",
    ]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{title} is [{genre}|nice].", "different facts"),
        ("{title} is {mood.f_dat}.", "unknown slot"),
        ("{title} is {mood} and {mood.a}.", "named twice"),
        ("{title} is here", "full stop"),
        ("It is {genre}.", "openings"),
        ("{title} is [here|here].", "same alternative"),
    ],
)
def test_a_pattern_that_breaks_a_rule_is_refused(source, message):
    with pytest.raises(PatternError, match=message):
        read(source, name="en.test", lang="en", kind="track", opening=True)


def test_no_pattern_uses_a_word_of_the_moods_or_genres_outside_its_slots():
    for pattern in all_patterns():
        words = lexicon(pattern.lang)
        lists = [form for table in (words.moods, words.genres) for forms in table.values() for form in forms.values()]
        own = {token.lower() for sentence in pattern.samples() for token in sentence}
        assert not own & {form.lower() for form in lists}, pattern.name


def test_every_opening_alone_is_recognised_as_its_language():
    for pattern in all_patterns():
        for tokens in pattern.samples() if pattern.opening else ():
            votes = language_votes(" ".join(token for token in tokens if not is_slot(token)))
            assert 0 < votes[pattern.lang] == max(votes.values()), tokens


def test_no_french_name_follows_a_word_that_would_need_elision():
    for pattern in [*patterns("fr", "track"), *patterns("fr", "playlist")]:
        for sentence in pattern.sentences():
            before = {word for word, after in itertools.pairwise(sentence) if after in ("{title}", "{artist}")}
            assert not before & {"de", "que", "le", "la", "ce", "se", "ne", "jusque", "lorsque"}, sentence
