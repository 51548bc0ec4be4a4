"""The promises of the content tables: training sets, one row per generated item with its papers, and the reviews."""

import pandera.pandas as pa
from pandera.typing import Series

from ai_assets.content_generation.text.lexicon import LANGUAGES

MODALITIES = ["text", "cover", "music"]


class GeneratedItems(pa.DataFrameModel):
    """Generated items: what they are, from which facts and model, how they were checked, and their review state."""

    item: Series[str] = pa.Field(unique=True, description="Item id.")
    subject: Series[str] = pa.Field(description="Track id or playlist name it is about.")
    modality: Series[str] = pa.Field(isin=MODALITIES, description="text, cover or music.")
    lang: Series[str] = pa.Field(nullable=True, isin=list(LANGUAGES), description="Language of a text.")
    text: Series[str] = pa.Field(nullable=True, description="The text itself, plain.")
    files: Series[str] = pa.Field(description="JSON: kind of file to blob name.")
    sha256: Series[str] = pa.Field(str_length=64, description="Hash of the master (text, SVG, MIDI).")
    seed: Series[str] = pa.Field(description="Seed of the item; the same facts, seed and model give the same item.")
    passed: Series[bool] = pa.Field(description="All checks of the item passed.")
    state: Series[str] = pa.Field(description="Review state when it was made; `content_review` has today's.")
    model: Series[str] = pa.Field(description="Model and version that made it.")
    provenance: Series[str] = pa.Field(description="The whole record, JSON; marked trainedAlgorithmicMedia.")

    class Config:
        strict = True
        coerce = True


class ContentReview(pa.DataFrameModel):
    """Where every generated item stands, and who decided so; only published items are shown to listeners."""

    item: Series[str] = pa.Field(unique=True, description="Item id.")
    source: Series[str] = pa.Field(description="Table it lies in, or `demand`.")
    modality: Series[str] = pa.Field(isin=MODALITIES, description="text, cover or music.")
    lang: Series[str] = pa.Field(nullable=True, description="Language of a text.")
    state: Series[str] = pa.Field(
        isin=["generated", "checks_passed", "in_review", "approved", "rejected", "published", "withdrawn"],
        description="Review state.",
    )
    published: Series[bool] = pa.Field(description="The content that lies in its table is the one that was approved.")
    who: Series[str] = pa.Field(description="Who made the last change: a person, `checks`, or `policy:auto`.")
    why: Series[str] = pa.Field(description="Why.")
    at: Series[str] = pa.Field(description="When (UTC).")
    changes: Series[int] = pa.Field(ge=1, description="Changes of state so far.")
    edited: Series[bool] = pa.Field(description="A person changed the text.")
    text: Series[str] = pa.Field(nullable=True, description="A text as it is published: the editor's, if there is one.")
    sha256: Series[str] = pa.Field(str_length=64, description="Hash of the content that the state speaks of.")

    class Config:
        strict = True
        coerce = True


class TextTrainingSet(pa.DataFrameModel):
    """What the text generator learns from: the grammar's texts, and those that editors approved or changed."""

    place: Series[int] = pa.Field(unique=True, ge=0, description="Place in the training set.")
    lang: Series[str] = pa.Field(isin=list(LANGUAGES), description="Language.")
    origin: Series[str] = pa.Field(isin=["grammar", "editor"], description="Who wrote it.")
    item: Series[str] = pa.Field(nullable=True, description="Item that an editor approved.")
    facts: Series[str] = pa.Field(description="Facts, JSON.")
    tokens: Series[str] = pa.Field(description="Words with open slots, JSON.")
    text: Series[str] = pa.Field(description="The text as a reader sees it.")

    class Config:
        strict = True
        coerce = True


class CoverTrainingSet(pa.DataFrameModel):
    """What the cover generator learns from: vector scenes, by the procedural artist or from the user's SVG covers."""

    place: Series[int] = pa.Field(unique=True, ge=0, description="Place in the training set.")
    style: Series[int] = pa.Field(ge=0, description="Style.")
    energy: Series[float] = pa.Field(in_range={"min_value": 0, "max_value": 1}, description="Energy.")
    valence: Series[float] = pa.Field(in_range={"min_value": 0, "max_value": 1}, description="Pleasantness.")
    tempo: Series[float] = pa.Field(in_range={"min_value": 0, "max_value": 1}, description="Tempo on its scale.")
    hue: Series[float] = pa.Field(in_range={"min_value": 0, "max_value": 360}, description="Hue in degrees.")
    origin: Series[str] = pa.Field(description="`artist`, or the user's file.")
    scene: Series[object] = pa.Field(metadata={"arrow": "list<float>"}, description="25 tokens of 16 numbers.")

    class Config:
        strict = True
        coerce = True


class MusicTrainingSet(pa.DataFrameModel):
    """What the music generator learns from: the usable scores in `landing/scores`, without duplicates."""

    place: Series[int] = pa.Field(unique=True, ge=0, description="Place in the training set.")
    name: Series[str] = pa.Field(unique=True, description="File below `landing/scores`.")
    style: Series[str] = pa.Field(description="Genre that a folder is named after, else `any`.")
    mode: Series[str] = pa.Field(isin=["major", "minor"], description="Mode.")
    meter: Series[str] = pa.Field(description="Meter.")
    bars: Series[int] = pa.Field(ge=1, description="Bars.")
    notes: Series[int] = pa.Field(ge=1, description="Notes of the melody.")
    part: Series[str] = pa.Field(isin=["train", "held_out"], description="The model is judged on the held-out part.")
    score: Series[str] = pa.Field(description="Melody and chords, JSON, twelve ticks per quarter note.")

    class Config:
        strict = True
        coerce = True
