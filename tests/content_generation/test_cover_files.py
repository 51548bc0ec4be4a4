"""A user's SVG covers as training scenes: our own come back, plain ones are read, others are named with the reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ai_assets.content_generation.covers.artist import scenes
from ai_assets.content_generation.covers.lettering import Lettering
from ai_assets.content_generation.covers.marking import RDF
from ai_assets.content_generation.covers.render import svg
from ai_assets.content_generation.covers.scene import STYLES, decode, random_condition
from ai_assets.content_generation.covers.straight import straightened
from ai_assets.content_generation.covers.svg_files import CoverError, read_covers, read_svg
from ai_assets.content_generation.training_sets import cover_rows, cover_scenes

PLAIN = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 200 200">
<rect width="200" height="200" fill="#204060"/>
<g><circle cx="100" cy="50" r="20" fill="gold"/></g>
<rect x="20" y="120" width="40" height="60" fill="rgb(255,0,0)" opacity=".5"/>
<polygon points="100,100 140,160 60,160" fill="white" transform="translate(0 10)"/></svg>"""


def drawn(count: int) -> list[tuple[np.ndarray, str]]:
    rng = np.random.default_rng(3)
    leads = [random_condition(rng) for _ in range(count)]
    found = []
    for tokens in scenes(leads, seed=4):
        found.append((tokens, svg(*decode(tokens), Lettering(), name="x", metadata=RDF)))
    return found


def test_the_products_own_svg_comes_back_as_the_same_scene(tmp_path: Path) -> None:
    for number, (_, text) in enumerate(drawn(40)):
        (tmp_path / f"{number:02d}.svg").write_text(text)
    found, refused = read_covers(tmp_path)
    assert refused == []
    for cover, (tokens, _) in zip(found, drawn(40), strict=True):
        assert (cover.tokens[:, :6] == tokens[:, :6]).all()
        assert np.abs(cover.tokens[:, 6:10] - tokens[:, 6:10]).max() < 0.02
        assert np.abs(cover.tokens[:, 12:] - tokens[:, 12:]).max() < 0.02


def test_a_plain_foreign_svg_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.svg").write_text(PLAIN)
    backdrop, shapes = read_svg(tmp_path / "a.svg")
    assert backdrop.start == pytest.approx((0x20 / 255, 0x40 / 255, 0x60 / 255))
    assert [shape.kind for shape in shapes] == ["ellipse", "rectangle", "triangle"]
    assert (shapes[0].x, shapes[0].y, shapes[0].width) == pytest.approx((0.5, 0.25, 0.2))
    assert (shapes[1].x, shapes[1].y, shapes[1].alpha) == pytest.approx((0.2, 0.75, 0.5))
    assert (shapes[2].x, shapes[2].y, shapes[2].height) == pytest.approx((0.5, 0.7, 0.3))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<svg", "not a readable SVG"),
        ("<html/>", "expected an svg"),
        ('<!DOCTYPE svg [<!ENTITY a "b">]><svg/>', "document type"),
        ('<svg viewBox="0 0 100 50"><rect width="1" height="1"/></svg>', "square"),
        ('<svg viewBox="0 0 9 9"><image href="http://x/y.png"/></svg>', "image elements are not read"),
        ('<svg viewBox="0 0 9 9"><path d="M0 0C1 1 2 2 3 3Z"/></svg>', "free paths"),
        ('<svg viewBox="0 0 9 9">' + '<rect width="1" height="1"/>' * 25 + "</svg>", "25 shapes"),
        ('<svg viewBox="0 0 9 9"><rect width="a" height="1"/></svg>', "not a scene"),
        ('<svg viewBox="0 0 9 9"><rect width="9" height="9" fill="url(#no)"/></svg>', "not a scene"),
        ('<svg viewBox="0 0 9 9"><rect width="1" height="1" fill="url(#no)"/></svg>', "a gradient on a shape"),
    ],
)
def test_a_file_that_is_no_plain_scene_is_refused_with_the_reason(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "bad.svg").write_text(text)
    with pytest.raises(CoverError, match=reason):
        read_svg(tmp_path / "bad.svg")
    assert read_covers(tmp_path)[1][0][0] == "bad.svg"


def test_a_hundred_own_covers_are_the_training_set_and_fewer_are_named_as_too_few(tmp_path: Path) -> None:
    folder = tmp_path / "rings"
    folder.mkdir()
    made = drawn(100)
    for number, (_, text) in enumerate(made[:99]):
        (folder / f"{number:03d}.svg").write_text(text)
    rows, refused = cover_rows("tiny", tmp_path)
    assert set(rows["origin"]) == {"artist"} and len(refused) == 99 and "at least 100" in refused[0][1]
    (folder / "099.svg").write_text(made[99][1])
    rows, refused = cover_rows("tiny", tmp_path)
    assert refused == [] and len(rows) == 100 and rows["origin"].iloc[0] == "rings/000.svg"
    leads, read = cover_scenes(rows.sample(frac=1, random_state=0))
    assert {STYLES[lead.style] for lead in leads} == {"rings"} and read.shape == (100, 25, 16)


def test_rows_and_grids_are_made_exact_and_free_scenes_stay() -> None:
    rng = np.random.default_rng(0)
    leads = [random_condition(np.random.default_rng(n)) for n in range(200)]
    errors: dict[str, list[tuple[float, float]]] = {}
    for lead, tokens in zip(leads, scenes(leads, seed=5), strict=True):
        style = STYLES[lead.style]
        if style in ("grid", "arcs", "stripes", "horizon"):
            shapes = tokens[:, 0] < 0
            moved = tokens.copy()
            moved[shapes, 6:8] = np.clip(moved[shapes, 6:8] + rng.normal(0, 0.03, (shapes.sum(), 2)), -1, 1)
            off, left = (
                np.abs(found[shapes, 6:8] - tokens[shapes, 6:8]).mean() for found in (moved, straightened(moved))
            )
            errors.setdefault(style, []).append((off, left))
            assert np.abs(straightened(tokens) - tokens).max() < 0.01
        elif style in ("bubbles", "shards"):
            assert (straightened(tokens) == tokens).all()
    assert set(errors) == {"grid", "arcs", "stripes", "horizon"}
    for style, pairs in errors.items():
        before, after = np.mean(pairs, axis=0)
        assert after < 0.7 * before, style
