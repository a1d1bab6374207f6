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
from sklearn.experimental import enable_halving_search_cv  # noqa: F401 - scikit-learn requires this import
from sklearn.model_selection import HalvingRandomSearchCV, PredefinedSplit, RandomizedSearchCV

from stargaze.tuning.cross_validation import Arrays
from stargaze.tuning.families import FAMILIES
from stargaze.tuning.family import Choice, Range
from stargaze.tuning.search.trial import TrialData, run_trial

CORES = 2
ROUNDS = Range(50, 1_000, "int", log=True)
"""Search range of the boosting rounds for searches without early stopping [rounds]."""
SPACE = FAMILIES["lightgbm"].space
Parameters = dict[str, Any]
Improvements = list[tuple[float, Parameters]]
"""Time of each improvement [s] and its configuration."""


def optuna_alone(arrays: Arrays, budget: float) -> Improvements:
    """Optuna's default sampler, two trials at a time, each on all folds, rounds by early stopping."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    trial_data = ThreadLocalTrialData(arrays)
    study, start = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0)), time.perf_counter()

    def objective(trial: optuna.Trial) -> float:
        config = {"family": "lightgbm", "parameters": {name: _suggest(trial, name) for name in SPACE}, "seed": 0}
        result = run_trial(config, trial_data.get())
        trial.set_user_attr("parameters", result["parameters"])
        trial.set_user_attr("at", time.perf_counter() - start)
        return float(result["rmsle"])

    study.optimize(objective, timeout=budget, n_jobs=CORES)
    path, least = Improvements(), float("inf")
    for trial in sorted(
        study.get_trials(states=(optuna.trial.TrialState.COMPLETE,)), key=lambda trial: float(trial.user_attrs["at"])
    ):
        if float(trial.value or 0.0) < least:
            least = float(trial.value or 0.0)
            path.append((trial.user_attrs["at"], trial.user_attrs["parameters"]))
    return path


class ThreadLocalTrialData:
    """Binned folds per thread: LightGBM's datasets are not thread-safe."""

    def __init__(self, arrays: Arrays) -> None:
        import threading

        self._arrays, self._local = arrays, threading.local()

    def get(self) -> TrialData:
        """Return the data of the calling thread."""
        if not hasattr(self._local, "trial_data"):
            self._local.trial_data = TrialData(self._arrays)
        return self._local.trial_data  # type: ignore[no-any-return]


def flaml(arrays: Arrays, budget: float) -> Improvements:
    """FLAML's cost-frugal search over its own space of LightGBM's parameters."""
    folds = {"eval_method": "cv", "split_type": PredefinedSplit(arrays.folds), "n_splits": 5}
    model = automl(arrays.inputs, arrays.target, budget, estimator_list=["lgbm"], **folds)
    return [
        (seconds, {**config, "max_bin": (1 << config.pop("log_max_bin")) - 1, "subsample": 1.0})
        for _, config, seconds in model.config_history.values()
    ]


def automl(inputs: np.ndarray, target: np.ndarray, budget: float, **options: Any) -> AutoML:
    """Run FLAML for ``budget`` [s] with the squared error as its metric."""
    all_options = {"estimator_list": ["lgbm", "rf", "extra_tree", "kneighbor"], "seed": 0, "n_jobs": CORES, **options}
    logging.getLogger("flaml").setLevel(logging.ERROR)
    model = AutoML()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(inputs, target, task="regression", metric="rmse", time_budget=budget, verbose=0, **all_options)
    return model


def randomized(arrays: Arrays, budget: float) -> Improvements:
    """scikit-learn's RandomizedSearchCV with as many draws as the time allows."""
    return _search_with_budget(
        arrays, budget, lambda n: RandomizedSearchCV(_model(), _distributions(), n_iter=n, **_search_options(arrays))
    )


def halving(arrays: Arrays, budget: float) -> Improvements:
    """scikit-learn's HalvingRandomSearchCV on increasing numbers of rows, with as many candidates as the time allows."""
    # PredefinedSplit does not support fewer rows: use five plain folds of the remaining rows.
    options = {**_search_options(arrays), "cv": 5}
    return _search_with_budget(
        arrays,
        budget,
        lambda n: HalvingRandomSearchCV(
            _model(), _distributions(), n_candidates=n, min_resources=len(arrays.target) // 16, **options
        ),
    )


def _search_with_budget(arrays: Arrays, budget: float, search: Callable[[int], Any]) -> Improvements:
    """Measure the time per candidate with a few, then search with as many as the remaining time allows."""
    start = time.perf_counter()
    search(2 * CORES).fit(arrays.inputs, arrays.target)
    seconds = (time.perf_counter() - start) / (2 * CORES)
    number = max(2 * CORES, int((budget - (time.perf_counter() - start)) / seconds))
    best = dict(search(number).fit(arrays.inputs, arrays.target).best_params_)
    return [(time.perf_counter() - start, best)]  # it reports only its final result


def _search_options(arrays: Arrays) -> dict[str, Any]:
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


def _distribution(space: Range | Choice) -> Any:
    if isinstance(space, Choice):
        return list(space.values)
    if space.kind == "int":
        return (
            np.unique(np.geomspace(space.low, space.high, 60).round().astype(int))
            if space.log
            else randint(int(space.low), int(space.high) + 1)
        )
    return loguniform(space.low, space.high) if space.log else uniform(space.low, space.high - space.low)


def _suggest(trial: optuna.Trial, name: str) -> Any:
    space = SPACE[name]
    if isinstance(space, Choice):
        return trial.suggest_categorical(name, list(space.values))
    if space.kind == "int":
        return trial.suggest_int(name, int(space.low), int(space.high), log=space.log)
    return trial.suggest_float(name, space.low, space.high, log=space.log)


RIVALS: dict[str, Callable[[Arrays, float], Improvements]] = {
    "Optuna alone": optuna_alone,
    "FLAML": flaml,
    "HalvingRandomSearchCV": halving,
    "RandomizedSearchCV": randomized,
}
