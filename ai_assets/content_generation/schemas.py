"""The promises of the content tables: one row per generated item, with its papers."""

import pandera.pandas as pa
from pandera.typing import Series


class GeneratedItems(pa.DataFrameModel):
    """Generated items: what they are, from which facts and model, how they were checked, and their review state."""

    item: Series[str] = pa.Field(unique=True, description="Item id.")
    subject: Series[str] = pa.Field(description="Track id or playlist name it is about.")
    modality: Series[str] = pa.Field(isin=["text", "cover", "music"])
    lang: Series[str] = pa.Field(nullable=True, isin=["en", "de", "fr"])
    text: Series[str] = pa.Field(nullable=True, description="The text itself, plain.")
    files: Series[str] = pa.Field(description="JSON: kind of file to blob name.")
    sha256: Series[str] = pa.Field(str_length=64, description="Hash of the master (text, SVG, MIDI).")
    seed: Series[str] = pa.Field(description="Seed of the item; the same facts, seed and model give the same item.")
    passed: Series[bool] = pa.Field(description="All checks of the item passed.")
    state: Series[str] = pa.Field(description="Review state; only published items are shown to listeners.")
    model: Series[str] = pa.Field(description="Model and version that made it.")
    provenance: Series[str] = pa.Field(description="The whole record, JSON; marked trainedAlgorithmicMedia.")

    class Config:
        strict = True
        coerce = True
