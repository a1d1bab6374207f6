"""Tables of the data card: repositories by stars, date, language and license, and missing rates."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from stargaze.features.dataset import Dataset, FeatureSet
from stargaze.features.matrix import catalog_with
from stargaze.features.schema import FIELDS
from stargaze.report.formatting import format_share

DECADES = (0.0, 1.0, 10.0, 100.0, 1_000.0, 10_000.0, 100_000.0)
"""Lower edge of each decade of stars [stars]; zero stars are a group of their own."""
MAX_VALUES = 12
"""Maximum number of languages or licenses listed; the others share one row."""
SETS = ("training", "validation", "test")


def list_decades() -> list[str]:
    """Return the labels of the decades in ascending order.

    Examples
    --------
    >>> list_decades()[:3]
    ['0', '1–9', '10–99']
    """
    return ["0", *(f"{low:,.0f}–{10 * low - 1:,.0f}" for low in DECADES[1:-1]), f"{DECADES[-1]:,.0f} and more"]


def label_decades(stars: np.ndarray) -> list[str]:
    """Return the label of the decade of each number of stars.

    Examples
    --------
    >>> label_decades(np.array([0.0, 9.0, 10.0]))
    ['0', '1–9', '10–99']
    """
    labels = list_decades()
    return [labels[index] for index in np.searchsorted(DECADES, np.asarray(stars, dtype="float64"), side="right") - 1]


def summarize_dataset(dataset: Dataset, collection: Mapping[str, float] | None = None) -> pd.DataFrame:
    """Return one row per property of the data: ``fact``, ``value``; ``collection`` is R² of its order and time alone."""
    repositories = dataset.repositories
    stars = repositories["stars"]
    facts = {
        "repositories": f"{len(repositories):,}",
        "owners": f"{parse_owners(repositories['full_name']).nunique():,}",
        "data as of": _format_dates(repositories["fetched_at"]),
        "repositories created": _format_dates(repositories["created_at"]),
        "stars, median": f"{stars.median():,.0f}",
        "stars, maximum": f"{stars.max():,.0f}",
        "without stars": format_share(float((stars == 0).mean())),
    }
    names = {"row_number": "R² of the row number alone", "fetch_time": "R² of the fetch time alone"}
    facts |= {names[key]: f"{value:.2f}" for key, value in (collection or {}).items() if key in names}
    return pd.DataFrame({"fact": list(facts), "value": list(facts.values())})


def parse_owners(full_name: pd.Series) -> pd.Series:
    """Return the owner of each repository in lower case, as GitHub names are case-insensitive."""
    return full_name.str.lower().str.partition("/")[0]


def summarize_split(dataset: Dataset) -> pd.DataFrame:
    """Return the sets of the split: ``set``, ``repositories``, ``owners``, ``share``, ``median_stars``."""
    rows = []
    for name in (*SETS, *(["left_out"] if len(dataset.left_out) else [])):
        subset = dataset.repositories.iloc[getattr(dataset, name)]
        rows.append(
            {
                "set": name.replace("_", " "),
                "repositories": len(subset),
                "owners": parse_owners(subset["full_name"]).nunique(),
                "share": len(subset) / len(dataset.repositories),
                "median_stars": float(subset["stars"].median()),
            }
        )
    return pd.DataFrame(rows)


def count_by_decade(dataset: Dataset) -> pd.DataFrame:
    """Count repositories per decade of stars: ``decade``, ``repositories``, ``training``, ``validation``, ``test``."""
    labels = pd.Series(label_decades(dataset.repositories["stars"].to_numpy()))
    counts = {"repositories": labels.value_counts()}
    for name in SETS:
        counts[name] = labels.iloc[getattr(dataset, name)].value_counts()
    table = pd.DataFrame(counts).reindex(list_decades()).fillna(0).astype("int64")
    return table.rename_axis("decade").reset_index()


def count_values(values: pd.Series, max_values: int = MAX_VALUES) -> pd.DataFrame:
    """Count the most frequent values; the others and the unknown ones are a row each.

    Examples
    --------
    >>> count_values(pd.Series(["C", "C", "Go", None], name="language"), 1)["language"].tolist()
    ['C', '1 others', 'unknown']
    """
    name = str(values.name)
    counts = values.value_counts().rename_axis(name).sort_index().sort_values(ascending=False, kind="stable")
    frequent = counts.head(max_values)
    rows = list(zip(frequent.index.astype("str"), frequent.tolist(), strict=True))
    if len(counts) > max_values:
        rows.append((f"{len(counts) - max_values:,} others", int(counts.iloc[max_values:].sum())))
    if values.isna().any():
        rows.append(("unknown", int(values.isna().sum())))
    frame = pd.DataFrame(rows, columns=[name, "repositories"])
    return frame.assign(share=frame["repositories"] / len(values))


def missing_rates(dataset: Dataset) -> pd.DataFrame:
    """Return the missing rate of fields and own columns, highest first: ``field``, ``unit``, ``meaning``, ``missing`` [share]."""
    repositories, catalog = dataset.repositories, catalog_with(dataset.own_columns)
    named = [(field.name, field.unit or field.kind, field.meaning) for field in FIELDS if field.name in repositories]
    named += [(column.name, column.kind, catalog[column.name].meaning) for column in dataset.own_columns]
    rows = [(*texts, float(repositories[texts[0]].isna().mean())) for texts in named]
    frame = pd.DataFrame(rows, columns=["field", "unit", "meaning", "missing"])
    return frame.sort_values(["missing", "field"], ascending=[False, True], ignore_index=True)


def describe_features(selection: pd.DataFrame, feature_set: FeatureSet) -> pd.DataFrame:
    """Return each feature with source, unit, narrowest policy, missing rate and policies that select it."""
    rates = selection.set_index("feature")["missing"]
    rows = [
        {
            "feature": name,
            "meaning": feature.meaning,
            "source": ", ".join(feature.source),
            "unit": feature.unit,
            "policy": feature.policy,
            "missing": float(rates.get(name, np.nan)),
            "selected": ", ".join(policy for policy in feature_set.policies if name in feature_set.selected[policy])
            or "–",
        }
        for name, feature in feature_set.catalog.items()
    ]
    return pd.DataFrame(rows)


def _format_dates(dates: pd.Series) -> str:
    if dates.isna().all():
        return "unknown"
    first, last = dates.min().date().isoformat(), dates.max().date().isoformat()
    return first if first == last else f"{first} to {last}"
