"""A prediction with all fields, as an answer carries it."""

from __future__ import annotations

import math
from datetime import date, timedelta
from typing import Any

FACTORS = [("contributors", "412", 4.2), ("description", "a text", 1.6), ("open issues", "unknown", 0.7)]
FIRST_DAY = date(2025, 3, 1)


def example_explanation(expected: float, factors: list[tuple[str, str, float]] | None = None) -> dict[str, Any]:
    """An explanation that multiplies to this estimate."""
    rows = FACTORS if factors is None else factors
    product = math.prod(factor for _, _, factor in rows)
    return {
        "method": "exact",
        "baseline_stars": 6.2,
        "factors": [
            {"feature": label, "label": label, "value": value, "factor": factor} for label, value, factor in rows
        ],
        "other_factors": (expected + 1) / (7.2 * product) if product else 1.0,
    }


def example_history(weeks: int = 52) -> dict[str, Any]:
    """A weekly history and its forecast."""
    days = [FIRST_DAY + timedelta(days=7 * week) for week in range(weeks)]
    stars = [round(8 + week**1.72) for week in range(weeks)]
    forecast = [
        {
            "days": n,
            "date": f"{days[-1] + timedelta(days=n)}",
            "stars": 900 + n,
            "low": 890.0,
            "high": 900 + 3 * n,
            "coverage": 0.9,
        }
        for n in (30, 90, 365)
    ]
    milestone = {
        "stars": 1_000,
        "date": "2026-06-02",
        "earliest": "2026-04-01",
        "latest": "2026-09-30",
        "coverage": 0.8,
    }
    history = {"source": "github", "as_of": f"{days[-1]}", "dates": [f"{day}" for day in days], "stars": stars}
    return {"history": history, "forecast": forecast, "milestone": milestone, "history_note": ""}


def example_prediction(**changed: Any) -> dict[str, Any]:
    """A prediction without history; other fields replace its own, and what follows from them is computed."""
    row: dict[str, Any] = {
        "rank": 1, "source": "github", "full_name": "pallets/flask", "expected_stars": 430.0, "interval_low": 61.0,
        "interval_high": 2_900.0, "coverage": 0.9, "percentile": 96.2, "actual_stars": 896.0, "policy": "all",
        "decade_coverage": {"decade": "100-999", "n": 812, "coverage": 0.91}, "missing_fields": [],
        "fetched_at": "2026-02-21", "in_training_data": False, "set": None, "notes": [], "without_popularity": None,
        "similar": [{"full_name": "pallets/click", "actual_stars": 410.0, "similarity": 0.81}], "out_of_range": [],
        "unlike_training": None,
        "controls": [
            {"field": "readme_length", "label": "README length", "kind": "number", "unit": "characters", "value": 3_100.0,
             "options": None},
            {"field": "license", "label": "license", "kind": "choice", "unit": "", "value": "mit",
             "options": ["none", "mit", "apache-2.0"]},
            {"field": "has_wiki", "label": "has wiki", "kind": "flag", "unit": "", "value": None, "options": None},
            {"field": "latest_release_at", "label": "latest release", "kind": "date", "unit": "", "value": "2025-12-01",
             "options": None},
        ],
        "what_if": None, "history": None, "forecast": None, "milestone": None, "history_note": "",
    }  # fmt: skip
    row |= {"explanation": example_explanation(changed.get("expected_stars", row["expected_stars"]))} | changed
    actual, low, high = row["actual_stars"], row["interval_low"], row["interval_high"]
    return {
        "ratio": None if actual is None else (actual + 1) / (row["expected_stars"] + 1),
        "inside_interval": None if actual is None else low <= actual <= high,
        "enough_data": high + 1 <= 100 * (low + 1),
        **row,
    }
