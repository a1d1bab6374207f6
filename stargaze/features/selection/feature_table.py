"""The catalogue for people and programs: what each feature is, and what this store knows of it."""

from __future__ import annotations

from typing import Any

import pandas as pd

from stargaze.config import POLICIES
from stargaze.errors import ExternalError
from stargaze.features import schema
from stargaze.features.catalog import CATALOG
from stargaze.features.extract import extract
from stargaze.features.selection.select_features import SELECTED
from stargaze.store import Store

COLUMNS = ["feature", "source", "unit", "policy", "meaning", "missing", *POLICIES]


def list_features(store: Store) -> list[dict[str, Any]]:
    """Return a row a feature; what only repositories or a selection tell is None where there are none.

    Returns
    -------
    list of dict
        ``source`` are fields of the repositories, ``missing`` is a share of the repositories, under each policy stands the growth
        of the squared error [nat²] if a kept feature is shuffled, or why the feature does not stay.

    Raises
    ------
    ExternalError
        If the selection or the repositories cannot be read.
    """
    selection = _selection(store)
    missing = selection["missing"] if "missing" in selection else _missing(store)
    return [
        {
            "feature": name,
            "source": " ".join(item.source) + (" (learned)" if item.learned else ""),
            "unit": item.unit,
            "policy": item.policy,
            "meaning": item.meaning,
            "missing": _number(missing.get(name)),
            **{policy: _told(selection, name, policy) for policy in POLICIES},
        }
        for name, item in CATALOG.items()
    ]


def _selection(store: Store) -> pd.DataFrame:
    if not store.selection.exists():
        return pd.DataFrame()
    try:
        return pd.read_csv(store.selection).set_index("feature")
    except (ValueError, KeyError, OSError) as error:
        raise ExternalError(f"{store.selection}: cannot be read: {error}", hint="stargaze select-features") from error


def _missing(store: Store) -> pd.Series:
    if not store.repositories.exists():
        return pd.Series(dtype="float64")
    try:
        repositories = schema.conform(pd.read_parquet(store.repositories))
    except (OSError, ValueError, TypeError) as error:
        raise ExternalError(f"{store.repositories}: cannot be read: {error}", hint="stargaze fetch") from error
    return extract(repositories).isna().mean()


def _told(selection: pd.DataFrame, name: str, policy: str) -> float | str | None:
    """Return what a kept feature is worth, or why it went."""
    if name not in selection.index or not {policy, f"importance_{policy}"} <= set(selection):
        return None
    row = selection.loc[name]
    return _number(row[f"importance_{policy}"]) if row[policy] == SELECTED else str(row[policy])


def _number(value: Any) -> float | None:
    return None if value is None or pd.isna(value) else round(float(value), 6)
