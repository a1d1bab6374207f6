"""Every family predicts the same after serialization, and bytes that could run code are refused without running it."""

from __future__ import annotations

import functools
import io
import json
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import skops.io
from sklearn.linear_model import Ridge
from sklearn.preprocessing import FunctionTransformer

from stargaze.bundle.manifest import BadBundleError
from stargaze.bundle.serialization import deserialize_model, serialize_model
from stargaze.tuning.cross_validation import Arrays, fit
from stargaze.tuning.families import FAMILIES
from stargaze.tuning.family import Family

SMALL: dict[str, dict[str, Any]] = {
    "random-forest": {"n_estimators": 5},
    "extra-trees": {"n_estimators": 5},
    "histogram-boosting": {"max_iter": 5},
    "perceptron": {"max_iter": 5},
    "lightgbm": {"n_estimators": 5},
    "randomized-boosting": {"n_estimators": 5},
    "catboost": {"iterations": 5},
}


class Malicious:
    """Creates a file if anything unpickles it."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch {self.trace}",)


def fitted_model(family: Family) -> tuple[Any, np.ndarray]:
    """Return a small fitted model and inputs for it."""
    random = np.random.default_rng(0)
    inputs = np.column_stack([random.integers(1, 4, 300), random.normal(size=(300, 2))]).astype("float32")
    inputs[::7, 2] = np.nan
    arrays = Arrays(inputs, np.abs(inputs[:, 0] + inputs[:, 1]).astype(float), np.zeros(300, dtype=int), (0,))
    return fit(family, SMALL.get(family.name, {}), arrays, np.arange(300), seed=0), inputs


def skops_of(value: Any) -> bytes:
    """Return the bytes that an attacker could write with skops."""
    return bytes(skops.io.dumps(value))


def changed_schema(data: bytes, change: dict[str, Any]) -> bytes:
    """Change the schema of the outermost object of a skops file."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "schema.json":
                content = json.dumps(json.loads(content) | change).encode()
            new.writestr(name, content)
    return out.getvalue()


@pytest.mark.thorough
@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_every_family_predicts_the_same_after_serialization(family: Family) -> None:
    model, inputs = fitted_model(family)

    kind, data = serialize_model(model)
    loaded = deserialize_model(kind, data)

    assert loaded.predict(inputs) == pytest.approx(model.predict(inputs), abs=1e-9)
    formats = {name: name for name in ("lightgbm", "catboost")} | {"randomized-boosting": "lightgbm"}
    assert kind == formats.get(family.name, "skops")


def test_lightgbm_is_plain_text() -> None:
    _, data = serialize_model(fitted_model(FAMILIES["lightgbm"])[0])

    assert data.startswith(b"tree\n")


def test_only_lightgbm_has_exact_contributions() -> None:
    lightgbm, inputs = fitted_model(FAMILIES["lightgbm"])
    boosted, ridge = (
        deserialize_model(*serialize_model(lightgbm)),
        deserialize_model(*serialize_model(fitted_model(FAMILIES["ridge"])[0])),
    )

    added = boosted.contributions(inputs)

    assert added is not None
    assert added.sum(axis=1) == pytest.approx(boosted.predict(inputs))
    assert ridge.contributions(inputs) is None


@pytest.mark.parametrize("kind", ["lightgbm", "skops"])
@pytest.mark.parametrize("dump", [pickle.dumps, "joblib"], ids=["pickle", "joblib"])
def test_a_pickle_is_refused_and_never_run(kind: str, dump: Any, tmp_path: Path) -> None:
    trap = Malicious(tmp_path / "run")
    if dump == "joblib":
        joblib.dump(trap, tmp_path / "model")
        data = (tmp_path / "model").read_bytes()
    else:
        data = dump(trap)

    with pytest.raises(BadBundleError):
        deserialize_model(kind, data)

    assert not trap.trace.exists()


