"""The growth bundle: models that forecast star counts, in files that run no code on load and are verified before use.

The manifest and the formats are those of :mod:`stargaze.bundle.star_bundle`. ``tune`` writes it, and
:mod:`stargaze.bundle.forecast` uses it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stargaze.bundle.description import check_growth_description
from stargaze.bundle.manifest import (
    DESCRIPTION,
    GROWTH_FORMAT,
    GROWTH_HINT,
    MALFORMED,
    BadBundleError,
    check_file_names,
    convert_malformed,
    read_description,
)
from stargaze.bundle.serialization import Model, deserialize_model
from stargaze.errors import BadDataError
from stargaze.features.history.clean import clean_history
from stargaze.features.history.features import StarCounts, Windows, build_windows, growth_features
from stargaze.features.history.read import tidy_history

FORMAT, KIND = GROWTH_FORMAT, "growth"
LINEAR_BELOW = 0.002
"""Log growth [nat] below which errors count linearly, as single stars; above it they count as factors."""
MAX_STARS = 1e12
"""No history has more, and no forecast exceeds it, whatever a model predicts."""
TOLERANCE = 1e-4
"""Largest difference between the forecast and the stored prototype forecast [nat]: processors round differently."""
DATES = ("date", "last_commit")


@dataclass(frozen=True)
class HorizonModel:
    """The models of one horizon: growth, difficulty (the predicted error), and the calibrated offsets in units of it.

    Both models work on the scale of :func:`compress_growth`; the first predicts the difference from the drift.
    ``offsets`` are the low and the high one of the prediction interval, ``milestone_offsets`` those of the dates of a milestone.
    """

    days: int
    model: Model
    difficulty: Model
    offsets: tuple[float, float]
    milestone_offsets: tuple[float, float]

    def growth(
        self, origins: Windows, features: pd.DataFrame, offsets: tuple[float, float] | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return log growth [nat] and its bounds at the offsets, by default those of the interval; shapes (n,).

        Never does a bound cross the middle, whatever the offsets are.
        """
        inputs = features.to_numpy()
        middle = compress_growth(drift(origins, self.days)) + self.model.predict(inputs)
        spread = np.exp(np.clip(self.difficulty.predict(inputs), -50.0, 50.0))  # finite for any model
        low, high = offsets or self.offsets
        bounds = middle + min(low, 0.0) * spread, middle + max(high, 0.0) * spread
        return expand_growth(middle), expand_growth(bounds[0]), expand_growth(bounds[1])


@dataclass(frozen=True)
class GrowthBundle:
    """A verified bundle of growth models, parsed from the bytes that were hashed, never read from disk again."""

    digest: str
    meta: dict[str, Any]
    content: Mapping[str, bytes]

    @classmethod
    def load(cls, folder: Path) -> GrowthBundle:
        """Verify every file against the manifest, parse the description and repeat the prototype forecast.

        Raise BadBundleError if a file was changed, the bundle has another kind or version, or a forecast differs.
        """
        digest, meta, content = read_description(folder, KIND, FORMAT, GROWTH_HINT)
        bundle = cls(digest, meta, content)
        with convert_malformed(folder, GROWTH_HINT):
            check_growth_description(meta)
            check_file_names(bundle.file_names, content, folder, GROWTH_HINT)
            usable = len(bundle.horizon_models) > 0 and bundle.weeks > 0
        if not usable:
            raise BadBundleError(f"{folder}: another version wrote this bundle", hint=GROWTH_HINT)
        bundle.check_prototype()
        return bundle

    @property
    def file_names(self) -> set[str]:
        """The names of all files that the description mentions."""
        return {DESCRIPTION} | {str(item[part]) for item in self.meta["horizons"] for part in ("model", "difficulty")}

    @cached_property
    def horizon_models(self) -> tuple[HorizonModel, ...]:
        """The models of each horizon, the nearest first."""
        return tuple(
            HorizonModel(
                int(item["days"]),
                deserialize_model("lightgbm", self.content[item["model"]]),
                deserialize_model("lightgbm", self.content[item["difficulty"]]),
                (float(item["offsets"][0]), float(item["offsets"][1])),
                (float(item["milestone_offsets"][0]), float(item["milestone_offsets"][1])),
            )
            for item in self.meta["horizons"]
        )

    @property
    def weeks(self) -> int:
        """The required length of a history [week]."""
        return int(self.meta["history_weeks"])

    @property
    def coverage(self) -> float:
        """The nominal share of counts that are inside their interval."""
        return float(self.meta["coverage"])

    @property
    def milestone_coverage(self) -> float:
        """The nominal share of milestones that are reached inside their range of dates."""
        return float(self.meta["milestone_coverage"])

    def compute_features(self, origins: Windows) -> pd.DataFrame:
        """Compute the inputs of the models; raise BadBundleError if the bundle was fitted on other features."""
        features = growth_features(origins, self.meta["languages"])
        if list(features.columns) != self.meta["features"]:
            raise BadBundleError("the growth bundle was fitted on other features", hint=GROWTH_HINT)
        return features

    def check_prototype(self) -> None:
        """Raise BadBundleError if a model's forecast of the prototype history differs from the stored one."""
        try:
            stored = self.meta["prototype"]
            origin = last_origin(prototype_history(stored["history"]), self.weeks)
            features = self.compute_features(origin)
            for models, expected in zip(self.horizon_models, stored["growth"], strict=True):
                growth = np.array([values[0] for values in models.growth(origin, features)])
                if not np.all(np.abs(growth - np.asarray(expected, dtype="float64")) <= TOLERANCE):
                    raise BadBundleError(
                        f"the {models.days}-day forecast of the prototype differs from the stored one", hint=GROWTH_HINT
                    )
        except (*MALFORMED, BadDataError) as error:
            raise BadBundleError(f"forecasting the prototype history failed: {error!r}", hint=GROWTH_HINT) from error


