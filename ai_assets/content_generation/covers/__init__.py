"""Covers as vector scenes: drawn by a flow over shapes, with the procedural artist as teacher and baseline."""

from typing import Any

_PLACES = {
    "CoverGenerator": "cover",
    "CoverItem": "cover",
    "ProceduralArtist": "cover",
    "contact_sheet": "drawing",
    "fit_preset": "flow",
}


def __getattr__(name: str) -> Any:
    """The public names, loaded when they are first asked for."""
    import importlib

    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)
