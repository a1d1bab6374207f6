"""Build the estimators of the model families: each takes parameters, the categorical columns and a seed.

The estimators accept float matrices with NaN for missing values, and predict log1p(stars) [nat].
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from stargaze.tuning.family import Parameters


def build_scaled(path: str, parameters: Parameters, categories: Sequence[int], seed: int, **fixed: Any) -> Any:
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


def build_filled(path: str, parameters: Parameters, _categories: Sequence[int], seed: int, **fixed: Any) -> Any:
    """Build an estimator that needs complete columns; categories are numbers to it."""
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline

    imputer = SimpleImputer(strategy="constant", fill_value=-1.0, keep_empty_features=True)
    return make_pipeline(imputer, _estimator(path, {**fixed, **parameters}, seed))


def build_categorical(path: str, parameters: Parameters, categories: Sequence[int], seed: int) -> Any:
    """Build one of our own estimators, which handle categories and missing values themselves."""
    return _import_class(f"stargaze.tuning.{path}")(dict(parameters), tuple(categories), seed)


def build_dummy(parameters: Parameters, _categories: Sequence[int], seed: int) -> Any:
    """Build the median of all rows, or their mean."""
    return _estimator("dummy.DummyRegressor", {"strategy": "median", **parameters}, seed)


def build_histogram_boosting(parameters: Parameters, categories: Sequence[int], seed: int) -> Any:
    """Build scikit-learn's boosted trees."""
    fixed = {"early_stopping": False, "categorical_features": list(categories) or None}
    return _estimator("ensemble.HistGradientBoostingRegressor", {**fixed, **parameters}, seed)


def build_perceptron(parameters: Parameters, categories: Sequence[int], seed: int) -> Any:
    """Build a neural network of two hidden layers, the second half as wide as the first."""
    others = dict(parameters)
    width = others.pop("width")
    layers = {"hidden_layer_sizes": (width, width // 2), "early_stopping": True}
    return build_scaled("neural_network.MLPRegressor", {**layers, **others}, categories, seed)


def _import_class(path: str) -> Any:
    """Import a class only when a model of it is built, because these packages load slowly."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def _estimator(path: str, parameters: Parameters, seed: int) -> Any:
    """Return an estimator of scikit-learn, with the seed if it takes one."""
    estimator = _import_class(f"sklearn.{path}")(**parameters)
    return estimator.set_params(random_state=seed) if "random_state" in estimator.get_params() else estimator
