"""The prediction itself: a plain function from a bundle and repositories to answers that a page or a terminal can show."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from stargaze.bundle import Bundle
from stargaze.features.catalogue import CATALOGUE
from stargaze.features.split import sides
from stargaze.serve.explain import contributions


@dataclass(frozen=True)
class Factor:
    """What one feature does to the stars: they are ``times`` as many as without knowing it."""

    feature: str
    label: str
    value: str
    times: float


@dataclass(frozen=True)
class Prediction:
    """The answer for one repository; counts are in stars."""

    full_name: str
    stars: float
    low: float
    high: float
    coverage: float
    percentile: float
    expected: float
    base: float
    factors: tuple[Factor, ...]
    rest: float
    actual: float | None
    fetched_at: str | None
    learned: bool = False
    """The model was fitted on this very repository, so its estimate flatters."""


def predict(bundle: Bundle, repositories: pd.DataFrame, *, factors: int = 10) -> list[Prediction]:
    """Predict the stars of each repository, with interval, percentile and the strongest factors.

    Parameters
    ----------
    bundle : Bundle
    repositories : DataFrame, shape (n_repositories, n_fields)
        Columns of :mod:`stargaze.features.schema`; the stars may be missing, they are only passed on.
    factors : int
        How many factors are named; the others are one product, ``rest``.

    Returns
    -------
    list of Prediction
        In the order of the rows. ``(expected + 1) = (base + 1) × all factors × rest``.
    """
    estimated = bundle.estimate(repositories)
    low, high = bundle.intervals.around(estimated)
    quantiles = np.asarray(bundle.meta["star_quantiles"])
    percentile = np.interp(
        np.searchsorted(quantiles, np.expm1(estimated), side="right"), [0, len(quantiles)], [0.0, 100.0]
    )
    policy = bundle.meta["explain"]
    inputs = bundle.inputs(repositories, policy)
    added = contributions(bundle, inputs.to_numpy(), policy)
    learned = sides(repositories["full_name"], bundle.split) >= 0
    answers = []
    for row in range(len(repositories)):
        record = repositories.iloc[row]
        named, rest = _factors(added[row], inputs.columns, inputs.iloc[row], record, factors)
        answers.append(
            Prediction(
                full_name=str(record["full_name"]),
                stars=round(float(np.expm1(estimated[row])), 2),
                low=float(low[row]),
                high=float(high[row]),
                coverage=bundle.intervals.coverage,
                percentile=round(float(percentile[row]), 1),
                expected=round(float(np.expm1(max(added[row].sum(), 0.0))), 2),
                base=round(float(np.expm1(added[row, -1])), 4),
                factors=named,
                rest=rest,
                actual=None if pd.isna(record["stars"]) else float(record["stars"]),
                fetched_at=None if pd.isna(record["fetched_at"]) else record["fetched_at"].date().isoformat(),
                learned=bool(learned[row]) and not pd.isna(record["stars"]),
            )
        )
    return answers


def as_json(prediction: Prediction) -> dict[str, Any]:
    """Return plain values for JSON."""
    return dataclasses.asdict(prediction)


def _factors(
    added: np.ndarray, names: pd.Index, inputs: pd.Series, record: pd.Series, most: int
) -> tuple[tuple[Factor, ...], float]:
    """Return the strongest factors and the product of all others (with what lifts a prediction below no star to none)."""
    order = np.argsort(-np.abs(added[:-1]), kind="stable")
    named = tuple(
        Factor(
            str(names[place]),
            CATALOGUE[names[place]].meaning,
            _value(names[place], inputs, record),
            round(float(np.exp(added[place])), 4),
        )
        for place in order[:most]
    )
    lifted = max(-float(added.sum()), 0.0)
    return named, round(float(np.exp(added[order[most:]].sum() + lifted)), 4)


def _value(name: str, inputs: pd.Series, record: pd.Series) -> str:
    item = CATALOGUE[name]
    if item.kind == "category":
        return str(record[name]) if pd.notna(record[name]) else "not known"
    number = float(inputs[name])
    if np.isnan(number):
        return "not known"
    if item.unit == "flag":
        return "yes" if number else "no"
    return f"{number:,.0f} {item.unit}" if item.unit in ("days", "characters", "kB") else f"{number:,.4g}"
