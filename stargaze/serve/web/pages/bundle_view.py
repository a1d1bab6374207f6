"""The part of a bundle that the page shows: repository names, and the model card with scores, track record and limitations."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import metadata
from pathlib import Path
from typing import Any

import pandas as pd

from stargaze.bundle.manifest import read_verified
from stargaze.features.matrix import CATALOG
from stargaze.serve.lookup.exclusion import NO_EXCLUSIONS, Exclusions
from stargaze.serve.prediction.labels import feature_label
from stargaze.serve.web.pages.explanation_view import POLICY_TEXTS
from stargaze.serve.web.pages.form_fields import source_fields

MAX_SUGGESTIONS = 8
"""As many as fit below the field on a phone."""
FEW_REPOSITORIES = 100
"""With fewer repositories a share is uncertain."""
LIMITATIONS = (
    "Stars measure attention, not quality; bought stars are not detected.",
    "An estimate is valid for the day of its figures. Only the forecast, which needs a star history, is about the future.",
    "Explanations and what-ifs are associations in the data. Changing a value need not change the stars.",
    "Predictions for repositories outside the training data carry a warning and are less reliable.",
    "The model was trained on public repositories; it is not meant for private code.",
)
FEATURE_GROUPS = {"static": "Metadata", "activity": "Activity", "all": "Popularity"}


@dataclass(frozen=True)
class BundleView:
    """The part of the released bundle that the page shows."""

    digest: str
    meta: dict[str, Any]
    names: tuple[str, ...]
    examples: tuple[str, ...]

    @property
    def scores(self) -> dict[str, float]:
        """Scores of the estimate on held-out repositories."""
        scores: dict[str, float] = self.meta["scores"][self.meta["estimate_policy"]]
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
    def importance(self) -> dict[str, float]:
        """The share of each field in the importance for the estimate, largest first; empty if the bundle does not say."""
        shares: dict[str, float] = self.meta.get("importance", {}).get(self.meta["estimate_policy"], {})
        return shares

    @property
    def data_date(self) -> str:
        """The day of the newest training record."""
        return str(self.meta["data"]["latest"])[:10]


def load_bundle_view(folder: Path, exclusions: Exclusions = NO_EXCLUSIONS) -> BundleView:
    """Verify a bundle and read what the page shows, without excluded repositories; the models are not loaded."""
    digest, content = read_verified(folder)
    known = pd.read_parquet(io.BytesIO(content["known.parquet"]), columns=["full_name", "stars"])
    ordered = known.sort_values("stars", ascending=False, kind="stable")["full_name"]
    names = tuple(name for name in ordered if not exclusions.match(name))
    examples = tuple(names[rank] for rank in (0, 3, 15, 80, 400) if rank < len(names))  # from famous to little known
    meta = json.loads(content["bundle.json"])
    meta["outliers"] = {
        kind: [row for row in rows if not exclusions.match(row["full_name"])]
        for kind, rows in meta.get("outliers", {}).items()
    }
    return BundleView(digest, meta, names, examples)


def search_names(names: Sequence[str], query: str) -> list[str]:
    """Return the first names that contain the text, those first whose owner or name starts with it.

    >>> search_names(["electron/electron", "atom/atom", "electron/atom-x"], "atom")
    ['atom/atom', 'electron/atom-x']
    """
    text = query.strip().casefold()
    if not text:
        return []
    matches = [name for name in names if text in name.casefold()]
    return sorted(matches, key=lambda name: f"/{text}" not in f"/{name.casefold()}")[:MAX_SUGGESTIONS]


def model_card(view: BundleView) -> dict[str, Any]:
    """Return the rows and sentences of the page ``/model``."""
    meta = view.meta
    scores: Mapping[str, Any] = view.scores
    decades = scores.get("coverage_by_decade", ())
    order = [name for name in POLICY_TEXTS if name in meta["scores"]]
    order += [name for name in meta["scores"] if name not in POLICY_TEXTS]
    return {
        "policies": [_policy_row(name, meta["scores"][name], meta) for name in order],
        "decades": [_decade_row(row) for row in decades],
        "has_few": any(int(row["n"]) < FEW_REPOSITORIES for row in decades),
        "facts": _facts(view),
        "features": _feature_groups(meta),
        "limitations": LIMITATIONS,
    }


def describe_track_record(summary: Mapping[str, Any] | None) -> str:
    """Return a sentence on predictions that were scored when the repository was seen again.

    >>> describe_track_record({"recorded": 40, "scored": 20, "coverage": 0.9, "rmsle": 0.41})
    'Of 20 live estimates that were checked later, 90% had the true count in their interval (RMSLE 0.41).'
    >>> describe_track_record({"recorded": 3, "scored": 0}), describe_track_record(None)
    ('None of 3 live estimates has been checked yet.', 'No live estimate has been checked yet.')
    """
    if not summary or not summary.get("recorded"):
        return "No live estimate has been checked yet."
    if not summary.get("scored"):
        return f"None of {summary['recorded']:,} live estimates has been checked yet."
    return (
        f"Of {summary['scored']:,} live estimates that were checked later, {100 * summary['coverage']:.0f}% had the "
        f"true count in their interval (RMSLE {summary['rmsle']:.2f})."
    )


def _policy_row(name: str, scores: Mapping[str, Any], meta: Mapping[str, Any]) -> dict[str, str]:
    return {
        "inputs": POLICY_TEXTS.get(name, name),
        "role": "estimate" if meta["estimate_policy"] == name else "",
        "rmsle": _number(scores.get("rmsle")),
        "r2": _number(scores.get("r2")),
        "rho": _number(scores.get("rho")),
        "coverage": _share(scores.get("coverage")),
    }


def _decade_row(row: Mapping[str, Any]) -> dict[str, str]:
    ends = [f"{int(end):,}" for end in str(row["decade"]).split("-") if end.isdecimal()]
    return {
        "decade": " to ".join(ends) or str(row["decade"]),
        "n": f"{int(row['n']):,}",
        "coverage": _share(row.get("coverage")),
        "width": f"× {math.exp(row['width']):,.1f}" if isinstance(row.get("width"), (int, float)) else "–",
    }


def _facts(view: BundleView) -> Sequence[tuple[str, str]]:
    meta = view.meta
    families = {str(item["family"]) for item in meta.get("ensemble", {}).get(meta["estimate_policy"], ())} or {
        meta["family"]
    }
    return [
        ("Model version", view.digest[:12]),
        ("Trained on", str(meta["created_at"])[:10]),
        ("Newest record", view.data_date),
        ("Repositories", f"{meta['data']['rows']:,}, of which {meta['data']['training_rows']:,} for training"),
        ("Model families", ", ".join(sorted(families))),
        ("Chosen from", f"{meta['trials']:,} trials" if isinstance(meta.get("trials"), int) else "several families"),
        ("Intervals", f"{100 * meta['coverage']:g}% coverage"),
        ("Version", str(meta["version"])),
        ("License", str(metadata("stargaze").json.get("license_expression", "see the package"))),
    ]


def _feature_groups(meta: Mapping[str, Any]) -> Sequence[dict[str, Any]]:
    groups: list[dict[str, Any]] = []
    for policy, title in FEATURE_GROUPS.items():
        names = [name for name in meta["features"].get(meta["estimate_policy"], ()) if CATALOG[name].policy == policy]
        if names:
            groups.append({"title": title, "rows": sorted((feature_label(name), CATALOG[name].unit) for name in names)})
    return groups


def _number(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, (int, float)) else "–"


def _share(value: Any) -> str:
    return f"{100 * value:.0f}%" if isinstance(value, (int, float)) else "–"
