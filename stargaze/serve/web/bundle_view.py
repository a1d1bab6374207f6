"""The part of a bundle that the page shows: metadata, scores, and the names of its repositories."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from stargaze.bundle.manifest import read_verified
from stargaze.serve.web.request_parsing import source_fields

MAX_SUGGESTIONS = 8
"""As many as fit below the field on a phone."""


@dataclass(frozen=True)
class BundleView:
    """What the page shows of the released bundle."""

    digest: str
    meta: dict[str, Any]
    names: tuple[str, ...]
    examples: tuple[str, ...]

    @property
    def scores(self) -> dict[str, float]:
        """Scores of the estimate on held-out repositories."""
        scores: dict[str, float] = self.meta["scores"][self.meta["estimate"]]
        return scores

    @property
    def typical_error(self) -> str:
        """RMSLE as a factor."""
        return f"{math.exp(self.scores['rmsle']):.1f}"

    @property
    def fields(self) -> frozenset[str]:
        """The fields that the model uses; the form shows no others."""
        return source_fields(self.meta["features"])

    @property
    def data_date(self) -> str:
        """The day of the newest training record."""
        return str(self.meta["data"]["latest"])[:10]


def load_bundle_view(folder: Path) -> BundleView:
    """Verify a bundle and read what the page shows; the models are not loaded."""
    digest, content = read_verified(folder)
    known = pd.read_parquet(io.BytesIO(content["known.parquet"]), columns=["full_name", "stars"])
    names = tuple(known.sort_values("stars", ascending=False, kind="stable")["full_name"])
    examples = tuple(names[rank] for rank in (0, 3, 15, 80, 400) if rank < len(names))  # from famous to little known
    return BundleView(digest, json.loads(content["bundle.json"]), names, examples)


def search_names(names: Sequence[str], query: str) -> list[str]:
    """Return the first names that contain the text, those first whose owner or name starts with it.

    >>> search_names(["electron/electron", "atom/atom", "electron/atom-x"], "atom")
    ['atom/atom', 'electron/atom-x']
    """
    text = query.strip().casefold()
    if not text:
        return []
    matches = [name for name in names if text in name.casefold()]
    return sorted(matches, key=lambda name: not _starts_with(name.casefold(), text))[:MAX_SUGGESTIONS]


def _starts_with(name: str, text: str) -> bool:
    return name.startswith(text) or name.partition("/")[2].startswith(text)
