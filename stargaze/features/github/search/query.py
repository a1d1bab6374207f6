"""Queries of GitHub's search: ranges of stars and creation time, result pages, and repeats of incomplete ones."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Protocol

from stargaze.config import GithubSection
from stargaze.errors import ConfigError
from stargaze.features.ingest.validate import GITHUB_START

DAY = 86_400
_RANGE = re.compile(r"(?P<sign>>=|<=|>|<)?(?P<low>[^.\s*]+|\*)(?:\.\.(?P<high>[^.\s]+|\*))?")
_VISIBILITY = re.compile(r"(?<![\w-])(is:(public|private|internal)|visibility:\w+)(?!\S)", re.IGNORECASE)
"""Explicit visibility; without it, private repositories are excluded."""
_RANGE_QUALIFIER = re.compile(r"(?<![\w-])(?P<name>stars|created|sort):(?P<value>\S+)", re.IGNORECASE)
MAX_RESULTS = 1000
"""Results per query that GitHub's search returns, by REST and GraphQL."""
PER_PAGE = 100
MAX_REPEATS = 2
"""Repeats of an incomplete or short page before it is reported."""


@dataclass(frozen=True)
class Region:
    """A rectangle of stars × creation time, ends included; ``stars_high`` None is unlimited."""

    stars_low: int
    stars_high: int | None
    created_low: int
    """Seconds since 1970."""
    created_high: int

    def with_stars(self, low: int, high: int | None) -> Region:
        """Return the region with another range of stars."""
        return replace(self, stars_low=low, stars_high=high)

    def with_created(self, low: int, high: int) -> Region:
        """Return the region with another range of creation time."""
        return replace(self, created_low=low, created_high=high)

    def as_text(self) -> str:
        """Format it as ``stars 100..250, created 2015-01-01..2016-06-30``."""
        days = [datetime.fromtimestamp(second, tz=UTC).date() for second in (self.created_low, self.created_high)]
        return f"stars {self.stars_low}..{'*' if self.stars_high is None else self.stars_high}, created {days[0]}..{days[1]}"


@dataclass(frozen=True)
class Search:
    """The whole search: words and qualifiers, and the region to crawl."""

    text: str
    whole: Region

    def render(self, region: Region) -> str:
        """Return the query of a region; an unlimited range is omitted."""
        parts = [self.text] if self.text else []
        if region.stars_high is not None:
            low, high = region.stars_low, region.stars_high
            parts.append(f"stars:{low}" if low == high else f"stars:{low}..{high}")
        elif region.stars_low:
            parts.append(f"stars:>={region.stars_low}")
        parts.append(f"created:{_format_time(region.created_low)}..{_format_time(region.created_high)}")
        return " ".join(parts)

    def name(self, region: Region) -> str:
        """Return a stable name of a region; "until now" differs in every update."""
        end = "end" if region.created_high == self.whole.created_high else str(region.created_high)
        high = "" if region.stars_high is None else region.stars_high
        return f"stars {region.stars_low}..{high} created {region.created_low}..{end}"


def read_search(section: GithubSection, now: datetime) -> Search:
    """Parse the query and ranges of the section; star and creation qualifiers in the query become ranges.

    Raise ConfigError if a range is invalid, empty, or given twice.
    """
    ranges: dict[str, str] = {}
    for match in _RANGE_QUALIFIER.finditer(section.query):
        name = match["name"].lower()
        if name == "sort" or name in ranges:
            raise ConfigError(
                f"github.query: {match[0]} is not allowed" if name == "sort" else f"github.query: two {name}: ranges",
                hint="github.sampling sets the order" if name == "sort" else f"write one {name}:LOW..HIGH",
            )
        ranges[name] = match["value"]
    for name, value in (("stars", section.stars), ("created", section.created)):
        if value.strip() and name in ranges:
            raise ConfigError(f"github.{name} and github.query both give {name}", hint="keep one of them")
        if value.strip():
            ranges[name] = value.strip()
    low, high = stars_range(ranges.get("stars", ""))
    first, last = created_range(ranges.get("created", ""), now)
    words = [" ".join(_RANGE_QUALIFIER.sub(" ", section.query).split())]
    words += [f"{name}:{_quote(value)}" for name, value in _qualifiers(section) if value.strip()]
    return Search(" ".join(word for word in words if word), Region(low, high, first, last))


def stars_range(text: str) -> tuple[int, int | None]:
    """Parse a range of stars; empty is all.

    Examples
    --------
    >>> stars_range(">=100"), stars_range("10..20"), stars_range("<5"), stars_range("7")
    ((100, None), (10, 20), (0, 4), (7, 7))
    """
    if not text:
        return 0, None
    sign, first, last = _split_range("stars", text)
    low = _parse_count(text, first) or 0
    high = low if last is None and first != "*" else _parse_count(text, last or "*")
    if sign:
        low, high = {">=": (low, None), ">": (low + 1, None), "<=": (0, low), "<": (0, low - 1)}[sign]
    if high is not None and high < low:
        raise _range_error("stars", text)
    return low, high


