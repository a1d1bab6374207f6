"""The figures of the data card: how many repositories, of which stars, dates and languages, and what is not known of them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from stargaze.config import POLICIES
from stargaze.features.catalog import CATALOG
from stargaze.features.dataset import Dataset
from stargaze.features.schema import FIELDS
from stargaze.report.formatting import percent

DECADES = (0.0, 1.0, 10.0, 100.0, 1_000.0, 10_000.0, 100_000.0)
"""Where a decade of stars begins [stars]; what has none stands apart."""
COMMON = 12
"""Languages and licenses that are listed; the others share one row."""
SIDES = ("training", "validation", "test")


def decade_names() -> list[str]:
    """Return the names of the decades, from no star to many.

    Examples
    --------
    >>> decade_names()[:3]
    ['0', '1–9', '10–99']
    """
    named = [f"{low:,.0f}–{10 * low - 1:,.0f}" for low in DECADES[1:-1]]
    return ["0", *named, f"{DECADES[-1]:,.0f} and more"]


def decades(stars: np.ndarray) -> list[str]:
    """Name the decade of each count of stars.

    Examples
    --------
    >>> decades(np.array([0.0, 9.0, 10.0]))
    ['0', '1–9', '10–99']
    """
    places = np.searchsorted(DECADES, np.asarray(stars, dtype="float64"), side="right") - 1
    names = decade_names()
    return [names[place] for place in places]


def facts(table: Dataset) -> pd.DataFrame:
    """Return what the data are, a row a fact: ``fact``, ``value``."""
    repositories = table.repositories
    stars = repositories["stars"]
    rows = {
        "repositories": f"{len(repositories):,}",
        "owners": f"{owners(repositories['full_name']).nunique():,}",
        "figures as of": _span(repositories["fetched_at"]),
        "repositories created": _span(repositories["created_at"]),
        "stars, median": f"{stars.median():,.0f}",
        "stars, most": f"{stars.max():,.0f}",
        "without a star": percent(float((stars == 0).mean())),
    }
    return pd.DataFrame({"fact": list(rows), "value": list(rows.values())})


def owners(full_name: pd.Series) -> pd.Series:
    """Return the owner of each repository, in lower case: GitHub takes no notice of case."""
    return full_name.str.lower().str.partition("/")[0]


def sides(table: Dataset) -> pd.DataFrame:
    """Return what is on each side of the split: ``side``, ``repositories``, ``owners``, ``share``, ``median_stars``."""
    rows = []
    for name, places in zip(SIDES, (table.training, table.validation, table.test), strict=True):
        part = table.repositories.iloc[places]
        rows.append(
            {
                "side": name,
                "repositories": len(part),
                "owners": owners(part["full_name"]).nunique(),
                "share": len(part) / len(table.repositories),
                "median_stars": float(part["stars"].median()),
            }
        )
    return pd.DataFrame(rows)


def by_decade(table: Dataset) -> pd.DataFrame:
    """Count repositories in each decade of stars, whole and by side: ``decade``, ``repositories``, ``training`` and so on."""
    names = pd.Series(decades(table.repositories["stars"].to_numpy()))
    counts = {"repositories": names.value_counts()}
    for side, places in zip(SIDES, (table.training, table.validation, table.test), strict=True):
        counts[side] = names.iloc[places].value_counts()
    whole = pd.DataFrame(counts).reindex(decade_names()).fillna(0).astype("int64")
    return whole.rename_axis("decade").reset_index()


def common(values: pd.Series, most: int = COMMON) -> pd.DataFrame:
    """Count the most frequent values; the others and those that are not known are a row each.

    Examples
    --------
    >>> common(pd.Series(["C", "C", "Go", None], name="language"), 1)["language"].tolist()
    ['C', '1 others', 'not known']
    """
    counts = (
        values.value_counts().rename_axis(str(values.name)).sort_index().sort_values(ascending=False, kind="stable")
    )
    named = counts.head(most)
    rows = list(zip(named.index.astype("str"), named.tolist(), strict=True))
    if len(counts) > most:
        rows.append((f"{len(counts) - most:,} others", int(counts.iloc[most:].sum())))
    if values.isna().any():
        rows.append(("not known", int(values.isna().sum())))
    frame = pd.DataFrame(rows, columns=[str(values.name), "repositories"])
    return frame.assign(share=frame["repositories"] / len(values))


def missing(repositories: pd.DataFrame) -> pd.DataFrame:
    """Return how often each field is not told, most often first: ``field``, ``unit``, ``meaning``, ``missing`` [share]."""
    fields = [item for item in FIELDS if item.name in repositories]
    frame = pd.DataFrame(
        {
            "field": [item.name for item in fields],
            "unit": [item.unit or item.kind for item in fields],
            "meaning": [item.meaning for item in fields],
            "missing": [float(repositories[item.name].isna().mean()) for item in fields],
        }
    )
    return frame.sort_values(["missing", "field"], ascending=[False, True], ignore_index=True)


def features(selection: pd.DataFrame, kept: dict[str, list[str]]) -> pd.DataFrame:
    """Return each feature that a model may use: from which policy on, unit, source, how often missing, where it was kept."""
    rows = []
    missing_rates = selection.set_index("feature")["missing"]
    for name, item in CATALOG.items():
        rows.append(
            {
                "feature": name,
                "meaning": item.meaning,
                "source": ", ".join(item.source),
                "unit": item.unit,
                "policy": item.policy,
                "missing": float(missing_rates.get(name, np.nan)),
                "kept": ", ".join(policy for policy in POLICIES if name in kept[policy]) or "–",
            }
        )
    return pd.DataFrame(rows)


def _span(dates: pd.Series) -> str:
    if dates.isna().all():
        return "not known"
    first, last = dates.min().date().isoformat(), dates.max().date().isoformat()
    return first if first == last else f"{first} to {last}"
