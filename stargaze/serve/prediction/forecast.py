"""Forecasts for the terminal, by the newest growth bundle."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from stargaze.bundle.growth_bundle import forecast
from stargaze.config import GrowthSection
from stargaze.errors import did_you_mean
from stargaze.features.history.read import read_history
from stargaze.features.ingest.user_input import UnknownRepositoryError, parse_name
from stargaze.serve.lookup.star_history import load_newest_growth_bundle
from stargaze.store import Store


def forecast_rows(section: GrowthSection, store: Store, names: Sequence[str], *, now: datetime) -> list[dict[str, Any]]:
    """Return one row for each repository and horizon: last count and its day, forecast and interval [stars]."""
    unique = list(dict.fromkeys(parse_name(name) for name in names))
    bundle = load_newest_growth_bundle(store)
    path = store.history(section.history_file)
    history = read_history(path, now=now)
    lower = history["full_name"].str.lower()
    rows = []
    for name in unique:
        own = history[lower == name.lower()]
        if own.empty:
            hint = did_you_mean(
                name, history["full_name"].unique(), f"stargaze fetch --name {name} --star-history {name}"
            )
            raise UnknownRepositoryError(f"{name} is not in {path}", hint=hint)
        last = own.iloc[-1]
        rows += [
            {
                "repository": last["full_name"],
                "last_day": last["date"].date().isoformat(),
                "stars": int(last["stars"]),
                "days": point.days,
                "forecast": point.stars,
                "low": point.low,
                "high": point.high,
            }
            for point in forecast(bundle, own)
        ]
    return rows
