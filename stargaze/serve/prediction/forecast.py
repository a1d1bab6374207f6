"""What the newest growth bundle foresees for repositories whose history is known, for the terminal."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from stargaze.bundle.growth_bundle import AGAIN, GrowthBundle, forecast
from stargaze.config import GrowthSection
from stargaze.errors import MissingInputError, did_you_mean
from stargaze.features.history.read import read_history
from stargaze.features.ingest.user_input import UnknownRepositoryError, parse_name
from stargaze.store import Store


def forecast_rows(section: GrowthSection, store: Store, names: Sequence[str], *, now: datetime) -> list[dict[str, Any]]:
    """Return a row a repository and horizon: the last count and its day, the stars then, and the interval [stars].

    Raises
    ------
    MissingInputError
        If there is no growth bundle, no history, or a repository is not in it.
    BadDataError
        If a name is none, or a history is too short since its last break.
    """
    asked = [parse_name(name) for name in names]
    bundle = newest(store)
    path = store.history(section.history)
    history = read_history(path, now=now)
    lower = history["full_name"].str.lower()
    found = []
    for name in dict.fromkeys(asked):
        own = history[lower == name.lower()]
        if own.empty:
            near = did_you_mean(name, history["full_name"].unique(), f"stargaze fetch --name {name} --history {name}")
            raise UnknownRepositoryError(f"{name} is not in {path}", hint=near)
        last = own.iloc[-1]
        known = {
            "repository": last["full_name"],
            "counted": last["date"].date().isoformat(),
            "stars": int(last["stars"]),
        }
        ahead = [dataclasses.asdict(one) for one in forecast(bundle, own)]
        found += [
            known | {"days": one["days"], "then": one["stars"], "from": one["low"], "to": one["high"]} for one in ahead
        ]
    return found


def newest(store: Store) -> GrowthBundle:
    """Load the growth bundle that was made last.

    Raises
    ------
    MissingInputError
        If there is none.
    BadBundleError
        If it is not sound.
    """
    if not store.latest_growth.is_file():
        raise MissingInputError(f"there is no growth bundle below {store.root} yet", hint=AGAIN.partition(" for ")[0])
    return GrowthBundle.load(store.bundles / store.latest_growth.read_text(encoding="utf-8").strip())
