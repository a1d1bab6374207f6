"""Fit AutoGluon or FLAML on arrays from a file and write its predictions; it runs in the rivals' environment, without stargaze.

    python fit_rival.py autogluon|flaml INPUT.npz OUTPUT.npz SECONDS CORES SEED

INPUT has ``inputs`` (n, n_features) with NaN for missing values, ``names``, ``categories`` (positions of categorical columns),
``target`` (n,), ``folds`` (n,) and ``test`` (n_test, n_features). OUTPUT has ``predicted`` (n_test,) and ``seconds``.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

TARGET, GROUP = "target", "group"
BOOSTING_STACK = ["GBM", "CAT", "XGB", "RF", "XT"]
"""AutoGluon's tree models, which need no torch."""


def main(argv: list[str]) -> None:
    """Read the arguments and the arrays, fit, predict and write."""
    system, source, destination, seconds, cores, seed = argv
    with np.load(source, allow_pickle=False) as data:
        arrays = {name: data[name] for name in data.files}
    started = time.perf_counter()
    predicted = FITS[system](arrays, float(seconds), int(cores), int(seed))
    np.savez(Path(destination), predicted=predicted, seconds=time.perf_counter() - started)


def fit_autogluon(arrays: dict[str, np.ndarray], seconds: float, cores: int, seed: int) -> np.ndarray:
    """Fit AutoGluon's tuned portfolio of tree models, bagged over the given folds and stacked."""
    from autogluon.tabular import TabularPredictor

    train, test = _frame(arrays, "inputs"), _frame(arrays, "test")
    train[TARGET], train[GROUP] = arrays["target"], arrays["folds"]
    with tempfile.TemporaryDirectory(prefix="autogluon-") as folder:
        predictor = TabularPredictor(
            TARGET, problem_type="regression", eval_metric="rmse", path=folder, groups=GROUP, verbosity=2
        )
        predictor.fit(
            train,
            presets="best_quality",
            included_model_types=BOOSTING_STACK,
            time_limit=seconds,
            num_cpus=cores,
            num_gpus=0,
            dynamic_stacking=False,  # the test whether to stack would cost a quarter of the time, and fails if that is short
            ag_args_ensemble={"fold_fitting_strategy": "sequential_local", "model_random_seed": seed},
        )
        print(predictor.leaderboard().to_string())
        return np.asarray(predictor.predict(test), dtype="float64")


def fit_flaml(arrays: dict[str, np.ndarray], seconds: float, cores: int, seed: int) -> np.ndarray:
    """Let FLAML search over all its model families, with cross-validation or a hold-out part by the same groups."""
    from flaml import AutoML

    model = AutoML()
    model.fit(
        _frame(arrays, "inputs"),
        arrays["target"],
        task="regression",
        metric="rmse",
        time_budget=seconds,
        n_jobs=cores,
        split_type="group",
        groups=arrays["folds"],
        seed=seed,
        verbose=1,
    )
    print(model.best_estimator, model.best_loss, model.best_config)
    return np.asarray(model.predict(_frame(arrays, "test")), dtype="float64")


def _frame(arrays: dict[str, np.ndarray], part: str) -> pd.DataFrame:
    frame = pd.DataFrame(arrays[part], columns=arrays["names"].tolist())
    for position in arrays["categories"].tolist():
        codes = frame.iloc[:, position]
        text = codes.map(lambda code: "missing" if np.isnan(code) else f"code {code:.0f}")
        levels = sorted({f"code {code:.0f}" for code in arrays["inputs"][:, position] if not np.isnan(code)})
        frame[frame.columns[position]] = pd.Categorical(text, categories=["missing", *levels])
    return frame


FITS: dict[str, Any] = {"autogluon": fit_autogluon, "flaml": fit_flaml}

if __name__ == "__main__":
    main(sys.argv[1:])
