"""Out-of-fold scores and coverage of the default model on one table of repositories; shared by the benchmarks."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stargaze import config
from stargaze.bundle.serialization import Ensemble
from stargaze.config import FeaturesSection
from stargaze.features import schema
from stargaze.features.encoding.out_of_fold import OutOfFoldEncodings, fit_out_of_fold
from stargaze.features.fetch import fetch_files
from stargaze.features.matrix import CATALOG, allowed_features, build_matrix, build_vocabulary, category_positions
from stargaze.features.selection.filters import apply_filters
from stargaze.features.split import TEST
from stargaze.store import Store
from stargaze.tuning.cross_validation import Arrays, fit
from stargaze.tuning.metrics import scores
from stargaze.tuning.training.calibrate import coverage_by_decade
from stargaze.tuning.training.calibrate_policy import calibrate_on
from stargaze.tuning.training.ensemble import default_candidates, fit_weights, out_of_fold

N_FOLDS = 5
COVERAGE = 0.9
ROUNDS = {"n_estimators": 500, "learning_rate": 0.03}


def add_table_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of a table, and ``--by``, which tells what stays together in a fold."""
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--sample", choices=config.SAMPLES)
    parser.add_argument("--by", choices=("owner", "repository"), default="owner")


def read_table(files: Sequence[Path], config_file: Path | None = None, sample: str | None = None) -> pd.DataFrame:
    """Return the repositories of files, or of a sample, as ``fetch`` reads them."""
    section = config.load(config_file, options={"fetch.sample": sample}).fetch
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        fetch_files(section, store, list(files), datetime.now(UTC))
        return schema.conform(pd.read_parquet(store.repositories))


def groups(repositories: pd.DataFrame, by: str) -> np.ndarray:
    """Return a group number per repository: equal for repositories that must be in the same fold; shape (n,)."""
    lower = repositories["full_name"].str.lower()
    codes, _ = pd.factorize(lower.str.partition("/")[0] if by == "owner" else lower)
    return codes


def parts(group: np.ndarray, n_parts: int, seed: int) -> np.ndarray:
    """Assign whole groups to random parts; shape (n,)."""
    order = np.random.default_rng(seed).permutation(group.max() + 1)
    return order[group] % n_parts


def fit_encodings(repositories: pd.DataFrame, by: str, seed: int = 0) -> list[OutOfFoldEncodings]:
    """Fit the encoders on the training part of each outer fold; use owners only if folds are by repository."""
    target, owners = np.log1p(repositories["stars"].to_numpy()), by == "repository"
    return [
        fit_out_of_fold(repositories, target, row_folds, seed=seed, owners=owners)
        for *_, row_folds in outer_folds(repositories, by, seed)
    ]


def evaluate(
    repositories: pd.DataFrame, policy: str, by: str, learned: Sequence[OutOfFoldEncodings], seed: int = 0
) -> dict[str, Any]:
    """Cross-validate the ensemble of the families' defaults under a policy; intervals are calibrated inside each training part.

    Feature selection, category codes, encoders, weights and calibration use the training part of each fold only.
    """
    target = np.log1p(repositories["stars"].to_numpy())
    stars = repositories["stars"].to_numpy()
    predicted, low, high = np.zeros(len(target)), np.zeros(len(target)), np.zeros(len(target))
    for (_train, test, row_folds), encodings in zip(outer_folds(repositories, by, seed), learned, strict=True):
        inputs, categories, arrays, _names = training_arrays(repositories, target, policy, row_folds, encodings)
        model, out = fit_ensemble(arrays, seed)
        calibrated = calibrate_on(arrays.inputs, out, arrays.target, arrays.folds, categories, COVERAGE, seed)
        predicted[test] = np.maximum(model.predict(inputs[test]), 0.0)
        low[test], high[test] = calibrated.bounds(inputs[test], predicted[test])
    decades = {f"stars {row['decade']}": row["coverage"] for row in coverage_by_decade(low, high, stars)}
    coverage = {"coverage": float(np.mean((low <= stars) & (stars <= high))), "width": _width(low, high)}
    return {**scores(stars, np.expm1(predicted)), **coverage, **decades}


def fit_ensemble(arrays: Arrays, seed: int) -> tuple[Ensemble, np.ndarray]:
    """Fit the ensemble that ``tune`` would save without trials; return it with its out-of-fold predictions [nat], shape (n,)."""
    candidates = [replace(item, seed=seed).complete(len(arrays.target)) for item in default_candidates()]
    out = np.column_stack([out_of_fold(candidate, arrays) for candidate in candidates])
    order = np.argsort(((np.maximum(out, 0.0) - arrays.target[:, None]) ** 2).mean(axis=0), kind="stable")
    weights = fit_weights(out[:, order], arrays.target, arrays.folds).weights
    rows, chosen = np.arange(len(arrays.target)), np.flatnonzero(weights).tolist()
    members = [candidates[order[number]] for number in chosen]
    models = [fit(member.family, member.parameters, arrays, rows, member.seed) for member in members]
    return Ensemble(tuple(weights[chosen].tolist()), tuple(models)), np.maximum(out[:, order] @ weights, 0.0)


def _width(low: np.ndarray, high: np.ndarray) -> float:
    return float(np.median(np.log1p(high) - np.log1p(low)))


def score_median(repositories: pd.DataFrame) -> dict[str, float]:
    """Score the median, the simplest baseline."""
    stars = repositories["stars"].to_numpy()
    return {**scores(stars, np.full(len(stars), np.median(stars))), "coverage": float("nan")}


def training_arrays(
    repositories: pd.DataFrame, target: np.ndarray, policy: str, row_folds: np.ndarray, encodings: OutOfFoldEncodings
) -> tuple[np.ndarray, tuple[int, ...], Arrays, list[str]]:
    """Return the inputs of all rows, the columns of the categories, the training arrays and the names of the features.

    Features are selected on training rows only.
    """
    train = np.flatnonzero(row_folds >= 0)
    training = repositories.iloc[train]
    names = [item.name for item in allowed_features(policy) if not item.learned or item.name in encodings.values]
    vocabularies = {name: build_vocabulary(training[name]) for name in names if CATALOG[name].kind == "category"}
    inputs = build_matrix(repositories, names, vocabularies, encodings.values)
    dropped = apply_filters(inputs.iloc[train], target[train], FeaturesSection()).reasons
    selected = [name for name in names if name not in dropped]
    known = [name for name in selected if CATALOG[name].learned]
    without = encodings.by_excluded_fold[:, train][..., encodings.values.columns.get_indexer(pd.Index(known))]
    values, categories = inputs[selected].to_numpy(), tuple(category_positions(selected))
    return (
        values,
        categories,
        Arrays(values[train], target[train], row_folds[train], categories, without, tuple(map(selected.index, known))),
        selected,
    )


def outer_folds(
    repositories: pd.DataFrame, by: str, seed: int = 0
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield training rows, test rows and the fold of each row (of the training part, or TEST) for each outer fold."""
    group = groups(repositories, by)
    outer, inner = parts(group, N_FOLDS, seed), parts(group, N_FOLDS, seed + 1)
    for number in range(N_FOLDS):
        yield np.flatnonzero(outer != number), np.flatnonzero(outer == number), np.where(outer == number, TEST, inner)
