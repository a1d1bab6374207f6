"""Examples of growth: an origin in a repository's history, what was known there, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from stargaze.bundle.growth_bundle import log_growth
from stargaze.features.history.features import growth_features
from stargaze.features.history.windows import StarCounts, Windows, build_windows, last_row_per_period

ORIGIN_STEP = 28
"""Days from an origin of a series to the next: nearer ones tell nearly the same."""
MAX_COUNT_GAP = 21
"""Most days between the two counts that the target lies between: the true count is on that line to a few stars."""


@dataclass(frozen=True)
class Examples:
    """Origins with their features and what each grew by within so many days; shapes (n,) and (n, n_features)."""

    days: int
    origins: Windows
    features: pd.DataFrame
    growth: np.ndarray

    def part(self, chosen: np.ndarray) -> Examples:
        """Keep some of the examples; a mask or places."""
        places = np.flatnonzero(chosen) if chosen.dtype == bool else chosen
        return Examples(self.days, self.origins.take(places), self.features.iloc[places], self.growth[places])

    def before(self, day: float) -> Examples:
        """Keep those of which everything, target and the count after it included, was known on a day [days since 1970]."""
        return self.part(self.origins.day + self.days + MAX_COUNT_GAP <= day)

    def since(self, day: float) -> Examples:
        """Keep those whose origin lies on a day or after it."""
        return self.part(self.origins.day >= day)

    def __len__(self) -> int:
        return len(self.growth)


def growth_examples(
    counts: StarCounts, weeks: int, horizons: Sequence[int], languages: Sequence[str]
) -> dict[int, Examples]:
    """Make the examples of every horizon, in the order of series and time.

    Parameters
    ----------
    counts : StarCounts
        Whole series.
    weeks : int
        Length of the history before an origin [week].
    horizons : sequence of int
        How far ahead [day].
    languages : sequence of str
        Those with a code of their own.

    Returns
    -------
    dict of int to Examples
        An origin is an example where the stars were counted about its target day: repositories that left the table are not
        among them.
    """
    origins = build_windows(counts, weeks, last_row_per_period(counts, ORIGIN_STEP))
    features = growth_features(origins, languages)
    found = {}
    for days in horizons:
        growth = log_growth(origins.current_stars, origins.stars_after(days, MAX_COUNT_GAP))
        found[days] = Examples(days, origins, features, growth).part(~np.isnan(growth))
    return found


def common_languages(counts: StarCounts, day: float, fewest: int = 20) -> list[str]:
    """Return the languages of at least so many series until a day [days since 1970], by name."""
    seen = counts.frame.loc[counts.day < day, ["series", "language"]].drop_duplicates()
    number = seen["language"].value_counts()
    return sorted(str(name) for name in number.index[number >= fewest] if str(name))
