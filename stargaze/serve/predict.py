"""The prediction itself: a plain function from a bundle and repositories to answers that a page or a terminal can show."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from stargaze.bundle import Bundle
from stargaze.config import POLICIES
from stargaze.features.catalogue import CATALOGUE
from stargaze.features.encode import NAT
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
    policy: str = ""
    """The feature policy that the estimate was made under."""
    missing: tuple[str, ...] = ()
    """What was not told and would have allowed a wider policy."""


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
    found = bundle.answer(repositories)
    quantiles = np.asarray(bundle.meta["star_quantiles"])
    place = np.searchsorted(quantiles, np.expm1(found.predicted), side="right")
    percentile = np.interp(place, [0, len(quantiles)], [0.0, 100.0])
    accounts = _accounts(bundle, repositories, found.policy, factors)
    missing = bundle.missing(repositories, bundle.steps[0])
    trained = pd.Series(sides(repositories["full_name"], bundle.split) >= 0, index=repositories.index)
    learned = trained & repositories["full_name"].isin(bundle.names) & repositories["stars"].notna()
    answers = []
    for row in range(len(repositories)):
        record, account = repositories.iloc[row], accounts[row]
        answers.append(
            Prediction(
                full_name=str(record["full_name"]),
                stars=round(float(np.expm1(found.predicted[row])), 2),
                low=float(found.low[row]),
                high=float(found.high[row]),
                coverage=bundle.intervals.coverage,
                percentile=round(float(percentile[row]), 1),
                expected=account.expected,
                base=account.base,
                factors=account.factors,
                rest=account.rest,
                actual=None if pd.isna(record["stars"]) else float(record["stars"]),
                fetched_at=None if pd.isna(record["fetched_at"]) else record["fetched_at"].date().isoformat(),
                learned=bool(learned.iloc[row]),
                policy=str(found.policy[row]),
                missing=tuple(
                    CATALOGUE[name].meaning.partition(";")[0] for name in missing.iloc[row].split(", ") if name
                ),
            )
        )
    return answers


def as_json(prediction: Prediction) -> dict[str, Any]:
    """Return plain values for JSON."""
    return dataclasses.asdict(prediction)


@dataclass(frozen=True)
class _Account:
    expected: float
    base: float
    factors: tuple[Factor, ...]
    rest: float


def _accounts(bundle: Bundle, repositories: pd.DataFrame, answered: np.ndarray, most: int) -> list[_Account]:
    """Explain each row under the policy of explanations, or the one it was answered under if that is narrower."""
    widest = POLICIES.index(bundle.meta["explain"])
    policies = [POLICIES[min(widest, POLICIES.index(policy))] for policy in answered]
    accounts: dict[int, _Account] = {}
    for policy in dict.fromkeys(policies):
        rows = [row for row, own in enumerate(policies) if own == policy]
        inputs = bundle.inputs(repositories.iloc[rows], policy)
        added = contributions(bundle, inputs.to_numpy(), policy)
        for place, row in enumerate(rows):
            named, rest = _factors(added[place], inputs.columns, inputs.iloc[place], repositories.iloc[row], most)
            expected = round(float(np.expm1(max(added[place].sum(), 0.0))), 2)
            accounts[row] = _Account(expected, round(float(np.expm1(added[place, -1])), 4), named, rest)
    return [accounts[row] for row in range(len(policies))]


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
    if item.unit == NAT:
        return f"{max(np.expm1(number), 0.0):,.0f} stars"
    if item.unit == "flag":
        return "yes" if number else "no"
    return f"{number:,.0f} {item.unit}" if item.unit in ("days", "characters", "kB") else f"{number:,.4g}"
