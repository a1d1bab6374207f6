"""The noise floor of the accuracy: the same features with other seeds, a larger ensemble, and an AutoML library.

    pip install -e '.[bench]'
    python benchmarks/noise_floor.py FILE --config examples/bestof.toml --by repository --policy activity --hours 1

Five outer folds, the same for all methods; selection and encoders are fitted inside each training part. The methods are LightGBM
without tuning with five seeds, the mean of these five predictions, and FLAML on the same inputs, with its time divided among the
folds. The standard error of R² over repositories (bootstrap) is printed too: a smaller difference is not measurable.
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd
from evaluation import N_FOLDS, ROUNDS, add_table_arguments, fit_encodings, outer_folds, read_table, training_arrays
from rivals import automl

from stargaze.config import POLICIES
from stargaze.tuning.cross_validation import Arrays, fit
from stargaze.tuning.families import FAMILIES
from stargaze.tuning.metrics import scores

N_SEEDS = 5
N_DRAWS = 1_000
FAMILIES_OF_FLAML = ["lgbm", "rf", "extra_tree"]


def main() -> None:
    """Read the arguments, predict out-of-fold with each method, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_table_arguments(parser)
    parser.add_argument("--policy", choices=POLICIES, default="activity")
    parser.add_argument("--hours", type=float, default=1.0, help="FLAML's time over all folds")
    parser.add_argument("--cores", type=int, default=2, help="FLAML's cores")
    arguments = parser.parse_args()
    repositories = read_table(arguments.files, arguments.config, arguments.sample)
    predictions_by_method = predictions(
        repositories, arguments.policy, arguments.by, 3600.0 * arguments.hours / N_FOLDS, arguments.cores
    )
    stars = repositories["stars"].to_numpy()
    rows = {name: scores(stars, np.expm1(predicted)) for name, predicted in predictions_by_method.items()}
    print(f"{len(stars)} repositories, policy {arguments.policy}, {N_FOLDS} folds by {arguments.by}")
    print(pd.DataFrame(rows).T.round(4).to_string())
    seeds = [rows[f"seed {seed}"]["r2"] for seed in range(N_SEEDS)]
    print(f"seeds: R² {np.mean(seeds):.4f} with a spread of {np.std(seeds, ddof=1):.4f}")
    print(f"standard error of R² over repositories: {_error(stars, predictions_by_method['seed 0']):.4f}")


def predictions(repositories: pd.DataFrame, policy: str, by: str, budget: float, cores: int) -> dict[str, np.ndarray]:
    """Return out-of-fold predictions of log1p(stars) by each method; FLAML has ``budget`` [s] per fold."""
    target = np.log1p(repositories["stars"].to_numpy())
    predictions_by_method = {
        name: np.zeros(len(target)) for name in (*(f"seed {seed}" for seed in range(N_SEEDS)), "FLAML")
    }
    for (train, test, row_folds), learned in zip(
        outer_folds(repositories, by), fit_encodings(repositories, by), strict=True
    ):
        inputs, _, arrays, _names = training_arrays(repositories, target, policy, row_folds, learned)
        for seed in range(N_SEEDS):
            model = fit(FAMILIES["lightgbm"], ROUNDS, arrays, np.arange(len(train)), seed)
            predictions_by_method[f"seed {seed}"][test] = np.maximum(model.predict(inputs[test]), 0.0)
        best = automl(_out_of_fold(arrays), arrays.target, budget, n_jobs=cores, estimator_list=FAMILIES_OF_FLAML)
        print(f"FLAML chose {best.best_estimator}: {best.best_config}", flush=True)
        predictions_by_method["FLAML"][test] = np.maximum(best.predict(inputs[test]), 0.0)
    return {
        **predictions_by_method,
        f"mean of {N_SEEDS} seeds": np.mean([predictions_by_method[f"seed {seed}"] for seed in range(N_SEEDS)], axis=0),
    }


def _out_of_fold(arrays: Arrays) -> np.ndarray:
    """Return the inputs with out-of-fold encodings, for a library that does not fit encoders per fold."""
    inputs = arrays.inputs.copy()
    for fold in np.unique(arrays.folds):
        rows = arrays.folds == fold
        inputs[rows] = arrays.without(int(fold))[rows]
    return inputs


def _error(stars: np.ndarray, predicted: np.ndarray) -> float:
    random = np.random.default_rng(0)
    draws = (random.integers(0, len(stars), len(stars)) for _ in range(N_DRAWS))
    return float(np.std([scores(stars[rows], np.expm1(predicted[rows]))["r2"] for rows in draws], ddof=1))


if __name__ == "__main__":
    main()
