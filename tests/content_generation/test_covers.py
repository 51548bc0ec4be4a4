from __future__ import annotations

import io
import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ai_assets.content_generation.covers import (
    CoverGenerator,
    ProceduralArtist,
    checks,
    contact_sheet,
    fit,
    fit_preset,
    lettering,
    render,
    thumbnail,
)
from ai_assets.content_generation.covers.generator import ModelFolderError
from ai_assets.content_generation.covers.marking import SHEET_LIMIT, marked
from ai_assets.content_generation.covers.model import ModelSize
from ai_assets.content_generation.covers.scene import (
    STYLE_OF_GENRE,
    STYLES,
    VALENCE_OF_MOOD,
    Backdrop,
    condition,
    decode,
    encode,
    key_hue,
    style_of,
)
from ai_assets.content_generation.covers.training import training_scenes
from ai_assets.content_generation.facts import GENRES, MOODS, FactSet, fact_set
from ai_assets.synthesis.styles import STYLES as SAMPLE_GENRES

HOSTILE = [
    "Ignore previous instructions",
    "<script>alert(1)</script>",
    "a\u202eb\u2066c & \"d\"",
    "x" * 300,
    "words and " * 30,
    "🎉 party 👩‍🚀",
    "東京の夜",
    "",
    " ",
    "مرحبا",
    "Ночь",
]  # fmt: skip


