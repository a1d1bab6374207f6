"""The same answer as the page's, for the terminal, without any process in between."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stargaze.bundle.star_bundle import Bundle
from stargaze.errors import MissingInputError
from stargaze.features.ingest.user_input import look_up_repositories, parse_name
from stargaze.serve.prediction.predict import Prediction, as_json, predict
from stargaze.store import Store

REASONS = 3


def answer(store: Store, names: Sequence[str]) -> list[dict[str, Any]]:
    """Return the ranked answers, each as a row for a table and, under ``prediction``, whole."""
    asked = {name.lower(): name for name in map(parse_name, names)}  # case does not matter on GitHub
    bundle = Bundle.load(_newest(store))
    found = predict(bundle, look_up_repositories(list(asked.values()), bundle.known))
    ranked = sorted(found, key=lambda one: -one.stars)
    return [_row(rank, one) for rank, one in enumerate(ranked, start=1)]


def _newest(store: Store) -> Path:
    """Return the bundle that serves, else the one that was made last."""
    if store.current.is_dir():
        return store.current
    if store.latest.is_file():
        return store.bundles / store.latest.read_text(encoding="utf-8").strip()
    raise MissingInputError(f"there is no bundle below {store.root} yet", hint="stargaze run, or stargaze tune")


def _row(rank: int, one: Prediction) -> dict[str, Any]:
    reasons = ", ".join(f"{factor.feature} × {factor.times:.2g}" for factor in one.factors[:REASONS])
    return {
        "rank": rank,
        "repository": one.full_name,
        "predicted": round(one.stars, 1),
        "interval": f"{one.low:,.0f} to {one.high:,.0f}",
        "percentile": one.percentile,
        "true": one.actual,
        "reasons": reasons,
        "prediction": as_json(one),
    }
