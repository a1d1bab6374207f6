"""The part of a bundle that the page shows: its scores, what it was trained on, and the names that it knows."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd

from stargaze.bundle.ensemble_families import family_weights, format_families
from stargaze.bundle.manifest import read_verified
from stargaze.formatting import format_count, format_percent
from stargaze.serve.lookup.exclusion import NO_EXCLUSIONS, Exclusions
from stargaze.serve.release.release_folder import split_release_name
from stargaze.serve.web.views.form_fields import source_fields

EXAMPLE_RANKS = (80, 15, 3, 400, 0)
"""Ranks by stars of the examples; the most starred one, whose estimate is the least typical, is the last."""

FEWEST_QUOTED = 30
"""A coverage of fewer repositories is not quoted: its 95% interval spans more than 20 percentage points."""


@dataclass(frozen=True)
class BundleView:
    """The part of the released bundle that the page shows."""

    digest: str
    meta: dict[str, Any]
    names: tuple[str, ...]
    examples: tuple[str, ...]
    growth_digest: str | None = None
    """The digest of the growth bundle of the same release."""

    @property
    def scores(self) -> dict[str, Any]:
        """Scores of the estimate on held-out repositories."""
        scores: dict[str, Any] = self.meta["scores"][self.meta["estimate_policy"]]
        return scores

    @property
    def families(self) -> str:
        """The model families of the estimate, with their weights."""
        return format_families(family_weights(self.meta)[self.meta["estimate_policy"]])

    @property
    def fields(self) -> frozenset[str]:
        """The fields that the model uses; the form shows no others."""
        return source_fields(self.meta["features"])

    @property
    def importance(self) -> dict[str, float]:
        """The share of each field in the importance for the estimate, largest first; empty if the bundle does not say."""
        shares: dict[str, float] = self.meta.get("importance", {}).get(self.meta["estimate_policy"], {})
        return shares

    @property
    def data_date(self) -> str:
        """The day of the newest training record."""
        return str(self.meta["data"]["latest"])[:10]

    @property
    def training_population(self) -> str:
        """How many repositories the model was trained on, which ones, and the months of their data."""
        data = self.meta["data"]
        days = (str(data.get("earliest") or data["latest"])[:10], self.data_date)
        months = " to ".join(dict.fromkeys(date.fromisoformat(day).strftime("%B %Y") for day in days))
        return f"{format_count(data['training_rows'])} {data.get('population') or 'public repositories'}, {months}"

    @property
    def training_choice(self) -> str:
        """How the training repositories were chosen; empty if the bundle does not say."""
        return str(self.meta["data"].get("choice") or "")

    @property
    def coverage_by_decade(self) -> str:
        """How often intervals contained the actual count, by expected stars; empty if nothing can be quoted."""
        rows = filter(is_coverage_quoted, self.scores.get("coverage_by_predicted_decade", ()))
        return ", ".join(f"{format_percent(row['coverage'])} {estimates_label(row['decade'])}" for row in rows)


def load_bundle_view(folder: Path, exclusions: Exclusions = NO_EXCLUSIONS) -> BundleView:
    """Verify a bundle and read what the page shows, without excluded repositories; the models are not loaded."""
    digest, content = read_verified(folder)
    known = pd.read_parquet(io.BytesIO(content["known.parquet"]), columns=["full_name", "stars"])
    ordered = known.sort_values("stars", ascending=False, kind="stable")["full_name"]
    names = tuple(name for name in ordered if not exclusions.match(name))
    examples = tuple(names[rank] for rank in EXAMPLE_RANKS if rank < len(names))
    meta = json.loads(content["bundle.json"])
    outliers = meta.get("outliers") or {}
    meta["outliers"] = {
        side: [row for row in outliers.get(side, ()) if not exclusions.match(row["full_name"])]
        for side in ("more", "fewer")
    }
    _, growth_digest = split_release_name(folder.resolve().name)
    return BundleView(digest, meta, names, examples, growth_digest)


def decade_label(decade: str) -> str:
    """Return both ends of a decade of stars.

    >>> decade_label("1000-9999"), decade_label("0")
    ('1,000–9,999', '0')
    """
    return "–".join(f"{int(end):,}" if end.isdecimal() else end for end in str(decade).split("-"))


def estimates_label(decade: str) -> str:
    """Return which estimates a decade has, in whole stars: those of "0" are shown as less than 1 star.

    >>> estimates_label("1000-9999"), estimates_label("0")
    ('at 1,000–9,999', 'below 1')
    """
    return "below 1" if str(decade) == "0" else f"at {decade_label(decade)}"


def is_coverage_quoted(row: Mapping[str, Any]) -> bool:
    """Return whether the coverage of a decade was measured on enough repositories to quote it.

    >>> is_coverage_quoted({"n": 30, "coverage": 0.9}), is_coverage_quoted({"n": 10, "coverage": 0.9})
    (True, False)
    """
    return row.get("coverage") is not None and row["n"] >= FEWEST_QUOTED


def describe_track_record(summary: Mapping[str, Any] | None) -> str:
    """Return a sentence on predictions that were scored when the repository was seen again.

    >>> describe_track_record({"recorded": 40, "scored": 20, "coverage": 0.9, "rmsle": 0.41})
    'Of 20 live estimates that were checked later, 90% had the actual count in their interval (RMSLE 0.41).'
    >>> describe_track_record({"recorded": 3, "scored": 0}), describe_track_record(None)
    ('No live estimate has been checked yet.', 'No live estimate has been checked yet.')
    """
    if not summary or not summary.get("scored"):
        return "No live estimate has been checked yet."
    return (
        f"Of {summary['scored']:,} live estimates that were checked later, {100 * summary['coverage']:.0f}% had the "
        f"actual count in their interval (RMSLE {summary['rmsle']:.2f})."
    )
