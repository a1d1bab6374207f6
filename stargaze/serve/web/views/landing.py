"""The landing page's content around the form: a live example, and the repositories whose stars surprise the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stargaze.formatting import format_count
from stargaze.serve.prediction.sentence import compare, format_range
from stargaze.serve.web.views.bundle_view import BundleView
from stargaze.serve.web.views.prediction_view import PredictionView, prediction_views

MAX_OUTLIERS = 5


@dataclass(frozen=True)
class Outlier:
    """A training repository with far more or fewer stars than expected, as texts."""

    name: str
    expected: str
    interval: str
    actual: str
    ratio: str


def landing_content(view: BundleView, find_example: Callable[[str], Mapping[str, Any] | None]) -> dict[str, Any]:
    """Return the example, None until it is answered, and the outliers."""
    name = view.examples[0] if view.examples else ""
    return {
        "example_name": name,
        "example": _example_view(find_example(name)) if name else None,
        "outliers": [
            (title, rows)
            for title, side in (("More stars than expected", "more"), ("Fewer stars than expected", "fewer"))
            if (rows := outlier_rows(view.meta["outliers"][side]))
        ],
    }


def _example_view(prediction: Mapping[str, Any] | None) -> PredictionView | None:
    return prediction_views([prediction])[0] if prediction else None


def outlier_rows(outliers: Sequence[Mapping[str, Any]]) -> list[Outlier]:
    """Return the rows of one list of outliers, the first ones."""
    return [_outlier(row) for row in outliers[:MAX_OUTLIERS]]


def _outlier(row: Mapping[str, Any]) -> Outlier:
    expected, actual, low, high = (
        row[name] for name in ("expected_stars", "actual_stars", "interval_low", "interval_high")
    )
    return Outlier(
        name=row["full_name"],
        expected=format_count(expected),
        interval=format_range(low, high),
        actual=format_count(actual),
        ratio=compare(actual, expected, inside_interval=low <= actual <= high),
    )
