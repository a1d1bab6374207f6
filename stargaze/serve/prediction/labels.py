"""Texts for people: labels of features and fields, and values with units."""

from __future__ import annotations

import calendar
import itertools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from stargaze.bundle.prediction_intervals import MAX_LOG_STARS
from stargaze.features.encoding.encoder import EMBEDDED, EMBEDDING_COMPONENTS, LOG_STARS, TEXT_COMPONENTS
from stargaze.features.matrix import CATALOG, Catalog
from stargaze.features.schema import FIELD_BY_NAME, Field
from stargaze.formatting import format_stars

UNKNOWN = "unknown"
NO_RELEASE = "no release"
UNNAMED = "Custom repository"
"""Name of a repository that was entered without one."""
FIELD_LABELS = {
    "pushed_at": "Last push",
    "updated_at": "Last update",
    "fetched_at": "Values as of",
    "subscribers": "Watchers (subscribers)",
    "readme_length": "README length",
    "code_bytes": "Code size",
}
FEATURE_LABELS = {
    "owner_type": "owner type",
    "language": "main language",
    "license": "license",
    "default_branch": "default branch",
    "owner_id": "owner account ID",
    "description_length": "description length",
    "readme_length": "README length",
    "has_homepage": "has homepage",
    "has_wiki": "has wiki",
    "has_pages": "has GitHub Pages",
    "has_issues": "has issues enabled",
    "has_projects": "has projects enabled",
    "has_downloads": "has downloads enabled",
    "has_discussions": "has discussions enabled",
    "has_sponsorships": "accepts sponsorships",
    "is_empty": "has no commits",
    "web_commit_signoff_required": "requires commit sign-off",
    "code_bytes": "code size",
    "code_per_language": "code size per language",
    "package_dependencies": "package dependencies",
    "package_dev_dependencies": "package development dependencies",
    "package_description_length": "package description length",
    "package_version_major": "package major version",
    "package_version_minor": "package minor version",
    "package_version_patch": "package patch version",
    "package_is_private": "package is private",
    "package_has_engines": "package states its engines",
    "size_kb": "repository size",
    "recent_commits": "commits of the last three months",
    "mentionable_users": "mentionable users",
    "release_text_length": "length of all release notes",
    "text_per_release": "length of the notes per release",
    "subscribers": "watchers (subscribers)",
    "watchers": "star count under another name",
    "dependents": "dependent packages and repositories",
    "monthly_downloads": "package downloads per month",
    "downloads": "downloads of release files",
    "history_before_creation": "history before creation",
    "owner_age_at_creation": "owner's account age at creation",
    "first_commit_age": "time since first commit",
    "created_weekday": "weekday of creation",
    "copyleft": "license type",
    "content_license": "license for texts, fonts or data",
    "name_equals_owner": "name equals owner",
    "push_age": "time since last push",
    "active_span": "active for",
    "active_share": "share of lifetime with activity",
    "release_age": "time since latest release",
    "time_to_first_release": "time to first release",
    "push_after_release": "last push after latest release",
    "release_span": "time from first to latest release",
    "updated_after_push": "updated after last push",
    "update_age": "time since last update",
    "forks_per_subscriber": "forks per watcher",
    "subscriber_rate": "watchers per day",
    "subscribers_per_contributor": "watchers per contributor",
    "open_issue_share": "share of issues that are open",
    "recent_commit_share": "share of commits of the last three months",
    "merged_share": "share of pull requests that are merged",
    "language_stars": "average for its language",
    "topics_stars": "average for its topics",
    "topics_stars_max": "average for its most starred topic",
    "owner_repositories": "owner's known repositories",
    "owner_stars": "average of the owner's other repositories",
    "owner_stars_max": "owner's most starred other repository",
    "text_score": "words of name, description and topics",
    "embedding_score": "meaning of name, description and topics",
}
"""Labels of features whose meaning is too long for a table; the others are their meanings."""
KEYWORD_KINDS = {
    "exercise": "an exercise or template",
    "list": "a list or book",
    "library": "a library",
    "addon": "an add-on",
    "application": "an application",
    "learning": "machine learning",
    "paper": "research",
    "web": "web development",
    "python": "Python",
    "praise": "praise (fast, simple)",
}
TEXT_FEATURES = "text"
GROUP_LABELS = {TEXT_FEATURES: "words of name, description and topics", UNKNOWN: "unknown values"}
"""Labels of the factors that several features share."""
TEXT_NAMES = frozenset({"text_score", *TEXT_COMPONENTS, *EMBEDDED})
RELEASE_FEATURES = frozenset({"release_age", "time_to_first_release", "push_after_release", "release_span"})
"""Features that a repository without releases does not have."""
COPYLEFT = ("permissive", "weak copyleft", "strong copyleft")


