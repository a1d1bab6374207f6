"""Compare factors from the typical count of stars to the mean on the held-out predictions of a tuning.

    python benchmarks/retransformation.py store/held_out.parquet

The store was tuned with the metric rmsle. For each policy: no factor, Duan's smearing (the mean of exp(residual)), the factor of
stars + 1 with the least squares, and the smaller of both, which tune uses. Inner: each training fold with the factor of the other
folds. Outer: validation and test rows with the factor of all folds. Sum: predicted stars over true ones there.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from stargaze.config import POLICIES
from stargaze.tuning.metrics import scores
from stargaze.tuning.retransformation import find_offset, fit_factor, smear

FACTORS = {
    "none": lambda _predicted, _target: 0.0,
    "smearing": smear,
    "least squares": fit_factor,
    "smaller of both": find_offset,
}


def rmse(predicted: np.ndarray, target: np.ndarray) -> float:
    """Return the error [stars]."""
    return scores(np.expm1(target), np.expm1(np.maximum(predicted, 0.0)))["rmse"]


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("held_out", type=Path)
    frame = pd.read_parquet(parser.parse_args().held_out)
    training, others = (frame[(frame["set"] == "training") == chosen] for chosen in (True, False))
    print(f"{'policy':9}{'factor':17}{'value':>8}{'inner RMSE':>12}{'outer RMSE':>12}{'sum':>7}")
    for policy in POLICIES:
        predicted, target = (np.log1p(training[name].to_numpy()) for name in (f"predicted_{policy}", "stars"))
        new_predicted, new_target = (np.log1p(others[name].to_numpy()) for name in (f"predicted_{policy}", "stars"))
        folds = training["fold"].to_numpy()
        for name, find in FACTORS.items():
            inner = [
                rmse(
                    predicted[folds == fold] + find(predicted[folds != fold], target[folds != fold]),
                    target[folds == fold],
                )
                for fold in np.unique(folds)
            ]
            offset = find(predicted, target)
            total = np.expm1(new_predicted + offset).sum() / np.expm1(new_target).sum()
            row = f"{np.exp(offset):8.2f}{np.mean(inner):12,.0f}{rmse(new_predicted + offset, new_target):12,.0f}{total:7.2f}"
            print(f"{policy:9}{name:17}{row}")


if __name__ == "__main__":
    main()
