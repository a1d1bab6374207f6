"""What monotone constraints cost: the error of LightGBM if more of a count may never lower the estimate, and without constraints.

    python benchmarks/monotone.py --sample electron --splits 2
    python benchmarks/monotone.py FILE --config examples/bestof.toml --by repository --splits 2

A count and its daily rate never lower the estimate. So that this holds for the field of the record too, the ratios of such counts
are either left out ("without ratios") or constrained ("with ratios"): a ratio of such a count may only raise the estimate, one by
such a count may only lower it, and one of two such counts is left out. "Counts only" leaves all ratios free: then more of a
count may lower the estimate through a ratio.
The difference is that of RMSLE to the free model, with the standard error of the paired squared errors.
"""

from __future__ import annotations

import argparse
from collections.abc import Collection

import numpy as np
import pandas as pd
from evaluation import N_FOLDS, add_table_arguments, fit_encodings, outer_folds, read_table, training_arrays

from stargaze.config import POLICIES
from stargaze.features.matrix import CATALOG
from stargaze.tuning.cross_validation import Arrays, fit
from stargaze.tuning.families import FAMILIES

PAIR = frozenset({"forks", "contributors"})
POPULARITY = PAIR | {"subscribers", "dependents", "downloads", "monthly_downloads"}
ALL_COUNTS = POPULARITY | {"commits", "releases", "pull_requests", "issues", "owner_followers", "mentionable_users"}
SETS = {"forks, contributors": PAIR, "six counts": POPULARITY, "twelve counts": ALL_COUNTS}


def main() -> None:
    """Read the arguments, fit each set of constraints, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_table_arguments(parser)
    parser.add_argument("--policy", choices=POLICIES, default="all")
    parser.add_argument("--splits", type=int, choices=range(1, N_FOLDS + 1), default=N_FOLDS)
    arguments = parser.parse_args()
    repositories = read_table(arguments.files, arguments.config, arguments.sample)
    squared = squared_errors(repositories, arguments.policy, arguments.by, arguments.splits)
    free = squared["free"]
    print(
        f"{len(free)} held-out repositories, {arguments.policy}; RMSLE without constraints {np.sqrt(free.mean()):.4f}"
    )
    for name, values in squared.items():
        difference = values - free
        slope = 2.0 * np.sqrt(free.mean())  # of the squared error by its root
        error = difference.std(ddof=1) / np.sqrt(len(free)) / slope
        print(f"  {name:36}{np.sqrt(values.mean()) - np.sqrt(free.mean()):+.4f} ± {error:.4f}")


def squared_errors(repositories: pd.DataFrame, policy: str, by: str, splits: int) -> dict[str, np.ndarray]:
    """Return the squared error of each held-out repository [nat²] under each set of constraints."""
    target = np.log1p(repositories["stars"].to_numpy())
    folds = list(zip(outer_folds(repositories, by), fit_encodings(repositories, by), strict=True))
    errors: dict[str, list[np.ndarray]] = {}
    for (_train, test, row_folds), encodings in folds[:splits]:
        inputs, _categories, arrays, names = training_arrays(repositories, target, policy, row_folds, encodings)
        plans = {"free": ([0] * len(names), list[int]())}
        plans |= {
            f"{label}, {ratios}": constrain(names, counts, ratios)
            for ratios in ("counts only", "without ratios", "with ratios")
            for label, counts in SETS.items()
        }
        for label, (constraints, left_out) in plans.items():
            predicted = np.maximum(_predict(arrays, inputs[test], constraints, left_out), 0.0)
            errors.setdefault(label, []).append((predicted - target[test]) ** 2)
    return {label: np.concatenate(parts) for label, parts in errors.items()}


def constrain(names: list[str], counts: Collection[str], ratios: str) -> tuple[list[int], list[int]]:
    """Return the constraint of each feature, 1, 0 or -1, and the positions of the features that are left out."""
    constraints, left_out = [0] * len(names), list[int]()
    for position, name in enumerate(names):
        count, by = name.split("_per_") if "_per_" in name else (name.removesuffix("_rate"), "")
        rises, falls = f"{count.removesuffix('s')}s" in counts or count in counts, f"{by}s" in counts
        if by and ratios == "counts only":
            continue
        if (rises and falls) or (by and (rises or falls) and ratios == "without ratios"):
            left_out.append(position)
        else:
            constraints[position] = int(rises) - int(falls)
        if CATALOG[name].kind == "category":
            constraints[position] = 0
    return constraints, left_out


def _predict(arrays: Arrays, inputs: np.ndarray, constraints: list[int], left_out: list[int]) -> np.ndarray:
    parameters = {"monotone_constraints": constraints, "monotone_constraints_method": "advanced"}
    training, held_out = arrays.inputs.copy(), inputs.copy()
    training[:, left_out] = held_out[:, left_out] = 0.0
    kept = Arrays(training, arrays.target, arrays.folds, arrays.categories)
    model = fit(FAMILIES["lightgbm"], parameters if any(constraints) else {}, kept, np.arange(len(training)), 0)
    return np.asarray(model.predict(held_out))


if __name__ == "__main__":
    main()
