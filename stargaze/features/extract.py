"""Feature extraction: pure, vectorized functions from repositories to columns, the same in training and in serving.

To add a feature, add one row or one function here. It maps n repositories (columns of the schema) to n values, NaN where the
record does not have the input. It must not read the stars, other rows or a clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from stargaze.features.feature_kinds import (
    AGE,
    COMPUTED,
    DAMPING_DAYS,
    ISSUES,
    FeaturePolicy,
    days_between,
    divide,
    first_known,
    floor_to_day,
    is_day,
    total_count,
)
from stargaze.features.licenses import license_family
from stargaze.features.registry import Column, Compute, Feature
from stargaze.system.text import find_words

feature, add_fields = COMPUTED.feature, COMPUTED.add_fields


def extract(
    repositories: pd.DataFrame, names: list[str] | None = None, catalog: Mapping[str, Feature] = COMPUTED
) -> pd.DataFrame:
    """Compute features (by default all of this module) of n repositories, columns of :mod:`stargaze.features.schema`.

    ``catalog`` has the definitions of the features, with own columns if there are any.

    Returns
    -------
    DataFrame, shape (n, n_features)
        float32 for numbers, ``str`` for categories; missing values are NaN.

    Raises
    ------
    ValueError
        If a name is unknown, or learned from other repositories.

    Examples
    --------
    >>> from stargaze.features import schema
    >>> record = pd.DataFrame({"full_name": ["octocat/hello-world"]})
    >>> extract(schema.conform(record), ["name_length", "forks"]).iloc[0].tolist()
    [11.0, nan]
    """
    selected = list(COMPUTED) if names is None else names
    unknown = [name for name in selected if name not in catalog or catalog[name].learned]
    if unknown:
        raise ValueError(f"not computed from a record alone: {', '.join(unknown)}")
    columns: Any = _ColumnCache(repositories)
    with np.errstate(all="ignore"):
        values = {name: _compute_column(catalog[name], columns) for name in selected}
    return pd.DataFrame(values, index=repositories.index)


class _ColumnCache(dict[str, pd.Series]):
    """The columns of a frame, each looked up once; for one repository this saves two thirds of the time."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self._frame = frame
        self.index = frame.index

    def __missing__(self, name: str) -> pd.Series:
        self[name] = self._frame[name]
        return self[name]


def _compute_column(item: Feature, repositories: pd.DataFrame) -> Column:
    values = item.compute(repositories)
    return values if item.kind == "category" else np.asarray(values, dtype="float32")


static, activity, popularity = FeaturePolicy("static"), FeaturePolicy("activity"), FeaturePolicy("all")


# ---- static: written by the maintainer ----------------------------------------------------------------------------

add_fields("static", "owner_type", "language", "license", "default_branch", kind="category")
add_fields(
    "static",
    *("owner_id", "description_length", "readme_length", "topic_count"),
    *("has_homepage", "is_fork", "is_archived", "is_template", "is_mirror", "is_disabled", "is_empty"),
    *("has_sponsorships", "has_funding_links", "has_code_of_conduct", "has_security_policy", "has_custom_image"),
    *("owner_is_verified", "owner_members", "languages", "code_bytes"),
    *("has_issues", "has_projects", "has_wiki", "has_pages", "has_downloads", "has_discussions"),
    *("allow_forking", "web_commit_signoff_required"),
    *("package_dependencies", "package_dev_dependencies", "package_keywords", "package_scripts"),
    *("package_description_length", "package_version_major", "package_version_minor", "package_version_patch"),
    *("package_is_private", "package_has_bin", "package_has_engines"),
)
add_fields(
    "activity",
    *("size_kb", "commits", "recent_commits", "contributors", "open_issues", "closed_issues", "pull_requests"),
    *("open_pull_requests", "merged_pull_requests", "discussions", "mentionable_users"),
    *("releases", "prereleases", "release_assets", "release_text_length", "tags"),
)
add_fields("all", "forks", "subscribers", "watchers", "dependents", "downloads", "monthly_downloads")
add_fields("all", "owner_followers")  # an owner's followers often come through this repository


@feature("static", "days", "age of the repository", *AGE)
def age(r: pd.DataFrame) -> Column:
    return days_between(r["created_at"], r["fetched_at"])


static.duration("history_before_creation", "time from first commit to creation", "first_commit_at", "created_at")
static.duration("owner_age_at_creation", "age of the owner's account at the creation", "owner_created_at", "created_at")
static.duration("first_commit_age", "time since the first commit", "first_commit_at", "fetched_at")


# The year of creation would identify the list a row came from, the hour whether its source has hours.
@feature("static", "weekday", "day of the week of the creation, Monday is 0", "created_at")
def created_weekday(r: pd.DataFrame) -> Column:
    weekday: Column = r["created_at"].dt.day_of_week
    return weekday


