"""The promises of the tables of model training."""

import pandera.pandas as pa
from pandera.typing import Series


class ModelSettings(pa.DataFrameModel):
    """The best settings a search found for a model: one row, or none while the defaults hold."""

    asset: Series[str] = pa.Field(description="The model asset that reads these settings.")
    study: Series[str] = pa.Field(description="The study that found them, by asset and data version.")
    trial: Series[int] = pa.Field(ge=0, description="Number of the best trial in the study.")
    trials: Series[int] = pa.Field(ge=1, description="Trials that were completed or pruned.")
    metric: Series[str] = pa.Field(description="What was maximised, on days after the training days.")
    value: Series[float] = pa.Field(description="Value of the best trial.")
    default_value: Series[float] = pa.Field(description="Value of the default settings on the same days.")
    settings: Series[str] = pa.Field(description="Values by name, as JSON.")

    class Config:
        strict = True
        coerce = True


class ExternalModels(pa.DataFrameModel):
    """Models from elsewhere that fill columns of their own: one row per name."""

    name: Series[str] = pa.Field(unique=True, description="Also the end of its columns' names.")
    model: Series[str] = pa.Field(description="Name and version, as it stands beside every value.")
    runtime: Series[str] = pa.Field(description="What it is run with.")
    digest: Series[str] = pa.Field(description="sha256 of the registered files.")
    output: Series[str] = pa.Field(isin=["embedding", "classes"], description="Which table it fills a column of.")
    licence: Series[str] = pa.Field(description="As declared in the manifest.")
    labels: Series[str] = pa.Field(description="Of a classifier, as JSON.")
    manifest: Series[str] = pa.Field(description="The whole declaration, as JSON.")

    class Config:
        strict = True
        coerce = True
