"""Training and test examples of growth: an origin in a star history, its features, and the growth after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from stargaze.bundle.growth_bundle import log_growth
from stargaze.features.history.features import StarCounts, Windows, build_windows, growth_features, last_row_per_period

ORIGIN_STEP = 28
"""Days between two origins of a series: closer ones are nearly equal."""
MAX_COUNT_GAP = 21
"""Maximum number of days between the two counts from which a target is interpolated: the error is a few stars."""


@dataclass(frozen=True)
class Examples:
    """Origins, their features and their log growth over ``days`` [nat]; shapes (n,) and (n, n_features)."""

    days: int
    origins: Windows
    features: pd.DataFrame
    growth: np.ndarray

    def subset(self, chosen: np.ndarray) -> Examples:
        """Return some of the examples; ``chosen`` is a mask or an array of indices."""
        indices = np.flatnonzero(chosen) if chosen.dtype == bool else chosen
        return Examples(self.days, self.origins.take(indices), self.features.iloc[indices], self.growth[indices])

    def before(self, day: float) -> Examples:
        """Return the examples whose target, with the count after it, was known on a day [days since 1970]."""
        return self.subset(self.origins.day + self.days + MAX_COUNT_GAP <= day)

    def since(self, day: float) -> Examples:
        """Return the examples with an origin on or after a day [days since 1970]."""
        return self.subset(self.origins.day >= day)

    def __len__(self) -> int:
        return len(self.growth)


def growth_examples(
    counts: StarCounts, weeks: int, horizons: Sequence[int], languages: Sequence[str]
) -> dict[int, Examples]:
    """Return the examples of each horizon [day], in the order of series and time.

    An origin without a count near its target day is no example, so repositories that left the table are missing.
    ``weeks`` is the length of the history before an origin; ``languages`` are those with a code of their own.
    """
    origins = build_windows(counts, weeks, last_row_per_period(counts, ORIGIN_STEP))
    features = growth_features(origins, languages)
    targets = {days: log_growth(origins.current_stars, origins.stars_after(days, MAX_COUNT_GAP)) for days in horizons}
    return {
        days: Examples(days, origins, features, growth).subset(~np.isnan(growth)) for days, growth in targets.items()
    }


def common_languages(counts: StarCounts, day: float, min_series: int = 20) -> list[str]:
    """Return the sorted languages of at least ``min_series`` series before a day [days since 1970]."""
    seen = counts.frame.loc[counts.day < day, ["series", "language"]].drop_duplicates()
    number = seen["language"].value_counts()
    return sorted(str(name) for name in number.index[number >= min_series] if str(name))
