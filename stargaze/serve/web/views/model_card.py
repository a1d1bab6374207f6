"""The model card: scores, what the model was trained on, limitations and features."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import metadata
from typing import Any

from stargaze.bundle.description import own_catalog
from stargaze.bundle.ensemble_families import family_weights, format_families
from stargaze.serve.prediction.labels import feature_label
from stargaze.serve.web.views.bundle_view import BundleView, decade_label, estimates_label, is_coverage_quoted
from stargaze.serve.web.views.explanation_view import POLICY_TEXTS

FEW_REPOSITORIES = 100
"""With fewer repositories a share is uncertain."""
LIMITATIONS = (
    "Stars measure attention, not quality; bought stars are not detected.",
    "An estimate is for the day of its data. Only the forecast, which needs a star history, is about the future.",
    "Explanations and what-ifs are correlations, not advice: changing a value need not change the stars.",
    "Outside the training data (other sizes, years or kinds of repositories) estimates carry a warning and are less reliable.",
    "Not meant for private code: the model was trained on public repositories.",
)
OWN_COLUMNS = "Own columns"
OWN_LIMITATION = (
    "Own columns are known only of the repositories in the bundle: live look-ups and entered metrics lack them."
)
FEATURE_GROUPS = {"static": "Metadata", "activity": "Activity", "all": "Popularity"}


def model_card(view: BundleView) -> dict[str, Any]:
    """Return the rows and sentences of the page ``/model``."""
    meta = view.meta
    scores: Mapping[str, Any] = view.scores
    by_expected, by_actual = (scores.get(name, ()) for name in ("coverage_by_predicted_decade", "coverage_by_decade"))
    order = [name for name in POLICY_TEXTS if name in meta["scores"]]
    order += [name for name in meta["scores"] if name not in POLICY_TEXTS]
    return {
        "policies": [_policy_row(name, meta["scores"][name], meta) for name in order],
        "decades": [
            (title, [_decade_row(row, label) for row in rows])
            for title, rows, label in (
                ("By expected stars", by_expected, lambda decade: estimates_label(decade).removeprefix("at ")),
                ("By actual stars", by_actual, decade_label),
            )
            if rows
        ],
        "has_few": any(int(row["n"]) < FEW_REPOSITORIES for row in (*by_expected, *by_actual)),
        "facts": _facts(view),
        "features": _feature_groups(meta),
        "limitations": [*LIMITATIONS, *[OWN_LIMITATION] * bool(meta.get("own_columns"))],
    }


def _policy_row(name: str, scores: Mapping[str, Any], meta: Mapping[str, Any]) -> dict[str, str]:
    return {
        "inputs": POLICY_TEXTS.get(name, name),
        "role": "estimate" if meta["estimate_policy"] == name else "",
        "models": format_families(family_weights(meta).get(name, {})),
        "rmsle": _number(scores.get("rmsle")),
        "rmse": f"{scores['rmse']:,.0f}" if isinstance(scores.get("rmse"), (int, float)) else "–",
        "r2": _number(scores.get("r2")),
        "rho": _number(scores.get("rho")),
        "coverage": _share(scores.get("coverage")),
    }


def _decade_row(row: Mapping[str, Any], label: Callable[[str], str]) -> dict[str, str]:
    return {
        "decade": label(row["decade"]),
        "n": f"{int(row['n']):,}",
        "coverage": _share(row["coverage"]) if is_coverage_quoted(row) else "too few",
        "width": f"× {math.exp(row['width']):,.1f}" if isinstance(row.get("width"), (int, float)) else "–",
    }


def _facts(view: BundleView) -> Sequence[tuple[str, str]]:
    meta = view.meta
    return [
        ("Model version", view.digest[:12]),
        ("Trained on", view.training_population),
        ("How these were chosen", view.training_choice or "not known"),
        ("Repositories in total", f"{meta['data']['rows']:,}, the others for calibration and evaluation"),
        ("Newest data", view.data_date),
        ("Models", view.families),
        (
            "Chosen from",
            f"{meta['trials']:,} {'trial' if meta['trials'] == 1 else 'trials'}"
            if isinstance(meta.get("trials"), int)
            else "several families",
        ),
        (
            "Estimate",
            "mean count of stars (RMSE in stars)" if meta["metric"] == "rmse" else "typical count of stars (RMSLE)",
        ),
        ("Intervals", f"{100 * meta['coverage']:g}% coverage"),
        ("Version", str(meta["version"])),
        ("License", str(metadata("stargaze").json.get("license_expression", "see the package"))),
    ]


def _feature_groups(meta: Mapping[str, Any]) -> Sequence[dict[str, Any]]:
    catalog, used = own_catalog(meta), meta["features"].get(meta["estimate_policy"], ())
    own = {column.name for column in catalog.own_columns}
    names = {
        title: [name for name in used if name not in own and catalog[name].policy == policy]
        for policy, title in FEATURE_GROUPS.items()
    }
    names[OWN_COLUMNS] = [name for name in used if name in own]
    return [
        {"title": title, "rows": sorted((feature_label(name), catalog[name].unit) for name in group)}
        for title, group in names.items()
        if group
    ]


def _number(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, (int, float)) else "–"


def _share(value: Any) -> str:
    return f"{100 * value:.0f}%" if isinstance(value, (int, float)) else "–"
