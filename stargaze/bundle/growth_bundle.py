"""The growth bundle: models of how many stars a repository will have after some days, checked before any is used.

The manifest and the formats are those of :mod:`stargaze.bundle.star_bundle`. ``tune`` writes it, and :func:`forecast` uses it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stargaze.bundle.manifest import BadBundleError, check_kind, check_named, read_verified, write_manifest
from stargaze.bundle.serialization import Model, from_bytes
from stargaze.errors import BadDataError
from stargaze.features.history.clean import clean_history
from stargaze.features.history.features import growth_features
from stargaze.features.history.read import tidy_history
from stargaze.features.history.windows import StarCounts, Windows, build_windows
from stargaze.system.files import scratch_folder

KIND = "growth"
STILL = 0.002
"""Log growth below which more or less is a matter of single stars [nat]; above it, errors are compared as factors."""
TOLERANCE = 1e-4
"""How far the prototype's forecast may lie from the stored one [nat]: room for another processor's rounding."""
MALFORMED = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
AGAIN = 'stargaze tune with tuning.target = "growth" makes one for this version'


@dataclass(frozen=True)
class Outlook:
    """How one horizon is foreseen: a model of growth, one of its difficulty, and how far the truth lies off in its units.

    Both models work on :func:`squeezed` growth, the first on what exceeds the drift. ``offsets`` are a low and a high one.
    """

    days: int
    model: Model
    difficulty: Model
    offsets: tuple[float, float]

    def growth(self, origins: Windows, features: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return log growth [nat], and the lowest and the highest inside the interval; shapes (n,)."""
        inputs = features.to_numpy()
        middle = squeezed(drift(origins, self.days)) + self.model.predict(inputs)
        spread = np.exp(self.difficulty.predict(inputs))
        low, high = (widened(middle + offset * spread) for offset in self.offsets)
        return widened(middle), low, high


@dataclass(frozen=True)
class Forecast:
    """How many stars after some days, and the interval around it."""

    days: int
    stars: int
    low: int
    high: int


@dataclass(frozen=True)
class GrowthBundle:
    """A verified bundle of growth models; they are read from bytes that were hashed, never from the disk again."""

    digest: str
    meta: dict[str, Any]
    content: Mapping[str, bytes]

    @classmethod
    def load(cls, folder: Path) -> GrowthBundle:
        """Verify every file against the manifest, then read the description and repeat the prototype's forecast.

        Raises
        ------
        BadBundleError
            If a file was changed, the bundle is of another kind or version, or forecasts something else than it did.
        """
        digest, content = read_verified(folder.resolve())
        try:
            meta = json.loads(content["bundle.json"])
            check_kind(meta, KIND, folder)
            bundle = cls(digest, meta, content)
            current = meta["format"] == 1
            if current:
                check_named(bundle.named, content, folder, AGAIN)
            usable = current and len(bundle.outlooks) > 0 and bundle.weeks > 0
        except MALFORMED as error:
            raise BadBundleError(f"{folder}: bundle.json is not well-formed: {error!r}", hint=AGAIN) from error
        if not usable:
            raise BadBundleError(f"{folder}: was made by another version", hint=AGAIN)
        bundle.check_prototype()
        return bundle

    @property
    def named(self) -> set[str]:
        """The names of all files that the description gives a meaning; any other could be anything."""
        return {"bundle.json"} | {str(item[part]) for item in self.meta["horizons"] for part in ("model", "difficulty")}

    @cached_property
    def outlooks(self) -> tuple[Outlook, ...]:
        """One a horizon, the nearest first."""
        return tuple(
            Outlook(
                int(item["days"]),
                from_bytes("lightgbm", self.content[item["model"]]),
                from_bytes("lightgbm", self.content[item["difficulty"]]),
                (float(item["offsets"][0]), float(item["offsets"][1])),
            )
            for item in self.meta["horizons"]
        )

    @property
    def weeks(self) -> int:
        """How long a history must be [week]."""
        return int(self.meta["history_weeks"])

    def describe(self, origins: Windows) -> pd.DataFrame:
        """Compute what the models are given.

        Raises
        ------
        BadBundleError
            If this version computes other features than the bundle was fitted on.
        """
        features = growth_features(origins, self.meta["languages"])
        if list(features.columns) != self.meta["features"]:
            raise BadBundleError("the growth bundle was fitted on other features", hint=AGAIN)
        return features

    def check_prototype(self) -> None:
        """Forecast the stored history with every model and compare.

        Raises
        ------
        BadBundleError
            If a forecast is not the one that was stored when the bundle was made.
        """
        try:
            stored = self.meta["prototype"]
            origin = last_origin(prototype_history(stored["history"]), self.weeks)
            features = self.describe(origin)
            for outlook, expected in zip(self.outlooks, stored["growth"], strict=True):
                found = np.array([values[0] for values in outlook.growth(origin, features)])
                if not np.all(np.abs(found - np.asarray(expected, dtype="float64")) <= TOLERANCE):
                    raise BadBundleError(
                        f"the model of {outlook.days} days forecasts another growth than stored", hint=AGAIN
                    )
        except (*MALFORMED, BadDataError) as error:
            raise BadBundleError(f"the prototype history cannot be forecast: {error!r}", hint=AGAIN) from error


