"""From repositories to feature columns: pure, vectorised, one function a feature, the same offline and on the page.

A new feature is one function here: it takes the repositories (n × the schema) and returns n values, NaN where the
record does not tell. Nothing looks at the stars, at other rows, or at a clock.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from stargaze.features.licenses import license_family
from stargaze.features.registry import Column, Compute, Feature, Registry

COMPUTED = Registry()
"""The features of this module."""
feature, plain = COMPUTED.feature, COMPUTED.plain

plain("static", "owner_type", "language", "license", "default_branch", kind="category")
plain(
    "static",
    *("owner_id", "description_length", "readme_length", "topic_count"),
    *("has_homepage", "is_fork", "is_archived", "is_template", "is_mirror", "is_disabled", "is_empty"),
    *("has_sponsorships", "has_funding_links", "has_code_of_conduct", "has_security_policy", "has_own_image"),
    *("owner_is_verified", "owner_members", "languages", "code_bytes"),
    *("has_issues", "has_projects", "has_wiki", "has_pages", "has_downloads", "has_discussions"),
    *("allow_forking", "web_commit_signoff_required"),
    *("package_dependencies", "package_dev_dependencies", "package_keywords", "package_scripts"),
    *("package_description_length", "package_version_major", "package_version_minor", "package_version_patch"),
    *("package_is_private", "package_has_bin", "package_has_engines"),
)
plain(
    "activity",
    *("size_kb", "commits", "recent_commits", "contributors", "open_issues", "closed_issues", "pull_requests"),
    *("open_pull_requests", "merged_pull_requests", "discussions", "mentionable_users"),
    *("releases", "prereleases", "release_assets", "release_text_length", "tags"),
)
plain("all", "forks", "subscribers", "watchers", "dependents", "downloads", "monthly_downloads")
plain("all", "owner_followers")  # they come through this repository too: they follow from its stars


def extract(repositories: pd.DataFrame, names: list[str] | None = None) -> pd.DataFrame:
    """Compute the features of every repository.

    Parameters
    ----------
    repositories : DataFrame, shape (n_repositories, n_fields)
        Columns of :mod:`stargaze.features.schema`.
    names : list of str, optional
        Features to compute, by default all of this module.

    Returns
    -------
    DataFrame, shape (n_repositories, n_features)
        float32 for numbers, ``str`` for categories; missing values are NaN.

    Raises
    ------
    ValueError
        If no function of this module computes a name: it is unknown, or learned from other repositories.

    Examples
    --------
    >>> from stargaze.features import schema
    >>> record = pd.DataFrame({"full_name": ["octocat/hello-world"]})
    >>> extract(schema.conform(record), ["name_length", "forks"]).iloc[0].tolist()
    [11.0, nan]
    """
    chosen = list(COMPUTED) if names is None else names
    unknown = [name for name in chosen if name not in COMPUTED]
    if unknown:
        raise ValueError(f"not computed from a record alone: {', '.join(unknown)}")
    fields: Any = _Fields(repositories)
    with np.errstate(all="ignore"):
        columns = {name: _column(COMPUTED[name], fields) for name in chosen}
    return pd.DataFrame(columns, index=repositories.index)


class _Fields(dict[str, pd.Series]):
    """The columns of a frame, each taken out of it once: for one repository that is a third of the time."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self._frame = frame
        self.index = frame.index

    def __missing__(self, name: str) -> pd.Series:
        self[name] = self._frame[name]
        return self[name]


def _column(item: Feature, repositories: pd.DataFrame) -> Column:
    values = item.compute(repositories)
    return values if item.kind == "category" else np.asarray(values, dtype="float32")


AGE = ("created_at", "fetched_at")
ISSUES = ("issues", "open_issues", "closed_issues")
"""What :func:`age` and the number of issues read, for the features that are made from them."""


def days(later: pd.Series, earlier: pd.Series) -> np.ndarray:
    """Return later - earlier [days], NaN where either is missing.

    Examples
    --------
    >>> days(pd.to_datetime(pd.Series(["2020-01-03"])), pd.to_datetime(pd.Series(["2020-01-02"]))).tolist()
    [1.0]
    """
    seconds = later.to_numpy("datetime64[s]") - earlier.to_numpy("datetime64[s]")
    result = seconds.astype("int64") / 86_400.0
    return np.where(np.isnat(seconds), np.nan, result)


