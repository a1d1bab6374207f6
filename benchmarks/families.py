"""What each model family adds to the ensemble: its error without the family minus its error with it, on held-out repositories.

    python benchmarks/families.py --sample electron --rows 2000
    python benchmarks/families.py FILE --config examples/bestof.toml --by repository --policy activity

The candidates are the defaults of all installed families that can join an ensemble, and of XGBoost. Each split holds out a fifth
of the repositories; feature selection, encoders and weights are fitted on the others. The difference is the mean over the splits
with its standard error [nat]; a family is within noise if the difference is at most that.
"""

from __future__ import annotations

import argparse
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
from evaluation import N_FOLDS, fit_encodings, outer_folds, training_arrays

from stargaze import config
from stargaze.config import POLICIES
from stargaze.features import schema
from stargaze.features.fetch import fetch_files
from stargaze.store import Store
from stargaze.tuning.cross_validation import fit
from stargaze.tuning.families import FAMILIES
from stargaze.tuning.metrics import clipped_rmse
from stargaze.tuning.training.ensemble import COMPLEMENTS, MEAN, Candidate, fit_weights, out_of_fold

NAMES = (*COMPLEMENTS, "xgboost", "histogram-boosting")
Columns = tuple[np.ndarray, np.ndarray]
"""Out-of-fold predictions and those of held-out repositories by each candidate [nat]."""


def main() -> None:
    """Read the arguments, measure each split, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--sample", choices=config.SAMPLES)
    parser.add_argument("--by", choices=("owner", "repository"), default="owner")
    parser.add_argument("--policy", choices=POLICIES, default="all")
    parser.add_argument("--rows", type=int, default=0, help="a random draw of so many repositories; 0 means all")
    parser.add_argument("--splits", type=int, choices=range(2, N_FOLDS + 1), default=N_FOLDS)
    arguments = parser.parse_args()
    section = config.load(arguments.config, options={"fetch.sample": arguments.sample}).fetch
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        fetch_files(section, store, arguments.files, datetime.now(UTC))
        repositories = schema.conform(pd.read_parquet(store.repositories))
    if arguments.rows:
        repositories = repositories.sample(arguments.rows, random_state=0).reset_index(drop=True)
    errors = pd.DataFrame(measure_splits(repositories, arguments.policy, arguments.by, arguments.splits))
    gains = errors.drop(columns="all").sub(errors["all"], axis=0)
    table = pd.DataFrame({"adds": gains.mean(), "standard error": gains.std() / np.sqrt(len(gains))}).round(4)
    print(f"{len(repositories)} repositories, {arguments.policy}; RMSLE of the ensemble {errors['all'].mean():.4f}")
    print(table.to_string())


def measure_splits(repositories: pd.DataFrame, policy: str, by: str, splits: int) -> list[dict[str, float]]:
    """Return for each split the error [nat] of the ensemble of ``all`` candidates, and without each family."""
    target, rows = np.log1p(repositories["stars"].to_numpy()), []
    names = [name for name in NAMES if FAMILIES[name].installed]
    folds = list(zip(outer_folds(repositories, by), fit_encodings(repositories, by), strict=True))
    for (_train, test, row_folds), encodings in folds[:splits]:
        inputs, _categories, arrays, _names = training_arrays(repositories, target, policy, row_folds, encodings)
        every = np.arange(len(arrays.target))
        out, held_out = list[np.ndarray](), list[np.ndarray]()
        for candidate in (*(Candidate(FAMILIES[name], {}, 0) for name in names), MEAN):
            complete = candidate.complete(len(every))
            out.append(out_of_fold(complete, arrays))
            model = fit(complete.family, complete.parameters, arrays, every, 0)
            held_out.append(np.asarray(model.predict(inputs[test])))
        columns = np.column_stack(out), np.column_stack(held_out)
        numbers = list(range(len(out)))
        row = {"all": _error(columns, numbers, arrays.target, arrays.folds, target[test])}
        for number, name in enumerate(names):
            others = [other for other in numbers if other != number]
            row[name] = _error(columns, others, arrays.target, arrays.folds, target[test])
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
