"""Cover images: vector scenes from facts, drawn at any size, lettered, checked and marked as synthetic.

Here belong the scene's tokens, the procedural artist that teaches, the rectified-flow model that learns, and the
drawing. Facts, provenance and review are shared with texts and music and live one level up.
"""

from __future__ import annotations

from ai_assets.content_generation.covers.generator import CoverGenerator, CoverItem, ProceduralArtist
from ai_assets.content_generation.covers.marking import contact_sheet, thumbnail
from ai_assets.content_generation.covers.training import fit, fit_preset

__all__ = ["CoverGenerator", "CoverItem", "ProceduralArtist", "contact_sheet", "fit", "fit_preset", "thumbnail"]
