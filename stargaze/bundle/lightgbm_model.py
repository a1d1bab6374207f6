"""LightGBM's models as its own text, asked through its library alone: its Python package brings scikit-learn, 75 MB a worker."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import logging
import sys
import weakref
from pathlib import Path

import numpy as np

from stargaze.bundle.manifest import BadBundleError

KIND = "lightgbm"
HINT = "stargaze tune makes a bundle"
VALUE, LEAF, CONTRIBUTION = 0, 2, 3
"""What its library calls the kinds of an answer."""
TYPES = {"float32": 0, "float64": 1}
PARAMETERS = b"num_threads=1"
log = logging.getLogger(__name__)


def from_bytes(content: bytes) -> Boosted:
    """Read a model that was written as text.

    Raises
    ------
    BadBundleError
        If LightGBM cannot read it.
    """
    try:
        return Boosted(content.decode("ascii"))
    except (_RefusedError, UnicodeDecodeError) as error:
        raise BadBundleError(f"not a LightGBM model: {error}", hint=HINT) from error


class Boosted:
    """A model that was read."""

    def __init__(self, text: str) -> None:
        self._handle, rounds = ctypes.c_void_p(), ctypes.c_int(0)
        _call("LGBM_BoosterLoadModelFromString", text.encode(), ctypes.byref(rounds), ctypes.byref(self._handle))
        weakref.finalize(self, _library().LGBM_BoosterFree, self._handle)

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        """Predict log1p(stars) [nat]; shape (n,)."""
        told = self._asked(inputs, VALUE)
        return told[:, 0] if told.shape[1] == 1 else told

    def contributions(self, inputs: np.ndarray) -> np.ndarray:
        """Return LightGBM's own exact contributions [nat], the last column where they start from; shape (n, n_features + 1)."""
        return self._asked(inputs, CONTRIBUTION)

    def reached(self, inputs: np.ndarray) -> np.ndarray:
        """Return in which leaf of each tree each row falls; shape (n, n_trees)."""
        return self._asked(inputs, LEAF)

    def _asked(self, inputs: np.ndarray, kind: int) -> np.ndarray:
        values = np.ascontiguousarray(inputs, dtype=inputs.dtype if inputs.dtype.name in TYPES else "float64")
        n_rows, n_columns = values.shape
        length = ctypes.c_int64(0)
        try:
            _call("LGBM_BoosterCalcNumPredict", self._handle, n_rows, kind, 0, -1, ctypes.byref(length))
            told = np.empty(length.value)
            _call(
                "LGBM_BoosterPredictForMat",
                self._handle,
                values.ctypes.data_as(ctypes.c_void_p),
                TYPES[values.dtype.name],
                *(n_rows, n_columns, 1, kind, 0, -1, PARAMETERS, ctypes.byref(length)),
                told.ctypes.data_as(ctypes.c_void_p),
            )
        except _RefusedError as error:
            raise BadBundleError(f"the model cannot predict: {error}", hint=HINT) from error
        return told[: length.value].reshape(n_rows, -1) if n_rows else told.reshape(0, 1)


class _RefusedError(Exception):
    """What the library says of a call that it refuses."""


def _call(name: str, *arguments: object) -> None:
    library = _library()
    if getattr(library, name)(*arguments) != 0:
        raise _RefusedError(library.LGBM_GetLastError().decode("utf-8", "replace"))


@functools.cache
def _library() -> ctypes.CDLL:
    """Load the library that lies in the package, without the package."""
    spec = importlib.util.find_spec("lightgbm")
    folders = [Path(folder) for folder in (spec.submodule_search_locations or ())] if spec else []
    names = [f"{place}/lib_lightgbm.{suffix}" for place in ("lib", "bin", "..") for suffix in ("so", "dylib")]
    found = next((folder / name for folder in folders for name in names if (folder / name).is_file()), None)
    if found is None:
        raise BadBundleError("the model needs LightGBM's library", hint="pip install lightgbm")
    library = ctypes.CDLL(str(found))
    library.LGBM_GetLastError.restype = ctypes.c_char_p
    if "lightgbm" not in sys.modules:  # the package has its own way of telling
        library.LGBM_RegisterLogCallback(_TOLD)
    return library


def _tell(text: bytes) -> None:
    line = text.decode("utf-8", "replace").strip()
    if line:
        log.debug("%s", line)


_TOLD = ctypes.CFUNCTYPE(None, ctypes.c_char_p)(_tell)
"""Held here, because the library only borrows it."""
