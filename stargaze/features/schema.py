"""The schema of ``repositories.parquet``: every field of a repository with its kind, unit and meaning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

Kind = Literal["key", "count", "flag", "text", "category", "date", "list", "codes"]

DTYPES: dict[str, str] = {
    "key": "Int64",
    "count": "float64",  # whole numbers below 2**53, NaN if unknown
    "flag": "float64",  # 0, 1, NaN if unknown
    "text": "str",
    "category": "str",
    "date": "datetime64[s, UTC]",
    "list": "object",
    "codes": "object",  # a list of whole numbers in a range around 0
}
PARSED_DTYPES = {kind: pd.api.types.pandas_dtype(dtype) for kind, dtype in DTYPES.items()}
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


FIELDS: tuple[Field, ...] = (
    Field("id", "key", "", "GitHub's numeric id of the repository, which its node id contains"),
    Field("node_id", "text", "", "GitHub's node id as in the source"),
    Field("full_name", "text", "", "owner/name"),
    Field("fetched_at", "date", "UTC", "date of the record"),
    Field("stars", "count", "stars", "stargazers: the target"),
    Field("owner_type", "category", "", "User or Organization"),
    Field("language", "category", "", "primary language"),
    Field("license", "category", "", "license key in lower case (mit, apache-2.0)"),
    Field("default_branch", "category", "", "name of the default branch"),
    Field("description", "text", "", "description"),
    Field("description_tokens", "codes", "", "hashed words of a description that is not stored, sorted"),
    Field("description_keywords", "list", "", "kinds of keywords in a description that is not stored"),
    Field("readme", "text", "", "beginning of the README, without markup"),
    Field("topics", "list", "", "topics"),
    Field("created_at", "date", "UTC", "creation of the repository"),
    Field("pushed_at", "date", "UTC", "last push"),
    Field("updated_at", "date", "UTC", "last change of the record; a new star changes it too"),
    Field("first_commit_at", "date", "UTC", "date of the first commit"),
    Field("owner_created_at", "date", "UTC", "creation of the owner's account"),
    Field("first_release_at", "date", "UTC", "first release"),
    Field("latest_release_at", "date", "UTC", "latest release"),
    Field("has_homepage", "flag", "", "has a homepage"),
    Field("is_fork", "flag", "", "is a fork"),
    Field("is_archived", "flag", "", "is archived"),
    Field("is_template", "flag", "", "is a template"),
    Field("is_mirror", "flag", "", "is a mirror of another repository"),
    Field("is_disabled", "flag", "", "is disabled"),
    Field("is_empty", "flag", "", "has no commit"),
    Field("owner_is_verified", "flag", "", "the owning organization has a verified domain"),
    Field("has_issues", "flag", "", "issues are enabled"),
    Field("has_projects", "flag", "", "projects are enabled"),
    Field("has_wiki", "flag", "", "the wiki is enabled"),
    Field("has_pages", "flag", "", "GitHub Pages are enabled"),
    Field("has_downloads", "flag", "", "downloads are enabled"),
    Field("has_discussions", "flag", "", "discussions are enabled"),
    Field("allow_forking", "flag", "", "forking is allowed"),
    Field("has_sponsorships", "flag", "", "sponsorships are enabled"),
    Field("has_funding_links", "flag", "", "has funding links"),
    Field("has_code_of_conduct", "flag", "", "has a code of conduct"),
    Field("has_security_policy", "flag", "", "has a security policy"),
    Field("has_custom_image", "flag", "", "has a custom social preview image"),
    Field("web_commit_signoff_required", "flag", "", "commits in the browser must be signed off"),
    Field("package_is_private", "flag", "", "the package is marked private"),
    Field("package_has_bin", "flag", "", "the package installs a command"),
    Field("package_has_engines", "flag", "", "the package states the engines it runs on"),
    Field("description_length", "count", "characters", "length of the description"),
    Field("description_non_ascii", "count", "characters", "non-ASCII characters of a description that is not stored"),
    Field("readme_length", "count", "characters", "length of the README; GitHub counts bytes"),
    Field("package_description_length", "count", "characters", "length of the package's description"),
    Field("release_text_length", "count", "characters", "length of all release notes"),
    Field("owner_id", "count", "", "GitHub's numeric id of the owner, which increases with time"),
    Field("topic_count", "count", "", "topics"),
    Field("package_dependencies", "count", "", "packages that it depends on"),
    Field("package_dev_dependencies", "count", "", "packages that its development depends on"),
    Field("package_keywords", "count", "", "keywords of the package"),
    Field("package_scripts", "count", "", "scripts of the package"),
    Field("package_version_major", "count", "", "first number of the package's version"),
    Field("package_version_minor", "count", "", "second number of the package's version"),
    Field("package_version_patch", "count", "", "third number of the package's version"),
    Field("commits", "count", "", "commits"),
    Field("recent_commits", "count", "", "commits of the last three months"),
    Field("contributors", "count", "", "contributors"),
    Field("releases", "count", "", "releases"),
    Field("prereleases", "count", "", "pre-releases"),
    Field("release_assets", "count", "", "files attached to releases"),
    Field("open_issues", "count", "", "open issues; GitHub's REST API includes open pull requests"),
    Field("closed_issues", "count", "", "closed issues"),
    Field("issues", "count", "", "issues, open and closed"),
    Field("pull_requests", "count", "", "pull requests, open and closed"),
    Field("open_pull_requests", "count", "", "open pull requests"),
    Field("merged_pull_requests", "count", "", "merged pull requests"),
    Field("tags", "count", "", "tags"),
    Field("discussions", "count", "", "discussions"),
    Field("mentionable_users", "count", "", "users who can be mentioned, GraphQL's nearest equivalent of contributors"),
    Field("languages", "count", "", "programming languages"),
    Field("owner_followers", "count", "", "followers of the owner"),
    Field("owner_members", "count", "", "public members of the owning organization"),
    Field("forks", "count", "", "forks"),
    Field("subscribers", "count", "", "users who are notified of every change"),
    Field("watchers", "count", "", "REST's watchers_count: equal to the stars, never selected as a feature"),
    Field("dependents", "count", "", "packages and repositories that depend on it"),
    Field("downloads", "count", "", "downloads of release files"),
    Field("monthly_downloads", "count", "", "downloads from package registries per month"),
    Field("size_kb", "count", "kB", "size of the git repository"),
    Field("code_bytes", "count", "B", "size of the code in all languages"),
)
FIELD_BY_NAME: dict[str, Field] = {field.name: field for field in FIELDS}
LIST_FIELDS = frozenset(field.name for field in FIELDS if field.kind in ("list", "codes"))
DESCRIPTION_FACTS = ("description_tokens", "description_keywords", "description_non_ascii")
"""What features read of a description, where a table has these facts instead of its text."""
MAX_CODE = 2**14 - 1
"""The largest code; the smallest is ``~MAX_CODE``."""
DTYPE_BY_FIELD = pd.Series({field.name: PARSED_DTYPES[field.kind] for field in FIELDS}, dtype="object")


def empty(n_rows: int = 0) -> pd.DataFrame:
    """Return a frame of ``n_rows`` rows with every field missing."""
    return conform(pd.DataFrame(index=range(n_rows)))


def conform(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame with exactly the schema's columns, in its order and dtypes; absent ones are filled with missing values.

    Raise ValueError or TypeError if a column cannot be converted to its field's dtype.

    Examples
    --------
    >>> conform(pd.DataFrame({"full_name": ["a/b"], "stars": [3]}))[["stars", "forks"]].to_numpy().tolist()
    [[3.0, nan]]
    """
    if frame.dtypes.equals(DTYPE_BY_FIELD):
        return frame.copy(deep=False)
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


