"""What the page says of the model: figures on repositories that it had not seen, what it is made of, and its limits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import metadata
from typing import Any

from stargaze.features.catalog import CATALOG
from stargaze.serve.web.bundle_view import BundleView
from stargaze.serve.web.prediction_view import POLICY_WORDS

FEW = 100
"""Of fewer repositories a share says little."""
LIMITS = (
    "Stars tell who was noticed, not what is good; whoever buys stars is taken at its word.",
    "An estimate is of the day of the figures. It is no promise for the next year: the forecast is, where a history is known.",
    "Reasons and what-ifs are associations in the data. Changing a figure need not change the stars.",
    "Repositories unlike those it learnt from are answered with a warning, and should be taken with care.",
    "It learnt from public repositories; a private one, or a company's whole estate, is another world.",
)


@dataclass(frozen=True)
class ModelCard:
    """Rows and sentences of the page ``/model``."""

    policies: tuple[dict[str, str], ...]
    decades: tuple[dict[str, str], ...]
    few: bool
    facts: tuple[tuple[str, str], ...]
    features: tuple[dict[str, Any], ...]
    limits: tuple[str, ...]
    record: str


def model_card(shown: BundleView, record: Mapping[str, Any] | None) -> ModelCard:
    """Put together what is known of the release that serves, and of its predictions so far."""
    meta = shown.meta
    scores: Mapping[str, Any] = shown.scores
    decades = tuple(_decade(row) for row in scores.get("coverage_by_decade", ()))
    return ModelCard(
        tuple(_policy(name, scores, meta) for name, scores in sorted(meta["scores"].items(), key=_place)),
        decades,
        any(int(row["n"].replace(",", "")) < FEW for row in decades),
        tuple(_facts(shown)),
        tuple(_features(meta)),
        LIMITS,
        track_record(record),
    )


def track_record(record: Mapping[str, Any] | None) -> str:
    """Say how predictions did that were kept until the repository was seen again.

    Examples
    --------
    >>> track_record({"recorded": 40, "scored": 20, "coverage": 0.9, "rmsle": 0.41})
    'Of 20 predictions that were seen again on a later day, 90 % held the true count in their range (RMSLE 0.41).'
    >>> track_record({"recorded": 3, "scored": 0}), track_record(None)
    ('None of its 3 predictions was seen again on a later day yet.', 'No prediction of it was seen again yet.')
    """
    if not record or not record.get("recorded"):
        return "No prediction of it was seen again yet."
    if not record.get("scored"):
        return f"None of its {record['recorded']:,} predictions was seen again on a later day yet."
    return (
        f"Of {record['scored']:,} predictions that were seen again on a later day, {100 * record['coverage']:.0f} % held "
        f"the true count in their range (RMSLE {record['rmsle']:.2f})."
    )


def _place(item: tuple[str, Any]) -> int:
    """Return where a policy stands: who is told less comes first."""
    order = list(POLICY_WORDS)
    return order.index(item[0]) if item[0] in order else len(order)


def _policy(name: str, scores: Mapping[str, Any], meta: Mapping[str, Any]) -> dict[str, str]:
    roles = [word for word, role in (("estimate", "estimate"), ("reasons", "explain")) if meta[role] == name]
    return {
        "words": POLICY_WORDS.get(name, name),
        "role": " and ".join(roles),
        "rmsle": _number(scores.get("rmsle")),
        "r2": _number(scores.get("r2")),
        "rho": _number(scores.get("rho")),
        "coverage": _share(scores.get("coverage")),
    }


def _decade(row: Mapping[str, Any]) -> dict[str, str]:
    ends = [f"{int(end):,}" for end in str(row["decade"]).split("-") if end.isdecimal()]
    return {
        "decade": " to ".join(ends) or str(row["decade"]),
        "n": f"{int(row['n']):,}",
        "coverage": _share(row.get("coverage")),
        "width": f"× {math.exp(row['width']):,.1f}" if isinstance(row.get("width"), (int, float)) else "–",
    }


def _facts(shown: BundleView) -> Sequence[tuple[str, str]]:
    meta = shown.meta
    families = {str(item["family"]) for item in meta.get("blend", {}).get(meta["estimate"], ())} or {meta["family"]}
    return [
        ("Release", shown.digest[:12]),
        ("Made", str(meta["made_at"])[:10]),
        ("Newest record", shown.data_date),
        ("Repositories", f"{meta['data']['rows']:,}, of which it learnt from {meta['data']['training_rows']:,}"),
        ("Families", ", ".join(sorted(families))),
        ("Chosen from", f"{meta['trials']:,} trials" if isinstance(meta.get("trials"), int) else "several families"),
        ("Range", f"{100 * meta['coverage']:g} % are meant to hold"),
        ("Version", str(meta["version"])),
        ("Licence", str(metadata("stargaze").json.get("license_expression", "see the package"))),
    ]


def _features(meta: Mapping[str, Any]) -> Sequence[dict[str, Any]]:
    groups: list[dict[str, Any]] = []
    for policy in POLICY_WORDS:
        names = [name for name in meta["features"].get(meta["estimate"], ()) if CATALOG[name].policy == policy]
        rows = sorted((CATALOG[name].meaning.partition(";")[0], CATALOG[name].unit) for name in names)
        if rows:
            groups.append({"words": GROUPS[policy], "rows": rows})
    return groups


GROUPS = {
    "static": "what its maintainers write",
    "activity": "what they do",
    "all": "how much it is used",
}


def _number(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, (int, float)) else "–"


def _share(value: Any) -> str:
    return f"{100 * value:.0f} %" if isinstance(value, (int, float)) else "–"
