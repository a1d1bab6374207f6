"""The part of a bundle that the page shows: what the model is, how good it is, and which repositories it knows."""

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
from stargaze.serve.web.request_parsing import looked_at

SUGGESTIONS = 8
"""More do not fit under the field on a phone."""


@dataclass(frozen=True)
class BundleView:
    """What every page says about the release that answers."""

    digest: str
    meta: dict[str, Any]
    names: tuple[str, ...]
    examples: tuple[str, ...]

    @property
    def scores(self) -> dict[str, float]:
        """Scores of the estimating model on repositories that it never saw."""
        scores: dict[str, float] = self.meta["scores"][self.meta["estimate"]]
        return scores

    @property
    def typical_error(self) -> str:
        """The same as RMSLE, as a factor that people can picture."""
        return f"{math.exp(self.scores['rmsle']):.1f}"

    @property
    def fields(self) -> frozenset[str]:
        """What it looks at; to ask for anything else would be in vain."""
        return looked_at(self.meta["features"])

    @property
    def data_date(self) -> str:
        """The day of the newest record that it learnt from."""
        return str(self.meta["data"]["latest"])[:10]


def load_shown(folder: Path) -> BundleView:
    """Verify the bundle and read what the page needs of it; the models stay unread.

    Raises
    ------
    BadBundleError
        If the manifest does not match.
    """
    digest, content = read_verified(folder)
    known = pd.read_parquet(io.BytesIO(content["known.parquet"]), columns=["full_name", "stars"])
    names = tuple(known.sort_values("stars", ascending=False, kind="stable")["full_name"])
    return BundleView(digest, json.loads(content["bundle.json"]), names, _examples(names))


def suggest(names: Sequence[str], like: str) -> list[str]:
    """Return the first known names that hold the text, those first that begin with it.

    Examples
    --------
    >>> suggest(["electron/electron", "atom/atom", "electron/atom-x"], "atom")
    ['atom/atom', 'electron/atom-x']
    """
    wanted = like.strip().casefold()
    if not wanted:
        return []
    found = [name for name in names if wanted in name.casefold()]
    return sorted(found, key=lambda name: wanted not in _beginnings(name, len(wanted)))[:SUGGESTIONS]


def _beginnings(name: str, length: int) -> tuple[str, str]:
    folded = name.casefold()
    return folded[:length], folded.partition("/")[2][:length]


def _examples(names: Sequence[str]) -> tuple[str, ...]:
    """Take a few from very famous to little known; the known ones are sorted by stars."""
    places = [place for place in (0, 3, 15, 80, 400) if place < len(names)]
    return tuple(names[place] for place in places)
