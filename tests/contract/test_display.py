"""What reaches an asset's page: values of every kind, and no secret that stood in the data."""

from __future__ import annotations

import pandas as pd

from ai_assets.contract.display import preview, to_metadata
from resources.redaction import REDACTOR

SECRET = "hunter2-hunter2-hunter2"


def test_previews_and_values_show_the_data_without_secrets() -> None:
    title = f"Live at password={SECRET}"
    shown = [
        record.data for record in preview(pd.DataFrame({"title": ["Late Trains", title], "plays": [3, 4]})).records
    ]
    assert shown[0] == {"title": "Late Trains", "plays": 3} and shown[1]["plays"] == 4
    values = to_metadata({"example": title, "counts": {"ok": 3}, "names": [title, "Late Trains"], "kinds": {title}})
    assert values["counts"] == {"ok": 3} and "Late Trains" in values["names"]
    assert SECRET not in f"{shown}{values}" and "Live at" in str(shown[1]["title"])


def test_a_secret_of_the_settings_is_masked_wherever_it_turns_up() -> None:
    REDACTOR.add("s3cr3t-of-the-settings")
    (record,) = preview(pd.DataFrame({"title": ["Songs of s3cr3t-of-the-settings"]})).records
    assert record.data["title"] != "Songs of s3cr3t-of-the-settings" and str(record.data["title"]).startswith(
        "Songs of "
    )
