"""Predictions and forecasts for the terminal, without queue and worker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from stargaze.bundle.forecast import forecast_growth, next_round_number
from stargaze.bundle.star_bundle import Bundle
from stargaze.config import GrowthSection
from stargaze.errors import MissingInputError, did_you_mean
from stargaze.features.history.read import read_history
from stargaze.features.ingest.user_input import UnknownRepositoryError, parse_name
from stargaze.formatting import format_factor
from stargaze.serve.lookup.growth import load_growth_bundle
from stargaze.serve.lookup.live import BundledRepositories
from stargaze.serve.lookup.star_history import StarHistories
from stargaze.serve.prediction.answer import answer_or_raise
from stargaze.serve.prediction.batch import PredictionContext
from stargaze.serve.prediction.milestone_text import milestone_text
from stargaze.serve.prediction.sentence import prediction_sentence
from stargaze.serve.prediction_request import Answer, PredictionRequest
from stargaze.store import Store

MAX_FACTORS = 3


def predict_locally(store: Store, names: Sequence[str], *, now: datetime, history: str = "") -> Answer:
    """Return the answer that the page gives without GitHub; ``history`` names the file of the star histories."""
    unique = {name.lower(): name for name in map(parse_name, names)}  # GitHub's names are not case-sensitive
    bundle = Bundle.load(_bundle_folder(store))
    context = PredictionContext(bundle, BundledRepositories(bundle), StarHistories(store, history))
    return answer_or_raise(context, PredictionRequest(tuple(unique.values())), now)


def answer_lines(answer: Answer) -> list[str]:
    """Return two lines for each repository: its sentence and its strongest factors."""
    lines = []
    for prediction in answer["predictions"]:
        factors = prediction["explanation"]["factors"][:MAX_FACTORS]
        texts = [f"{item['label']} ({item['value']}) {format_factor(item['factor'])}" for item in factors]
        lines += [prediction_sentence(prediction), *(f"  {text}" for text in ["; ".join(texts)] if text)]
    return lines


def _bundle_folder(store: Store) -> Path:
    """Return the released bundle, or the newest if none is released."""
    if store.current.is_dir():
        return store.current
    if store.latest.is_file():
        return store.bundles / store.latest.read_text(encoding="utf-8").strip()
    raise MissingInputError(f"there is no bundle below {store.root} yet", hint="stargaze run, or stargaze tune")


def forecast_rows(section: GrowthSection, store: Store, names: Sequence[str], *, now: datetime) -> list[dict[str, Any]]:
    """Return one row for each repository and horizon: last count and its day, forecast and interval [stars].

    Each row repeats the repository's next milestone, None if it is not expected before the last horizon.
    """
    unique = list(dict.fromkeys(parse_name(name) for name in names))
    bundle = load_growth_bundle(store)
    path = store.history(section.history_file)
    history = read_history(path, now=now)
    lower = history["full_name"].str.lower()
    rows = []
    for name in unique:
        own_history = history[lower == name.lower()]
        if own_history.empty:
            hint = did_you_mean(
                name, history["full_name"].unique(), f"stargaze fetch --name {name} --star-history {name}"
            )
            raise UnknownRepositoryError(f"{name} is not in {path}", hint=hint)
        growth = forecast_growth(bundle, own_history)
        rows += [
            {
                "repository": own_history["full_name"].iloc[-1],
                "last_day": growth.last_day.isoformat(),
                "stars": growth.current_stars,
                "days": point.days,
                "forecast": point.stars,
                "low": point.low,
                "high": point.high,
                "milestone": growth.milestone and growth.milestone.to_json(),
            }
            for point in growth.points
        ]
    return rows


def milestone_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return one line about the next milestone of each repository of :func:`forecast_rows`."""
    last_rows = {row["repository"]: row for row in rows}
    return [
        f"{name}: {milestone_text(row['milestone'])}"
        if row["milestone"]
        else f"{name}: {next_round_number(row['stars']):,} stars are not expected within {row['days']} days"
        for name, row in last_rows.items()
    ]
