"""One file that asks for nothing, runs nothing, obeys no stranger's name, and prints the numbers that it draws."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import pytest

from stargaze.errors import ExternalError
from stargaze.report.figures import Chart, pictures
from stargaze.report.formatting import heading, shown
from stargaze.report.inputs import Evidence
from stargaze.report.tables import Numbers
from stargaze.report.write import bundle_of, write_report
from stargaze.store import Store
from tests.report.conftest import FORMULA, HOSTILE, TURNED

pytestmark = pytest.mark.thorough

VOID = {"meta", "br", "hr", "img", "link", "input", "col", "wbr", "area", "base", "embed", "source", "track"}
MOST = 1_500_000
"""A page of this size [byte] is still sent by mail."""


class Seen(HTMLParser):
    """What a browser would find: elements in order, tables as text, and whether all that was opened is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.faults: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.tables: list[list[list[str]]] = []
        self.figure = ""
        self.twins: dict[str, list[list[str]]] = {}
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "figure":
            self.figure = str(dict(attrs)["id"]).removeprefix("chart-")
        if tag == "table":
            self.tables.append([])
            if self.figure:
                self.twins[self.figure] = self.tables[-1]
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}>")
        if tag == "figure":
            self.figure = ""

    def handle_data(self, data: str) -> None:
        if any(tag in ("td", "th") for tag in self.open[-2:]):
            self.tables[-1][-1][-1] += data
        if "style" not in self.open:
            self.words.append(data)


@pytest.fixture(scope="module")
def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def seen(text: str) -> Seen:
    return Seen(text)


@pytest.fixture(scope="module")
def charts(found: Numbers) -> dict[str, Chart]:
    return pictures(found)


def test_it_is_well_formed_and_small(text: str, seen: Seen) -> None:
    assert text.startswith("<!doctype html>")
    assert (seen.open, seen.faults) == ([], [])
    assert len(text.encode()) < MOST


def test_no_name_is_given_twice_and_every_one_that_is_used_is_there(text: str, seen: Seen) -> None:
    """Each picture brings its own marks."""
    given = [attributes["id"] for _, attributes in seen.elements if "id" in attributes]
    used = {
        str(value)
        for _, attributes in seen.elements
        for value in re.findall(r"#([\w-]+)", attributes.get("href") or "")
    }
    used |= set(re.findall(r"url\(#([\w-]+)\)", text))
    used |= {str(attributes["aria-labelledby"]) for _, attributes in seen.elements if "aria-labelledby" in attributes}

    assert len(given) == len(set(given))
    assert used <= set(given)
    assert used


def test_nothing_is_asked_for_and_nothing_is_run(text: str, seen: Seen) -> None:
    loads = {"script", "link", "img", "iframe", "object", "embed", "audio", "video", "source", "base", "form", "image"}
    policy = next(
        attributes["content"]
        for _, attributes in seen.elements
        if attributes.get("http-equiv") == "Content-Security-Policy"
    )

    assert not loads & {tag for tag, _ in seen.elements}
    assert "default-src 'none'" in str(policy)
    for _, attributes in seen.elements:
        assert not any(name.startswith("on") or name in ("src", "srcset", "xlink:href") for name in attributes)
        assert str(attributes.get("href", "#")).startswith("#")
    assert not re.search(r"https?:|@import|url\((?!#)|javascript:", text.partition("</head>")[0])
    assert "http://" not in text
    assert "https://" not in text


def test_what_strangers_typed_is_shown_and_not_obeyed(text: str, seen: Seen) -> None:
    words = "".join(seen.words)

    assert HOSTILE in words
    assert FORMULA in words
    assert "<script" not in text
    assert TURNED not in text
    assert TURNED.replace("\N{RIGHT-TO-LEFT OVERRIDE}", "\N{REPLACEMENT CHARACTER}") in words


def test_every_chart_has_a_title_words_for_it_and_its_numbers_as_text(seen: Seen, charts: dict[str, Chart]) -> None:
    figures = [str(attributes["id"]) for tag, attributes in seen.elements if tag == "figure"]
    alts = [attributes.get("aria-label") for tag, attributes in seen.elements if tag == "svg"]

    assert figures == [f"chart-{name}" for name in charts]
    assert alts == [chart.alt for chart in charts.values()]
    assert all(len(chart.alt) > 40 and chart.title and chart.note for chart in charts.values())
    assert [tag for tag, _ in seen.elements].count("figcaption") == len(charts)