def forecast(bundle: GrowthBundle, history: pd.DataFrame) -> list[Forecast]:
    """Go on from the end of one repository's history, a horizon each.

    Raises
    ------
    BadDataError
        If the history is not of one repository, or too short since its last break.
    """
    origin = last_origin(history, bundle.weeks)
    features = bundle.describe(origin)
    found = []
    for outlook in bundle.outlooks:
        growth = np.array([values[0] for values in outlook.growth(origin, features)])
        stars, low, high = np.maximum(np.expm1(np.log1p(origin.now[0]) + growth), 0.0).tolist()
        found.append(Forecast(outlook.days, round(stars), math.floor(low), math.ceil(high)))
    return found


def last_origin(history: pd.DataFrame, weeks: int) -> Windows:
    """Stand at the last count of one repository's history, with all weeks that lead to it."""
    whole = clean_history(tidy_history(history)).frame
    names = whole["full_name"].unique()
    if len(names) != 1:
        raise BadDataError(
            f"a forecast is of one repository, not of {len(names)}", hint="take the rows of one full_name"
        )
    counts = StarCounts.of(whole)
    origin = build_windows(counts, weeks, np.array([len(whole) - 1]))
    if not len(origin.rows):
        series = counts.day[counts.series == counts.series[-1]]
        raise BadDataError(
            f"{names[0]}: its history goes back {(series[-1] - series[0]) / 7:.0f} weeks without a break, "
            f"a forecast needs {weeks}",
            hint="wait until it is longer, or tune with a smaller growth.history_weeks",
        )
    return origin


def log_growth(now: np.ndarray, later: np.ndarray) -> np.ndarray:
    """Return log((later + 1) / (now + 1)) [nat]: what is foreseen and scored; shape (n,).

    Examples
    --------
    >>> log_growth(np.array([99.0]), np.array([199.0])).round(2).tolist()
    [0.69]
    """
    return np.asarray(np.log1p(later) - np.log1p(now))


def drift(origins: Windows, days: int) -> np.ndarray:
    """Return the log growth if as many stars come a day as came in the whole window; shape (n,) [nat]."""
    gained = (origins.now - origins.stars[:, 0]) / (7 * origins.weeks) * days
    return log_growth(origins.now, np.maximum(origins.now + gained, 0.0))


def squeezed(growth: np.ndarray) -> np.ndarray:
    """Make differences of growth differences of factors, except about zero; shape (n,).

    Examples
    --------
    >>> round(float(squeezed(np.array(0.4)) - squeezed(np.array(0.2))), 2), round(float(np.log(2)), 2)
    (0.69, 0.69)
    """
    return np.asarray(np.arcsinh(growth / STILL))


def widened(value: np.ndarray) -> np.ndarray:
    """Return to growth [nat] from :func:`squeezed`; shape (n,)."""
    return np.asarray(np.sinh(np.clip(value, -12.0, 12.0)) * STILL)


def prototype_rows(origins: Windows, place: int) -> list[dict[str, Any]]:
    """Return the counts of one series up to an origin as plain rows: what the receiving end repeats."""
    frame = origins.counts.frame
    row = int(origins.rows[place])
    known = frame.iloc[: row + 1][origins.counts.series[: row + 1] == origins.counts.series[row]]
    rows = known.drop(columns="series").astype("object").where(known.notna().drop(columns="series"), None)
    dates = {name: [None if value is None else value.isoformat() for value in rows[name]] for name in _DATES}
    return list(rows.assign(**dates).to_dict("records"))


def prototype_history(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Read what :func:`prototype_rows` wrote."""
    frame = pd.DataFrame(rows)
    return frame.assign(**{name: pd.to_datetime(frame[name], utc=True, format="ISO8601") for name in _DATES})


_DATES = ("date", "last_commit")


def write_growth(parent: Path, meta: dict[str, Any], files: Mapping[str, bytes]) -> Path:
    """Write a growth bundle into ``parent/<digest>`` in one rename and return that folder; one that is there already stays."""
    with scratch_folder(parent) as folder:
        for name, data in files.items():
            (folder / name).write_bytes(data)
        text = json.dumps({**meta, "format": 1, "kind": KIND}, indent=1, sort_keys=True, allow_nan=False)
        (folder / "bundle.json").write_text(text + "\n", encoding="utf-8")
        final = parent / write_manifest(folder)
        GrowthBundle.load(folder)
        if not final.exists():
            folder.rename(final)
    return final
