"""The bundle behind BentoML; ``benchmarks/serve.py`` starts it with ``bentoml serve``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import bentoml

from stargaze.bundle.star_bundle import Bundle


@bentoml.service(workers=2, traffic={"timeout": 60})
class Stars:
    """Answers as the FastAPI baseline does."""

    def __init__(self) -> None:
        self.bundle = Bundle.load(Path(os.environ["BUNDLE"]))
        self.bundle.estimate(self.bundle.known.head(1))

    @bentoml.api
    def predict(self, repositories: list[str]) -> list[dict[str, Any]]:
        """Return prediction and interval of each repository."""
        if not repositories:
            return []
        rows = [self.bundle.row_by_name[name.lower()] for name in repositories]
        estimate = self.bundle.estimate(self.bundle.known.iloc[rows])
        return [
            {"stars": stars, "low": low, "high": high}
            for stars, low, high in zip(
                estimate.predicted.tolist(), estimate.low.tolist(), estimate.high.tolist(), strict=True
            )
        ]