def test_the_text_beside_each_chart_holds_the_very_numbers_that_are_drawn(seen: Seen, charts: dict[str, Chart]) -> None:
    for name, chart in charts.items():
        columns = [str(column) for column in chart.frame]
        rows = [[shown(column, row[column]) for column in columns] for row in chart.frame.to_dict("records")]

        assert seen.twins[name] == [[heading(column) for column in columns], *rows], name


def test_every_drawing_is_one_of_its_own_without_colours_that_the_page_does_not_know(charts: dict[str, Chart]) -> None:
    for chart in charts.values():
        root = ET.fromstring(chart.svg)
        colours = set(re.findall(r"(?:fill|stroke): ([^;\"]+)", chart.svg))

        assert root.tag == "svg"
        assert all(colour == "none" or colour.startswith("var(--") for colour in colours), colours
        assert root.findall(".//text")


def test_series_differ_by_more_than_their_colour(charts: dict[str, Chart]) -> None:
    """Without colours the marks of three policies, and the lines of two, are still told apart."""
    board = ET.fromstring(charts["leaderboard"].svg)
    shapes = {element.get("id"): " ".join(element.get("d", "").split()) for element in board.iter("path")}
    marks: dict[str, set[str]] = {}
    for use in board.iter("use"):
        colour = re.findall(r"var\((--first|--second|--third)\)", use.get("style", ""))
        if colour:
            marks.setdefault(colour[0], set()).add(shapes[use.get("href", "").removeprefix("#")])
    common = set.intersection(*marks.values())  # the ends of the error bars

    assert len(marks) == 3
    assert all(own - common for own in marks.values())
    assert "stroke-dasharray" in charts["learning_curve"].svg


def test_as_many_marks_are_drawn_as_there_are_rows(charts: dict[str, Chart]) -> None:
    points = charts["predictions"]
    counts = {"--first": "inside", "--second": "outside"}

    for colour, label in counts.items():
        marks = re.findall(rf"<use [^>]*stroke: var\({colour}\)", points.svg)
        legend = 1
        assert len(marks) == (points.frame["inside"] == label).sum() + legend


def test_the_same_store_gives_the_same_bytes(finished: Store, page: Path, tmp_path: Path) -> None:
    again = write_report(finished, tmp_path / "again.html")

    assert again.path.read_bytes() == page.read_bytes()


def test_the_page_says_which_bundle_it_is_of(evidence: Evidence, page: Path, text: str, seen: Seen) -> None:
    meta = evidence.bundle.meta

    assert bundle_of(page) == evidence.bundle.digest
    words = " ".join("".join(seen.words).split())
    for told in (
        meta["data"]["fingerprint"],
        meta["data"]["feature_set"],
        evidence.bundle.digest,
        "2026-03-01",
        "2025-06-01",
    ):
        assert told in words
    for members in meta["ensemble"].values():
        for member in members:
            assert json.dumps(member["parameters"], sort_keys=True) in words


def test_what_is_to_be_typed_stands_on_lines_of_its_own(seen: Seen) -> None:
    lines = "".join(seen.words).splitlines()

    assert [line for line in lines if line.startswith("stargaze ") and "fetch" not in line][-4:] == [
        "stargaze select-features",
        "stargaze screen",
        "stargaze tune --trials 4 --seed 5",
        "stargaze report",
    ]


def test_a_page_of_something_else_is_of_no_bundle(tmp_path: Path) -> None:
    (tmp_path / "x.html").write_bytes(b"<html>\xff")

    assert bundle_of(tmp_path / "x.html") == ""


def test_a_page_that_cannot_be_written_leaves_the_old_one(
    store: Store, found: Numbers, small_disk: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stargaze.report.write.numbers", lambda *_given: found)
    store.report.write_text("old")

    with small_disk(10_000), pytest.raises(ExternalError):  # type: ignore[operator]
        write_report(store)

    assert store.report.read_text() == "old"
    assert not list(store.root.glob(".report*"))