def _rate(count: Column, per: Column, offset: float) -> np.ndarray:
    """Return count / (per + offset); the offset keeps young and small repositories from exploding."""
    rate: np.ndarray = np.asarray(count) / (np.maximum(np.asarray(per), 0.0) + offset)
    return rate


def _either(first: Column, second: Column) -> np.ndarray:
    """Return the first where it is known, else the second."""
    known = np.asarray(first)
    return np.where(np.isnan(known), np.asarray(second), known)


def _total_issues(r: pd.DataFrame) -> np.ndarray:
    return _either(r["issues"], np.asarray(r["open_issues"]) + np.asarray(r["closed_issues"]))


# ---- static: what the maintainer writes ---------------------------------------------------------------------------


@feature("static", "days", "age of the repository", *AGE)
def age(r: pd.DataFrame) -> Column:
    return days(r["fetched_at"], r["created_at"])


@feature("static", "days", "time from the first commit to the repository on GitHub", "created_at", "first_commit_at")
def history_before(r: pd.DataFrame) -> Column:
    return days(r["created_at"], r["first_commit_at"])


@feature("static", "days", "age of the owner's account when the repository was made", "created_at", "owner_created_at")
def owner_age(r: pd.DataFrame) -> Column:
    return days(r["created_at"], r["owner_created_at"])


@feature("static", "days", "time since the first commit", "first_commit_at", "fetched_at")
def history(r: pd.DataFrame) -> Column:
    return days(r["fetched_at"], r["first_commit_at"])


# The year of creation would tell which list a row came from, the hour whether its source knows hours.
@feature("static", "weekday", "day of the week on which it was made, Monday is 0", "created_at")
def created_weekday(r: pd.DataFrame) -> Column:
    weekday: Column = r["created_at"].dt.day_of_week
    return weekday


@feature("static", "degree", "copyleft of the licence: 0 permissive, 1 weak, 2 strong", "license")
def copyleft(r: pd.DataFrame) -> Column:
    degree = {"permissive": 0.0, "weak copyleft": 1.0, "strong copyleft": 2.0}
    return r["license"].map({key: degree.get(license_family(key), np.nan) for key in r["license"].dropna().unique()})


@feature("static", "flag", "the licence is one of texts, fonts or data", "license")
def license_of_texts(r: pd.DataFrame) -> Column:
    return r["license"].map({key: float(license_family(key) == "of texts") for key in r["license"].dropna().unique()})


@feature("static", "B", "code for each language", "code_bytes", "languages")
def code_per_language(r: pd.DataFrame) -> Column:
    return _rate(r["code_bytes"], r["languages"], 1.0)


@feature("static", "characters", "length of all topics together", "topics")
def topics_length(r: pd.DataFrame) -> Column:
    known = [
        sum(map(len, map(str, value))) if isinstance(value, (list, np.ndarray)) else np.nan for value in r["topics"]
    ]
    return pd.Series(known, index=r.index, dtype="float32")


@feature("static", "characters", "length of the name", "full_name")
def name_length(r: pd.DataFrame) -> Column:
    return r["full_name"].str.len() - r["full_name"].str.find("/") - 1


@feature("static", "characters", "length of the owner's login", "full_name")
def owner_length(r: pd.DataFrame) -> Column:
    return r["full_name"].str.find("/")


@feature("static", "characters", "hyphens, underscores and dots in the name", "full_name")
def name_separators(r: pd.DataFrame) -> Column:
    return r["full_name"].str.count(r"[-_.]")


@feature("static", "characters", "capital letters in the name", "full_name")
def name_capitals(r: pd.DataFrame) -> Column:
    return r["full_name"].str.replace(r"^.*?/", "", regex=True).str.count(r"[A-Z]")


@feature("static", "characters", "digits in the name", "full_name")
def name_digits(r: pd.DataFrame) -> Column:
    return r["full_name"].str.count(r"\d")