def test_a_pickle_inside_a_skops_file_is_refused_and_never_run(tmp_path: Path) -> None:
    """NumPy would read an array of objects with pickle."""
    trap = Malicious(tmp_path / "run")
    array = io.BytesIO()
    np.save(array, np.array([trap], dtype=object), allow_pickle=True)
    good = skops_of(Ridge().fit([[0.0], [1.0]], [0.0, 1.0]))
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(good)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            new.writestr(name, array.getvalue() if name.endswith(".npy") else old.read(name))

    with pytest.raises(BadBundleError):
        deserialize_model("skops", out.getvalue())

    assert not trap.trace.exists()


@pytest.mark.parametrize(
    "value",
    [
        FunctionTransformer(os.system),
        FunctionTransformer(functools.partial(os.system, "true")),
        functools.partial(eval, "1"),
        {"model": Ridge(), "more": os.system},
        Path("/etc/passwd"),
    ],
    ids=["function", "partial", "eval", "beside a model", "path"],
)
def test_a_type_outside_the_allow_list_is_refused(value: Any) -> None:
    with pytest.raises(BadBundleError, match="not allowed"):
        deserialize_model("skops", skops_of(value))


@pytest.mark.parametrize(
    "change",
    [
        {"__module__": "os", "__class__": "system"},
        {"__module__": "subprocess", "__class__": "Popen"},
        {"__module__": "builtins", "__class__": "eval"},
        {"__module__": "stargaze.no_such_module", "__class__": "X"},
        {"__loader__": "FunctionNode", "__module__": "os", "__class__": "system", "content": "os.system"},
        {"__loader__": "NoSuchNode"},
        {"__loader__": None},
        {"content": "x"},
        {"protocol": "x"},
    ],
)
def test_a_skops_file_with_a_changed_schema_is_refused(change: dict[str, Any]) -> None:
    good = skops_of(Ridge().fit([[0.0], [1.0]], [0.0, 1.0]))

    with pytest.raises(BadBundleError):
        deserialize_model("skops", changed_schema(good, change))


@pytest.mark.parametrize("value", [{}, [1, 2], "text", 7.0, None, np.zeros(3)], ids=repr)
def test_a_harmless_object_that_is_not_a_model_is_refused(value: Any) -> None:
    with pytest.raises(BadBundleError, match="is not a model"):
        deserialize_model("skops", skops_of(value))


@pytest.mark.parametrize("family", ["ridge", "extra-trees", "histogram-boosting"])
def test_damaged_bytes_are_refused_or_loaded_without_a_crash(family: str) -> None:
    """The positions are random but the same in every run; the result is a BadBundleError or a model."""
    _, data = serialize_model(fitted_model(FAMILIES[family])[0])
    random = np.random.default_rng(0)
    for length in np.linspace(0, len(data) - 1, 12).astype(int):
        with pytest.raises(BadBundleError):
            deserialize_model("skops", data[:length])
    for _ in range(25):
        hurt = bytearray(data)
        for place in random.integers(0, len(data), 5):
            hurt[place] = random.integers(256)
        try:
            deserialize_model("skops", bytes(hurt))
        except BadBundleError:
            continue


@pytest.mark.parametrize(
    "data", [b"", b"garbage", b"tree\n", b"\xff\xfe", b"PK\x03\x04", b"tree\nversion=v4\nnum_class=1\n", b"\x00" * 1000]
)
@pytest.mark.parametrize("kind", ["lightgbm", "skops"])
def test_garbage_is_refused(kind: str, data: bytes) -> None:
    with pytest.raises(BadBundleError):
        deserialize_model(kind, data)


@pytest.mark.parametrize("kind", ["pickle", "joblib", "", "onnx"])
def test_an_unknown_format_is_refused(kind: str) -> None:
    with pytest.raises(BadBundleError, match="not a model format"):
        deserialize_model(kind, b"")


@pytest.mark.parametrize("family", ["lightgbm", "ridge"])
def test_a_model_with_other_columns_cannot_predict(family: str) -> None:
    """The features of a bundle may not match its model."""
    model, inputs = fitted_model(FAMILIES[family])
    loaded = deserialize_model(*serialize_model(model))

    with pytest.raises(BadBundleError, match="cannot predict"):
        loaded.predict(inputs[:, :2])