@feature("static", "degree", "copyleft of the license: 0 permissive, 1 weak, 2 strong", "license")
def copyleft(r: pd.DataFrame) -> Column:
    degree = {"permissive": 0.0, "weak copyleft": 1.0, "strong copyleft": 2.0}
    return r["license"].map({key: degree.get(license_family(key), np.nan) for key in r["license"].dropna().unique()})


@feature("static", "flag", "the license is meant for texts, fonts or data", "license")
def content_license(r: pd.DataFrame) -> Column:
    return r["license"].map({key: float(license_family(key) == "content") for key in r["license"].dropna().unique()})


static.ratio("code_per_language", "B", "code per language", "code_bytes", "languages")


@feature("static", "characters", "total length of the topics", "topics")
def topics_length(r: pd.DataFrame) -> Column:
    lengths = [
        sum(map(len, map(str, value))) if isinstance(value, (list, np.ndarray)) else np.nan for value in r["topics"]
    ]
    return pd.Series(lengths, index=r.index, dtype="float32")


@feature("static", "characters", "length of the name", "full_name")
def name_length(r: pd.DataFrame) -> Column:
    return r["full_name"].str.len() - r["full_name"].str.find("/") - 1


@feature("static", "characters", "length of the owner's login", "full_name")
def owner_length(r: pd.DataFrame) -> Column:
    return r["full_name"].str.find("/")


static.pattern_count(
    "name_separators", "characters", "hyphens, underscores and dots in the name", "full_name", r"[-_.]"
)


@feature("static", "characters", "capital letters in the name", "full_name")
def name_capitals(r: pd.DataFrame) -> Column:
    return r["full_name"].str.replace(r"^.*?/", "", regex=True).str.count(r"[A-Z]")


static.pattern_count("name_digits", "characters", "digits in the name", "full_name", r"\d")

_KEYWORDS = {
    "exercise": r"test|demo|example|sample|learn|tutorial|hello|playground|practice|boilerplate|starter|quick-start|template",
    "list": r"awesome|list|resource|interview|roadmap|book|cheat",
    "library": r"framework|library|toolkit|sdk|engine|package",
    "addon": r"plugin|extension|wrapper|binding|client|addon|theme",
    "application": r"app\b|desktop|client|editor|player|game",
    "learning": r"deep|neural|machine.learning|pytorch|tensorflow|keras|\bml\b|\bai\b|model",
    "paper": r"official|implementation|paper|research|experiment",
    "web": r"react|vue|angular|javascript|typescript|html|css|\bjs\b|web",
    "python": r"python|\bpy|jupyter|django|flask",
    "praise": r"fast|simple|easy|lightweight|powerful|modern|beautiful|elegant|blazing",
}
"""Keywords by kind of repository, as course projects and curated lists use them."""


def _name_mentions(pattern: str) -> Compute:
    return lambda r: r["full_name"].str.lower().str.replace(r"^.*?/", "", regex=True).str.contains(pattern)


def _description_mentions(kind: str) -> Compute:
    def mentions(r: pd.DataFrame) -> Column:
        matches = _has_keyword(r["description"], kind)
        return _with_stored(r, matches, "description_keywords", lambda kinds: float(kind in kinds))

    return mentions


def _has_keyword(texts: pd.Series, kind: str) -> pd.Series:
    return texts.str.lower().str.contains(f"(?:{_KEYWORDS[kind]})")


def _with_stored(r: pd.DataFrame, of_text: pd.Series, field: str, read: Callable[[Any], float]) -> Column:
    """Return a value of the description's text, or the one that is read from a stored list where there is no text."""
    values, absent = np.asarray(of_text, dtype="float64"), r["description"].isna().to_numpy()
    stored = r[field].to_numpy()
    rows = [row for row in np.flatnonzero(absent) if isinstance(stored[row], (list, np.ndarray))]
    values = np.where(absent, np.nan, values)
    values[rows] = [read(stored[row]) for row in rows]
    return values


for _kind, _words in _KEYWORDS.items():
    for _text, _mentions, *_fields in (
        ("name", _name_mentions(f"(?:{_words})"), "full_name"),
        ("description", _description_mentions(_kind), "description", "description_keywords"),
    ):
        _meaning, _group = f"the {_text} has a keyword of kind {_kind}", f"{_text}_mentions"
        static.add(_mentions, f"{_group}_{_kind}", "flag", _meaning, *_fields, group=_group)


@feature("static", "words", "words of the description", "description", "description_tokens")
def description_words(r: pd.DataFrame) -> Column:
    counts = [len(find_words(text)) if isinstance(text, str) else np.nan for text in r["description"]]
    return _with_stored(r, pd.Series(counts), "description_tokens", len)


@feature("static", "characters", "non-ASCII characters of the description", "description", "description_non_ascii")
def description_non_ascii(r: pd.DataFrame) -> Column:
    return first_known(r["description"].str.count(r"[^\x00-\x7f]"), r["description_non_ascii"])