_KINDS = {
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
"""What a name or a description says the repository is; the words that course projects and lists sort by."""


def _name_says(kind: str) -> Compute:
    def says(r: pd.DataFrame) -> Column:
        name = r["full_name"].str.lower().str.replace(r"^.*?/", "", regex=True)
        return name.str.contains(f"(?:{_KINDS[kind]})")

    says.__name__ = f"name_says_{kind}"
    return says


def _description_says(kind: str) -> Compute:
    def says(r: pd.DataFrame) -> Column:
        said = r["description"].str.lower().str.contains(f"(?:{_KINDS[kind]})")
        return said.astype("float32").where(r["description"].notna())

    says.__name__ = f"description_says_{kind}"
    return says


for _kind in _KINDS:
    feature("static", "flag", f"the name says {_kind}", "full_name", group="name_says")(_name_says(_kind))
    feature("static", "flag", f"the description says {_kind}", "description", group="description_says")(
        _description_says(_kind)
    )


@feature("static", "words", "words of the description", "description")
def description_words(r: pd.DataFrame) -> Column:
    return r["description"].str.count(r"\S+")


@feature("static", "characters", "characters of the description beyond ASCII: emoji, other scripts", "description")
def description_beyond_ascii(r: pd.DataFrame) -> Column:
    return r["description"].str.count(r"[^\x00-\x7f]")


@feature("static", "flag", "owner and repository have the same name", "full_name")
def name_is_owner(r: pd.DataFrame) -> Column:
    parts = r["full_name"].str.lower().str.split("/", n=1, expand=True).reindex(columns=[0, 1])
    return parts[0] == parts[1]


# ---- activity: what people did with it ----------------------------------------------------------------------------


@feature("activity", "days", "time since the last push", "pushed_at", "fetched_at")
def idle(r: pd.DataFrame) -> Column:
    return days(r["fetched_at"], r["pushed_at"])


@feature("activity", "days", "time from creation to the last push", "pushed_at", "created_at")
def active(r: pd.DataFrame) -> Column:
    return days(r["pushed_at"], r["created_at"])


@feature("activity", "share", "part of its life in which it was pushed to", "pushed_at", "created_at", "fetched_at")
def active_share(r: pd.DataFrame) -> Column:
    return _rate(active(r), age(r), 1.0)


@feature("activity", "issues", "issues, open and closed", *ISSUES)
def issues(r: pd.DataFrame) -> Column:
    return _total_issues(r)


@feature("activity", "1/day", "issues a day", *ISSUES, *AGE)
def issue_rate(r: pd.DataFrame) -> Column:
    return _rate(_either(_total_issues(r), r["open_issues"]), age(r), 30.0)


@feature("activity", "issues", "open issues for each contributor", "open_issues", "contributors")
def open_issues_per_contributor(r: pd.DataFrame) -> Column:
    return _rate(r["open_issues"], r["contributors"], 1.0)


@feature("activity", "issues", "issues for each contributor", *ISSUES, "contributors")
def issues_per_contributor(r: pd.DataFrame) -> Column:
    return _rate(_total_issues(r), r["contributors"], 1.0)


@feature("activity", "share", "open part of all issues", *ISSUES)
def open_issue_share(r: pd.DataFrame) -> Column:
    return _rate(r["open_issues"], _total_issues(r), 1.0)


@feature("activity", "1/issue", "pull requests for each issue", "pull_requests", *ISSUES)
def pull_requests_per_issue(r: pd.DataFrame) -> Column:
    return _rate(r["pull_requests"], _total_issues(r), 1.0)


@feature("activity", "commits", "commits for each contributor", "commits", "contributors")
def commits_per_contributor(r: pd.DataFrame) -> Column:
    return _rate(r["commits"], r["contributors"], 1.0)


@feature("activity", "1/contributor", "pull requests for each contributor", "pull_requests", "contributors")
def pull_requests_per_contributor(r: pd.DataFrame) -> Column:
    return _rate(r["pull_requests"], r["contributors"], 1.0)


@feature("activity", "share", "part of all commits that are of the last three months", "recent_commits", "commits")
def recent_commit_share(r: pd.DataFrame) -> Column:
    return _rate(r["recent_commits"], r["commits"], 1.0)


@feature("activity", "1/day", "commits a day", "commits", *AGE)
def commit_rate(r: pd.DataFrame) -> Column:
    return _rate(r["commits"], age(r), 30.0)


@feature("activity", "1/day", "contributors a day", "contributors", *AGE)
def contributor_rate(r: pd.DataFrame) -> Column:
    return _rate(r["contributors"], age(r), 30.0)


@feature("activity", "days", "time since the latest release", "latest_release_at", "fetched_at")
def release_age(r: pd.DataFrame) -> Column:
    return days(r["fetched_at"], r["latest_release_at"])


@feature("activity", "days", "time from creation to the first release", "first_release_at", "created_at")
def first_release_after(r: pd.DataFrame) -> Column:
    return days(r["first_release_at"], r["created_at"])


@feature("activity", "days", "last push after the latest release", "pushed_at", "latest_release_at")
def pushed_after_release(r: pd.DataFrame) -> Column:
    return days(r["pushed_at"], r["latest_release_at"])


@feature("activity", "share", "merged part of all pull requests", "merged_pull_requests", "pull_requests")
def merged_share(r: pd.DataFrame) -> Column:
    return _rate(r["merged_pull_requests"], r["pull_requests"], 1.0)


@feature("activity", "1/day", "pull requests a day", "pull_requests", *AGE)
def pull_request_rate(r: pd.DataFrame) -> Column:
    return _rate(r["pull_requests"], age(r), 30.0)


@feature("activity", "1/day", "discussions a day", "discussions", *AGE)
def discussion_rate(r: pd.DataFrame) -> Column:
    return _rate(r["discussions"], age(r), 30.0)


@feature("activity", "issues", "issues for each commit", *ISSUES, "commits")
def issues_per_commit(r: pd.DataFrame) -> Column:
    return _rate(_total_issues(r), r["commits"], 1.0)


@feature("activity", "kB", "size for each commit", "size_kb", "commits")
def size_per_commit(r: pd.DataFrame) -> Column:
    return _rate(r["size_kb"], r["commits"], 1.0)


@feature("activity", "commits", "commits for each release", "commits", "releases")
def commits_per_release(r: pd.DataFrame) -> Column:
    return _rate(r["commits"], r["releases"], 1.0)


@feature("activity", "characters", "length of the notes of each release", "release_text_length", "releases")
def text_per_release(r: pd.DataFrame) -> Column:
    return _rate(r["release_text_length"], r["releases"], 1.0)


@feature("activity", "days", "time from the first to the latest release", "latest_release_at", "first_release_at")
def release_span(r: pd.DataFrame) -> Column:
    return days(r["latest_release_at"], r["first_release_at"])


@feature("activity", "1/day", "releases a day", "releases", *AGE)
def release_rate(r: pd.DataFrame) -> Column:
    return _rate(r["releases"], age(r), 30.0)


# ---- all: what follows from popularity ----------------------------------------------------------------------------


@feature("all", "days", "last change of the record after the last push; a star changes it", "updated_at", "pushed_at")
def updated_after_push(r: pd.DataFrame) -> Column:
    return days(r["updated_at"], r["pushed_at"])


@feature("all", "days", "time since the last change of the record", "updated_at", "fetched_at")
def update_age(r: pd.DataFrame) -> Column:
    return days(r["fetched_at"], r["updated_at"])


@feature("all", "1/day", "forks a day", "forks", *AGE)
def fork_rate(r: pd.DataFrame) -> Column:
    return _rate(r["forks"], age(r), 30.0)


@feature("all", "forks", "forks for each contributor", "forks", "contributors")
def forks_per_contributor(r: pd.DataFrame) -> Column:
    return _rate(r["forks"], r["contributors"], 1.0)


@feature("all", "forks", "forks for each subscriber", "forks", "subscribers")
def forks_per_subscriber(r: pd.DataFrame) -> Column:
    return _rate(r["forks"], r["subscribers"], 1.0)


@feature("all", "forks", "forks for each issue", "forks", *ISSUES)
def forks_per_issue(r: pd.DataFrame) -> Column:
    return _rate(r["forks"], _either(_total_issues(r), r["open_issues"]), 1.0)


@feature("all", "forks", "forks for each commit", "forks", "commits")
def forks_per_commit(r: pd.DataFrame) -> Column:
    return _rate(r["forks"], r["commits"], 1.0)


@feature("all", "1/day", "subscribers a day", "subscribers", *AGE)
def subscriber_rate(r: pd.DataFrame) -> Column:
    return _rate(r["subscribers"], age(r), 30.0)


@feature("all", "people", "subscribers for each contributor", "subscribers", "contributors")
def subscribers_per_contributor(r: pd.DataFrame) -> Column:
    return _rate(r["subscribers"], r["contributors"], 1.0)


@feature("all", "1/day", "dependents a day", "dependents", *AGE)
def dependent_rate(r: pd.DataFrame) -> Column:
    return _rate(r["dependents"], age(r), 30.0)


@feature("all", "downloads", "downloads of each release file", "downloads", "release_assets")
def downloads_per_asset(r: pd.DataFrame) -> Column:
    return _rate(r["downloads"], r["release_assets"], 1.0)
