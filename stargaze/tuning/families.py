"""The model families: how each is built and where its parameters are searched.

A new family is one row of :data:`FAMILIES`. ``build`` takes parameters, the categorical columns and a seed; it returns an
estimator on float matrices, with NaN for missing values, that predicts log1p(stars) [nat].
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from stargaze.errors import UsageError, did_you_mean
from stargaze.tuning.build_model import (
    build_categorical,
    build_dummy,
    build_filled,
    build_histogram_boosting,
    build_perceptron,
    build_scaled,
)
from stargaze.tuning.family import Choice, Family, FewRows, Range

FOREST_SPACE: dict[str, Range | Choice] = {
    "min_samples_leaf": Range(2, 20, "int", log=True),
    "max_features": Range(0.1, 0.7),
}
COPY_FACTORS = dict.fromkeys(("num_leaves", "n_estimators", "max_leaf_nodes", "max_iter"), 1.5)
"""Masked copies of many rows need more leaves; with one split per level (CatBoost), more rounds change nothing."""
FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family("dummy", "the median: the baseline for every model", build_dummy),
        Family(
            "ridge",
            "linear, squared penalty",
            partial(build_scaled, "linear_model.Ridge"),
            {"alpha": 10.0},
            {"alpha": Range(1e-2, 1e4, log=True)},
            {"alpha": FewRows(100.0, 1.0, 1e4)},
        ),
        Family(
            "elastic-net",
            "linear, mixed penalty",
            partial(build_scaled, "linear_model.ElasticNet", max_iter=5_000),
            {"alpha": 0.003, "l1_ratio": 0.5},
            {"alpha": Range(1e-4, 1.0, log=True), "l1_ratio": Range(0.05, 1.0)},
            {"alpha": FewRows(0.1, 1e-3, 1.0)},
        ),
        Family(
            "nearest-neighbors",
            "mean of the most similar repositories",
            partial(build_scaled, "neighbors.KNeighborsRegressor"),
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
            partial(build_scaled, "svm.SVR", cache_size=500),
            {"C": 1.0, "epsilon": 0.2, "gamma": "scale"},
            {
                "C": Range(0.1, 30.0, log=True),
                "epsilon": Range(0.02, 0.6),
                "gamma": Choice(("scale", 0.003, 0.01, 0.03)),
            },
            {"C": FewRows(0.3, 0.03, 10.0)},
            max_rows=6_000,
        ),
        Family(
            "random-forest",
            "bagged trees",
            partial(build_filled, "ensemble.RandomForestRegressor", n_jobs=1),
            {"n_estimators": 150, "min_samples_leaf": 3, "max_features": 0.35},
            FOREST_SPACE,
            {"min_samples_leaf": FewRows(5, 2, 30)},
        ),
        Family(
            "extra-trees",
            "bagged trees with random cuts",
            partial(build_filled, "ensemble.ExtraTreesRegressor", n_jobs=1),
            {"n_estimators": 150, "min_samples_leaf": 3, "max_features": 0.5},
            FOREST_SPACE,
            {"min_samples_leaf": FewRows(5, 2, 30)},
        ),
        Family(
            "histogram-boosting",
            "scikit-learn's boosted trees on binned columns",
            build_histogram_boosting,
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
            {
                "learning_rate": FewRows(0.04, 0.02, 0.1),
                "max_iter": FewRows(120, 40, 300),
                "max_leaf_nodes": FewRows(6, 3, 16),
                "min_samples_leaf": FewRows(10, 4, 40),
                "l2_regularization": FewRows(3.0, 1e-2, 100.0),
                "max_features": FewRows(0.3, 0.1, 1.0),
            },
            copy_factors=COPY_FACTORS,
        ),
        Family(
            "perceptron",
            "neural network, two hidden layers",
            build_perceptron,
            {"width": 64, "alpha": 1.0, "learning_rate_init": 3e-3, "batch_size": 200, "max_iter": 60},
            {
                "width": Range(16, 256, "int", log=True),
                "alpha": Range(1e-3, 10.0, log=True),
                "learning_rate_init": Range(3e-4, 1e-2, log=True),
                "max_iter": Choice((60,)),
            },
            {
                "width": FewRows(16, 4, 32),
                "alpha": FewRows(30.0, 0.1, 100.0),
                "learning_rate_init": FewRows(1e-2, 1e-3, 3e-2),
                "batch_size": FewRows(20, 20, 20),
            },
        ),
        Family(
            "lightgbm",
            "boosted trees grown leaf by leaf",
            partial(build_categorical, "lightgbm_estimator.CategoricalLightGBM"),
            {
                "learning_rate": 0.025,
                "n_estimators": 600,
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
            {
                "learning_rate": FewRows(0.04, 0.02, 0.12),
                "n_estimators": FewRows(150, 40, 400),
                "num_leaves": FewRows(8, 3, 16),
                "min_child_samples": FewRows(6, 3, 40),
                "colsample_bytree": FewRows(0.3, 0.1, 1.0),
            },
            starts=(
                {"learning_rate": 0.03, "num_leaves": 15, "min_child_samples": 20, "colsample_bytree": 0.35},
                {"learning_rate": 0.03, "num_leaves": 63, "min_child_samples": 40, "colsample_bytree": 0.4},
            ),
            finds_rounds=True,
            copy_factors=COPY_FACTORS,
        ),
        Family(
            "randomized-boosting",
            "boosted trees with random cuts",
            partial(build_categorical, "lightgbm_estimator.CategoricalLightGBM"),
            {
                "extra_trees": True,
                "learning_rate": 0.03,
                "n_estimators": 1_200,
                "num_leaves": 31,
                "min_child_samples": 20,
                "colsample_bytree": 0.7,
                "subsample": 0.8,
                "reg_lambda": 1.0,
            },
            {
                "learning_rate": Range(0.02, 0.15, log=True),
                "num_leaves": Range(7, 95, "int", log=True),
                "min_child_samples": Range(5, 80, "int", log=True),
                "colsample_bytree": Range(0.2, 1.0),
                "subsample": Range(0.5, 1.0),
                "reg_lambda": Range(1e-3, 50.0, log=True),
            },
            {
                "learning_rate": FewRows(0.04, 0.02, 0.12),
                "n_estimators": FewRows(150, 40, 400),
                "num_leaves": FewRows(8, 3, 16),
                "min_child_samples": FewRows(6, 3, 40),
                "colsample_bytree": FewRows(0.3, 0.1, 1.0),
            },
            finds_rounds=True,
            copy_factors=COPY_FACTORS,
        ),
        Family(
            "catboost",
            "boosted trees with one split per level",
            partial(build_categorical, "catboost_estimator.CategoricalCatBoost"),
            {"learning_rate": 0.07, "iterations": 600, "depth": 6, "l2_leaf_reg": 3.0, "rsm": 0.7},
            {
                "learning_rate": Range(0.02, 0.15, log=True),
                "iterations": Range(150, 1200, "int", log=True),
                "depth": Range(4, 8, "int"),
                "l2_leaf_reg": Range(0.5, 30.0, log=True),
                "rsm": Range(0.2, 1.0),
            },
            {
                "learning_rate": FewRows(0.04, 0.02, 0.15),
                "iterations": FewRows(200, 50, 500),
                "depth": FewRows(4, 2, 6),
                "l2_leaf_reg": FewRows(6.0, 1.0, 30.0),
                "rsm": FewRows(0.5, 0.1, 1.0),
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