def read_codes(value: object) -> np.ndarray | None:
    """Return a list of codes in ascending order, so that it says nothing about the order of the words; None for anything else.

    Examples
    --------
    >>> read_codes([7, -3]).tolist(), read_codes([]).tolist(), read_codes([MAX_CODE + 1]), read_codes("7")
    ([-3, 7], [], None, None)
    """
    if not isinstance(value, (list, np.ndarray)):
        return None
    try:
        codes = np.sort(np.asarray(value if len(value) else np.zeros(0, dtype="int16")))
    except (ValueError, TypeError, OverflowError):
        return None
    if codes.ndim != 1 or codes.dtype.kind not in "iu":
        return None
    is_valid = len(codes) == 0 or (int(codes[0]) >= ~MAX_CODE and int(codes[-1]) <= MAX_CODE)
    return codes.astype("int16") if is_valid else None


def _cast(column: pd.Series, field: Field) -> pd.Series:
    if column.dtype == PARSED_DTYPES[field.kind]:
        return column
    if field.kind == "date":
        dates = column if isinstance(column.dtype, pd.DatetimeTZDtype) else pd.to_datetime(column, utc=True)
        return dates.dt.as_unit("s")
    return column.astype(DTYPES[field.kind])  # type: ignore[call-overload, no-any-return]


def _missing(field: Field, index: pd.Index) -> pd.Series:
    missing = {"key": pd.NA, "date": pd.NaT, "list": None, "codes": None}.get(field.kind, np.nan)
    return pd.Series([missing] * len(index) if missing is None else missing, index=index, dtype=DTYPES[field.kind])
