"""The bundle behind FastAPI, loaded with joblib as in tutorials; ``benchmarks/serve.py`` starts it with uvicorn."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import joblib
from fastapi import FastAPI
from pydantic import BaseModel

from stargaze.bundle.star_bundle import Bundle

with tempfile.TemporaryDirectory() as folder:
    joblib.dump(Bundle.load(Path(os.environ["BUNDLE"])), Path(folder) / "model.joblib")
    bundle: Bundle = joblib.load(Path(folder) / "model.joblib")
bundle.estimate(bundle.known.head(1))
app = FastAPI()


class PredictionBody(BaseModel):
    """The request body: names of known repositories."""

    repositories: list[str]


@app.post("/predict")
def predict(body: PredictionBody) -> list[dict[str, Any]]:
    """Return prediction and interval of each repository."""
    if not body.repositories:
        return []
    rows = [bundle.row_by_name[name.lower()] for name in body.repositories]
    estimate = bundle.estimate(bundle.known.iloc[rows])
    return [
        {"stars": stars, "low": low, "high": high}
        for stars, low, high in zip(
            estimate.predicted.tolist(), estimate.low.tolist(), estimate.high.tolist(), strict=True
        )
    ]
