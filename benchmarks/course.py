"""Compare stargaze with scikit-learn's random forest and FLAML on the data of two course projects.

    pip install -e '.[bench]'
    python benchmarks/course.py --minutes 10 deii-2025-alireza.csv deii-2023-linus.csv

Ten random 70/30 splits, the same rows for all. Each file is read with the mapping in examples/ whose name it contains. Duplicates
are merged first, because a repository in both parts would be a leak. The other methods get every raw column except stars and
names: numbers unchanged, words as codes and dates as days. Columns that contain the stars (REST's watchers) and the row number of
a table that is sorted by stars are removed for all methods.

The forest is fitted on the stars with default parameters. FLAML spends half of its time on the stars and half on their logarithm;
the better result counts for each metric. RMSE in stars is minimized by the mean, RMSLE by the median: for RMSE, the predictions
of stargaze are multiplied by the mean of exp(residual) over the training folds (Duan, Smearing estimate, 1983); ranks do
not change.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from evaluation import N_FOLDS, read_table, training_arrays
from rivals import automl
from sklearn.ensemble import RandomForestRegressor

from stargaze import config
from stargaze.config import FeaturesSection
from stargaze.features.encoding.out_of_fold import fit_out_of_fold
from stargaze.features.split import TEST
from stargaze.tuning.cross_validation import Arrays, fit
from stargaze.tuning.families import FAMILIES
from stargaze.tuning.metrics import scores
from stargaze.tuning.training.ensemble import Candidate, fit_weights, out_of_fold, select_candidates

N_SPLITS = 10
SMALL_TREES = {"lightgbm": {"n_estimators": 200, "learning_rate": 0.03, "num_leaves": 15, "colsample_bytree": 0.4}}
"""Parameters for tables of only a thousand repositories."""
RIVALS = ("lightgbm", "histogram-boosting", "random-forest", "extra-trees")
MAX_MODELS = 6
"""Largest number of models in the ensemble."""
PUBLISHED = {
    "deii-2023-linus": "AppleShay's project on similar data: R² .69, random forest",
    "deii-2025-alireza": "R² .50, MLP",
}
EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
Scores = dict[str, float]


def main() -> None:
    """Compare on each file and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--minutes", type=float, default=10.0, help="FLAML's time for each split, on all cores")
    parser.add_argument("--splits", type=int, default=N_SPLITS)
    arguments = parser.parse_args()
    for file in arguments.files:
        example = next(path for path in sorted(EXAMPLES.glob("*.toml")) if path.stem in file.stem)
        repositories, raw, removed = _read(file, example)
        print(f"\n{file.name}: {len(repositories)} repositories; removed columns: {removed or 'none'}")
        print(f"  published result on such data: {PUBLISHED.get(file.stem, 'no known result')}")
        rows = [_compare(repositories, raw, seed, arguments.minutes) for seed in range(arguments.splits)]
        for name in rows[0]:
            mean = pd.DataFrame([row[name] for row in rows]).mean()
            print(f"  {name:14}" + "  ".join(f"{key} {value:9.4f}" for key, value in mean.items()))
        for rival in list(rows[0])[1:]:
            ahead = {key: sum(_is_better(key, row, rival) for row in rows) for key in ("rmsle", "rho", "rmse")}
            print(f"  ahead of {rival}: " + ", ".join(f"{key} {wins} of {len(rows)}" for key, wins in ahead.items()))


def _is_better(key: str, row: dict[str, Scores], rival: str) -> bool:
    difference = row["stargaze"][key] - row[rival][key]
    return difference > 0 if key == "rho" else difference < 0


def _read(file: Path, example: Path) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    """Return the repositories, the file's own columns for the same rows, and the names of the removed columns."""
    section = config.load(example).fetch
    repositories = read_table([file], example)
    raw = pd.read_csv(file)
    owner, name = section.columns.get("owner"), section.columns.get("name")
    raw.index = pd.Index((raw[owner] + "/" + raw[name] if owner and name else raw["full_name"]).str.lower())
    stars = raw[section.columns.get("stars", "stars")]
    numbers = raw.select_dtypes("number").drop(columns=stars.name)
    rank = {str(column): abs(numbers[column].corr(stars, method="spearman")) for column in numbers}
    rows = {str(column) for column in numbers if (numbers[column] == np.arange(len(raw))).all()}
    same = [column for column, rho in rank.items() if rho >= FeaturesSection().leak_threshold or column in rows]
    raw = (
        raw[~raw.index.duplicated(keep="last")]
        .drop(columns=[*same, stars.name])
        .reindex(repositories["full_name"].str.lower())
    )
    return repositories, _encoded(raw), ", ".join(f"{column} (rho {rank[column]:.3f})" for column in same)


