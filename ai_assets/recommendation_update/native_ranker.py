"""Predicting with LightGBM's own library through its C interface: the same numbers without importing the package.

`import lightgbm` brings scikit-learn and takes half of a cold answer's time; the library alone loads at once. Training
stays with the package.

Source: LightGBM C API, https://lightgbm.readthedocs.io/en/latest/C-API.html
"""

from __future__ import annotations

import ctypes
import importlib.util
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FLOAT32 = 0
NORMAL, CONTRIBUTIONS = 0, 3


class NativeRanker:
    """A ranking model loaded from its text.

    Raises:
        ValueError: the text is no LightGBM model, or the features are not as many as it was trained on.
    """

    def __init__(self, text: str) -> None:
        handle, rounds, classes = ctypes.c_void_p(), ctypes.c_int(0), ctypes.c_int(0)
        library = _library()
        if not text.startswith("tree\n"):
            raise ValueError("the ranking model's text is no LightGBM model: train ranking_model again")
        _call(
            library.LGBM_BoosterLoadModelFromString(text.encode(), ctypes.byref(rounds), ctypes.byref(handle)), library
        )
        self._handle, self._library = handle, library
        _call(library.LGBM_BoosterGetNumFeature(handle, ctypes.byref(classes)), library)
        self.features = int(classes.value)

    def __del__(self) -> None:
        if hasattr(self, "_handle"):
            self._library.LGBM_BoosterFree(self._handle)

    def predict(self, features: NDArray[np.float32], *, contributions: bool = False) -> NDArray[np.float64]:
        """(n,) scores of (n, features) rows, or (n, features + 1) TreeSHAP contributions that sum to them."""
        rows = np.ascontiguousarray(features, np.float32)
        if rows.ndim != 2 or rows.shape[1] != self.features:
            raise ValueError(f"the ranking model reads {self.features} features, got an array of shape {rows.shape}")
        width = self.features + 1 if contributions else 1
        answer = np.empty(len(rows) * width, np.float64)
        written = ctypes.c_int64(0)
        if len(rows):
            status = self._library.LGBM_BoosterPredictForMat(
                self._handle,
                rows.ctypes.data_as(ctypes.c_void_p),
                ctypes.c_int(FLOAT32),
                ctypes.c_int32(len(rows)),
                ctypes.c_int32(rows.shape[1]),
                ctypes.c_int(1),
                ctypes.c_int(CONTRIBUTIONS if contributions else NORMAL),
                ctypes.c_int(0),
                ctypes.c_int(-1),
                b"num_threads=1",
                ctypes.byref(written),
                answer.ctypes.data_as(ctypes.POINTER(ctypes.c_double)),
            )
            _call(status, self._library)
        return answer.reshape(len(rows), width) if contributions else answer


def _call(status: int, library: ctypes.CDLL) -> None:
    if status != 0:
        raise ValueError(f"LightGBM: {library.LGBM_GetLastError().decode()}")


@cache
def _library() -> ctypes.CDLL:
    found = importlib.util.find_spec("lightgbm")
    folders = list(found.submodule_search_locations or ()) if found is not None else []
    for folder in folders:
        for name in ("lib_lightgbm.so", "lib_lightgbm.dylib"):
            path = Path(folder) / "lib" / name
            if path.is_file():
                library = ctypes.CDLL(str(path))
                library.LGBM_GetLastError.restype = ctypes.c_char_p
                return library
    raise ImportError("LightGBM's library was not found beside its package: install lightgbm again")
