"""Names of repositories, ``owner/name``, as people write them: with or without a host, as the URL of a page or of a clone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import numpy as np
import pandas as pd

from stargaze.errors import BadDataError, InvalidInputError, MissingInputError
from stargaze.features.ingest.parsing.missing import Bools
from stargaze.system.text import shorten_text

FULL_NAME = re.compile(
    r"(?P<owner>(?=[A-Za-z0-9-]{0,39}[_/])[A-Za-z0-9_-]{1,48})/(?P<name>(?!\.{1,2}\Z)[A-Za-z0-9._-]{1,100})"
)
"""owner/name: an owner has up to 39 characters, and "_" with up to 8 more if an enterprise manages the user."""
NAME_HINT = "use owner/name, e.g. pallets/flask"
MAX_LISTED = 100_000
"""Most names of a file; a bundle can contain them."""
LONGEST_LINE = 1_000
_HOST = r"(?:[^@/\s]*@)?(?:www\.|ssh\.)?github\.com"
_URL = re.compile(
    rf"(?:git\+)?(?:https?|ssh|git)://{_HOST}(?::\d+)?(?:[/:]+(?P<path>\S*))?|{_HOST}(?:[/:]+(?P<scp>\S*))?|github:(?P<short>\S*)",
    re.IGNORECASE,
)
"""A URL of GitHub, one for git clone, as git@github.com:owner/name.git, or npm's github:owner/name."""
_OTHER_HOST = re.compile(r"[a-z][a-z0-9+.-]*://|[^\s/]+@[^\s/]+:|(?:[\w-]+\.)+[a-z]{2,}[/:]", re.IGNORECASE)
_PATH = re.compile(r"(?P<name>[^/?#]+/[^/?#]+?)(?i:\.git)*/*(?:(?P<page>/[^?#]*)?[?#].*|(?P<rest>/.*))?", re.DOTALL)
_AROUND = " \t\r\n<>()[]{}\"'`“”‘’«»,;\ufeff\u200b"
"""What often surrounds a name that was copied from a text."""
_OTHER_ADDRESS = re.compile(
    r"(?:https?://)?(?:api\.github\.com/repos|raw\.githubusercontent\.com|codeload\.github\.com)/", re.IGNORECASE
)
"""Addresses of GitHub's other hosts, in whose paths the repository comes first."""
_WITH_VERSION = re.compile(r"([^@/:\s]+/[^@/:\s]+)@[^\s:]+")
"""A name with a tag or branch, as workflows use actions."""
_MARKDOWN_LINK = re.compile(r"\[[^\[\]]*\]\((?P<address>[^\s()]+)\)")
"""A link in a list of repositories; the repository is what it leads to."""
_NO_OWNERS = frozenset(
    {
        *("about", "apps", "collections", "contact", "customer-stories", "enterprise", "events", "explore", "features"),
        *("login", "marketplace", "notifications", "organizations", "orgs", "search", "security", "settings", "site"),
        *("sponsors", "stars", "topics", "trending", "users"),
    }
)
"""First parts of the paths of GitHub's own pages."""


def parse_name(text: str) -> str:
    """Return ``owner/name`` from a name, a page's URL or path, a Markdown link or a clone URL, even within quotes or brackets.

    InvalidInputError for another host and for anything else.

    Examples
    --------
    >>> parse_name(" https://github.com/pallets/flask/issues?q=1 "), parse_name("<git@github.com:pallets/flask.git>,")
    ('pallets/flask', 'pallets/flask')
    >>> parse_name("actions/checkout@v4"), parse_name("https://api.github.com/repos/pallets/flask/issues")
    ('actions/checkout', 'pallets/flask')
    >>> parse_name("/pallets/flask"), parse_name("[Flask](https://github.com/pallets/flask)")
    ('pallets/flask', 'pallets/flask')
    """
    if link := _MARKDOWN_LINK.fullmatch(text.strip()):
        text = link["address"]
    entered = _OTHER_ADDRESS.sub("https://github.com/", text.strip(_AROUND).removeprefix("//").removeprefix("/"))
    if len(entered) > 500:
        raise InvalidInputError(f"{shorten_text(entered)} is too long for a repository", hint=NAME_HINT)
    if version := _WITH_VERSION.fullmatch(entered):
        entered = version[1]
    url = _URL.fullmatch(entered)
    if url is None and _OTHER_HOST.match(entered):
        raise InvalidInputError(f"{shorten_text(entered)} is not on github.com", hint=NAME_HINT)
    path = _PATH.fullmatch((url["path"] or url["scp"] or url["short"] or "") if url else entered)
    is_page = path is not None and bool(path["page"] or path["rest"])
    name = path["name"] if path is not None and (url or not is_page) else ""
    if FULL_NAME.fullmatch(name) is None or name.partition("/")[0].lower() in _NO_OWNERS:
        raise InvalidInputError(f"{shorten_text(entered)} is not the name of a repository", hint=NAME_HINT)
    return name


