"""The schema of ``repositories.parquet``: every field of a repository with its kind, unit and meaning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

Kind = Literal["key", "count", "flag", "text", "category", "date", "list"]

DTYPES: dict[str, str] = {
    "key": "Int64",
    "count": "float64",  # whole numbers below 2**53, NaN if unknown
    "flag": "float64",  # 0, 1, NaN if unknown
    "text": "str",
    "category": "str",
    "date": "datetime64[s, UTC]",
    "list": "object",
}
MAX_COUNT_BY_FIELD = {
    "stars": 5_000_000.0,
    "forks": 5_000_000.0,
    "downloads": 1e13,
    "monthly_downloads": 1e12,
    "size_kb": 1e10,
    "code_bytes": 1e13,
}
MAX_COUNT = 1e9
"""Upper limits, far above every count on GitHub; a record with a larger one is invalid."""


@dataclass(frozen=True)
class Field:
    """One column of the repositories; the unit is empty where the meaning says what is counted."""

    name: str
    kind: Kind
    unit: str
    meaning: str

    @property
    def maximum(self) -> float:
        """The largest valid count."""
        return MAX_COUNT_BY_FIELD.get(self.name, MAX_COUNT)


def _fields(kind: Kind, unit: str, rows: dict[str, str]) -> list[Field]:
    return [Field(name, kind, unit, meaning) for name, meaning in rows.items()]


FIELDS: tuple[Field, ...] = (
    Field("id", "key", "", "GitHub's numeric id of the repository, which its node id contains"),
    Field("node_id", "text", "", "GitHub's node id as in the source"),
    Field("full_name", "text", "", "owner/name"),
    Field("fetched_at", "date", "UTC", "date of the record"),
    Field("stars", "count", "stars", "stargazers: the target"),
    *_fields(
        "category",
        "",
        {
            "owner_type": "User or Organization",
            "language": "primary language",
            "license": "license key in lower case (mit, apache-2.0)",
            "default_branch": "name of the default branch",
        },
    ),
    *_fields("text", "", {"description": "description"}),
    *_fields("list", "", {"topics": "topics"}),
    *_fields(
        "date",
        "UTC",
        {
            "created_at": "creation of the repository",
            "pushed_at": "last push",
            "updated_at": "last change of the record; a new star changes it too",
            "first_commit_at": "date of the first commit",
            "owner_created_at": "creation of the owner's account",
            "first_release_at": "first release",
            "latest_release_at": "latest release",
        },
    ),
    *_fields(
        "flag",
        "",
        {
            "has_homepage": "has a homepage",
            "is_fork": "is a fork",
            "is_archived": "is archived",
            "is_template": "is a template",
            "is_mirror": "is a mirror of another repository",
            "is_disabled": "is disabled",
            "is_empty": "has no commit",
            "owner_is_verified": "the owning organization has a verified domain",
            "has_issues": "issues are enabled",
            "has_projects": "projects are enabled",
            "has_wiki": "the wiki is enabled",
            "has_pages": "GitHub Pages are enabled",
            "has_downloads": "downloads are enabled",
            "has_discussions": "discussions are enabled",
            "allow_forking": "forking is allowed",
            "has_sponsorships": "sponsorships are enabled",
            "has_funding_links": "has funding links",
            "has_code_of_conduct": "has a code of conduct",
            "has_security_policy": "has a security policy",
            "has_custom_image": "has a custom social preview image",
            "web_commit_signoff_required": "commits in the browser must be signed off",
            "package_is_private": "the package is marked private",
            "package_has_bin": "the package installs a command",
            "package_has_engines": "the package states the engines it runs on",
        },
    ),
    *_fields(
        "count",
        "characters",
        {
            "description_length": "length of the description",
            "readme_length": "length of the README; GitHub counts bytes",
            "package_description_length": "length of the package's description",
            "release_text_length": "length of all release notes",
        },
    ),
    *_fields(
        "count",
        "",
        {
            "owner_id": "GitHub's numeric id of the owner, which increases with time",
            "topic_count": "topics",
            "package_dependencies": "packages that it depends on",
            "package_dev_dependencies": "packages that its development depends on",
            "package_keywords": "keywords of the package",
            "package_scripts": "scripts of the package",
            "package_version_major": "first number of the package's version",
            "package_version_minor": "second number of the package's version",
            "package_version_patch": "third number of the package's version",
            "commits": "commits",
            "recent_commits": "commits of the last three months",
            "contributors": "contributors",
            "releases": "releases",
            "prereleases": "pre-releases",
            "release_assets": "files attached to releases",
            "open_issues": "open issues; GitHub's REST API includes open pull requests",
            "closed_issues": "closed issues",
            "issues": "issues, open and closed",
            "pull_requests": "pull requests, open and closed",
            "open_pull_requests": "open pull requests",
            "merged_pull_requests": "merged pull requests",
            "tags": "tags",
            "discussions": "discussions",
            "mentionable_users": "users who can be mentioned, GraphQL's nearest equivalent of contributors",
            "languages": "programming languages",
            "owner_followers": "followers of the owner",
            "owner_members": "public members of the owning organization",
            "forks": "forks",
            "subscribers": "users who are notified of every change",
            "watchers": "REST's watchers_count: equal to the stars, never selected as a feature",
            "dependents": "packages and repositories that depend on it",
            "downloads": "downloads of release files",
            "monthly_downloads": "downloads from package registries per month",
        },
    ),
    Field("size_kb", "count", "kB", "size of the git repository"),
    Field("code_bytes", "count", "B", "size of the code in all languages"),
)
FIELD_BY_NAME: dict[str, Field] = {field.name: field for field in FIELDS}


def empty(n_rows: int = 0) -> pd.DataFrame:
    """Return a frame of ``n_rows`` rows with every field missing."""
    return conform(pd.DataFrame(index=range(n_rows)))


def conform(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame with exactly the schema's columns, in its order and dtypes.

    Parameters
    ----------
    frame : DataFrame, shape (n_rows, n_columns)
        Any columns; those outside the schema are dropped, and absent ones are filled with missing values.

    Returns
    -------
    DataFrame, shape (n_rows, n_fields)

    Raises
    ------
    ValueError, TypeError
        If a column cannot be converted to its field's dtype.

    Examples
    --------
    >>> conform(pd.DataFrame({"full_name": ["a/b"], "stars": [3]}))[["stars", "forks"]].to_numpy().tolist()
    [[3.0, nan]]
    """
    columns = {}
    absent: dict[Kind, pd.Series] = {}  # one shared column per kind: a prediction request lacks seventy
    for field in FIELDS:
        if field.name in frame.columns:
            columns[field.name] = _cast(frame[field.name], field)
        else:
            if field.kind not in absent:
                absent[field.kind] = _missing(field, frame.index)
            columns[field.name] = absent[field.kind]
    return pd.DataFrame(columns, index=frame.index)


def _cast(column: pd.Series, field: Field) -> pd.Series:
    if field.kind == "date":
        dates = column if isinstance(column.dtype, pd.DatetimeTZDtype) else pd.to_datetime(column, utc=True)
        return dates.dt.as_unit("s")
    return column.astype(DTYPES[field.kind])  # type: ignore[call-overload, no-any-return]


def _missing(field: Field, index: pd.Index) -> pd.Series:
    missing = {"key": pd.NA, "date": pd.NaT, "list": None}.get(field.kind, np.nan)
    return pd.Series([missing] * len(index) if field.kind == "list" else missing, index=index, dtype=DTYPES[field.kind])
