"""LightGBM models as text, loaded with the C library alone: the Python package imports scikit-learn, 75 MB per worker."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import logging
import sys
import weakref
from pathlib import Path

import numpy as np

from stargaze.bundle.formats.lightgbm_text import check_lightgbm_text
from stargaze.bundle.manifest import BadBundleError

KIND = "lightgbm"
VALUE, LEAF, CONTRIBUTION = 0, 2, 3
"""The prediction types of LightGBM's C API."""
TYPES = {"float32": 0, "float64": 1}
PARAMETERS = b"num_threads=1"
log = logging.getLogger(__name__)


def load_lightgbm(content: bytes) -> LightgbmModel:
    """Check and parse a model in LightGBM's text format; raise BadBundleError if it is invalid or LightGBM refuses it."""
    try:
        return LightgbmModel(check_lightgbm_text(content))
    except (_RefusedError, ValueError) as error:
        raise BadBundleError(f"not a LightGBM model: {error}") from error


class LightgbmModel:
    """A loaded LightGBM model."""

    def __init__(self, text: bytes) -> None:
        self._handle, rounds = ctypes.c_void_p(), ctypes.c_int(0)
        _call("LGBM_BoosterLoadModelFromString", text, ctypes.byref(rounds), ctypes.byref(self._handle))
        weakref.finalize(self, _library().LGBM_BoosterFree, self._handle)

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        """Predict log1p(stars) [nat]; shape (n,)."""
        values = self._predict(inputs, VALUE)
        return values[:, 0] if values.shape[1] == 1 else values

    def contributions(self, inputs: np.ndarray) -> np.ndarray:
        """Return exact feature contributions [nat], the last column the base value; shape (n, n_features + 1)."""
        return self._predict(inputs, CONTRIBUTION)

    def leaf_indices(self, inputs: np.ndarray) -> np.ndarray:
        """Return the leaf index of each row in each tree; shape (n, n_trees)."""
        return self._predict(inputs, LEAF)

    def _predict(self, inputs: np.ndarray, kind: int) -> np.ndarray:
        values = np.ascontiguousarray(inputs, dtype=inputs.dtype if inputs.dtype.name in TYPES else "float64")
        n_rows, n_columns = values.shape
        length = ctypes.c_int64(0)
        try:
            _call("LGBM_BoosterCalcNumPredict", self._handle, n_rows, kind, 0, -1, ctypes.byref(length))
            output = np.empty(length.value)
            _call(
                "LGBM_BoosterPredictForMat",
                self._handle,
                values.ctypes.data_as(ctypes.c_void_p),
                TYPES[values.dtype.name],
                *(n_rows, n_columns, 1, kind, 0, -1, PARAMETERS, ctypes.byref(length)),
                output.ctypes.data_as(ctypes.c_void_p),
            )
        except _RefusedError as error:
            raise BadBundleError(f"the model cannot predict: {error}") from error
        return output[: length.value].reshape(n_rows, -1) if n_rows else output.reshape(0, 1)


class _RefusedError(Exception):
    """The library refused a call."""


def _call(name: str, *arguments: object) -> None:
    library = _library()
    if getattr(library, name)(*arguments) != 0:
        raise _RefusedError(library.LGBM_GetLastError().decode("utf-8", "replace"))


@functools.cache
def _library() -> ctypes.CDLL:
    """Load the C library of the package without importing the package."""
    spec = importlib.util.find_spec("lightgbm")
    folders = [Path(folder) for folder in (spec.submodule_search_locations or ())] if spec else []
    names = [f"{folder}/lib_lightgbm.{suffix}" for folder in ("lib", "bin", "..") for suffix in ("so", "dylib")]
    path = next((folder / name for folder in folders for name in names if (folder / name).is_file()), None)
    if path is None:
        raise BadBundleError("the model needs LightGBM's library", hint="pip install lightgbm")
    library = ctypes.CDLL(str(path))
    library.LGBM_GetLastError.restype = ctypes.c_char_p
    if "lightgbm" not in sys.modules:
        library.LGBM_RegisterLogCallback(_LOG_CALLBACK)
    return library


def _log_line(text: bytes) -> None:
    line = text.decode("utf-8", "replace").strip()
    if line:
        log.debug("%s", line)


_LOG_CALLBACK = ctypes.CFUNCTYPE(None, ctypes.c_char_p)(_log_line)
"""A module attribute, because the library does not keep a reference."""
