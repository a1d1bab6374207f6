"""The columns of a star history in tables of any origin: mapped by the config, or found by their names in any case."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

from stargaze.errors import BadDataError, ConfigError, did_you_mean
from stargaze.features.ingest.parsing.column_plan import check_duplicates
from stargaze.features.ingest.parsing.flattened_names import normalize_name
from stargaze.features.ingest.parsing.repository_names import FULL_NAME
from stargaze.features.ingest.parsing.resemblance import list_names, quote_for_toml

COLUMNS: dict[str, tuple[str, ...]] = {
    "full_name": ("full_name", "repository", "name_with_owner", "repo", "repo_name", "repository_name"),
    "date": ("date", "day", "snapshot", "fetched_at", "timestamp", "datetime", "snapshot_date"),
    "stars": ("stars", "stargazers_count", "stargazer_count", "stargazers", "star_count"),
    "forks": ("forks", "forks_count", "fork_count"),
    "issues": ("issues", "open_issues", "open_issues_count"),
    "language": ("language", "primary_language"),
    "last_commit": ("last_commit", "pushed_at"),
}
"""Our columns and their names in other tables; a history needs the first three."""
REQUIRED = ("full_name", "date", "stars")
COUNTS = ("stars", "forks", "issues")


def has_weekly_gains(header: Sequence[str]) -> bool:
    """Return whether a table has the stars of each week, as GitHub returns them, and not totals."""
    return {"week", "days"} <= set(header)


def find_columns(header: Sequence[str], mapping: Mapping[str, str], name: str) -> dict[str, str]:
    """Return the column of the table for each of our columns that it has.

    Raise ConfigError for an invalid mapping, BadDataError if a required column is missing, or a used one exists twice.

    Examples
    --------
    >>> find_columns(["Repository", "Date", "Stars"], {}, "x.csv")
    {'full_name': 'Repository', 'date': 'Date', 'stars': 'Stars'}
    """
    _check_mapping(header, mapping, name)
    by_name = {normalize_name(column): column for column in reversed(header)}
    found = {}
    for column, spellings in COLUMNS.items():
        candidates = ("week", *spellings) if column == "date" and has_weekly_gains(header) else spellings
        match = next((by_name[spelling] for spelling in candidates if spelling in by_name), None)
        if source := mapping.get(column, match):
            found[column] = source
    if missing := [column for column in REQUIRED if column not in found]:
        message = f"{name}: no column for {' and '.join(missing)}; it has {list_names(header)}"
        raise BadDataError(message, hint=_missing_hint(missing, header))
    check_duplicates(header, set(found.values()), name)
    return found


def _check_mapping(header: Sequence[str], mapping: Mapping[str, str], name: str) -> None:
    for column, source in mapping.items():
        if column not in COLUMNS:
            hint = did_you_mean(column, COLUMNS, f"The columns are {', '.join(COLUMNS)}")
            raise ConfigError(f"growth.columns.{column} is not a column of a history", hint=hint)
        if source not in header:
            hint = did_you_mean(source, header, f"Its columns are {list_names(header)}")
            raise ConfigError(f"growth.columns.{column}: {name} has no column {source!r}", hint=hint)


def _missing_hint(missing: Sequence[str], header: Sequence[str]) -> str:
    """Return how to map the missing columns, or how to turn a table of another kind into a history."""
    if {"full_name", "stars"} <= set(missing) and any(map(FULL_NAME.fullmatch, header)):
        return "write one row per repository and date with the columns full_name, date and stars, as pandas.DataFrame.melt does"
    if "starred_at" in map(normalize_name, header):
        return "it lists single stars; write the total of each day, with the columns full_name, date and stars"
    lines = ", ".join(f"{column} = {quote_for_toml(_suggest(column, header))}" for column in missing)
    return f"map them in stargaze.toml: [growth.columns] {lines}"


def _suggest(column: str, header: Sequence[str]) -> str:
    """Return the column that could be meant, or an ellipsis."""
    return next(iter(difflib.get_close_matches(column, header, n=1, cutoff=0.6)), "…")
