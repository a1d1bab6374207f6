"""scikit-learn models as skops files: reproducible bytes, and an allow-list of the types that may be loaded.

skops names objects by their memory address, so :func:`make_reproducible` renumbers them.
"""

from __future__ import annotations

import io
import re
import struct
import tokenize
import zipfile
import zlib
from typing import Any

import numpy as np

from stargaze.bundle.formats.skops_checks import SCHEMA, check_estimator, check_members
from stargaze.bundle.manifest import MALFORMED, MAX_OUTPUT, BadBundleError

KIND = "skops"
FIRST_ID = 1_000_000_000
"""Object numbers start here, so that all have the same length and the file size does not vary."""
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest date of a zip file."""
TRUSTED = (
    "functools.partial",  # histogram boosting stores its input check, the next line, this way
    "sklearn.utils.validation.check_array",
    "numpy.dtype",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.metrics._dist_metrics.EuclideanDistance64",
    "sklearn.metrics._dist_metrics.ManhattanDistance64",
    "sklearn.model_selection._split.KFold",
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.tree._tree.Tree",
)
"""Types that our model families contain, beyond skops' own safe list; a bundle cannot extend it."""
ADDITIVE = frozenset({"DummyRegressor", "ElasticNet", "LinearRegression", "Ridge"})
"""Estimators that are linear in transformed columns."""
LOAD_ERRORS = (
    *MALFORMED,
    *(AssertionError, EOFError, ImportError, MemoryError, OSError, RuntimeError, SyntaxError),
    *(struct.error, tokenize.TokenError, zipfile.BadZipFile, zlib.error),
)
"""The exceptions that skops, zipfile and NumPy raise for malformed bytes."""


def serialize_skops(model: Any) -> bytes:
    """Return a fitted estimator as a reproducible skops file."""
    import skops.io

    return make_reproducible(skops.io.dumps(model))


def make_reproducible(content: bytes) -> bytes:
    """Return a skops file with objects and members numbered in order of occurrence, and without times."""
    with zipfile.ZipFile(io.BytesIO(content)) as source:
        members = {name: source.read(name) for name in source.namelist()}
    schema = members.pop(SCHEMA).decode()
    numbers: dict[str, int] = {}
    schema = re.sub(
        r'"__id__": (\d+)', lambda match: f'"__id__": {numbers.setdefault(match[1], FIRST_ID + len(numbers))}', schema
    )
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as target:
        for number, (name, data) in enumerate(members.items()):
            new_name = f"{number}.{name.rpartition('.')[2]}"
            schema = schema.replace(f'"{name}"', f'"{new_name}"')
            target.writestr(zipfile.ZipInfo(new_name, EPOCH), data)
        target.writestr(zipfile.ZipInfo(SCHEMA, EPOCH), schema)
    return stream.getvalue()


class SkopsModel:
    """A scikit-learn estimator."""

    def __init__(self, estimator: Any) -> None:
        self._estimator = estimator

    @property
    def is_additive(self) -> bool:
        """Whether the output is a sum of functions of single features: every transformer works column by column."""
        last = self._estimator[-1] if type(self._estimator).__name__ == "Pipeline" else self._estimator
        return type(last).__name__ in ADDITIVE

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        """Predict log1p(stars) [nat]; shape (n,)."""
        try:
            values = np.asarray(self._estimator.predict(inputs))
            return np.asarray(np.clip(values, -MAX_OUTPUT, MAX_OUTPUT))  # what is not a number stays
        except LOAD_ERRORS as error:
            raise BadBundleError(f"the model cannot predict: {error}") from error

    def contributions(self, inputs: np.ndarray) -> np.ndarray | None:
        """Return None: they need a typical repository to compare with."""
        return None


def load_skops(data: bytes) -> SkopsModel:
    """Deserialize a skops file; raise BadBundleError if it is malformed or contains a type that is not allowed."""
    import skops.io

    try:
        check_members(data)
        untrusted = sorted(set(skops.io.get_untrusted_types(data=data)) - set(TRUSTED))
        if untrusted:
            raise BadBundleError(f"the model contains types that are not allowed: {', '.join(untrusted)}")
        estimator = skops.io.loads(data, trusted=list(TRUSTED))
        check_estimator(estimator)
    except LOAD_ERRORS as error:
        raise BadBundleError(f"not a skops model: {error}") from error
    if not callable(getattr(estimator, "predict", None)):
        raise BadBundleError(f"a {type(estimator).__name__} is not a model")
    return SkopsModel(estimator)
