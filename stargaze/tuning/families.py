"""The model families: how each is built and where its parameters are searched.

A new family is one row of :data:`FAMILIES`. ``build`` takes parameters, the categorical columns and a seed; it returns an
estimator on float matrices, with NaN for missing values, that predicts log1p(stars) [nat].
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from stargaze.errors import UsageError, did_you_mean

Parameters = Mapping[str, Any]
Build = Callable[[Parameters, Sequence[int], int], Any]


@dataclass(frozen=True)
class Range:
    """The search range of a parameter."""

    low: float
    high: float
    kind: Literal["int", "float"] = "float"
    log: bool = False


@dataclass(frozen=True)
class Choice:
    """The values of a parameter that has only a few."""

    values: tuple[Any, ...]


@dataclass(frozen=True)
class Family:
    """One kind of model."""

    name: str
    meaning: str
    build: Build
    defaults: dict[str, Any] = field(default_factory=dict)
    space: dict[str, Range | Choice] = field(default_factory=dict)
    max_rows: int = 0
    """Maximum number of rows to fit on, 0 for all: for families whose cost grows faster than the rows."""
    starts: tuple[dict[str, Any], ...] = ()
    """Configurations that often perform well: tried right after the defaults."""
    finds_rounds: bool = False
    """Whether a trial finds the number of boosting rounds itself, on folds that LightGBM has binned once."""
    extra: str = ""
    """The optional package that the family needs, which is also the name of the extra; empty if it needs none."""

    @property
    def installed(self) -> bool:
        """Whether its package is installed; nothing is imported."""
        return not self.extra or importlib.util.find_spec(self.extra) is not None


def _import_class(path: str) -> Any:
    """Import a class only when a model of it is built, because these packages load slowly."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def _estimator(path: str, parameters: Parameters, seed: int) -> Any:
    """Return an estimator of scikit-learn, with the seed if it takes one."""
    estimator = _import_class(f"sklearn.{path}")(**parameters)
    return estimator.set_params(random_state=seed) if "random_state" in estimator.get_params() else estimator


def _build_scaled(path: str, parameters: Parameters, categories: Sequence[int], seed: int, **fixed: Any) -> Any:
    """Build an estimator that needs complete, comparable columns: ranks for numbers, target means for categories.

    The encoder is fitted inside each fold, so the mean of a category never contains the row that is predicted.
    """
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.model_selection import KFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import QuantileTransformer, StandardScaler, TargetEncoder

    numbers = make_pipeline(
        SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True),
        QuantileTransformer(n_quantiles=200, output_distribution="normal", subsample=50_000, random_state=0),
        StandardScaler(),
    )
    encoder = make_pipeline(
        SimpleImputer(strategy="constant", fill_value=-1.0),
        TargetEncoder(target_type="continuous", cv=KFold(shuffle=True, random_state=0)),
        StandardScaler(),
    )
    columns = make_column_transformer((encoder, list(categories)), remainder=numbers) if categories else numbers
    return make_pipeline(columns, _estimator(path, {**fixed, **parameters}, seed))


def _build_filled(path: str, parameters: Parameters, _categories: Sequence[int], seed: int, **fixed: Any) -> Any:
    """Build an estimator that needs complete columns; categories are numbers to it."""
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline

    imputer = SimpleImputer(strategy="constant", fill_value=-1.0, keep_empty_features=True)
    return make_pipeline(imputer, _estimator(path, {**fixed, **parameters}, seed))


def _build_categorical(path: str, parameters: Parameters, categories: Sequence[int], seed: int) -> Any:
    """Build one of our own estimators, which handle categories and missing values themselves."""
    return _import_class(f"stargaze.tuning.{path}")(dict(parameters), tuple(categories), seed)


def _build_dummy(parameters: Parameters, _categories: Sequence[int], seed: int) -> Any:
    return _estimator("dummy.DummyRegressor", {"strategy": "median", **parameters}, seed)


