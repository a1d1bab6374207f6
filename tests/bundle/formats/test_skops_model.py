"""Two processes write the same model as the same file."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skops import io

from stargaze.bundle.formats.skops_model import make_reproducible
from stargaze.bundle.serialization import deserialize_model

INPUTS = np.random.default_rng(0).normal(size=(60, 3))
MODELS = [
    ExtraTreesRegressor(n_estimators=3, random_state=0).fit(INPUTS, INPUTS[:, 0]),
    make_pipeline(StandardScaler(), KNeighborsRegressor()).fit(INPUTS, INPUTS[:, 0]),
]
PROGRAM = """
import hashlib, sys
objects = [object() for _ in range(int(sys.argv[1]))]  # shifts all later memory addresses
from tests.bundle.formats.test_skops_model import MODELS
from stargaze.bundle.serialization import serialize_model
print([hashlib.sha256(serialize_model(model)[1]).hexdigest() for model in MODELS])
"""


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_a_model_survives_serialization(model: object) -> None:
    loaded = deserialize_model("skops", make_reproducible(io.dumps(model)))

    assert np.array_equal(loaded.predict(INPUTS), model.predict(INPUTS))  # type: ignore[attr-defined]


@pytest.mark.real
def test_two_processes_write_the_same_bytes() -> None:
    outputs = [
        subprocess.run([sys.executable, "-c", PROGRAM, number], capture_output=True, text=True, check=True).stdout
        for number in ("1", "100000")
    ]

    assert outputs[0] == outputs[1] != ""