def created_range(text: str, now: datetime) -> tuple[int, int]:
    """Parse a range of creation time [s since 1970, ends included]; open ends are GitHub's start and now."""
    beginning, end = int(GITHUB_START.timestamp()), int(now.timestamp())
    if not text:
        return beginning, end
    sign, first, last = _split_range("created", text)
    low, after = _parse_day(text, first, beginning)
    high = after if last is None else _parse_day(text, last, end)[1]
    if sign:
        low, high = {">=": (low, end), ">": (after + 1, end), "<=": (beginning, after), "<": (beginning, low - 1)}[sign]
    low, high = max(low, beginning), min(high, end)
    if high < low:
        raise _range_error("created", text)
    return low, high


def _split_range(name: str, text: str) -> tuple[str, str, str | None]:
    match = _RANGE.fullmatch(text.replace(" ", ""))
    if match is None or (match["sign"] and (match["high"] or match["low"] == "*")):
        raise _range_error(name, text)
    return match["sign"] or "", match["low"], match["high"]


def _range_error(name: str, text: str) -> ConfigError:
    example = ">=1000, 100..500 or <50" if name == "stars" else "2015-01-01..2020-12-31 or >=2020-01-01"
    return ConfigError(f"github.{name} is {text!r}: not a valid range", hint=f"write it as {example}")


def _parse_count(text: str, part: str) -> int | None:
    if part == "*":
        return None
    if not (part.isascii() and part.isdigit() and len(part) < 10):
        raise _range_error("stars", text)
    return int(part)


def _parse_day(text: str, part: str, open_end: int) -> tuple[int, int]:
    """Return the first and last second of a day, month or year; a time is returned twice."""
    if part == "*":
        return open_end, open_end
    try:
        if len(part) == 4:
            begin, after = date(int(part), 1, 1), date(int(part) + 1, 1, 1)
        elif len(part) == 7:
            begin = date.fromisoformat(f"{part}-01")
            after = (begin + timedelta(days=31)).replace(day=1)
        elif len(part) == 10:
            begin = date.fromisoformat(part)
            after = begin + timedelta(days=1)
        else:
            moment = datetime.fromisoformat(part)
            second = int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
            return second, second
    except (ValueError, OverflowError) as error:
        raise _range_error("created", text) from error
    starts = [int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) for day in (begin, after)]
    return starts[0], starts[1] - 1


def _qualifiers(section: GithubSection) -> list[tuple[str, str]]:
    ranges = [("language", section.language), ("topic", section.topic), ("org", section.organization)]
    return ranges if _VISIBILITY.search(re.sub(r'"[^"]*"', '""', section.query)) else [*ranges, ("is", "public")]


def _quote(value: str) -> str:
    value = value.strip().replace('"', "")
    return f'"{value}"' if re.search(r"\s", value) else value


def _format_time(second: int) -> str:
    return f"{datetime.fromtimestamp(second, tz=UTC):%Y-%m-%dT%H:%M:%SZ}"


@dataclass(frozen=True)
class Hit:
    """A search result with the fields that partitioning uses."""

    id: int
    stars: int
    created: int
    """Seconds since 1970."""


@dataclass(frozen=True)
class Page:
    """A page of results and the total of the query."""

    total: int
    incomplete: bool
    hits: tuple[Hit, ...]


class PageSource(Protocol):
    """Returns pages of a region, most stars first."""

    def page(self, region: Region, number: int, attempt: int) -> Page:
        """Return page ``number`` from 1; ``attempt`` counts repeats from 0."""


def complete_page(source: PageSource, region: Region, number: int, maximum: int = MAX_RESULTS) -> Page:
    """Request a page until it is complete, a few times at most.

    A search that times out returns partial counts and rows; if all responses are incomplete, the largest total is used.
    """
    pages: list[Page] = []
    for attempt in range(MAX_REPEATS + 1):
        page = source.page(region, number, attempt)
        pages.append(page)
        n_expected = min(page.total, maximum, MAX_RESULTS) - PER_PAGE * (number - 1)
        if not page.incomplete and len(page.hits) >= min(PER_PAGE, n_expected):
            break
    whole = [page for page in pages if not page.incomplete]  # missing rows shift others, so never mix both
    hits = {hit.id: hit for page in whole or pages for hit in page.hits}
    total = whole[-1].total if whole else max(page.total for page in pages)
    return Page(total, not whole, tuple(hits.values()))