def _build_histogram_boosting(parameters: Parameters, categories: Sequence[int], seed: int) -> Any:
    fixed = {"early_stopping": False, "categorical_features": list(categories) or None}
    return _estimator("ensemble.HistGradientBoostingRegressor", {**fixed, **parameters}, seed)


def _build_perceptron(parameters: Parameters, categories: Sequence[int], seed: int) -> Any:
    others = dict(parameters)
    width = others.pop("width")
    layers = {"hidden_layer_sizes": (width, width // 2), "early_stopping": True}
    return _build_scaled("neural_network.MLPRegressor", {**layers, **others}, categories, seed)


FOREST_SPACE: dict[str, Range | Choice] = {
    "min_samples_leaf": Range(2, 20, "int", log=True),
    "max_features": Range(0.1, 0.7),
}
FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family("dummy", "the median: the baseline for every model", _build_dummy),
        Family(
            "ridge",
            "linear, squared penalty",
            partial(_build_scaled, "linear_model.Ridge"),
            {"alpha": 10.0},
            {"alpha": Range(1e-2, 1e4, log=True)},
        ),
        Family(
            "elastic-net",
            "linear, mixed penalty",
            partial(_build_scaled, "linear_model.ElasticNet", max_iter=5_000),
            {"alpha": 0.003, "l1_ratio": 0.5},
            {"alpha": Range(1e-4, 1.0, log=True), "l1_ratio": Range(0.05, 1.0)},
        ),
        Family(
            "nearest-neighbors",
            "mean of the most similar repositories",
            partial(_build_scaled, "neighbors.KNeighborsRegressor"),
            {"n_neighbors": 20, "weights": "distance", "p": 2},
            {
                "n_neighbors": Range(3, 100, "int", log=True),
                "weights": Choice(("uniform", "distance")),
                "p": Choice((1, 2)),
            },
        ),
        Family(
            "support-vectors",
            "radial kernel",
            partial(_build_scaled, "svm.SVR", cache_size=500),
            {"C": 1.0, "epsilon": 0.2, "gamma": "scale"},
            {
                "C": Range(0.1, 30.0, log=True),
                "epsilon": Range(0.02, 0.6),
                "gamma": Choice(("scale", 0.003, 0.01, 0.03)),
            },
            max_rows=6_000,
        ),
        Family(
            "random-forest",
            "bagged trees",
            partial(_build_filled, "ensemble.RandomForestRegressor", n_jobs=1),
            {"n_estimators": 150, "min_samples_leaf": 3, "max_features": 0.35},
            FOREST_SPACE,
        ),
        Family(
            "extra-trees",
            "bagged trees with random cuts",
            partial(_build_filled, "ensemble.ExtraTreesRegressor", n_jobs=1),
            {"n_estimators": 150, "min_samples_leaf": 3, "max_features": 0.5},
            FOREST_SPACE,
        ),
        Family(
            "histogram-boosting",
            "scikit-learn's boosted trees on binned columns",
            _build_histogram_boosting,
            {
                "learning_rate": 0.05,
                "max_iter": 200,
                "max_leaf_nodes": 31,
                "min_samples_leaf": 20,
                "l2_regularization": 1.0,
                "max_features": 1.0,
            },
            {
                "learning_rate": Range(0.02, 0.15, log=True),
                "max_iter": Range(100, 500, "int"),
                "max_leaf_nodes": Range(7, 63, "int", log=True),
                "min_samples_leaf": Range(5, 80, "int", log=True),
                "l2_regularization": Range(1e-3, 30.0, log=True),
                "max_features": Range(0.2, 1.0),
            },
        ),
        Family(
            "perceptron",
            "neural network, two hidden layers",
            _build_perceptron,
            {"width": 64, "alpha": 1e-3, "learning_rate_init": 3e-3, "max_iter": 60},
            {
                "width": Range(16, 256, "int", log=True),
                "alpha": Range(1e-5, 1.0, log=True),
                "learning_rate_init": Range(3e-4, 1e-2, log=True),
                "max_iter": Choice((60,)),
            },
        ),
        Family(
            "lightgbm",
            "boosted trees grown leaf by leaf",
            partial(_build_categorical, "lightgbm_estimator.CategoricalLightGBM"),
            {
                "learning_rate": 0.04,
                "n_estimators": 300,
                "num_leaves": 31,
                "min_child_samples": 20,
                "colsample_bytree": 0.5,
                "subsample": 0.8,
                "reg_lambda": 1.0,
                "cat_smooth": 20.0,
            },
            {
                "learning_rate": Range(0.015, 0.12, log=True),
                "num_leaves": Range(7, 95, "int", log=True),
                "min_child_samples": Range(5, 80, "int", log=True),
                "colsample_bytree": Range(0.2, 1.0),
                "subsample": Range(0.5, 1.0),
                "reg_lambda": Range(1e-3, 50.0, log=True),
                "cat_smooth": Range(5.0, 100.0, log=True),
            },
            starts=(
                {"learning_rate": 0.03, "num_leaves": 15, "min_child_samples": 20, "colsample_bytree": 0.35},
                {"learning_rate": 0.03, "num_leaves": 63, "min_child_samples": 40, "colsample_bytree": 0.4},
            ),
            finds_rounds=True,
        ),
        Family(
            "xgboost",
            "boosted trees with a penalty on their leaves",
            partial(_build_categorical, "extra_estimators.CategoricalXGBoost"),
            {
                "learning_rate": 0.05,
                "n_estimators": 250,
                "max_depth": 6,
                "min_child_weight": 5.0,
                "colsample_bytree": 0.5,
                "subsample": 0.8,
                "reg_lambda": 1.0,
            },
            {
                "learning_rate": Range(0.015, 0.12, log=True),
                "n_estimators": Range(150, 900, "int", log=True),
                "max_depth": Range(3, 10, "int"),
                "min_child_weight": Range(1.0, 50.0, log=True),
                "colsample_bytree": Range(0.2, 1.0),
                "subsample": Range(0.5, 1.0),
                "reg_lambda": Range(1e-3, 50.0, log=True),
            },
            extra="xgboost",
        ),
        Family(
            "catboost",
            "boosted trees with one split per level",
            partial(_build_categorical, "extra_estimators.CategoricalCatBoost"),
            {"learning_rate": 0.06, "iterations": 400, "depth": 6, "l2_leaf_reg": 3.0, "rsm": 0.7},
            {
                "learning_rate": Range(0.02, 0.15, log=True),
                "iterations": Range(150, 1200, "int", log=True),
                "depth": Range(4, 8, "int"),
                "l2_leaf_reg": Range(0.5, 30.0, log=True),
                "rsm": Range(0.2, 1.0),
            },
            extra="catboost",
        ),
    )
}


def select_families(names: Sequence[str]) -> list[str]:
    """Return the families to compare: the named or all installed ones, and always the dummy.

    Raise UsageError if a family is unknown or not installed.

    Examples
    --------
    >>> select_families(["ridge"])
    ['dummy', 'ridge']
    """
    unknown = [name for name in names if name not in FAMILIES]
    if unknown:
        hint = did_you_mean(unknown[0], FAMILIES, "families: " + ", ".join(FAMILIES))
        raise UsageError(f"{', '.join(unknown)}: no such family", hint=hint)
    missing = [FAMILIES[name].extra for name in names if not FAMILIES[name].installed]
    if missing:
        raise UsageError(f"{', '.join(missing)} is not installed", hint=f"pip install 'stargaze[{','.join(missing)}]'")
    return list(dict.fromkeys(["dummy", *(names or [name for name in FAMILIES if FAMILIES[name].installed])]))
