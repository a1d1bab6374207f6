"""What the bundle says of all repositories of a batch: each figure computed for all rows in one call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stargaze.serve.prediction import what_if as whatif
from stargaze.serve.prediction.batch import PredictionBatch
from stargaze.serve.prediction.context import PredictionContext
from stargaze.serve.prediction.predict import Explanation, Prediction, explain, to_predictions


@dataclass(frozen=True)
class BatchResult:
    """By the place of a row in the table; ``moved`` by the place of the row with the lever moved."""

    predictions: Mapping[int, Prediction]
    similar: Mapping[int, list[dict[str, Any]]]
    beyond: Mapping[int, list[dict[str, str]]]
    moved: Mapping[int, dict[str, Any]]


def predict_batch(
    office: PredictionContext,
    asked: PredictionBatch,
    places: Sequence[int],
    reasons: Iterable[int],
    moved: Mapping[int, int],
) -> BatchResult:
    """Predict, and give reasons where they are wanted.

    Parameters
    ----------
    office : PredictionContext
    asked : PredictionBatch
    places : sequence of int
        The rows that are wanted, each once.
    reasons : iterable of int
        Those of them whose reasons are wanted.
    moved : mapping of int to int
        For each row with a lever moved the row as it is.
    """
    bundle, wanted = office.bundle, [place in set(reasons) for place in places]
    features, records = asked.features[list(places)], [asked.records[place] for place in places]
    estimate = bundle.judge(features)
    told = [row for row, is_wanted in enumerate(wanted) if is_wanted]
    accounts = [Explanation()] * len(places)
    for row, account in zip(
        told, explain(bundle, features[told], [records[row] for row in told], estimate.policy[told]), strict=True
    ):
        accounts[row] = account
    predictions = to_predictions(bundle, features, records, estimate, accounts)

    def beyond(rows: list[int], policy: str) -> list[Any]:
        return office.ranges.beyond(features[rows], policy, [records[row] for row in rows])

    def similar(rows: list[int], policy: str) -> list[Any]:
        return office.leaves.near(features[rows], policy, [predictions[row].full_name for row in rows])

    def by_place(found: Mapping[int, Any]) -> dict[int, Any]:
        return {places[row]: value for row, value in found.items()}

    every = range(len(places))
    return BatchResult(
        dict(zip(places, predictions, strict=True)),
        by_place(_by_policy(told, estimate.policy, similar)),
        by_place(_by_policy(every, estimate.policy, beyond)),
        _moved(
            office, asked, moved, dict(zip(places, zip(estimate.predicted, estimate.policy, strict=True), strict=True))
        ),
    )


def _by_policy(
    rows: Iterable[int], policies: Sequence[str] | np.ndarray, ask: Callable[[list[int], str], list[Any]]
) -> dict[int, Any]:
    """Ask once for each policy about its rows."""
    groups: dict[str, list[int]] = {}
    for row in rows:
        groups.setdefault(policies[row], []).append(row)
    return {row: value for policy, own in groups.items() for row, value in zip(own, ask(own, policy), strict=True)}


def _moved(
    office: PredictionContext, asked: PredictionBatch, moved: Mapping[int, int], before: Mapping[int, tuple[float, str]]
) -> dict[int, dict[str, Any]]:
    """Predict the rows with a lever moved, each under the policy that the row as it is was answered under."""
    bundle = office.bundle
    steps = {step.policy: step for step in bundle.steps}

    def ask(rows: list[int], policy: str) -> list[Any]:
        return list(zip(*bundle.under(asked.features[rows], steps[policy]), strict=True))

    answered = {row: before[place][1] for row, place in moved.items()}
    found = _by_policy(moved, answered, ask)  # type: ignore[arg-type]  # a mapping from rows serves as well
    return {
        row: {
            "stars": round(float(np.expm1(predicted)), 2),
            "low": float(low),
            "high": float(high),
            "times": round(float(np.exp(predicted - before[moved[row]][0])), 4),
            "changes": whatif.differences(asked.records[moved[row]], asked.records[row]),
        }
        for row, (predicted, low, high) in found.items()
    }
