"""The model families: one row each, with how it is built and where its parameters are searched.

A new family is one row in :data:`FAMILIES`. ``build`` gets parameters, the places of the categories among the columns, and
a seed, and returns an estimator on float matrices with NaN for missing values whose ``predict`` is in log1p(stars) [nat].
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from stargaze.errors import UsageError, did_you_mean

Parameters = Mapping[str, Any]
Build = Callable[[Parameters, Sequence[int], int], Any]


@dataclass(frozen=True)
class Range:
    """Where one parameter is searched."""

    low: float
    high: float
    kind: Literal["int", "float"] = "float"
    log: bool = False


@dataclass(frozen=True)
class Choice:
    """A parameter with a few values."""

    values: tuple[Any, ...]


@dataclass(frozen=True)
class Family:
    """One kind of model."""

    name: str
    meaning: str
    build: Build
    defaults: dict[str, Any] = field(default_factory=dict)
    space: dict[str, Range | Choice] = field(default_factory=dict)
    most_rows: int = 0
    """Fit on at most this many rows, 0 for all: for families whose cost grows faster than the rows."""
    starts: tuple[dict[str, Any], ...] = ()
    """Configurations that often do well: tried right after the defaults."""
    finds_rounds: bool = False
    """A trial finds the number of boosting rounds itself, on folds that LightGBM has binned once."""
    extra: str = ""
    """The package that it needs and the optional extra that brings it; empty for what is always there."""

    @property
    def installed(self) -> bool:
        """Tell whether its package is here, without importing it."""
        return not self.extra or importlib.util.find_spec(self.extra) is not None


def _dense(estimator: Any, categories: Sequence[int]) -> Any:
    """Wrap an estimator that wants complete, comparable columns: ranks for numbers, target means for categories.

    The encoder is fitted inside each fold, so a category's mean never holds the row that is predicted.
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
    return make_pipeline(columns, estimator)


def _filled(estimator: Any) -> Any:
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline

    return make_pipeline(SimpleImputer(strategy="constant", fill_value=-1.0, keep_empty_features=True), estimator)


def _dummy(_parameters: Parameters, _categories: Sequence[int], _seed: int) -> Any:
    from sklearn.dummy import DummyRegressor

    return DummyRegressor(strategy="median")


def _ridge(parameters: Parameters, categories: Sequence[int], _seed: int) -> Any:
    from sklearn.linear_model import Ridge

    return _dense(Ridge(**parameters), categories)


def _elastic_net(parameters: Parameters, categories: Sequence[int], seed: int) -> Any:
    from sklearn.linear_model import ElasticNet

    return _dense(ElasticNet(random_state=seed, max_iter=5_000, **parameters), categories)


def _nearest(parameters: Parameters, categories: Sequence[int], _seed: int) -> Any:
    from sklearn.neighbors import KNeighborsRegressor

    return _dense(KNeighborsRegressor(**parameters), categories)


def _support_vectors(parameters: Parameters, categories: Sequence[int], _seed: int) -> Any:
    from sklearn.svm import SVR

    return _dense(SVR(cache_size=500, **parameters), categories)


def _random_forest(parameters: Parameters, _categories: Sequence[int], seed: int) -> Any:
    from sklearn.ensemble import RandomForestRegressor

    return _filled(RandomForestRegressor(random_state=seed, n_jobs=1, **parameters))


def _extra_trees(parameters: Parameters, _categories: Sequence[int], seed: int) -> Any:
    from sklearn.ensemble import ExtraTreesRegressor

    return _filled(ExtraTreesRegressor(random_state=seed, n_jobs=1, **parameters))


def _histogram_boosting(parameters: Parameters, categories: Sequence[int], seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingRegressor

    chosen = list(categories) or None
    return HistGradientBoostingRegressor(
        random_state=seed, early_stopping=False, categorical_features=chosen, **parameters
    )


def _perceptron(parameters: Parameters, categories: Sequence[int], seed: int) -> Any:
    from sklearn.neural_network import MLPRegressor

    chosen = dict(parameters)
    width = chosen.pop("width")
    return _dense(
        MLPRegressor(hidden_layer_sizes=(width, width // 2), early_stopping=True, random_state=seed, **chosen),
        categories,
    )


def _lightgbm(parameters: Parameters, categories: Sequence[int], seed: int) -> Any:
    from stargaze.tuning.lightgbm_estimator import CategoricalLightGBM

    return CategoricalLightGBM(dict(parameters), tuple(categories), seed)


def _xgboost(parameters: Parameters, categories: Sequence[int], seed: int) -> Any:
    from stargaze.tuning.extra_estimators import CategoricalXGBoost

    return CategoricalXGBoost(dict(parameters), tuple(categories), seed)


def _catboost(parameters: Parameters, categories: Sequence[int], seed: int) -> Any:
    from stargaze.tuning.extra_estimators import CategoricalCatBoost

    return CategoricalCatBoost(dict(parameters), tuple(categories), seed)


FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family("dummy", "the median: what every model must beat", _dummy),
        Family("ridge", "linear, squared penalty", _ridge, {"alpha": 10.0}, {"alpha": Range(1e-2, 1e4, log=True)}),
        Family(
            "elastic-net",
            "linear, mixed penalty",
            _elastic_net,
            {"alpha": 0.003, "l1_ratio": 0.5},
            {"alpha": Range(1e-4, 1.0, log=True), "l1_ratio": Range(0.05, 1.0)},
        ),
        Family(
            "nearest-neighbors",
            "mean of the most similar repositories",
            _nearest,
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
            _support_vectors,
            {"C": 1.0, "epsilon": 0.2, "gamma": "scale"},
            {
                "C": Range(0.1, 30.0, log=True),
                "epsilon": Range(0.02, 0.6),
                "gamma": Choice(("scale", 0.003, 0.01, 0.03)),
            },
            most_rows=6_000,
        ),
        Family(
            "random-forest",
            "bagged trees",
            _random_forest,
            {"n_estimators": 150, "min_samples_leaf": 3, "max_features": 0.35},
            {
                "min_samples_leaf": Range(2, 20, "int", log=True),
                "max_features": Range(0.1, 0.7),
            },
        ),
        Family(
            "extra-trees",
            "bagged trees with random cuts",
            _extra_trees,
            {"n_estimators": 150, "min_samples_leaf": 3, "max_features": 0.5},
            {
                "min_samples_leaf": Range(2, 20, "int", log=True),
                "max_features": Range(0.1, 0.7),
            },
        ),
        Family(
            "histogram-boosting",
            "scikit-learn's boosted trees on binned columns",
            _histogram_boosting,
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
            _perceptron,
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
            _lightgbm,
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
            _xgboost,
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
            "boosted trees that ask one question a level",
            _catboost,
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
    """Return the families to compare: those named, or all that are installed, and always the one that all must beat.

    Raises
    ------
    UsageError
        If a name is none of :data:`FAMILIES`, or one that is not installed.

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
