"""The program of one family that is screened: arrays in by a file, scores out by a file, nothing else."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from stargaze.bundle.serialization import serialize_model
from stargaze.config import POLICIES
from stargaze.system.files import write_json
from stargaze.tuning.cross_validation import Arrays, cross_validate, fit, summarize_folds
from stargaze.tuning.families import FAMILIES, Family


def main(argv: list[str]) -> None:
    """Cross-validate a family under each policy and write a row for each as soon as it is there: NAME DATA RESULTS SEED."""
    name, data, results, seed = argv
    for policy in reversed(POLICIES):
        arrays = Arrays.load(Path(data) / f"{policy}.npz")
        row = judge(FAMILIES[name], arrays, int(seed))
        write_json(Path(results) / f"{name}-{policy}.json", row)


def judge(family: Family, arrays: Arrays, seed: int) -> dict[str, float]:
    """Return the scores of a family, and the size [MB] of one model fitted on all rows."""
    row = summarize_folds(list(cross_validate(family, {}, arrays, seed)), arrays)
    whole = fit(family, {}, arrays, np.arange(len(arrays.target)), seed)
    return {key: round(value, 5) for key, value in {**row, "size_mb": len(serialize_model(whole)[1]) / 1e6}.items()}


if __name__ == "__main__":
    main(sys.argv[1:])