def last_origin(history: pd.DataFrame, weeks: int) -> Windows:
    """Return the window that ends at the last count of one repository's history.

    Raise BadDataError for a history that is empty, too short since its last break, or of several repositories, and for a count
    that cannot be one.
    """
    if history.empty:
        raise BadDataError("the history has no counts", hint="provide a longer history")
    if not history["stars"].astype("float64").between(0.0, MAX_STARS).all():
        raise BadDataError("the history has a count that is not a number of stars", hint="correct or remove it")
    whole = clean_history(tidy_history(history)).frame
    names = whole["full_name"].unique()
    if len(names) != 1:
        raise BadDataError(
            f"the history has {len(names)} repositories, a forecast takes one", hint="select the rows of one full_name"
        )
    counts = StarCounts.from_frame(whole)
    origin = build_windows(counts, weeks, np.array([len(whole) - 1]))
    if not len(origin.rows):
        series = counts.day[counts.series == counts.series[-1]]
        raise BadDataError(
            f"{names[0]}: the history covers {(series[-1] - series[0]) / 7:.0f} weeks without a break, "
            f"a forecast needs {weeks}",
            hint="provide a longer history, or tune with a smaller growth.history_weeks",
        )
    return origin


def log_growth(now: np.ndarray, later: np.ndarray) -> np.ndarray:
    """Return log((later + 1) / (now + 1)) [nat], the growth target; shape (n,).

    Examples
    --------
    >>> log_growth(np.array([99.0]), np.array([199.0])).round(2).tolist()
    [0.69]
    """
    return np.asarray(np.log1p(later) - np.log1p(now))


def drift(origins: Windows, days: int) -> np.ndarray:
    """Return the log growth at the mean rate of the window; shape (n,) [nat]."""
    gained = (origins.current_stars - origins.stars[:, 0]) / (7 * origins.weeks) * days
    return log_growth(origins.current_stars, np.maximum(origins.current_stars + gained, 0.0))


def compress_growth(growth: np.ndarray) -> np.ndarray:
    """Return growth on a logarithmic scale that is linear near zero; shape (n,).

    Examples
    --------
    >>> round(float(compress_growth(np.array(0.4)) - compress_growth(np.array(0.2))), 2), round(float(np.log(2)), 2)
    (0.69, 0.69)
    """
    return np.asarray(np.arcsinh(growth / LINEAR_BELOW))


def expand_growth(value: np.ndarray) -> np.ndarray:
    """Return the inverse of :func:`compress_growth` [nat]; shape (n,)."""
    return np.asarray(np.sinh(np.clip(value, -12.0, 12.0)) * LINEAR_BELOW)


def prototype_rows(origins: Windows, index: int) -> list[dict[str, Any]]:
    """Return the counts of one series up to an origin as plain rows, stored as the prototype."""
    frame = origins.counts.frame
    row = int(origins.rows[index])
    known = frame.iloc[: row + 1][origins.counts.series[: row + 1] == origins.counts.series[row]]
    rows = known.drop(columns="series").astype("object").where(known.notna().drop(columns="series"), None)
    dates = {name: [None if value is None else value.isoformat() for value in rows[name]] for name in DATES}
    return list(rows.assign(**dates).to_dict("records"))


def prototype_history(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return the inverse of :func:`prototype_rows`."""
    frame = pd.DataFrame(rows)
    return frame.assign(**{name: pd.to_datetime(frame[name], utc=True, format="ISO8601") for name in DATES})