def find_keywords(descriptions: pd.Series) -> list[list[str]]:
    """Return the kinds of keywords that each description has, which a table may have instead of the text.

    Examples
    --------
    >>> find_keywords(pd.Series(["A fast web framework", "?"], dtype="str"))
    [['library', 'web', 'praise'], []]
    """
    found = {kind: _has_keyword(descriptions, kind) for kind in _KEYWORDS}
    return [[kind for kind in found if found[kind].iloc[row]] for row in range(len(descriptions))]


@feature("static", "flag", "owner and repository have the same name", "full_name")
def name_equals_owner(r: pd.DataFrame) -> Column:
    parts = r["full_name"].str.lower().str.split("/", n=1, expand=True).reindex(columns=[0, 1])
    return parts[0] == parts[1]


# ---- activity: what happens in the repository ---------------------------------------------------------------------

activity.duration("push_age", "time since the last push", "pushed_at", "fetched_at")
activity.duration("active_span", "time from creation to last push", "created_at", "pushed_at")


@feature("activity", "share", "active span as a share of the age", "pushed_at", *AGE)
def active_share(r: pd.DataFrame) -> Column:
    return divide(days_between(r["created_at"], r["pushed_at"]), age(r))


@feature("activity", "issues", "issues, open and closed", *ISSUES)
def issues(r: pd.DataFrame) -> Column:
    return total_count(r, "issues")


@feature("activity", "1/day", "issues per day", *ISSUES, *AGE)
def issue_rate(r: pd.DataFrame) -> Column:
    return divide(first_known(total_count(r, "issues"), r["open_issues"]), age(r), DAMPING_DAYS)


activity.ratio("open_issues_per_contributor", "issues", "open issues per contributor", "open_issues", "contributors")
activity.ratio("issues_per_contributor", "issues", "issues per contributor", "issues", "contributors")
activity.ratio("open_issue_share", "share", "share of the issues that are open", "open_issues", "issues")
activity.ratio("pull_requests_per_issue", "1/issue", "pull requests per issue", "pull_requests", "issues")
activity.ratio("commits_per_contributor", "commits", "commits per contributor", "commits", "contributors")
activity.ratio(
    "pull_requests_per_contributor", "1/contributor", "pull requests per contributor", "pull_requests", "contributors"
)
activity.ratio(
    "recent_commit_share",
    "share",
    "share of the commits that are of the last three months",
    "recent_commits",
    "commits",
)
activity.daily_rate("commit_rate", "commits per day", "commits")
activity.daily_rate("contributor_rate", "contributors per day", "contributors")
activity.duration("release_age", "time since the latest release", "latest_release_at", "fetched_at")
activity.duration("time_to_first_release", "time from creation to first release", "created_at", "first_release_at")
activity.duration("push_after_release", "time from latest release to last push", "latest_release_at", "pushed_at")
activity.ratio(
    "merged_share", "share", "share of the pull requests that are merged", "merged_pull_requests", "pull_requests"
)
activity.daily_rate("pull_request_rate", "pull requests per day", "pull_requests")
activity.daily_rate("discussion_rate", "discussions per day", "discussions")
activity.ratio("issues_per_commit", "issues", "issues per commit", "issues", "commits")
activity.ratio("size_per_commit", "kB", "size per commit", "size_kb", "commits")
activity.ratio("commits_per_release", "commits", "commits per release", "commits", "releases")
activity.ratio("text_per_release", "characters", "length of the notes per release", "release_text_length", "releases")
activity.duration("release_span", "time from first to latest release", "first_release_at", "latest_release_at")
activity.daily_rate("release_rate", "releases per day", "releases")

# ---- all: what follows from popularity ----------------------------------------------------------------------------


_BETWEEN_CHANGES = "time from last push to last change of the record; a star changes it"


@feature("all", "days", _BETWEEN_CHANGES, "pushed_at", "updated_at", "fetched_at")
def updated_after_push(r: pd.DataFrame) -> Column:
    return days_between(r["pushed_at"], floor_to_day(r["updated_at"], is_day(r["fetched_at"])))


popularity.duration("update_age", "time since the last change of the record", "updated_at", "fetched_at")
popularity.daily_rate("fork_rate", "forks per day", "forks")
popularity.ratio("forks_per_contributor", "forks", "forks per contributor", "forks", "contributors")
popularity.ratio("forks_per_subscriber", "forks", "forks per subscriber", "forks", "subscribers")


@feature("all", "forks", "forks per issue", "forks", *ISSUES)
def forks_per_issue(r: pd.DataFrame) -> Column:
    return divide(r["forks"], first_known(total_count(r, "issues"), r["open_issues"]))


popularity.ratio("forks_per_commit", "forks", "forks per commit", "forks", "commits")
popularity.daily_rate("subscriber_rate", "subscribers per day", "subscribers")
popularity.ratio("subscribers_per_contributor", "people", "subscribers per contributor", "subscribers", "contributors")
popularity.daily_rate("dependent_rate", "dependents per day", "dependents")
popularity.ratio("downloads_per_asset", "downloads", "downloads per release file", "downloads", "release_assets")
