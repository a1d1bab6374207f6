"""The table of all features: their definition, and their missing values and importances in a store."""

from __future__ import annotations

from typing import Any

import pandas as pd

from stargaze.config import POLICIES
from stargaze.errors import ExternalError
from stargaze.features import schema
from stargaze.features.extract import extract
from stargaze.features.matrix import CATALOG
from stargaze.features.selection.select_features import SELECTED
from stargaze.store import Store

COLUMNS = ["feature", "source", "unit", "policy", "meaning", "missing", *POLICIES]


def list_features(store: Store) -> list[dict[str, Any]]:
    """Return one row per feature; raise ExternalError if the selection or the repositories cannot be read.

    ``missing`` is the share of the repositories, None without repositories. Each policy has the increase of the squared error
    when the feature is shuffled [nat²], or the reason against it, None without a selection.
    """
    selection = _read_selection(store)
    missing = selection["missing"] if "missing" in selection else _missing_shares(store)
    return [
        {
            "feature": name,
            "source": " ".join(item.source) + (" (learned)" if item.learned else ""),
            "unit": item.unit,
            "policy": item.policy,
            "meaning": item.meaning,
            "missing": _round(missing.get(name)),
            **{policy: _verdict(selection, name, policy) for policy in POLICIES},
        }
        for name, item in CATALOG.items()
    ]


def _read_selection(store: Store) -> pd.DataFrame:
    if not store.selection.exists():
        return pd.DataFrame()
    try:
        return pd.read_csv(store.selection).set_index("feature")
    except (ValueError, KeyError, OSError) as error:
        raise ExternalError(f"{store.selection}: cannot be read: {error}", hint="stargaze select-features") from error


def _missing_shares(store: Store) -> pd.Series:
    if not store.repositories.exists():
        return pd.Series(dtype="float64")
    try:
        repositories = schema.conform(pd.read_parquet(store.repositories))
    except (OSError, ValueError, TypeError) as error:
        raise ExternalError(f"{store.repositories}: cannot be read: {error}", hint="stargaze fetch") from error
    return extract(repositories).isna().mean()


def _verdict(selection: pd.DataFrame, name: str, policy: str) -> float | str | None:
    """Return the importance of a selected feature, or the reason against it."""
    if name not in selection.index or not {policy, f"importance_{policy}"} <= set(selection):
        return None
    row = selection.loc[name]
    return _round(row[f"importance_{policy}"]) if row[policy] == SELECTED else str(row[policy])


def _round(value: Any) -> float | None:
    return None if value is None or pd.isna(value) else round(float(value), 6)
