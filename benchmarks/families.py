"""What each model family adds to the ensemble: its error without the family minus its error with it, on held-out repositories.

    python benchmarks/families.py --sample electron --rows 2000
    python benchmarks/families.py FILE --config examples/bestof.toml --by repository --policy activity

The candidates are the defaults of all installed families that can join an ensemble, and XGBoost, which is no family of stargaze
(`pip install -e '.[bench,catboost]'`), with parameters of the same capacity. Each split holds out a fifth of the repositories;
feature selection, encoders and weights are fitted on the others. The difference is the mean over the splits with its standard
error [nat]; a family is within noise if the difference is at most that.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from evaluation import N_FOLDS, add_table_arguments, fit_encodings, outer_folds, read_table, training_arrays

from stargaze.capacity import parameters_for
from stargaze.config import POLICIES
from stargaze.tuning.cross_validation import fit
from stargaze.tuning.families import FAMILIES
from stargaze.tuning.family import Family, Parameters
from stargaze.tuning.metrics import clipped_rmse
from stargaze.tuning.training.ensemble import COMPLEMENTS, MEAN, Candidate, fit_weights, out_of_fold

XGBOOST_OF_FEW = {"learning_rate": 0.04, "max_depth": 3, "colsample_bytree": 0.3, "n_estimators": 150}
XGBOOST = {"learning_rate": 0.025, "max_depth": 7, "colsample_bytree": 0.4, "n_estimators": 600}
"""The parameters for few and for many rows."""
Columns = tuple[np.ndarray, np.ndarray]
"""Out-of-fold predictions and those of held-out repositories by each candidate [nat]."""


def main() -> None:
    """Read the arguments, measure each split, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_table_arguments(parser)
    parser.add_argument("--policy", choices=POLICIES, default="all")
    parser.add_argument("--rows", type=int, default=0, help="a random draw of so many repositories; 0 means all")
    parser.add_argument("--splits", type=int, choices=range(2, N_FOLDS + 1), default=N_FOLDS)
    arguments = parser.parse_args()
    repositories = read_table(arguments.files, arguments.config, arguments.sample)
    if arguments.rows:
        repositories = repositories.sample(arguments.rows, random_state=0).reset_index(drop=True)
    errors = pd.DataFrame(measure_splits(repositories, arguments.policy, arguments.by, arguments.splits))
    gains = errors.drop(columns="all").sub(errors["all"], axis=0)
    table = pd.DataFrame({"adds": gains.mean(), "standard error": gains.std() / np.sqrt(len(gains))}).round(4)
    print(f"{len(repositories)} repositories, {arguments.policy}; RMSLE of the ensemble {errors['all'].mean():.4f}")
    print(table.to_string())


class XgboostRegressor:
    """XGBoost with categorical columns behind ``fit`` and ``predict``; its parameters follow the number of rows."""

    def __init__(self, categories: Sequence[int], seed: int) -> None:
        self._categories, self._seed = categories, seed

    def fit(self, inputs: np.ndarray, target: np.ndarray) -> XgboostRegressor:
        """Fit on a float matrix of shape (n, n_features)."""
        import xgboost

        parameters = parameters_for(len(target), XGBOOST, XGBOOST_OF_FEW) | {"min_child_weight": 8.0, "subsample": 0.8}
        rounds = parameters.pop("n_estimators")
        fixed = {"tree_method": "hist", "nthread": 1, "verbosity": 0, "seed": self._seed}
        self._model = xgboost.train(fixed | parameters, self._matrix(inputs, target), rounds)
        return self

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        """Predict log1p(stars) [nat]; shape (n,)."""
        return np.asarray(self._model.predict(self._matrix(inputs)))

    def _matrix(self, inputs: np.ndarray, target: np.ndarray | None = None) -> Any:
        import xgboost

        kinds = ["c" if column in self._categories else "q" for column in range(inputs.shape[1])]
        return xgboost.DMatrix(inputs, target, feature_types=kinds, enable_categorical=True, nthread=1)


def _build_xgboost(_parameters: Parameters, categories: Sequence[int], seed: int) -> XgboostRegressor:
    return XgboostRegressor(categories, seed)


def measure_splits(repositories: pd.DataFrame, policy: str, by: str, splits: int) -> list[dict[str, float]]:
    """Return for each split the error [nat] of the ensemble of ``all`` candidates, and without each family."""
    target, rows = np.log1p(repositories["stars"].to_numpy()), []
    families = [FAMILIES[name] for name in (*COMPLEMENTS, "histogram-boosting") if FAMILIES[name].installed]
    families.append(Family("xgboost", "boosted trees with a penalty on their leaves", _build_xgboost))
    folds = list(zip(outer_folds(repositories, by), fit_encodings(repositories, by), strict=True))
    for (_train, test, row_folds), encodings in folds[:splits]:
        inputs, _categories, arrays, _names = training_arrays(repositories, target, policy, row_folds, encodings)
        every = np.arange(len(arrays.target))
        out, held_out = list[np.ndarray](), list[np.ndarray]()
        for candidate in (*(Candidate(family, {}, 0) for family in families), MEAN):
            complete = candidate.complete(len(every))
            out.append(out_of_fold(complete, arrays))
            model = fit(complete.family, complete.parameters, arrays, every, 0)
            held_out.append(np.asarray(model.predict(inputs[test])))
        columns = np.column_stack(out), np.column_stack(held_out)
        numbers = list(range(len(out)))
        row = {"all": _error(columns, numbers, arrays.target, arrays.folds, target[test])}
        for number, family in enumerate(families):
            others = [other for other in numbers if other != number]
            row[family.name] = _error(columns, others, arrays.target, arrays.folds, target[test])
        rows.append(row)
    return rows


def _error(columns: Columns, chosen: list[int], target: np.ndarray, folds: np.ndarray, held_out: np.ndarray) -> float:
    """Return the error of the ensemble of some candidates on held-out repositories [nat]."""
    out = columns[0][:, chosen]
    order = np.argsort(((np.maximum(out, 0.0) - target[:, None]) ** 2).mean(axis=0), kind="stable")
    weights = fit_weights(out[:, order], target, folds).weights
    return clipped_rmse(held_out, columns[1][:, chosen][:, order] @ weights)


if __name__ == "__main__":
    main()
