"""Small valid bundles, one for each type of file, and the type's mutation."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stargaze.bundle.population_density import LEVELS, N_QUANTILES, PopulationDensity
from stargaze.bundle.prediction_intervals import append_prediction
from stargaze.bundle.repository_sets import RepositorySets
from stargaze.bundle.serialization import Ensemble
from stargaze.bundle.write import write_bundle
from stargaze.config import FeaturesSection, GrowthSection, TuningSection
from stargaze.features import schema
from stargaze.features.encoding.encoder import Encoder
from stargaze.features.encoding.tokens import tokenize
from stargaze.features.matrix import build_matrix, build_vocabulary, catalog_with
from stargaze.features.own_columns import OwnColumn, conform, declare_own_columns
from stargaze.features.split import assign_folds
from stargaze.store import Store
from stargaze.tuning.cross_validation import Arrays, fit
from stargaze.tuning.families import FAMILIES
from stargaze.tuning.growth.tune_growth import tune_growth
from tests.fuzz import mutations
from tests.fuzz.mutations import Mutate
from tests.histories import histories

BUNDLE_FILES = (
    *("bundle.json", "manifest.json", "known.parquet", "encoder.npz", "sets.bin", "population.bin", "lightgbm"),
    *("catboost", "skops", "growth bundle.json", "growth lightgbm"),
)
"""Names of the types of bundle files."""
SAMPLE = Path(__file__).parents[2] / "stargaze" / "data" / "electron.parquet"
ROWS = 60
FEATURES = {
    "activity": ["language", "owner_type", "contributors", "releases", "size_kb"],
    "all": ["language", "owner_type", "contributors", "releases", "forks", "subscribers"],
}
ENCODED = {policy: [*names, "text_score", "language_stars", "text_component_1"] for policy, names in FEATURES.items()}
OWN_COLUMNS = (OwnColumn("points", "number", "all"), OwnColumn("team: [a–z]", "category", "activity"))
WITH_OWN = {"activity": [*FEATURES["activity"], "team: [a–z]"], "all": [*FEATURES["all"], "points", "team: [a–z]"]}
SMALL: dict[str, dict[str, Any]] = {
    "lightgbm": {"n_estimators": 6, "num_leaves": 6, "min_child_samples": 3, "cat_smooth": 1.0},
    "catboost": {"iterations": 4, "depth": 3},
    "histogram-boosting": {"max_iter": 4, "max_leaf_nodes": 6, "min_samples_leaf": 3},
    "random-forest": {"n_estimators": 3},
    "extra-trees": {"n_estimators": 3},
    "nearest-neighbors": {"n_neighbors": 4},
    "perceptron": {"width": 8, "max_iter": 3},
}


@dataclass(frozen=True)
class Variant:
    """A valid bundle as file name → content, the file that is changed, and how."""

    files: Mapping[str, bytes]
    file: str
    mutate: Mutate


@dataclass(frozen=True)
class FileType:
    """One type of file, in one or several valid bundles, which the cases use in turn."""

    name: str
    kind: str
    """Kind of the bundle: stars or growth."""
    variants: tuple[Variant, ...]

    @property
    def is_model(self) -> bool:
        """Whether it is a model, and the other files are valid."""
        return self.name in {"lightgbm", "catboost", "skops", "growth lightgbm"}

    @property
    def changes_predictions(self) -> bool:
        """Whether it can change the predictions; whoever signs a changed file can sign its predictions too."""
        return self.is_model or self.name in {"encoder.npz", "known.parquet", "sets.bin", "population.bin"}


def create_file_types(folder: Path) -> list[FileType]:
    """Fit small models and return all types of files."""
    names = ["lightgbm", "catboost", *filter(_is_skops, FAMILIES)]
    stars = {name: _write_star_bundle(folder / name, name, FEATURES) for name in names}
    encoded = _write_star_bundle(folder / "encoded", "lightgbm", ENCODED)
    growth = _write_growth_bundle(folder / "growth")
    plain, own = stars["lightgbm"], _write_star_bundle(folder / "own", "lightgbm", WITH_OWN)

    def one(name: str, kind: str, files: Mapping[str, bytes], file: str, mutate: Mutate) -> FileType:
        return FileType(name, kind, (Variant(files, file, mutate),))

    def both(name: str, mutate: Mutate) -> FileType:
        return FileType(name, "stars", (Variant(plain, name, mutate), Variant(own, name, mutate)))

    skops = (Variant(stars[name], "model-all-1.skops", mutations.mutate_zip) for name in names if _is_skops(name))
    types = [
        both("bundle.json", mutations.mutate_json),
        one("manifest.json", "stars", plain, "manifest.json", mutations.mutate_manifest),
        both("known.parquet", mutations.mutate_table),
        one("encoder.npz", "stars", encoded, "encoder.npz", mutations.mutate_zip),
        both("sets.bin", mutations.mutate_bytes),
        both("population.bin", mutations.mutate_bytes),
        one("lightgbm", "stars", plain, "model-all-1.txt", mutations.mutate_lightgbm),
        one("catboost", "stars", stars["catboost"], "model-all-1.json", mutations.mutate_json),
        FileType("skops", "stars", tuple(skops)),
        one("growth bundle.json", "growth", growth, "bundle.json", mutations.mutate_json),
        one("growth lightgbm", "growth", growth, "growth-30.txt", mutations.mutate_lightgbm),
    ]
    assert tuple(item.name for item in types) == BUNDLE_FILES
    return types


def write_page_bundle(folder: Path) -> None:
    """Install a small bundle, which the page of the readers' cases uses."""
    _write_star_bundle(folder / "installed", "lightgbm", ENCODED)
    (bundle,) = (folder / "installed").iterdir()
    store = Store(folder / "page")
    store.serving.mkdir(parents=True)
    store.current.symlink_to(bundle)


