"""Ranges of stars and creation time are parsed into regions and formatted as queries."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import pytest

from stargaze.config import GithubSection
from stargaze.errors import ConfigError
from stargaze.features.github.search.query import Region, created_range, read_search, stars_range

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


def second(*moment: int) -> int:
    return int(datetime(*moment, tzinfo=UTC).timestamp())  # type: ignore[arg-type,misc]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", (0, None)),
        ("100", (100, 100)),
        ("100..200", (100, 200)),
        ("100..*", (100, None)),
        ("*..200", (0, 200)),
        ("*", (0, None)),
        (">=100", (100, None)),
        ("> 100", (101, None)),
        ("<=100", (0, 100)),
        ("<100", (0, 99)),
    ],
)
def test_a_range_of_stars_is_read(text: str, expected: tuple[int, int | None]) -> None:
    assert stars_range(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2015", (second(2015, 1, 1), second(2016, 1, 1) - 1)),
        ("2015-02", (second(2015, 2, 1), second(2015, 3, 1) - 1)),
        ("2015-02-03", (second(2015, 2, 3), second(2015, 2, 4) - 1)),
        ("2015..2016-06-30", (second(2015, 1, 1), second(2016, 7, 1) - 1)),
        (">=2020", (second(2020, 1, 1), second(2026, 6, 1, 12))),
        (">2020", (second(2021, 1, 1), second(2026, 6, 1, 12))),
        ("<2010", (second(2007, 10, 29), second(2010, 1, 1) - 1)),
        ("<=2010", (second(2007, 10, 29), second(2011, 1, 1) - 1)),
        ("2015-01-01T10:00:00Z..2015-01-01T11:00:00+00:00", (second(2015, 1, 1, 10), second(2015, 1, 1, 11))),
        ("*..2010-01-01", (second(2007, 10, 29), second(2010, 1, 2) - 1)),
        ("2026..2030", (second(2026, 1, 1), second(2026, 6, 1, 12))),
    ],
)
def test_a_range_of_creation_is_read(text: str, expected: tuple[int, int]) -> None:
    assert created_range(text, NOW) == expected


@pytest.mark.parametrize("text", ["abc", "5..3", "<0", "-5", "1..2..3", ">=5..7", "9" * 12, ">=*", "1e3", "٣"])
def test_an_invalid_range_of_stars_is_rejected(text: str) -> None:
    with pytest.raises(ConfigError, match=r"github\.stars is"):
        stars_range(text)


@pytest.mark.parametrize("text", ["abc", "2020..2010", "2015-13-01", "<2000", "2030", "0000", "2015-02-30", "9999..*"])
def test_an_invalid_range_of_creation_is_rejected(text: str) -> None:
    with pytest.raises(ConfigError, match=r"github\.created is"):
        created_range(text, NOW)


def test_ranges_in_the_query_are_equivalent_to_the_keys() -> None:
    by_query = read_search(GithubSection(query="parser stars:>=50 license:mit created:2015"), NOW)
    by_keys = read_search(GithubSection(query="parser license:mit", stars=">=50", created="2015"), NOW)
    assert by_query == by_keys
    assert by_query.text == "parser license:mit is:public"


def test_words_and_qualifiers_are_in_every_query() -> None:
    section = GithubSection(query="parser", language="Jupyter Notebook", topic="cli", organization="pallets")
    search = read_search(section, NOW)
    region = search.whole.with_stars(10, 20).with_created(second(2015, 1, 1), second(2016, 1, 1))
    assert search.render(region) == (
        'parser language:"Jupyter Notebook" topic:cli org:pallets is:public stars:10..20 '
        "created:2015-01-01T00:00:00Z..2016-01-01T00:00:00Z"
    )


@pytest.mark.parametrize(("low", "high", "text"), [(5, 5, "stars:5"), (5, None, "stars:>=5"), (0, None, "")])
def test_an_unlimited_range_is_omitted(low: int, high: int | None, text: str) -> None:
    search = read_search(GithubSection(), NOW)
    assert search.render(search.whole.with_stars(low, high)).startswith(f"is:public {text} created:".replace("  ", " "))


@pytest.mark.parametrize("query", ["is:private", "a visibility:internal", "IS:public"])
def test_an_explicit_visibility_is_kept(query: str) -> None:
    assert read_search(GithubSection(query=query), NOW).text == query


@pytest.mark.parametrize("query", ["is:sponsorable", "is:archived llm", '"what is:public here"', "is:publicly"])
def test_a_query_without_a_visibility_is_restricted_to_public_repositories(query: str) -> None:
    assert read_search(GithubSection(query=query), NOW).text == f"{query} is:public"


def test_the_name_of_a_region_does_not_depend_on_the_time() -> None:
    section = GithubSection(stars=">=10")
    now, later = read_search(section, NOW), read_search(section, NOW.replace(month=7))
    assert now.name(now.whole) == later.name(later.whole)
    assert now.name(now.whole.with_created(5, 9)) == later.name(later.whole.with_created(5, 9))
    assert now.name(now.whole) != now.name(now.whole.with_created(5, 9))


@pytest.mark.parametrize(
    ("section", "message"),
    [
        (GithubSection(query="a stars:>5", stars=">6"), "both give stars"),
        (GithubSection(query="a stars:>5 stars:<9"), "two stars"),
        (GithubSection(query="a sort:stars"), "sort:stars is not allowed"),
    ],
)
def test_contradictory_ranges_are_rejected(section: GithubSection, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_search(section, NOW)


def test_a_region_is_formatted_as_text() -> None:
    region = Region(100, None, second(2015, 1, 1), second(2016, 6, 30))
    assert region.as_text() == "stars 100..*, created 2015-01-01..2016-06-30"
    assert dataclasses.replace(region, stars_high=250).as_text().startswith("stars 100..250,")
