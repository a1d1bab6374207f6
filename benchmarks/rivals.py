"""Other searches over LightGBM's parameters, called as their documentation shows, on two cores; for ``benchmarks/tune.py``."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable
from typing import Any

import lightgbm
import numpy as np
import optuna
from flaml import AutoML
from scipy.stats import loguniform, randint, uniform
from sklearn.experimental import enable_halving_search_cv  # noqa: F401 - scikit-learn asks for it
from sklearn.model_selection import HalvingRandomSearchCV, PredefinedSplit, RandomizedSearchCV

from stargaze.tuning.cross_validation import Arrays
from stargaze.tuning.families import FAMILIES, Choice, Range
from stargaze.tuning.search.trial import TrialData, run_trial

CORES = 2
ROUNDS = Range(50, 1_000, "int", log=True)
"""Search range of the boosting rounds for searches without early stopping [rounds]."""
SPACE = FAMILIES["lightgbm"].space
Parameters = dict[str, Any]
Found = list[tuple[float, Parameters]]
"""Time of each improvement [s] and its configuration."""


def optuna_alone(arrays: Arrays, budget: float) -> Found:
    """Optuna's default sampler, two trials at a time, each on all folds, rounds by early stopping."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    grounds = ThreadGrounds(arrays)
    study, start = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0)), time.perf_counter()

    def objective(trial: optuna.Trial) -> float:
        config = {"family": "lightgbm", "parameters": {name: _asked(trial, name) for name in SPACE}, "seed": 0}
        found = run_trial(config, grounds.mine())
        trial.set_user_attr("parameters", found["parameters"])
        trial.set_user_attr("at", time.perf_counter() - start)
        return float(found["rmsle"])

    study.optimize(objective, timeout=budget, n_jobs=CORES)
    path, least = Found(), float("inf")
    for trial in sorted(
        study.get_trials(states=(optuna.trial.TrialState.COMPLETE,)), key=lambda one: float(one.user_attrs["at"])
    ):
        if float(trial.value or 0.0) < least:
            least = float(trial.value or 0.0)
            path.append((trial.user_attrs["at"], trial.user_attrs["parameters"]))
    return path


class ThreadGrounds:
    """Binned folds per thread: LightGBM's datasets are not thread-safe."""

    def __init__(self, arrays: Arrays) -> None:
        import threading

        self._arrays, self._local = arrays, threading.local()

    def mine(self) -> TrialData:
        """Return those of the calling thread."""
        if not hasattr(self._local, "ground"):
            self._local.ground = TrialData(self._arrays)
        return self._local.ground  # type: ignore[no-any-return]


def flaml(arrays: Arrays, budget: float) -> Found:
    """FLAML's cost-frugal search over its own space of LightGBM's parameters."""
    folds = {"eval_method": "cv", "split_type": PredefinedSplit(arrays.folds), "n_splits": 5}
    model = automl(arrays.inputs, arrays.target, budget, estimator_list=["lgbm"], **folds)
    return [
        (at, {**config, "max_bin": (1 << config.pop("log_max_bin")) - 1, "subsample": 1.0})
        for _, config, at in model.config_history.values()
    ]


def automl(inputs: np.ndarray, target: np.ndarray, budget: float, **how: Any) -> AutoML:
    """Run FLAML for ``budget`` [s] with the squared error as its metric."""
    chosen = {"estimator_list": ["lgbm", "rf", "extra_tree", "kneighbor"], "seed": 0, "n_jobs": CORES, **how}
    logging.getLogger("flaml").setLevel(logging.ERROR)
    model = AutoML()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(inputs, target, task="regression", metric="rmse", time_budget=budget, verbose=0, **chosen)
    return model


def randomized(arrays: Arrays, budget: float) -> Found:
    """scikit-learn's RandomizedSearchCV with as many draws as the time allows."""
    return _drawn(arrays, budget, lambda n: RandomizedSearchCV(_model(), _distributions(), n_iter=n, **_how(arrays)))


def halving(arrays: Arrays, budget: float) -> Found:
    """scikit-learn's HalvingRandomSearchCV on increasing numbers of rows, with as many candidates as the time allows."""
    # PredefinedSplit does not support fewer rows: use five plain folds of the remaining rows.
    how = {**_how(arrays), "cv": 5}
    return _drawn(
        arrays,
        budget,
        lambda n: HalvingRandomSearchCV(
            _model(), _distributions(), n_candidates=n, min_resources=len(arrays.target) // 16, **how
        ),
    )


def _drawn(arrays: Arrays, budget: float, search: Callable[[int], Any]) -> Found:
    """Measure the time per candidate with a few, then search with as many as the remaining time allows."""
    start = time.perf_counter()
    search(2 * CORES).fit(arrays.inputs, arrays.target)
    one = (time.perf_counter() - start) / (2 * CORES)
    number = max(2 * CORES, int((budget - (time.perf_counter() - start)) / one))
    best = dict(search(number).fit(arrays.inputs, arrays.target).best_params_)
    return [(time.perf_counter() - start, best)]  # it reports nothing before its end


def _how(arrays: Arrays) -> dict[str, Any]:
    return {
        "scoring": "neg_root_mean_squared_error",
        "cv": PredefinedSplit(arrays.folds),
        "n_jobs": CORES,
        "random_state": 0,
        "refit": False,
    }


def _model() -> lightgbm.LGBMRegressor:
    return lightgbm.LGBMRegressor(n_jobs=1, verbose=-1, subsample_freq=1, random_state=0)


def _distributions() -> dict[str, Any]:
    return {name: _distribution(where) for name, where in {**SPACE, "n_estimators": ROUNDS}.items()}


def _distribution(where: Range | Choice) -> Any:
    if isinstance(where, Choice):
        return list(where.values)
    if where.kind == "int":
        return (
            np.unique(np.geomspace(where.low, where.high, 60).round().astype(int))
            if where.log
            else randint(int(where.low), int(where.high) + 1)
        )
    return loguniform(where.low, where.high) if where.log else uniform(where.low, where.high - where.low)


def _asked(trial: optuna.Trial, name: str) -> Any:
    where = SPACE[name]
    if isinstance(where, Choice):
        return trial.suggest_categorical(name, list(where.values))
    if where.kind == "int":
        return trial.suggest_int(name, int(where.low), int(where.high), log=where.log)
    return trial.suggest_float(name, where.low, where.high, log=where.log)


RIVALS: dict[str, Callable[[Arrays, float], Found]] = {
    "Optuna alone": optuna_alone,
    "FLAML": flaml,
    "HalvingRandomSearchCV": halving,
    "RandomizedSearchCV": randomized,
}