def _is_skops(name: str) -> bool:
    return name not in {"lightgbm", "randomized-boosting", "catboost", "dummy"}


def _write_star_bundle(parent: Path, family: str, features: dict[str, list[str]]) -> dict[str, bytes]:
    """Write a bundle whose policy "all" is predicted by one family, and return its files."""
    sample = schema.conform(pd.read_parquet(SAMPLE)).sort_values("stars", ascending=False, kind="stable")
    sample = sample.iloc[:: len(sample) // ROWS].head(ROWS).reset_index(drop=True)
    target = np.log1p(sample["stars"].to_numpy())
    own_columns = OWN_COLUMNS if features is WITH_OWN else ()
    if own_columns:
        values = {"points": np.round(target, 1), "team: [a–z]": np.where(np.arange(len(sample)) % 3, "core", "labs")}
        sample = conform(sample.assign(**values), own_columns)
    categories = [name for name in ("language", "owner_type", "team: [a–z]") if name in sample]
    vocabularies = {name: build_vocabulary(sample[name], min_count=2) for name in categories}
    encoder = Encoder.fit(tokenize(sample), target, seed=0, owners=False) if features is ENCODED else None

    def inputs(policy: str) -> np.ndarray:
        learned = encoder.transform(sample) if encoder else None
        return build_matrix(sample, features[policy], vocabularies, learned, catalog_with(own_columns)).to_numpy()

    def fit_model(name: str, rows: np.ndarray, values: np.ndarray) -> Any:
        arrays = Arrays(rows, values, np.zeros(len(rows), dtype=int), (0, 1))
        return fit(FAMILIES[name], SMALL.get(name, {}), arrays, np.arange(len(rows)), 0)

    models = {
        "activity": Ensemble((1.0,), (fit_model("lightgbm", inputs("activity"), target),)),
        "all": Ensemble((1.0,), (fit_model(family, inputs("all"), target),)),
    }
    predicted = np.clip(models["all"].predict(inputs("all")), 0.0, 20.0)
    error_inputs = append_prediction(inputs("all"), predicted)
    spread = fit_model("lightgbm", error_inputs, np.abs(target - predicted))
    prototype = {
        policy: [float(model.predict(inputs(policy)[:1])[0])]
        for policy, ensemble in models.items()
        for model in ensemble.models
    }
    prototype["all"].append(float(spread.predict(error_inputs[:1])[0]))
    meta = _star_meta(sample, features, vocabularies, prototype)
    if own_columns:
        meta["own_columns"] = declare_own_columns(own_columns)
        meta["importance"] = {"all": {"points": 0.7, "forks": 0.3}}
    sets = RepositorySets.of(sample["full_name"], assign_folds(sample["full_name"], FeaturesSection()))
    population = _population(inputs("all"), features["all"])
    return _read(write_bundle(parent, meta, models, {"all": spread}, sample, sets, encoder, population))


def _population(inputs: np.ndarray, names: list[str]) -> PopulationDensity:
    """Return a reference of which most repositories are far."""
    chosen = ["contributors", "releases", "forks"]
    values = inputs[:, [names.index(name) for name in chosen]]
    quantiles = np.nan_to_num(np.nanquantile(values, np.linspace(0, 1, N_QUANTILES), axis=0)).astype("float32")
    weights, thresholds = np.ones(len(chosen), "float32"), np.full(LEVELS, 0.5, "float32")
    density = PopulationDensity(tuple(chosen), weights, quantiles, values[:0], thresholds)
    return dataclasses.replace(density, reference=density.to_scores(values).astype("float32"))


def _star_meta(
    sample: pd.DataFrame,
    features: dict[str, list[str]],
    vocabularies: dict[str, list[str]],
    prototype: dict[str, list[float]],
) -> dict[str, Any]:
    intervals = {
        "coverage": 0.9,
        "count_classes": [0, 20],
        "prediction_classes": [0, 20],
        "radius": [[1.7, 1.2], [1.6, 1.1]],
    }
    record = json.loads(sample.head(1).dropna(axis="columns").to_json(orient="records", date_format="iso"))[0]
    scores = {"rmsle": 0.5, "r2": 0.8, "rho": None, "coverage": 0.9}
    decades = [
        {"decade": "0", "n": 5, "coverage": 0.9, "width": 1.0},
        {"decade": "1-9", "n": 500, "coverage": 0.9, "width": 2.0},
    ]
    member = {"family": "lightgbm", "parameters": {"num_leaves": 6}, "seed": 0, "weight": 1.0}
    return {
        "version": "0.1.0",
        "versions": {"numpy": np.__version__},
        "estimate_policy": "all",
        "metric": "rmsle",
        "ensemble": {policy: [member] for policy in features},
        "trials": 8,
        "requested_trials": 8,
        "seed": 0,
        "coverage": 0.9,
        "intervals": intervals,
        "answer_policies": [
            {
                "policy": "all",
                "intervals": {
                    "levels": [{"missing": 0.0, "intervals": intervals}, {"missing": 0.5, "intervals": intervals}],
                    "fields": {"forks": {"importance": 0.8, "widening": 0.01}},
                },
            }
        ],
        "features": features,
        "vocabularies": vocabularies,
        "scores": {policy: {**scores, "coverage_by_decade": decades} for policy in features},
        "split": dataclasses.asdict(FeaturesSection()),
        "star_quantiles": np.quantile(sample["stars"], np.linspace(0, 1, 21)).round(3).tolist(),
        "background": {policy: [None, *(1.0 for _ in names[1:])] for policy, names in features.items()},
        "data": {"rows": ROWS, "training_rows": ROWS, "fingerprint": "0" * 64, "latest": "2017-01-20T00:00:00+00:00"},
        "prototype": {"record": record, "predicted": prototype},
    }


def _write_growth_bundle(parent: Path) -> dict[str, bytes]:
    parent.mkdir()
    histories(120).to_parquet(parent / "history.parquet")
    section = GrowthSection(str(parent / "history.parquet"), horizons=[30], train_until="2024-02-01")
    store = Store(parent / "store")
    tune_growth(section, TuningSection(), store, now=datetime(2026, 1, 1, tzinfo=UTC))
    return _read(store.bundles / store.latest_growth.read_text().strip())


def _read(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
