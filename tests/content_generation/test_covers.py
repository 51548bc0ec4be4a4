"""Covers: true to their facts' style, readable, marked, the same alone and in a batch, without boxes."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from ai_assets.content_generation.covers import CoverGenerator, ProceduralArtist, contact_sheet, fit_preset
from ai_assets.content_generation.covers.drawing import caption_of, contrast, luminance
from ai_assets.content_generation.covers.scenes import GENRE_STYLE, STYLES, Wish, draw_scene
from ai_assets.content_generation.facts import GENRES, fact_set


@pytest.fixture(scope="module")
def generator() -> CoverGenerator:
    return fit_preset("tiny")


FACTS = [
    fact_set({"title": f"Über Vögel {place}", "artist": "Ana", "genre": genre, "energy": 0.6, "key": "E minor"})
    for place, genre in enumerate(["classical", "electronic", "jazz", "metal"])
]


def test_a_cover_is_equal_alone_and_in_a_batch(generator: CoverGenerator) -> None:
    batch = generator.sample(FACTS, seeds=[1, 2, 3, 4])
    alone = generator.sample(FACTS[2:3], seeds=[3])[0]
    assert np.array_equal(batch[2].tokens, alone.tokens)
    assert batch[2].svg == alone.svg
    assert not np.array_equal(batch[2].tokens, generator.sample(FACTS[2:3], seeds=[5])[0].tokens)


def test_training_is_repeatable_and_a_saved_model_draws_the_same(generator: CoverGenerator, tmp_path: Path) -> None:
    generator.save(tmp_path)
    loaded = CoverGenerator.load(tmp_path)
    assert loaded.version == generator.version == fit_preset("tiny").version
    assert loaded.sample(FACTS[:1], seeds=[9])[0].svg == generator.sample(FACTS[:1], seeds=[9])[0].svg


def test_a_folder_with_other_weights_is_refused(generator: CoverGenerator, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    generator.save(tmp_path)
    weights = load_file(str(tmp_path / "model.safetensors"))
    weights.pop("in")
    save_file(weights, str(tmp_path / "model.safetensors"))
    with pytest.raises(ValueError, match="missing"):
        CoverGenerator.load(tmp_path)


def test_every_known_genre_has_a_style_and_the_styles_differ_for_an_eye() -> None:
    assert set(GENRE_STYLE) == set(GENRES)
    rng = np.random.default_rng(0)
    means = [np.mean([draw_scene(Wish(style), rng) for _ in range(40)], axis=0).ravel() for style in STYLES]
    nearest = min(float(np.linalg.norm(one - other)) for place, one in enumerate(means) for other in means[place + 1 :])
    assert nearest > 0.5


def test_the_picture_is_marked_as_made_by_a_model_also_when_it_is_small() -> None:
    from PIL import Image

    item = ProceduralArtist().sample(FACTS[:1], seeds=[1])[0]
    for data in (item.draw(1024), item.draw(200), contact_sheet([item.draw(200)])):
        assert "trainedAlgorithmicMedia" in Image.open(io.BytesIO(data)).info["XML:com.adobe.xmp"]
    assert "trainedAlgorithmicMedia" in item.svg


@pytest.mark.parametrize("title", ["東京の夜", "🎵 song", "\u0627\u0644\u0644\u064a\u0644"])
def test_a_title_without_glyphs_is_left_out_and_never_drawn_as_boxes(title: str) -> None:
    item = ProceduralArtist().sample([fact_set({"title": title, "artist": "Ana"})], seeds=[1])[0]
    drawn = caption_of(title, "Ana").lines
    assert item.checks["title_drawn"] is bool(drawn)
    assert title == "\u0627\u0644\u0644\u064a\u0644" or not drawn


def test_a_hostile_title_is_text_and_nothing_else() -> None:
    title = '<script>alert("x")</script>'
    item = ProceduralArtist().sample([fact_set({"title": title, "artist": "A & B"})], seeds=[1])[0]
    assert "<script>" not in item.svg
    long = caption_of("word " * 200, "Ana")
    assert len(long.lines) <= 3
    assert "…" in "".join(text for text, _, _ in long.lines)


def test_text_is_readable_at_its_worst_pixel() -> None:
    from PIL import Image

    for seed in range(6):
        item = ProceduralArtist().sample(FACTS[seed % 4 : seed % 4 + 1], seeds=[seed])[0]
        assert item.checks["contrast"] >= 4.5
        image = Image.open(io.BytesIO(item.draw(1024)))
        assert image.size == (1024, 1024)
        left, top, right, bottom = item.checks["text_box"]
        assert 0 <= left < right <= 1024
        assert 0 <= top < bottom <= 1024
    assert contrast(luminance(np.ones((1, 1, 3))), 0.0) == pytest.approx(21.0)


def test_a_blank_picture_fails_its_checks() -> None:
    from ai_assets.content_generation.covers.cover import CoverItem

    scene = np.zeros((25, 16), np.float32)
    scene[:, 5] = 1.0
    blank = CoverItem(scene, "rings", caption_of(None, None))
    assert blank.checks["passed"] is False
