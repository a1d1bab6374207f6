"""Tune growth: read a history, fit every horizon on what was over before the cut, judge on what began after it, save."""

from __future__ import annotations

import importlib.metadata
import math
import os
import platform
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import stargaze
from stargaze.bundle.growth_bundle import prototype_rows, write_growth
from stargaze.config import GrowthSection, TuningSection
from stargaze.errors import BadDataError, ConfigError
from stargaze.features.history.clean import CleanHistory, clean_history
from stargaze.features.history.read import EPOCH, read_history
from stargaze.features.history.windows import StarCounts
from stargaze.store import Store
from stargaze.system.files import atomic_write, sha256
from stargaze.system.progress import Report
from stargaze.tuning.growth.evaluate import evaluate_horizons
from stargaze.tuning.growth.examples import Examples, common_languages, growth_examples
from stargaze.tuning.growth.fit import MIN_EXAMPLES, FittedHorizon, fit_horizon

PACKAGES = ("lightgbm", "numpy", "pandas")


@dataclass(frozen=True)
class GrowthResult:
    """What tuning found: what was wrong with the history, the figures, and where the bundle lies."""

    bundle: Path
    repositories: int
    anomalies: list[dict[str, Any]]
    scores: list[dict[str, Any]]
    """A row a horizon and method."""


def tune_growth(
    section: GrowthSection,
    tuning: TuningSection,
    store: Store,
    *,
    now: datetime,
    report: Report = lambda _what, _done: None,
) -> GrowthResult:
    """Fit and judge all horizons and save them as a growth bundle; ``bundles/latest-growth`` names it.

    Raises
    ------
    MissingInputError
        If there is no history.
    BadDataError
        If the history holds what cannot be, or too little.
    ConfigError
        If the cut is no date, or a horizon none.
    """
    check_growth_config(section)
    path = store.history(section.history_file)
    report("reading the history", 0.0)
    history = read_history(path, now=now)
    series = clean_history(history)
    fitted, judged, languages = fit_horizons(section, tuning, history, series, report)
    meta = _meta(section, tuning, now, fitted, judged[min(judged)][0], languages) | {
        "scores": _json_rows(evaluate_horizons({days: one.outlook for days, one in fitted.items()}, judged)),
        "data": {
            "rows": len(series.frame),
            "repositories": int(series.frame["full_name"].nunique()),
            "fingerprint": sha256(path),
            "latest": series.frame["date"].max().isoformat(),
            "anomalies": _json_rows(series.as_rows()),
        },
    }
    files: dict[str, bytes] = {}
    for days, one in fitted.items():
        files |= {f"growth-{days}.txt": one.model, f"difficulty-{days}.txt": one.difficulty}
    report("writing the bundle", 1.0)
    folder = write_growth(store.bundles, meta, files)
    with atomic_write(store.latest_growth) as temporary:
        temporary.write_text(folder.name + "\n", encoding="utf-8")
    return GrowthResult(folder, meta["data"]["repositories"], series.as_rows(), meta["scores"])


def check_growth_config(section: GrowthSection) -> None:
    """Refuse a cut that is no date and horizons that are none, before any file is opened."""
    train_until_day(section)
    if not section.horizons or min(section.horizons) < 1 or max(section.horizons) > 3650:
        raise ConfigError(
            f"growth.horizons should be from 1 to 3,650 days, not {section.horizons}", hint="horizons = [30, 90, 365]"
        )


def train_until_day(section: GrowthSection) -> float:
    """Return the cut [days since 1970]."""
    try:
        cut = datetime.fromisoformat(section.train_until)
    except ValueError as error:
        raise ConfigError(
            f"growth.train_until should be a date as 2024-07-01, not {section.train_until!r}",
            hint='train_until = "2024-07-01"',
        ) from error
    return (pd.Timestamp(cut.replace(tzinfo=cut.tzinfo or UTC)) - EPOCH) / pd.Timedelta(days=1)


