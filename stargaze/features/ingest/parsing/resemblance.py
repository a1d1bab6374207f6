"""Which field a column of another tool resembles, and which column a field could be mapped to."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Container, Sequence
from functools import lru_cache

from stargaze.features.ingest.field_mapping import SPELLINGS, flattened_path
from stargaze.features.ingest.parsing.flattened_names import MAX_NAME, normalize_name
from stargaze.features.ingest.parsing.repository_names import is_name
from stargaze.features.schema import FIELD_BY_NAME

MAX_COMPARED = 300
"""Columns of a file that are compared with the fields."""
MAX_LISTED_CHARACTERS = 300
"""Length of the names in a message, so that it stays one line."""
MAX_LISTED_NAMES = 30
URL_ENDINGS = ("_url", "_urls", "_link")
"""Columns of addresses resemble no count."""
SYNONYMS: dict[str, tuple[str, ...]] = {
    "full_name": (
        "repo_name",
        "repository",
        "repo",
        "name_with_owner",
        "slug",
        "html_url",
        "repo_url",
        "github_url",
        "repository_url",
        "github_repo",
        "github_repository",
        "github_link",
        "repo_link",
        "repositories",
        "path_with_namespace",
        "link",
        "url",
        "name",
    ),
    "stars": ("stargazers", "star", "stargazer_count", "watch_count", "star_number"),
    "subscribers": ("watching",),
    "language": ("main_language", "primary_language", "programming_language", "lang", "main_lang", "primary_lang"),
    "languages": ("languages_used", "language_list"),
    "license": ("license_type",),
    "created_at": ("created", "creation_date", "created_on", "date_created", "created_date", "created_timestamp"),
    "pushed_at": ("pushed", "last_push", "last_pushed_at", "last_pushed_timestamp", "last_commit", "last_commit_date"),
    "updated_at": ("updated", "last_updated", "updated_on", "last_update", "last_modified", "updated_timestamp"),
    "latest_release_at": ("last_release", "last_release_date", "latest_release_date"),
    "description": ("desc", "about", "summary"),
    "is_fork": ("forked",),
    "has_pages": ("pages_enabled",),
    "commits": ("default_branch_commit_count",),
    "pull_requests": ("prs",),
    "open_pull_requests": ("open_prs",),
    "merged_pull_requests": ("merged_prs",),
    "dependents": ("used_by",),
    "has_homepage": ("homepage", "website", "homepage_url", "site"),
    "is_mirror": ("mirror_url",),
    "owner_type": ("account_type", "user_type"),
    "open_issues": ("issues_open",),
    "topics": ("tags_list", "topics_list", "topic_list", "keywords", "topic_names"),
    "size_kb": ("size", "disk_usage", "disk_usage_kb", "repo_size"),
    "fetched_at": ("collected_at", "scraped_at", "crawled_at", "retrieved_at", "snapshot_date"),
    "readme": ("readme_text", "readme_content"),
    "readme_length": ("readme_size",),
    "description_length": ("description_size",),
    "default_branch": ("main_branch",),
    "code_bytes": ("code_size",),
}
"""Names that other tools use."""
OWNERS = ("owner", "owner_login", "owner_name", "repo_owner", "user", "username", "login", "org", "organization")
BARE_NAMES = ("name", "repo", "repo_name", "repository", "repository_name", "project")
"""Names that other tools use for the parts of a repository's name."""
_DELIMITER = re.compile(r"[,;\t|]")
_NUMBER = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
_FILLERS = frozenset(
    {
        "num",
        "n",
        "nb",
        "no",
        "of",
        "number",
        "count",
        "counts",
        "cnt",
        "total",
        "github",
        "gh",
        "repo",
        "repository",
        "the",
    }
)


def resembled_field(column: str, filled: Container[str] = ()) -> str:
    """Return the field that a column's name resembles; an empty text if it resembles none.

    Of the fields that have a value from another column, only one of the same name is returned.

    Examples
    --------
    >>> resembled_field("Num Forks"), resembled_field("mirror_url"), resembled_field("team")
    ('forks', 'is_mirror', '')
    >>> resembled_field("html_url", ["full_name"]), resembled_field("stargazersCount", ["stars"])
    ('', 'stars')
    """
    if len(column) > MAX_NAME:
        return ""
    names, synonyms, cores = _index_names()
    name = normalize_name(column)
    if name in names:
        return names[name]
    field = synonyms.get(name) or cores.get(_core(name)) or ""
    if not field and not name.endswith(URL_ENDINGS) and flattened_path(column) is None:
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.85)
        field = names[near[0]] if near else ""
    return "" if field in filled else field


