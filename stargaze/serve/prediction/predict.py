"""The prediction itself: a plain function from a bundle and repositories to answers that a page or a terminal can show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from stargaze.bundle.star_bundle import Bundle, Estimate
from stargaze.features.catalog import CATALOG
from stargaze.serve.prediction.attributions import contributions
from stargaze.serve.prediction.labels import UNKNOWN, label_of, value_of
from stargaze.serve.prediction.neighbors import explanation_policy
from stargaze.serve.prediction.what_if import LEVERS

CATEGORIES = tuple(name for name, item in CATALOG.items() if item.kind == "category")
SHOWN = tuple(dict.fromkeys(("full_name", "stars", "fetched_at", *LEVERS, *CATEGORIES)))
"""The fields of a repository that an answer repeats."""
Record = Mapping[str, Any]


@dataclass(frozen=True)
class Factor:
    """What one feature does to the stars: they are ``times`` as many as without knowing it."""

    feature: str
    label: str
    value: str
    times: float


@dataclass(frozen=True)
class Prediction:
    """The answer for one repository; counts are in stars. Where no reasons were asked for, the account of them is None."""

    full_name: str
    stars: float
    low: float
    high: float
    coverage: float
    percentile: float
    expected: float | None
    base: float | None
    factors: tuple[Factor, ...]
    rest: float | None
    actual: float | None
    fetched_at: str | None
    learned: bool = False
    """The model was fitted on this very repository, so its estimate flatters."""
    policy: str = ""
    """The feature policy that the estimate was made under."""
    missing: tuple[str, ...] = ()
    """What was not told and would have allowed a wider policy."""


@dataclass(frozen=True)
class Explanation:
    """Why: ``(expected + 1) = (base + 1) × all factors × rest``."""

    expected: float | None = None
    base: float | None = None
    factors: tuple[Factor, ...] = ()
    rest: float | None = None


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
    features, records = bundle.features(repositories), records_of(repositories)
    found = bundle.judge(features)
    accounts = explain(bundle, features, records, found.policy, most=factors)
    return to_predictions(bundle, features, records, found, accounts)


def records_of(repositories: pd.DataFrame) -> list[dict[str, Any]]:
    """Return of each repository the fields that an answer repeats, None where one is not known."""
    columns = [
        [None if missing else value for value, missing in zip(column.tolist(), column.isna().tolist(), strict=True)]
        for column in (repositories[name] for name in SHOWN)
    ]
    return [dict(zip(SHOWN, values, strict=True)) for values in zip(*columns, strict=True)]


def to_predictions(
    bundle: Bundle, features: np.ndarray, records: Sequence[Record], found: Estimate, accounts: Sequence[Explanation]
) -> list[Prediction]:
    """Put an estimate into numbers that people can read, and beside it what is known of each repository."""
    quantiles = np.asarray(bundle.meta["star_quantiles"])
    stars = np.expm1(found.predicted)
    place = np.searchsorted(quantiles, stars, side="right")
    percentile = np.interp(place, [0, len(quantiles)], [0.0, 100.0])
    absent = bundle.absent(features, bundle.steps[0])
    return [
        Prediction(
            full_name=str(record["full_name"]),
            stars=round(float(stars[row]), 2),
            low=float(found.low[row]),
            high=float(found.high[row]),
            coverage=bundle.intervals.coverage,
            percentile=round(float(percentile[row]), 1),
            expected=account.expected,
            base=account.base,
            factors=account.factors,
            rest=account.rest,
            actual=record["stars"],
            fetched_at=None if record["fetched_at"] is None else record["fetched_at"].date().isoformat(),
            learned=record["stars"] is not None and record["full_name"] in bundle.fitted_on,
            policy=str(found.policy[row]),
            missing=tuple(map(label_of, absent[row])),
        )
        for row, (record, account) in enumerate(zip(records, accounts, strict=True))
    ]


def as_json(prediction: Prediction) -> dict[str, Any]:
    """Return plain values for JSON."""
    factors = [dict(vars(factor)) for factor in prediction.factors]
    return {**vars(prediction), "factors": factors, "missing": list(prediction.missing)}


def explain(
    bundle: Bundle,
    features: np.ndarray,
    records: Sequence[Record],
    answered: Sequence[str] | np.ndarray,
    *,
    most: int = 10,
) -> list[Explanation]:
    """Explain each row under the policy of explanations, or the one it was answered under if that is narrower."""
    policies = [explanation_policy(bundle, policy) for policy in answered]
    accounts = [Explanation()] * len(policies)
    for policy in dict.fromkeys(policies):
        rows = [row for row, own in enumerate(policies) if own == policy]
        inputs = bundle.given(features[rows], policy)
        added = contributions(bundle, inputs, policy)
        for row, of_row, values in zip(rows, added, inputs, strict=True):
            accounts[row] = _account(of_row, bundle.meta["features"][policy], values, records[row], most)
    return accounts


def _account(added: np.ndarray, names: Sequence[str], values: np.ndarray, record: Record, most: int) -> Explanation:
    """Return the strongest factors and the product of all others (with what lifts a prediction below no star to none)."""
    order = np.argsort(-np.abs(added[:-1]), kind="stable")
    total = float(added.sum())
    named = tuple(
        Factor(
            names[place],
            CATALOG[names[place]].meaning,
            _value(names[place], float(values[place]), record),
            round(float(np.exp(added[place])), 4),
        )
        for place in order[:most].tolist()
    )
    return Explanation(
        expected=round(float(np.expm1(max(total, 0.0))), 2),
        base=round(float(np.expm1(added[-1])), 4),
        factors=named,
        rest=round(float(np.exp(added[order[most:]].sum() + max(-total, 0.0))), 4),
    )


def _value(name: str, number: float, record: Record) -> str:
    if CATALOG[name].kind == "category":
        return UNKNOWN if record[name] is None else str(record[name])
    return value_of(name, number)