def feature_label(name: str) -> str:
    """Return the label of a feature, in the words of a table; own columns have the name that the user gave them.

    >>> feature_label("updated_after_push"), feature_label("forks"), feature_label("name_mentions_list")
    ('updated after last push', 'forks', 'name suggests a list or book')
    >>> feature_label("text_component_4")
    'topic component 4'
    """
    if name in FEATURE_LABELS:
        return FEATURE_LABELS[name]
    if name not in CATALOG:
        return name
    part, is_keyword, kind = name.partition("_mentions_")
    if is_keyword:
        return f"{part} suggests {KEYWORD_KINDS.get(kind, kind)}"
    for prefix, label in (("text_component_", "topic"), ("embedding_component_", "meaning")):
        if name.startswith(prefix):
            return f"{label} component {name.removeprefix(prefix)}"
    return CATALOG[name].meaning.partition(";")[0]


def feature_group(name: str) -> str:
    """Return the group whose features share one factor, because alone they say nothing; empty if it has none.

    >>> feature_group("text_component_4"), feature_group("forks")
    ('text', '')
    """
    return TEXT_FEATURES if name in TEXT_NAMES else ""


def feature_value(name: str, number: float, record: Mapping[str, Any], catalog: Catalog = CATALOG) -> str:
    """Return the value of any feature of a repository: a category is read from its record.

    >>> feature_value("release_age", float("nan"), {"releases": 0.0}), feature_value("license", 0.0, {"license": "wtfpl"})
    ('no release', 'wtfpl')
    """
    if catalog[name].kind == "category":
        return UNKNOWN if record.get(name) is None else str(record[name])
    if math.isnan(number) and name in RELEASE_FEATURES and record.get("releases") == 0:
        return NO_RELEASE
    return format_value(name, number, catalog)


def format_value(name: str, number: float, catalog: Catalog = CATALOG) -> str:
    """Return the value of a numeric feature with its unit.

    >>> format_value("size_kb", 1234.0), format_value("forks", float("nan")), format_value("has_wiki", 1.0)
    ('1.2 MB', 'unknown', 'yes')
    >>> format_value("age", 2300.0), format_value("push_age", 1.0), format_value("issue_rate", 0.1234)
    ('6.3 years', '1 day', '0.123 per day')
    >>> format_value("open_issue_share", 0.25), format_value("created_weekday", 6.0), format_value("copyleft", 0.0)
    ('25%', 'Sunday', 'permissive')
    """
    unit = catalog[name].unit
    if math.isnan(number):
        return UNKNOWN
    if name in (*TEXT_COMPONENTS, *EMBEDDING_COMPONENTS):
        return f"{number:,.3g}"
    if unit.startswith("1/"):
        return f"{_format_number(number)} per {unit[2:]}"
    return FORMATS.get(unit, _format_number)(number)