@lru_cache(maxsize=1)
def _index_names() -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    """Return the field of each known name, of each synonym, and of each of them without words such as ``count``."""
    names: dict[str, str] = {}
    synonyms: dict[str, str] = {}
    for field in FIELD_BY_NAME:
        for name in (field, *SPELLINGS.get(field, ())):
            names.setdefault(normalize_name(name), field)
        for name in SYNONYMS.get(field, ()):
            synonyms.setdefault(normalize_name(name), field)
    cores: dict[str, str] = {}
    for name, field in sorted((names | synonyms).items(), key=lambda item: FIELD_BY_NAME[item[1]].kind != "count"):
        cores.setdefault(_core(name), field)
    cores.pop("", None)
    return names, synonyms, cores


def _core(name: str) -> str:
    words = [word.rstrip("s") or word for word in name.split("_") if word not in _FILLERS]
    return "_".join(words)


def suggest_column(field: str, header: Sequence[str]) -> str:
    """Return the column that a field without a column could be mapped to, or an ellipsis."""
    some = [name for name in header[:MAX_COMPARED] if len(name) <= MAX_NAME]
    wanted = {name: rank for rank, name in enumerate((field, *SYNONYMS.get(field, ())))}
    known = sorted((wanted[normalize_name(name)], name) for name in some if normalize_name(name) in wanted)
    if known:
        return known[0][1]
    plain = (field, *SPELLINGS.get(field, ()))
    if inner := [name for name in some if name.rpartition(".")[2] in plain]:
        return inner[0]
    resembling = [name for name in some if resembled_field(name) == field]
    near = resembling or difflib.get_close_matches(field.rstrip("s"), some, n=1, cutoff=0.6)
    return near[0] if near else "…"


def suggest_mapping(missing: Sequence[str], header: Sequence[str]) -> str:
    """Return the hint that maps the fields which have no column, or that names the columns."""
    if len(header) == 1 and _DELIMITER.search(header[0]):
        return "each line is a single quoted text; remove the quotes around the lines"
    if len(header) == 1 and not any(map(resembled_field, header)):
        return "separate the columns of a CSV by commas, semicolons, tabs or |, and name them in the first line"
    if any(map(_NUMBER.fullmatch, header)) and any(map(is_name, header)):
        return "the first line has values; write a line before it that names the columns, as full_name,stars"
    lines = ", ".join(f"{field} = {quote_for_toml(suggest_column(field, header))}" for field in missing)
    owner, name = (quote_for_toml(column) for column in _suggest_parts(header))
    or_parts = f" (or owner = {owner} and name = {name})" if "full_name" in missing else ""
    is_title = "" in header and not any(map(resembled_field, header))
    before = "remove the lines before the names of the columns, or " if is_title else ""
    return f"{before}map them in stargaze.toml: [fetch.columns] {lines}{or_parts}"


def _suggest_parts(header: Sequence[str]) -> tuple[str, str]:
    """Return the columns of the owner and of the bare name; two ellipses if one is not known, or both were tried."""
    names = {normalize_name(column): column for column in header[:MAX_COMPARED] if len(column) <= MAX_NAME}
    owner, name = (next((names[part] for part in parts if part in names), "…") for parts in (OWNERS, BARE_NAMES))
    return (owner, name) if "…" not in (owner, name) and (owner, name) != ("owner", "name") else ("…", "…")


def quote_for_toml(name: str) -> str:
    r"""Return a name as a text of TOML.

    >>> quote_for_toml('the "best"')
    '"the \\"best\\""'
    """
    return json.dumps(name, ensure_ascii=False)


def find_unused(names: Sequence[str], used: Container[str], filled: Container[str]) -> tuple[tuple[str, str], ...]:
    """Return each column that is not used with the field that it resembles; ``filled`` are the fields with a column."""
    unused = [name for name in names if name not in used]
    return tuple((name, resembled_field(name, filled) if i < MAX_COMPARED else "") for i, name in enumerate(unused))


def list_names(names: Sequence[str], limit: int = MAX_LISTED_NAMES) -> str:
    """Return the first names for a message, each shortened to one line."""
    shown = [repr(name)[1:-1][:40] for name in names[:limit]]
    while sum(map(len, shown)) > MAX_LISTED_CHARACTERS and len(shown) > 1:
        shown.pop()
    return ", ".join(shown) + (f" and {len(names) - len(shown)} more" if len(names) > len(shown) else "")
