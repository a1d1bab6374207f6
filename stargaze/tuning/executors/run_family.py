"""The program of one screened family: reads arrays from files and writes scores to files."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from stargaze.bundle.serialization import serialize_model
from stargaze.system.files import write_json
from stargaze.tuning.cross_validation import Arrays, Fold, cross_validate, summarize_folds
from stargaze.tuning.families import FAMILIES
from stargaze.tuning.family import Family


def main(argv: list[str]) -> None:
    """Cross-validate a family with each policy and write each row: NAME DATA RESULTS SEED POLICY..."""
    name, data, results, seed, *policies = argv
    for policy in policies:
        arrays = Arrays.load(Path(data) / f"{policy}.npz")
        row = score_family(FAMILIES[name], arrays, int(seed))
        write_json(Path(results) / f"{name}-{policy}.json", row)


def score_family(family: Family, arrays: Arrays, seed: int) -> dict[str, float]:
    """Return the cross-validation scores of a family and the size [MB] of the model of its last fold."""
    folds, size = list[Fold](), 0
    for fold in cross_validate(family, {}, arrays, seed):
        if fold.fold == arrays.folds.max():
            size = len(serialize_model(fold.model)[1])
        folds.append(replace(fold, model=None))
    scores = summarize_folds(folds, arrays) | {"size_mb": size / 1e6}
    return {key: round(value, 5) for key, value in scores.items()}


if __name__ == "__main__":
    main(sys.argv[1:])