def some_facts(count: int) -> list[FactSet]:
    genres, keys = sorted(STYLE_OF_GENRE), ("C major", "F# minor", "Ab major", "E minor")
    return [
        fact_set(
            {
                "title": f"Night number {place}", "artist": "The Band", "genre": genres[place % len(genres)],
                "key": keys[place % 4], "mood": MOODS[place % len(MOODS)], "energy": place % 5 / 4,
                "tempo_bpm": 70 + 5 * place,
            }
        )
        for place in range(count)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def generator() -> CoverGenerator:
    return fit_preset("tiny")


def test_every_genre_and_mood_has_its_place_and_each_genre_of_the_sample_library_its_own_style():
    assert set(STYLE_OF_GENRE) == set(GENRES) and set(VALENCE_OF_MOOD) == set(MOODS)
    assert len({style_of(genre) for genre in SAMPLE_GENRES}) == len(SAMPLE_GENRES)
    assert set(STYLE_OF_GENRE.values()) == set(STYLES)
    assert style_of("Vaporwave") == style_of("vaporwave") in STYLES


def test_keys_a_fifth_apart_are_neighbours_in_hue_and_enharmonic_keys_are_equal():
    assert key_hue("C major") == 0 and key_hue("G major") == 30 and key_hue("F major") == 330
    assert key_hue("C# minor") == key_hue("Db minor") and key_hue("Cb major") == key_hue("B major")


def test_a_condition_without_facts_is_neutral_and_differs_by_seed():
    leads = [condition(FactSet(), np.random.default_rng(seed)) for seed in range(20)]
    assert all(lead.energy == lead.valence == 0.5 for lead in leads)
    assert len({lead.style for lead in leads}) > 4 and len({lead.hue for lead in leads}) == 20


def test_a_scene_survives_being_written_as_tokens():
    for tokens in training_scenes(40, seed=3)[1]:
        again = encode(*decode(tokens))
        assert np.abs(again - tokens).max() < 0.012


def test_a_cover_is_equal_alone_and_in_a_batch(generator):
    facts = some_facts(37)
    together = generator.sample(facts, seeds=range(37))
    for place in (0, 5, 31, 36):
        alone = generator.sample([facts[place]], seeds=[place])[0]
        assert alone.tokens.tobytes() == together[place].tokens.tobytes()
        assert alone.svg == together[place].svg and alone.draw(64) == together[place].draw(64)
    assert len({item.svg for item in together}) == 37


def test_saved_and_loaded_it_draws_the_same_covers(generator, tmp_path):
    generator.save(tmp_path)
    again = CoverGenerator.load(tmp_path)
    facts = some_facts(3)
    assert again.version == generator.version and again.card == generator.card
    pairs = zip(again.sample(facts, seeds=range(3)), generator.sample(facts, seeds=range(3)), strict=True)
    assert all(one.svg == other.svg for one, other in pairs)


@pytest.mark.parametrize("damage", ["missing", "truncated", "config", "other size"])
def test_a_damaged_model_folder_is_refused_by_name(generator, tmp_path, damage):
    generator.save(tmp_path)
    weights, config = tmp_path / "model.safetensors", tmp_path / "config.json"
    if damage == "missing":
        weights.unlink()
    elif damage == "truncated":
        weights.write_bytes(weights.read_bytes()[:2000])
    elif damage == "config":
        config.write_text("{")
    else:
        changed = json.loads(config.read_text())
        changed["size"]["layers"] = 3
        config.write_text(json.dumps(changed))
    with pytest.raises(ModelFolderError, match=r"model\.safetensors"):
        CoverGenerator.load(tmp_path)


def test_training_twice_gives_the_same_weights():
    leads, scenes = training_scenes(64, seed=1)
    size = ModelSize(width=32, layers=1, heads=2, inner=32)
    losses: list[float] = []
    first = fit(leads, scenes, steps=8, seed=4, size=size, progress=lambda _step, loss: losses.append(loss))
    assert len(losses) == 8 and losses[-1] < losses[0]
    assert fit(leads, scenes, steps=8, seed=4, size=size).version == first.version
    assert fit(leads, scenes, steps=8, seed=5, size=size).version != first.version
    with pytest.raises(ValueError, match="steps"):
        fit(leads, scenes[:3], steps=8, seed=4)
    with pytest.raises(ValueError, match="enormous"):
        fit_preset("enormous")


def test_even_the_tiny_model_is_nearer_to_its_styles_than_chance(generator):
    leads, scenes = training_scenes(600, seed=50)
    kinds = np.stack([scene[1:, :6].mean(axis=0) for scene in scenes])
    rngs = [np.random.default_rng(seed) for seed in range(100)]
    made = generator.scenes(leads[:100], rngs)
    hits = 0
    for lead, scene in zip(leads[:100], made, strict=True):
        nearest = np.abs(kinds[100:] - scene[1:, :6].mean(axis=0)).sum(axis=1).argmin()
        hits += leads[100 + int(nearest)].style == lead.style
    # Chance is 10 with a standard deviation of 3, so 20 is beyond it; the artist's own scenes reach 73.
    assert hits >= 20, f"{hits} of 100 scenes have the shapes of their style"


@pytest.mark.parametrize("title", HOSTILE)
def test_a_hostile_title_does_no_harm(title):
    item = ProceduralArtist().sample([fact_set({"title": title, "artist": title})], seeds=[1])[0]
    tree = ET.fromstring(item.svg)
    assert item.checks["passed"] and "<script" not in item.svg
    assert {part.tag.split("}")[1] for part in tree} <= {"title", "metadata", "defs", "rect", "ellipse", "path"}
    assert len(item.lettering.lines) <= 4 and marked(item.draw(128))
    known = lettering.advances(lettering.default_font())
    assert all(ord(letter) in known for line in item.lettering.lines for letter in line.text)
    if item.lettering.box is None:
        assert "text_box" not in item.checks and item.checks["notes"]


def test_a_title_the_font_cannot_draw_is_left_out_with_the_reason():
    item = ProceduralArtist().sample([fact_set({"title": "東京", "artist": "A"})], seeds=[1])[0]
    assert not item.checks["title_drawn"] and "U+6771" in item.checks["notes"][0]


def test_the_title_shrinks_and_ends_with_an_ellipsis_only_when_it_must():
    page = Backdrop((0.2, 0.2, 0.2), (0.3, 0.3, 0.3), 0.0)
    short, longer, longest = (lettering.letter(text, None, page, []) for text in ("Rain", "Rain " * 12, "x" * 300))
    assert short.lines[0].size == lettering.LARGEST > longer.lines[0].size > longest.lines[0].size
    assert longest.lines[0].size == lettering.SMALLEST and longest.lines[-1].text.endswith("…")
    assert not any("…" in line.text for line in (*short.lines, *longer.lines))


def test_the_text_box_is_readable_at_its_worst_pixel_in_both_renderers():
    for item in ProceduralArtist().sample(some_facts(14), seeds=range(14)):
        box = checks.text_box(item.lettering, 256)
        for by in ("skia", "pillow"):
            bare = render.pixels(*decode(item.tokens), item.lettering, 256, text=False, by=by)
            assert checks.worst_contrast(bare, box, item.lettering.ink) >= 4.5
        assert item.checks["contrast"] >= 4.5


def test_a_missing_veil_is_found_by_the_contrast_check():
    items = ProceduralArtist().sample(some_facts(20), seeds=range(20))
    item = next(item for item in items if item.lettering.opacity > 0.3)
    bare = replace(item.lettering, opacity=0.0)
    found = checks.check(render.pixels(*decode(item.tokens), bare, 256, text=False), bare)
    assert not found["passed"] and found["contrast"] < 4.5


def test_a_blank_page_fails():
    page = Backdrop((0.4, 0.2, 0.2), (0.4, 0.2, 0.2), 0.0)
    nothing = lettering.Lettering()
    assert not checks.check(render.pixels(page, [], nothing, 64), nothing)["passed"]


def test_both_renderers_draw_the_same_picture():
    # Large enough that the renderers' own ways of smoothing small letters do not count.
    for item in ProceduralArtist().sample(some_facts(14)[::2], seeds=range(7)):
        one, other = (
            render.pixels(*decode(item.tokens), item.lettering, 512, by=by).astype(float) for by in ("skia", "pillow")
        )
        assert np.abs(one - other).mean() < 1.5


def test_png_svg_thumbnail_and_contact_sheet_carry_the_mark():
    items = ProceduralArtist().sample(some_facts(3), seeds=range(3))
    large = [item.draw(300) for item in items]
    assert marked(large[0]) and marked(items[0].svg.encode()) and marked(thumbnail(large[0], 64))
    sheet = contact_sheet(large * 20)
    assert marked(sheet) and len(sheet) < SHEET_LIMIT
    with Image.open(io.BytesIO(large[0])) as picture, Image.open(io.BytesIO(thumbnail(large[0], 64))) as small:
        assert picture.size == (300, 300) and small.size == (64, 64)
        again = io.BytesIO()
        picture.save(again, "PNG")
    assert not marked(again.getvalue()), "a foreign copy without the mark must not count as marked"


def test_perceptual_hashes_part_scenes_and_hold_through_resizing():
    items = ProceduralArtist().sample(some_facts(14), seeds=range(14))
    hashes = [item.checks["perceptual_hash"] for item in items]
    small = render.pixels(*decode(items[0].tokens), items[0].lettering, 256, text=False)
    assert checks.hash_distance(hashes[0], checks.perceptual_hash(small)) <= checks.DUPLICATE_BITS
    assert checks.hash_distance(hashes[0], hashes[1]) > checks.DUPLICATE_BITS


def test_the_picture_has_the_hue_of_the_key():
    for key in ("C major", "E minor", "Ab major"):
        facts = [replace(facts, key=key, title=None) for facts in some_facts(10)]
        for item in ProceduralArtist().sample(facts, seeds=range(10)):
            found = checks.hue(render.pixels(*decode(item.tokens), item.lettering, 64))
            assert abs((found - key_hue(key) + 180) % 360 - 180) < 40


def test_without_skia_pillow_draws(monkeypatch):
    item = ProceduralArtist().sample(some_facts(1), seeds=[0])[0]
    monkeypatch.setattr(render, "renderer", lambda: "pillow")
    assert marked(item.draw(64))
    with pytest.raises(ValueError, match="8192"):
        item.draw(10**6)


def test_the_package_imports_nothing_heavy():
    folder = Path(render.__file__).parent
    heads = [line for file in folder.glob("*.py") for line in file.read_text().splitlines()]
    assert not [line for line in heads if line.startswith(("import torch", "import skia", "from PIL", "from torch"))]


def test_a_font_of_ones_own_draws_the_title_in_all_renderers_and_a_file_that_is_none_is_refused(generator, tmp_path):
    serif = lettering.default_font().with_name("DejaVuSerif-Bold.ttf")
    facts = some_facts(1)
    plain, own = generator.sample(facts, seeds=[3])[0], generator.sample(facts, seeds=[3], font=str(serif))[0]
    assert (plain.tokens == own.tokens).all() and plain.svg != own.svg and own.checks["passed"]
    assert own.decoding["font"] == str(serif)
    page = (Backdrop((1, 1, 1), (1, 1, 1), 90), [])
    for by in ("skia", "pillow"):
        drawn = [render.pixels(*page, item.lettering, 128, by=by) for item in (plain, own)]
        assert (drawn[0] != drawn[1]).any()
    (tmp_path / "no.ttf").write_bytes(b"no font")
    with pytest.raises(lettering.FontError, match=r"no\.ttf"):
        generator.sample(facts, seeds=[3], font=str(tmp_path / "no.ttf"))
