"""Predictions for the terminal, without queue and worker."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stargaze.bundle.star_bundle import Bundle
from stargaze.errors import MissingInputError
from stargaze.features.ingest.user_input import look_up_repositories, parse_name
from stargaze.serve.prediction.predict import Prediction, predict
from stargaze.store import Store

MAX_FACTORS = 3


def predict_locally(store: Store, names: Sequence[str]) -> list[dict[str, Any]]:
    """Return ranked rows for a table, each with the whole answer under ``prediction``."""
    unique = {name.lower(): name for name in map(parse_name, names)}  # GitHub's names are not case-sensitive
    bundle = Bundle.load(_bundle_folder(store))
    predictions = predict(bundle, look_up_repositories(list(unique.values()), bundle.known))
    ranked = sorted(predictions, key=lambda prediction: -prediction.stars)
    return [_row(rank, prediction) for rank, prediction in enumerate(ranked, start=1)]


def _bundle_folder(store: Store) -> Path:
    """Return the released bundle, or the newest if none is released."""
    if store.current.is_dir():
        return store.current
    if store.latest.is_file():
        return store.bundles / store.latest.read_text(encoding="utf-8").strip()
    raise MissingInputError(f"there is no bundle below {store.root} yet", hint="stargaze run, or stargaze tune")


def _row(rank: int, prediction: Prediction) -> dict[str, Any]:
    factors = ", ".join(f"{factor.feature} × {factor.factor:.2g}" for factor in prediction.factors[:MAX_FACTORS])
    return {
        "rank": rank,
        "repository": prediction.full_name,
        "predicted": round(prediction.stars, 1),
        "interval": f"{prediction.low:,.0f} to {prediction.high:,.0f}",
        "percentile": prediction.percentile,
        "actual": prediction.actual,
        "factors": factors,
        "prediction": prediction.to_json(),
    }
