"""Tune growth: fit each horizon on the history before ``growth.train_until``, score it on the rest and save the bundle."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stargaze.bundle.growth_bundle import prototype_rows
from stargaze.bundle.write import describe_origin, record_newest, write_growth_bundle
from stargaze.config import GrowthSection, TuningSection
from stargaze.errors import BadDataError, ConfigError
from stargaze.features.history.clean import CleanHistory, clean_history
from stargaze.features.history.features import StarCounts
from stargaze.features.history.read import EPOCH, StarHistory, read_history
from stargaze.features.history.table_format import HistoryFormat
from stargaze.store import Store
from stargaze.system.files import sha256
from stargaze.system.parallel import map_in_threads
from stargaze.system.progress import Report
from stargaze.tuning.growth.evaluate import evaluate_horizons
from stargaze.tuning.growth.examples import Examples, common_languages, growth_examples
from stargaze.tuning.growth.fit import MILESTONE_COVERAGE, MIN_EXAMPLES, FittedHorizon, fit_horizon


@dataclass(frozen=True)
class GrowthResult:
    """The folder of the bundle, the anomalies of the history, a row of scores per horizon and method, and what was left out."""

    bundle: Path
    repositories: int
    anomalies: list[dict[str, Any]]
    scores: list[dict[str, Any]]
    left_out: list[dict[str, Any]]


def tune_growth(
    section: GrowthSection,
    tuning: TuningSection,
    store: Store,
    *,
    now: datetime,
    report: Report = lambda _what, _done: None,
) -> GrowthResult:
    """Fit and score all horizons and save them as a growth bundle; ``bundles/latest-growth`` names it.

    Raise MissingInputError if there is no history; BadDataError if the history contains impossible values, or too
    few counts; ConfigError if ``train_until`` is not a date, or a horizon is out of range.
    """
    check_growth_config(section)
    path = store.history(section.history_file)
    report("reading the history", 0.0)
    table = read_history(path, now=now, form=HistoryFormat.of(section))
    history = table.frame
    series = clean_history(history)
    try:
        fitted, examples, languages = fit_horizons(section, tuning, history, series, report)
    except BadDataError as error:
        raise BadDataError(f"{error.message}{_refused_text(table)}", hint=error.hint) from error
    scores = evaluate_horizons({days: horizon.model for days, horizon in fitted.items()}, examples)
    meta = _meta(section, tuning, fitted, examples[min(examples)][0], languages) | {
        **describe_origin(("lightgbm", "numpy", "pandas")),
        "scores": _json_rows(scores),
        "data": {
            "rows": len(series.frame),
            "repositories": int(series.frame["full_name"].nunique()),
            "fingerprint": sha256(path),
            "latest": series.frame["date"].max().isoformat(),
            "anomalies": _json_rows(series.as_rows()),
            "left_out": _left_out(table),
        },
    }
    files: dict[str, bytes] = {}
    for days, horizon in fitted.items():
        files |= {f"growth-{days}.txt": horizon.growth_booster, f"difficulty-{days}.txt": horizon.difficulty_booster}
    report("writing the bundle", 1.0)
    folder = write_growth_bundle(store.bundles, meta, files)
    record_newest(store.latest_growth, folder)
    repositories = meta["data"]["repositories"]
    return GrowthResult(folder, repositories, series.as_rows(), meta["scores"], meta["data"]["left_out"])


def _refused_text(table: StarHistory) -> str:
    """Return the end of an error that the rows may have caused which are left out."""
    if not table.refused:
        return ""
    examples = "; ".join(item.problem for item in table.refused[:3])
    return f"; {table.n_refused:,} of {table.rows:,} rows are left out: {examples}"


def _left_out(table: StarHistory) -> list[dict[str, Any]]:
    """Return a row for each reason for which rows of the history, or values of a column, were left out."""
    kinds = (("row", table.refused), ("value", table.cleared))
    return [{"kind": kind, **dataclasses.asdict(item)} for kind, items in kinds for item in items]


def check_growth_config(section: GrowthSection) -> None:
    """Raise ConfigError if ``train_until`` is not a date or a horizon is out of range, before any file is read."""
    train_until_day(section)
    if not section.horizons or min(section.horizons) < 1 or max(section.horizons) > 3650:
        raise ConfigError(
            f"growth.horizons should be from 1 to 3,650 days, not {section.horizons}", hint="horizons = [30, 90, 365]"
        )


def train_until_day(section: GrowthSection) -> float:
    """Return the first day that is not used for training [days since 1970]."""
    try:
        date = datetime.fromisoformat(section.train_until)
    except ValueError as error:
        raise ConfigError(
            f"growth.train_until should be a date as 2024-07-01, not {section.train_until!r}",
            hint='train_until = "2024-07-01"',
        ) from error
    return (pd.Timestamp(date.replace(tzinfo=date.tzinfo or UTC)) - EPOCH) / pd.Timedelta(days=1)


def fit_horizons(
    section: GrowthSection, tuning: TuningSection, history: pd.DataFrame, series: CleanHistory, report: Report
) -> tuple[dict[int, FittedHorizon], dict[int, tuple[Examples, Examples]], list[str]]:
    """Fit each horizon; return with them the training and test examples of each, and the languages.

    Training examples come from a history that is cleaned without the counts after ``train_until``, because only later
    counts may show which of two series is a copy. Test examples come from ``series``.
    """
    train_until, counts = train_until_day(section), StarCounts.from_frame(series.frame)
    report("creating examples", 0.1)
    known = history[history["date"] < EPOCH + pd.Timedelta(days=train_until)]
    past = StarCounts.from_frame(clean_history(known).frame)
    languages = common_languages(past, train_until)
    horizons = sorted(set(section.horizons))
    before = growth_examples(past, section.history_weeks, horizons, languages)
    since = growth_examples(counts, section.history_weeks, horizons, languages)
    examples = {days: (before[days].before(train_until), since[days].since(train_until)) for days in horizons}
    for train, test in examples.values():
        _require_examples(section, counts, train, test)
    done: list[int] = []

    def fit(days: int) -> FittedHorizon:
        fitted = fit_horizon(examples[days][0], train_until, tuning.coverage, tuning.seed)
        done.append(days)
        report(f"fitted {days} days", 0.1 + 0.9 * len(done) / len(examples))
        return fitted

    fitted = map_in_threads(fit, horizons, threads=len(os.sched_getaffinity(0)))
    return dict(zip(horizons, fitted, strict=True)), examples, languages


def _require_examples(section: GrowthSection, counts: StarCounts, train: Examples, test: Examples) -> None:
    if len(train) >= MIN_EXAMPLES and len(test):
        return
    first, last = (str((EPOCH + pd.Timedelta(days=day)).date()) for day in (counts.day.min(), counts.day.max()))
    lacking = f"only {len(train):,} examples end before" if len(train) < MIN_EXAMPLES else "no example begins after"
    raise BadDataError(
        f"growth over {train.days} days from {section.history_weeks} weeks: {lacking} growth.train_until, "
        f"{section.train_until}; the history has {len(np.unique(counts.series)):,} whole series from {first} to {last}",
        hint="move growth.train_until so that examples exist before and after it, or reduce growth.horizons",
    )


def _meta(
    section: GrowthSection,
    tuning: TuningSection,
    fitted: Mapping[int, FittedHorizon],
    train: Examples,
    languages: list[str],
) -> dict[str, Any]:
    index = int(np.argsort(train.origins.current_stars, kind="stable")[len(train) // 2])
    prototype = train.subset(np.array([index]))
    return {
        "history_weeks": section.history_weeks,
        "train_until": section.train_until,
        "coverage": tuning.coverage,
        "milestone_coverage": MILESTONE_COVERAGE,
        "languages": languages,
        "features": list(train.features.columns),
        "horizons": [
            {
                "days": days,
                "model": f"growth-{days}.txt",
                "difficulty": f"difficulty-{days}.txt",
                "offsets": list(horizon.model.offsets),
                "milestone_offsets": list(horizon.model.milestone_offsets),
                "rounds": horizon.rounds,
                "blocks": horizon.blocks,
            }
            for days, horizon in fitted.items()
        ],
        "prototype": {
            "history": prototype_rows(train.origins, index),
            "growth": [
                [float(values[0]) for values in horizon.model.growth(prototype.origins, prototype.features)]
                for horizon in fitted.values()
            ],
        },
    }


def _json_rows(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Round numbers to five digits and replace those that are not finite by None."""
    return [
        {
            name: (round(value, 5) if math.isfinite(value) else None) if isinstance(value, float) else value
            for name, value in row.items()
        }
        for row in rows
    ]