def read_name_list(path: Path) -> tuple[str, ...]:
    """Return the names of a file with one per line, in lower case and in order; ``#`` begins a comment.

    Raise MissingInputError if there is no such file, BadDataError with the line if it contains anything else or no name.
    """
    names: set[str] = set()
    try:
        with path.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(_bounded_lines(lines), start=1):
                text = re.sub(r"(?:^|\s)#.*", "", line, flags=re.DOTALL).strip().removeprefix("- ").removeprefix("* ")
                if text.strip(_AROUND):
                    names.add(_parse_line(text, path, number))
                if len(names) > MAX_LISTED:
                    raise BadDataError(f"{path}: more than {MAX_LISTED:,} names", hint="list fewer repositories")
    except FileNotFoundError as error:
        raise MissingInputError(f"{path}: no such file", hint="create it with one owner/name per line") from error
    except UnicodeDecodeError as error:
        raise BadDataError(f"{path}: is not a text in UTF-8", hint="write one owner/name per line") from error
    except OSError as error:
        raise BadDataError(f"{path}: cannot be read: {error.strerror or error}", hint="check the file") from error
    if not names:
        raise BadDataError(f"{path}: contains no name", hint="write one owner/name per line")
    return tuple(sorted(names))


def _bounded_lines(stream: TextIO) -> Iterator[str]:
    """Yield each line without what exceeds the longest one; if that is not a comment, the line ends so that it is no name."""
    while line := stream.readline(LONGEST_LINE):
        rest, is_cut = line, False
        while rest and not rest.endswith("\n"):
            rest = stream.readline(LONGEST_LINE)
            is_cut = is_cut or bool(rest)
        yield f"{line} …" if is_cut and "#" not in line else line


def _parse_line(text: str, path: Path, number: int) -> str:
    try:
        return parse_name(text).lower()
    except InvalidInputError as error:
        raise BadDataError(f"{path}, line {number}: {error.message}", hint=error.hint) from error


def is_name(text: str) -> bool:
    """Return whether :func:`parse_name` reads a text."""
    try:
        parse_name(text)
    except InvalidInputError:
        return False
    return True


def parse_names(texts: pd.Series) -> tuple[pd.Series, list[tuple[Bools, str]]]:
    """Return the names of a column of texts, as :func:`parse_name` reads them, and which values are none, by reason.

    Missing values stay missing. Most names need no parser, and a text is parsed once.

    Examples
    --------
    >>> names, problems = parse_names(pd.Series(["a/b", "git@github.com:c/d.git", "https://gitlab.com/e/f"]))
    >>> names.tolist()[:2], [(mask.tolist(), reason) for mask, reason in problems]
    (['a/b', 'c/d'], [([False, False, True], 'not on github.com')])
    """
    is_other = np.fromiter((_needs_parser(text) for text in texts), dtype=bool, count=len(texts))
    if not is_other.any():
        return texts, []
    rows = np.flatnonzero(is_other)
    parsed: dict[str, str] = {}
    reasons: dict[str, str] = {}
    for text in texts.iloc[rows].unique():
        try:
            parsed[text] = parse_name(text)
        except InvalidInputError as error:
            reasons[text] = error.message.rpartition(" is ")[2]
    names = texts.astype("object")
    names.iloc[rows] = [parsed.get(text, text) for text in texts.iloc[rows]]
    found = np.array([reasons.get(text, "") if other else "" for text, other in zip(texts, is_other, strict=True)])
    return names.astype(texts.dtype), [(found == reason, reason) for reason in dict.fromkeys(reasons.values())]


def _needs_parser(text: object) -> bool:
    return isinstance(text, str) and (FULL_NAME.fullmatch(text) is None or text[-4:].lower() == ".git")
