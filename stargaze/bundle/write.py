"""Write a star bundle atomically and verify it before it gets its name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from stargaze.bundle.manifest import write_manifest
from stargaze.bundle.serialization import serialize_model
from stargaze.bundle.star_bundle import DESCRIPTION, ENCODER, FORMAT, KNOWN, Bundle
from stargaze.features.encoding.encoder import Encoder
from stargaze.system.files import scratch_folder

SUFFIXES = {"lightgbm": "txt", "skops": "skops", "xgboost": "json", "catboost": "json"}


def write_bundle(
    parent: Path,
    meta: dict[str, Any],
    models: Mapping[str, Any],
    spreads: Mapping[str, Any],
    known: pd.DataFrame,
    encoder: Encoder | None = None,
) -> Path:
    """Write a bundle to ``parent/<digest>`` with one rename and return that folder; an existing one is kept.

    ``models`` maps each policy to an ensemble, ``spreads`` each answer policy to a model of the prediction error. The
    bundle is loaded and must reproduce the stored prototype predictions before it gets its name.
    """
    with scratch_folder(parent) as folder:
        files: dict[str, Any] = {
            "models": {
                policy: [
                    {**_write_model(folder, f"model-{policy}-{number}", model), "weight": weight}
                    for number, (weight, model) in enumerate(
                        zip(ensemble.weights, ensemble.models, strict=True), start=1
                    )
                ]
                for policy, ensemble in models.items()
            },
            "spreads": {policy: _write_model(folder, f"spread-{policy}", model) for policy, model in spreads.items()},
        }
        text = json.dumps({**meta, "format": FORMAT, **files}, indent=1, sort_keys=True, allow_nan=False)
        (folder / DESCRIPTION).write_text(text + "\n", encoding="utf-8")
        if encoder is not None:
            (folder / ENCODER).write_bytes(encoder.to_bytes())
        known.to_parquet(folder / KNOWN, compression="zstd", index=False)
        final = parent / write_manifest(folder)
        Bundle.load(folder).check_prototype()
        if not final.exists():
            folder.rename(final)
    return final


def _write_model(folder: Path, name: str, model: Any) -> dict[str, str]:
    """Write one model and return its file and format."""
    kind, data = serialize_model(model)
    file = f"{name}.{SUFFIXES[kind]}"
    (folder / file).write_bytes(data)
    return {"file": file, "format": kind}