def format_distinct(name: str, *numbers: float, catalog: Catalog = CATALOG) -> list[str]:
    """Return values of one feature with so many digits that different ones differ.

    >>> format_distinct("size_kb", 2344.0, 0.0, 2345.0), format_distinct("age", 1000.0, 2000.0)
    (['2,344 kB', '0 kB', '2,345 kB'], ['2.7 years', '5.5 years'])
    """
    texts = [format_value(name, number, catalog) for number in numbers]
    unit = catalog[name].unit
    if len(set(texts)) == len(set(numbers)) or unit == LOG_STARS:
        return texts
    return [f"{number:,.7g}{f' {unit}' if unit in FORMATS else ''}" for number in numbers]


def _format_number(number: float) -> str:
    return f"{number:,.0f}" if float(number).is_integer() or abs(number) >= 1000 else f"{number:,.3g}"


def _format_days(days: float) -> str:
    """Return a time span in days, or in years from two years on.

    >>> _format_days(0.4), _format_days(-3), _format_days(1000)
    ('0.4 days', '-3 days', '2.7 years')
    """
    if abs(days) >= 730:
        return f"{days / 365.25:,.1f} years"
    text = f"{days:,.0f}" if float(days).is_integer() or abs(days) >= 10 else f"{days:.1f}"
    return f"{text} {'day' if text == '1' else 'days'}"


def _format_bytes(size: float) -> str:
    """Return a size with a fitting unit.

    >>> _format_bytes(820), _format_bytes(93_000), _format_bytes(1.2345e9)
    ('820 B', '93 kB', '1.2 GB')
    """
    for limit, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if abs(size) >= limit:
            return f"{size / limit:,.1f} {unit}" if abs(size) < 10 * limit else f"{size / limit:,.0f} {unit}"
    return f"{size:,.0f} B"


FORMATS: dict[str, Callable[[float], str]] = {
    LOG_STARS: lambda number: format_stars(max(math.expm1(min(number, MAX_LOG_STARS)), 0.0)),
    "flag": lambda number: "yes" if number else "no",
    "days": _format_days,
    "B": _format_bytes,
    "kB": lambda number: _format_bytes(1000 * number),
    "share": lambda number: f"{100 * number:.3g}%",
    "weekday": lambda number: calendar.day_name[int(number) % 7],
    "degree": lambda number: COPYLEFT[min(max(int(number), 0), len(COPYLEFT) - 1)],
    "characters": lambda number: f"{_format_number(number)} characters",
}
"""Formats of numbers by their unit; the others are plain numbers, because the label says what is counted."""


def field_label(field: Field) -> str:
    """Return the label of a form field: ``has_homepage`` is "Homepage", ``created_at`` "Created".

    >>> field_label(FIELD_BY_NAME["created_at"]), field_label(FIELD_BY_NAME["open_issues"])
    ('Created', 'Open issues')
    """
    if field.name in FIELD_LABELS:
        return FIELD_LABELS[field.name]
    bare = field.name.removeprefix("full_").removeprefix("has_").removesuffix("_at").removesuffix("_kb")
    return bare.replace("_", " ").capitalize()


_FIELD_NAMES = re.compile(rf"(?<![\w'/.-])({'|'.join(name for name in FIELD_BY_NAME if '_' in name)})(?![\w'/-])")


def number_unnamed(names: Sequence[str]) -> list[str]:
    """Return the names of entered repositories, where those without one differ from each other.

    >>> number_unnamed(["", "a/b", ""])
    ['Custom repository', 'a/b', 'Custom repository 2']
    """
    unnamed = (f"{UNNAMED} {number}" if number > 1 else UNNAMED for number in itertools.count(1))
    return [next(unnamed) if name in ("", UNNAMED) else name for name in names]


def label_fields(text: str) -> str:
    """Return a message of the API with the labels of the page instead of the names of fields; quoted values stay.

    >>> label_fields("pushed_at must not be before created_at")
    '“Last push” must not be before “Created”'
    """
    return _FIELD_NAMES.sub(lambda match: f"“{field_label(FIELD_BY_NAME[match[1]])}”", text)
