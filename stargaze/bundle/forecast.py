"""Forecasts of one repository's stars with a growth bundle: the counts after each horizon, and the date of the next milestone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd

from stargaze.bundle.growth_bundle import MAX_STARS, GrowthBundle, last_origin, log_growth

ROUND_DIGITS = (1, 2, 5, 10)


@dataclass(frozen=True)
class Forecast:
    """The stars after some days and their prediction interval; ``low <= stars <= high``."""

    days: int
    stars: int
    low: int
    high: int


@dataclass(frozen=True)
class Milestone:
    """The next round number of stars, the day on which it is expected, and the range of days.

    ``latest`` is None if the range ends after the last horizon. ``coverage`` is the nominal share of dates inside the range.
    """

    stars: int
    expected: date
    earliest: date
    latest: date | None
    coverage: float

    def to_json(self) -> dict[str, Any]:
        """Return it as in an answer."""
        return {
            "stars": self.stars,
            "date": self.expected.isoformat(),
            "earliest": self.earliest.isoformat(),
            "latest": self.latest and self.latest.isoformat(),
            "coverage": self.coverage,
        }


@dataclass(frozen=True)
class GrowthForecast:
    """What is forecast from the end of one history: the counts in the order of the horizons, and the next milestone.

    ``milestone`` is None if it is not expected before the last horizon.
    """

    last_day: date
    current_stars: int
    points: tuple[Forecast, ...]
    milestone: Milestone | None


def forecast_growth(bundle: GrowthBundle, history: pd.DataFrame) -> GrowthForecast:
    """Forecast the stars of one repository from the end of its history, whose counts may be any number of days apart.

    Raise BadDataError if the history has several repositories, or is too short since its last break.
    """
    origin = last_origin(history, bundle.weeks)
    features = bundle.compute_features(origin)
    now, last_day = origin.current_stars[0], date(1970, 1, 1) + timedelta(days=math.floor(origin.day[0]))
    models = sorted(bundle.horizon_models, key=lambda model: model.days)
    points = []
    for model in models:
        growth = np.array([values[0] for values in model.growth(origin, features)])
        stars, low, high = np.clip(np.expm1(np.log1p(now) + growth), 0.0, MAX_STARS).tolist()
        points.append(Forecast(model.days, round(stars), math.floor(low), math.ceil(high)))
    curves = [[values[0] for values in model.growth(origin, features, model.milestone_offsets)] for model in models]
    milestone = find_milestone(now, last_day, [model.days for model in models], curves, bundle.milestone_coverage)
    return GrowthForecast(last_day, round(now), tuple(points), milestone)


def next_round_number(stars: float) -> int:
    """Return the smallest of 1, 2, 5, 10, 20, 50, … that is larger.

    >>> next_round_number(0), next_round_number(9_990), next_round_number(10_000)
    (1, 10000, 20000)
    """
    power: int = 10 ** (len(f"{stars:.0f}") - 1)
    return next(digit * power for digit in ROUND_DIGITS if digit * power > stars)


def find_milestone(
    now: float, last_day: date, days: Sequence[int], curves: Sequence[Sequence[float]], coverage: float
) -> Milestone | None:
    """Return the next milestone from the median, low and high log growth at each horizon.

    Stars hardly ever decrease, so the count has reached the milestone on a day exactly if the date is that day or before it: the
    date's median and quantiles are where the count's median, high and low quantiles reach the milestone.
    """
    stars = next_round_number(now)
    target = float(log_growth(np.array(now), np.array(float(stars))))
    middle, low, high = (_first_day(days, curve, target) for curve in zip(*curves, strict=True))
    if middle is None or high is None:
        return None
    latest = None if low is None else last_day + timedelta(days=low)
    return Milestone(stars, last_day + timedelta(days=middle), last_day + timedelta(days=high), latest, coverage)


def _first_day(days: Sequence[int], growth: Sequence[float], target: float) -> int | None:
    """Return the first day on which growth, linear between the horizons, reaches the target; None if it never does.

    >>> _first_day([30, 90], [0.1, 0.4], 0.2), _first_day([30, 90], [0.1, 0.4], 0.5)
    (50, None)
    """
    before = (0, 0.0)
    for day, value in zip(days, growth, strict=True):
        if value >= target:
            share = (target - before[1]) / (value - before[1])
            return math.ceil(before[0] + share * (day - before[0]))
        before = (day, value)
    return None