def fit_horizons(
    section: GrowthSection, tuning: TuningSection, history: pd.DataFrame, series: CleanHistory, report: Report
) -> tuple[dict[int, FittedHorizon], dict[int, tuple[Examples, Examples]], list[str]]:
    """Fit every horizon before the cut; return with them its training and test examples, and the languages.

    What is fitted is made whole from what was counted before the cut alone: which of two names is a copy, or whose, may come
    out only later. What is tested is made of all of ``series``.
    """
    cut, counts = train_until_day(section), StarCounts.from_frame(series.frame)
    report("making examples", 0.1)
    past = StarCounts.from_frame(clean_history(history[history["date"] < EPOCH + pd.Timedelta(days=cut)]).frame)
    languages = common_languages(past, cut)
    horizons = sorted(set(section.horizons))
    before = growth_examples(past, section.history_weeks, horizons, languages)
    since = growth_examples(counts, section.history_weeks, horizons, languages)
    parted = {days: (before[days].before(cut), since[days].since(cut)) for days in horizons}
    for days, (train, test) in parted.items():
        _require_examples(section, counts, days, train, test)
    done: list[int] = []

    def fit(days: int) -> FittedHorizon:
        fitted = fit_horizon(parted[days][0], cut, tuning.coverage, tuning.seed)
        done.append(days)
        report(f"fitted {days} days", 0.1 + 0.9 * len(done) / len(parted))
        return fitted

    with ThreadPoolExecutor(max_workers=len(os.sched_getaffinity(0))) as pool:
        fitted = dict(zip(parted, pool.map(fit, parted), strict=True))
    return fitted, parted, languages


def _require_examples(section: GrowthSection, counts: StarCounts, days: int, train: Examples, test: Examples) -> None:
    if len(train) >= MIN_EXAMPLES and len(test):
        return
    first, last = (str((EPOCH + pd.Timedelta(days=day)).date()) for day in (counts.day.min(), counts.day.max()))
    lacking = (
        f"only {len(train):,} examples are over before" if len(train) < MIN_EXAMPLES else "no example begins after"
    )
    raise BadDataError(
        f"growth over {days} days from {section.history_weeks} weeks: {lacking} the cut {section.train_until}; "
        f"the history has {len(np.unique(counts.series)):,} whole series from {first} to {last}",
        hint="move growth.train_until so that enough lies on both sides, or make growth.horizons or growth.history_weeks smaller",
    )


def _meta(
    section: GrowthSection,
    tuning: TuningSection,
    now: datetime,
    fitted: Mapping[int, FittedHorizon],
    train: Examples,
    languages: list[str],
) -> dict[str, Any]:
    place = int(np.argsort(train.origins.current_stars, kind="stable")[len(train) // 2])
    one = train.part(np.array([place]))
    return {
        "made_at": now.isoformat(timespec="seconds"),
        "version": stargaze.__version__,
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES}
        | {"python": platform.python_version()},
        "history_weeks": section.history_weeks,
        "cut": section.train_until,
        "coverage": tuning.coverage,
        "languages": languages,
        "features": list(train.features.columns),
        "horizons": [
            {
                "days": days,
                "model": f"growth-{days}.txt",
                "difficulty": f"difficulty-{days}.txt",
                "offsets": list(found.outlook.offsets),
                "rounds": found.rounds,
                "blocks": found.blocks,
            }
            for days, found in fitted.items()
        ],
        "prototype": {
            "history": prototype_rows(train.origins, place),
            "growth": [
                [float(values[0]) for values in found.outlook.growth(one.origins, one.features)]
                for found in fitted.values()
            ],
        },
    }


def _json_rows(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Write what is no number as none, and numbers to as many digits as they are good for."""
    return [
        {
            name: (round(value, 5) if math.isfinite(value) else None) if isinstance(value, float) else value
            for name, value in row.items()
        }
        for row in rows
    ]
