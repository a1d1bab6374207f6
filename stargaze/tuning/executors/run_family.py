"""The program of one screened family: reads arrays from files and writes scores to files."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from stargaze.bundle.serialization import serialize_model
from stargaze.config import POLICIES
from stargaze.system.files import write_json
from stargaze.tuning.cross_validation import Arrays, cross_validate, fit, summarize_folds
from stargaze.tuning.families import FAMILIES
from stargaze.tuning.family import Family


def main(argv: list[str]) -> None:
    """Cross-validate a family with each policy, the largest first, and write each row: NAME DATA RESULTS SEED."""
    name, data, results, seed = argv
    for policy in reversed(POLICIES):
        arrays = Arrays.load(Path(data) / f"{policy}.npz")
        row = score_family(FAMILIES[name], arrays, int(seed))
        write_json(Path(results) / f"{name}-{policy}.json", row)


def score_family(family: Family, arrays: Arrays, seed: int) -> dict[str, float]:
    """Return the cross-validation scores of a family and the size [MB] of a model fitted on all rows."""
    scores = summarize_folds(list(cross_validate(family, {}, arrays, seed)), arrays)
    model = fit(family, {}, arrays, np.arange(len(arrays.target)), seed)
    return {key: round(value, 5) for key, value in {**scores, "size_mb": len(serialize_model(model)[1]) / 1e6}.items()}


if __name__ == "__main__":
    main(sys.argv[1:])
