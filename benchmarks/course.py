"""On the data of two course projects: this model beside scikit-learn's random forest at its defaults on the raw columns.

    python benchmarks/course.py ../shared/data/deii-2025-alireza.csv ../shared/data/deii-2023-linus.csv

Ten random 70/30 splits, the same rows for both. Each file is read with the mapping in examples/ whose name it holds. Duplicates
are merged first: a repository on both sides would flatter the forest. The forest gets every column of the file but the stars
and names: numbers as they are, words and dates as codes and days. Refused on both sides are columns that hold the stars
themselves (REST's watchers) and the row number of a table that was sorted by stars, page after page: from its row number alone
a forest reads a repository's stars off its neighbours.
"""

from __future__ import annotations

import argparse
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
from judge import columns
from sklearn.ensemble import RandomForestRegressor

from stargaze import config
from stargaze.artifacts import Store
from stargaze.config import FeaturesSection
from stargaze.features import schema
from stargaze.features.fetch import fetch
from stargaze.tuning.families import FAMILIES
from stargaze.tuning.folds import Arrays, cross_validate, fit
from stargaze.tuning.metrics import scores

N_SPLITS = 10
SMALL = {"lightgbm": {"n_estimators": 200, "learning_rate": 0.03, "num_leaves": 15, "colsample_bytree": 0.4}}
"""A thousand repositories want smaller trees than ten thousand."""
RIVALS = ("lightgbm", "histogram-boosting", "random-forest", "extra-trees")
EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def main() -> None:
    """Compare on each file and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    for file in parser.parse_args().files:
        example = next(path for path in sorted(EXAMPLES.glob("*.toml")) if path.stem in file.stem)
        repositories, raw, refused = _read(file, example)
        rows = [_compare(repositories, raw, seed) for seed in range(N_SPLITS)]
        print(
            f"\n{file.name}: {len(repositories)} repositories; mean of {N_SPLITS} splits; refused: {refused or 'nothing'}"
        )
        for name in rows[0]:
            mean = pd.DataFrame([row[name] for row in rows]).mean()
            print(f"  {name:14}" + "  ".join(f"{key} {value:9.4f}" for key, value in mean.items()))
        ahead = {key: sum(_better(key, row) for row in rows) for key in ("rmsle", "rho", "rmse")}
        print("  splits won    " + "  ".join(f"{key} {won} of {N_SPLITS}" for key, won in ahead.items()))


def _better(key: str, row: dict[str, dict[str, float]]) -> bool:
    gap = row["stargaze"][key] - row["random forest"][key]
    return gap > 0 if key == "rho" else gap < 0


def _read(file: Path, example: Path) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    """Return the repositories, the file's own columns for the same rows, and which of these were refused."""
    section = config.load(example).fetch
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        fetch(section, store, [file], datetime.now(UTC))
        repositories = schema.conform(pd.read_parquet(store.repositories))
    raw = pd.read_csv(file)
    owner, name = section.columns.get("owner"), section.columns.get("name")
    raw.index = pd.Index((raw[owner] + "/" + raw[name] if owner and name else raw["full_name"]).str.lower())
    stars = raw[section.columns.get("stars", "stars")]
    numbers = raw.select_dtypes("number").drop(columns=stars.name)
    rank = {str(column): abs(numbers[column].corr(stars, method="spearman")) for column in numbers}
    rows = {str(column) for column in numbers if (numbers[column] == np.arange(len(raw))).all()}
    same = [column for column, rho in rank.items() if rho >= FeaturesSection().leak or column in rows]
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


def _compare(repositories: pd.DataFrame, raw: pd.DataFrame, seed: int) -> dict[str, dict[str, float]]:
    stars = repositories["stars"].to_numpy()
    order = np.random.default_rng(seed).permutation(len(stars))
    cut = round(0.7 * len(stars))
    train, test = order[:cut], order[cut:]
    forest = RandomForestRegressor(random_state=seed, n_jobs=-1).fit(raw.iloc[train], stars[train])
    return {
        "stargaze": _figures(stars[test], _ours(repositories, train, test, seed)),
        "random forest": _figures(stars[test], np.maximum(forest.predict(raw.iloc[test]), 0.0)),
    }


def _ours(repositories: pd.DataFrame, train: np.ndarray, test: np.ndarray, seed: int) -> np.ndarray:
    """Take the family that cross-validates best inside the training part, fit it, predict the test part [stars]."""
    target = np.log1p(repositories["stars"].to_numpy())
    inputs, places = columns(repositories, target, "all", train)
    folds = np.random.default_rng(seed).integers(0, 4, len(train))
    arrays = Arrays(inputs[train], target[train], folds, places)
    best = min(RIVALS, key=lambda name: _error(name, arrays, seed))
    model = fit(FAMILIES[best], SMALL.get(best, {}), arrays, np.arange(len(train)), seed)
    return np.expm1(np.maximum(model.predict(inputs[test]), 0.0))


def _error(name: str, arrays: Arrays, seed: int) -> float:
    folds = cross_validate(FAMILIES[name], SMALL.get(name, {}), arrays, seed)
    return float(np.mean([fold.rmsle for fold in folds]))


def _figures(stars: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    found = scores(stars, predicted)
    rmse = float(np.sqrt(np.mean((stars - predicted) ** 2)))
    r2 = 1.0 - float(np.sum((stars - predicted) ** 2) / np.sum((stars - stars.mean()) ** 2))
    return {"rmsle": found["rmsle"], "rho": found["rho"], "r2_log": found["r2"], "r2": r2, "rmse": rmse}


if __name__ == "__main__":
    main()
