"""What missing values cost: the error of models fitted with and without masked copies, and the intervals of partial records.

    python benchmarks/missing_values.py --sample electron
    python benchmarks/missing_values.py --sample best-of --models-only

For each split, the features are selected and LightGBM with the defaults of its family is fitted in three ways: on complete rows,
on masked copies too as in a bundle, and on copies with the weight of their row and as many leaves as for complete rows. The
first table has their RMSLE on the test rows, complete and with the missing values of each pattern.

Then a bundle of that family is saved. The second table has the stars that it expects of a repository of which nothing but the
forks are known, and how often the removal of a field makes the intervals of the test rows narrower by more than 5% on average,
in random orders of all fields; and the coverage of the intervals of each pattern.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from evaluation import add_table_arguments, read_table

from stargaze.bundle.star_bundle import Bundle
from stargaze.config import FeaturesSection, TuningSection
from stargaze.features import schema
from stargaze.features.dataset import Dataset, FeatureSet, read_dataset
from stargaze.features.masking import choose_copies, maskable_fields, remove_fields
from stargaze.features.matrix import CATALOG
from stargaze.features.selection.select_features import select
from stargaze.store import Store
from stargaze.tuning.cross_validation import Arrays, fit
from stargaze.tuning.families import FAMILIES
from stargaze.tuning.search.racing import DONE
from stargaze.tuning.training.policy_rows import PolicyRows
from stargaze.tuning.training.save import save_best

FAMILY = FAMILIES["lightgbm"]
FORKS = (1.0, 10.0, 100.0, 1_000.0, 10_000.0)
ORDERS, MOST_NARROWING = 12, 0.05


def main() -> None:
    """Read the arguments, measure each split, print two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_table_arguments(parser)
    parser.add_argument("--splits", type=int, default=4)
    parser.add_argument("--models-only", action="store_true", help="do not save bundles")
    arguments = parser.parse_args()
    repositories = read_table(arguments.files, arguments.config, arguments.sample)
    errors, answers = list[dict[str, object]](), list[dict[str, object]]()
    for seed in range(arguments.splits):
        with tempfile.TemporaryDirectory() as folder:
            store = Store(Path(folder))
            repositories.to_parquet(store.repositories)
            section = FeaturesSection(seed=seed, split_by=arguments.by)
            table = read_dataset(store, section)
            feature_set = select(table, section).feature_set
            errors += model_errors(table, feature_set, seed)
            if not arguments.models_only:
                answers.append({"split": seed, **bundle_answers(save(store, table, feature_set), table)})
    frame = pd.DataFrame(errors)
    print(frame.groupby("fitted on", sort=False).mean().drop(columns="split").round(4).to_string())
    if answers:
        print(pd.DataFrame(answers).round(3).to_string(index=False))


def model_errors(table: Dataset, feature_set: FeatureSet, seed: int) -> Iterator[dict[str, object]]:
    """Yield the RMSLE [nat] of LightGBM under policy ``all`` for each way of fitting, by pattern of missing values."""
    copies = choose_copies(table.repositories, table.folds)
    rows = PolicyRows.of(table, table.masked(copies, seed), copies, feature_set, "all")
    n = len(rows.training)
    both, complete = rows.with_copies(rows.training), rows.complete.take(rows.training)
    full = replace(both, weights=np.ones(len(both.target)))
    defaults = FAMILY.at(n).defaults
    for name, arrays, parameters in (
        ("complete rows", complete, defaults),
        ("copies too", both, FAMILY.with_copies(defaults, n)),
        ("copies of full weight", full, defaults),
    ):
        yield {"fitted on": name, "split": seed, **_errors(arrays, parameters, rows, seed)}


def _errors(arrays: Arrays, parameters: dict[str, object], rows: PolicyRows, seed: int) -> dict[str, float]:
    model = fit(FAMILY, parameters, arrays, np.arange(len(arrays.target)), seed)
    every = np.ones(len(rows.test), dtype=bool)
    measured = {"complete": (rows.complete.inputs[rows.test], every), **rows.measured}
    target = rows.complete.target[rows.test]
    return {
        name: float(np.sqrt(np.mean((np.maximum(model.predict(inputs[known]), 0.0) - target[known]) ** 2)))
        for name, (inputs, known) in measured.items()
    }


def save(store: Store, table: Dataset, feature_set: FeatureSet) -> Bundle:
    """Save a bundle of the family's defaults, and load it."""
    parameters = FAMILY.at(len(table.training)).defaults
    trial = {"number": 0, "family": FAMILY.name, "parameters": parameters, "rmsle": 0.0, "folds": [0.0], "seconds": 0.0}
    folder, _scores = save_best(
        TuningSection(ensemble_size=1), store, table, feature_set, [{**trial, "stopped": DONE, "race": None}]
    )
    return Bundle.load(folder)


def bundle_answers(bundle: Bundle, table: Dataset) -> dict[str, float]:
    """Return estimates for nothing but forks [stars], and the share and the size of steps that narrow intervals."""
    forks = pd.DataFrame({"full_name": [f"owner/{i}" for i in range(len(FORKS))], "forks": FORKS})
    expected = np.expm1(bundle.estimate(schema.conform(forks.assign(fetched_at="2020-01-01"))).predicted)
    result = {f"{count:g} forks": float(stars) for count, stars in zip(FORKS, expected, strict=True)}
    repositories = table.repositories.iloc[table.test]
    used = {field for name in CATALOG for field in CATALOG[name].source}
    fields = [name for name in maskable_fields(repositories) if name in used]
    largest = [_largest_narrowing(bundle, repositories, fields, seed) for seed in range(ORDERS)]
    result |= {"orders": ORDERS, "narrower": sum(size > MOST_NARROWING for size in largest), "largest": max(largest)}
    patterns = bundle.meta["scores"]["all"]["patterns"]
    return result | {f"coverage, {row['pattern']}": row["coverage"] for row in patterns}


def _largest_narrowing(bundle: Bundle, repositories: pd.DataFrame, fields: list[str], seed: int) -> float:
    """Remove the fields in a random order; return the largest decrease of the mean width [fraction], 0 if none."""
    partial, widths = repositories, [_mean_width(bundle, repositories)]
    for field in np.random.default_rng(seed).permutation(fields).tolist():
        partial = remove_fields(partial, [field], np.zeros((len(partial), 1), dtype=bool))
        widths.append(_mean_width(bundle, partial))
    return max(0.0, *(1.0 - after / before for before, after in itertools.pairwise(widths)))


def _mean_width(bundle: Bundle, repositories: pd.DataFrame) -> float:
    answer = bundle.estimate(repositories)
    return float(np.mean(np.log1p(answer.high) - np.log1p(answer.low)))


if __name__ == "__main__":
    main()