def _encoded(raw: pd.DataFrame) -> pd.DataFrame:
    encoded = {}
    for name, column in raw.items():
        if pd.api.types.is_numeric_dtype(column):
            encoded[name] = column.astype("float64").fillna(-1.0)
        elif str(name).lower().endswith(("at", "date")):
            moments = pd.to_datetime(column, utc=True, errors="coerce")
            encoded[name] = pd.Series((moments.max() - moments).dt.days, index=raw.index).fillna(-1.0)
        elif column.nunique() < len(column) / 2:
            encoded[name] = pd.Series(pd.factorize(column)[0].astype("float64"), index=raw.index)
    return pd.DataFrame(encoded)


def _compare(repositories: pd.DataFrame, raw: pd.DataFrame, seed: int, minutes: float) -> dict[str, Scores]:
    stars = repositories["stars"].to_numpy()
    order = np.random.default_rng(seed).permutation(len(stars))
    cut = round(0.7 * len(stars))
    train, test = order[:cut], order[cut:]
    median, mean = _predict_with_stargaze(repositories, train, test, seed)
    forest = RandomForestRegressor(random_state=seed, n_jobs=-1).fit(raw.iloc[train], stars[train])
    return {
        "stargaze": _all_scores(stars[test], median) | {"rmse": _all_scores(stars[test], mean)["rmse"]},
        "random forest": _all_scores(stars[test], np.maximum(forest.predict(raw.iloc[test]), 0.0)),
        "FLAML": _flaml(raw.to_numpy(), stars, train, test, seed, 60.0 * minutes),
    }


def _predict_with_stargaze(
    repositories: pd.DataFrame, train: np.ndarray, test: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Fit the ensemble as ``tune`` does, with the training part only; return median and mean of the test part [stars]."""
    target = np.log1p(repositories["stars"].to_numpy())
    row_folds = np.full(len(target), TEST)
    row_folds[train] = np.random.default_rng(seed).integers(0, N_FOLDS, len(train))
    encodings = fit_out_of_fold(repositories, target, row_folds, seed=seed, owners=True)
    inputs, categories, arrays, _names = training_arrays(repositories, target, "all", row_folds, encodings)
    candidates = select_candidates([_trial(name, arrays, seed) for name in RIVALS], MAX_MODELS, seed)
    out = np.column_stack([out_of_fold(candidate, arrays) for candidate in candidates])
    weights = fit_weights(out, arrays.target, arrays.folds).weights
    whole = Arrays(inputs, target, np.zeros(len(target), dtype=int), categories)
    models = [fit(candidate.family, candidate.parameters, whole, train, candidate.seed) for candidate in candidates]
    predicted = np.maximum(
        sum(weight * model.predict(inputs[test]) for weight, model in zip(weights, models, strict=True)), 0.0
    )
    smearing = float(np.mean(np.exp(arrays.target - np.maximum(out @ weights, 0.0))))
    return np.expm1(predicted), np.exp(predicted) * smearing - 1.0


def _trial(name: str, arrays: Arrays, seed: int) -> dict[str, Any]:
    candidate = Candidate(FAMILIES[name], SMALL_TREES.get(name, {}), seed)
    error = float(np.sqrt(np.mean((np.maximum(out_of_fold(candidate, arrays), 0.0) - arrays.target) ** 2)))
    return {"family": name, "parameters": candidate.parameters, "rmsle": error, "stopped": "done"}


def _flaml(raw: np.ndarray, stars: np.ndarray, train: np.ndarray, test: np.ndarray, seed: int, budget: float) -> Scores:
    """Search once on the stars and once on their logarithm; return the better result for each metric."""
    results = []
    scales: list[tuple[Callable[..., Any], Callable[..., Any]]] = [(np.log1p, np.expm1), (np.asarray, np.asarray)]
    for scale, back in scales:
        model = automl(raw[train], scale(stars[train]), budget / 2, seed=seed)
        results.append(_all_scores(stars[test], np.maximum(back(model.predict(raw[test])), 0.0)))
    return {key: (min if key.startswith("rms") else max)(result[key] for result in results) for key in results[0]}


def _all_scores(stars: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    log_scores = scores(stars, predicted)
    rmse = float(np.sqrt(np.mean((stars - predicted) ** 2)))
    r2 = 1.0 - float(np.sum((stars - predicted) ** 2) / np.sum((stars - stars.mean()) ** 2))
    return {"rmsle": log_scores["rmsle"], "rho": log_scores["rho"], "r2_log": log_scores["r2"], "r2": r2, "rmse": rmse}


if __name__ == "__main__":
    main()
