"""One HTML file that loads nothing, runs nothing, escapes untrusted names, and prints the numbers that it plots."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import pytest

from stargaze.errors import ExternalError
from stargaze.report.figures import Chart, draw_charts
from stargaze.report.formatting import column_heading, format_value
from stargaze.report.inputs import ReportInputs
from stargaze.report.tables import ReportTables
from stargaze.report.write import read_report_bundle, write_report
from stargaze.store import Store
from tests.report.conftest import BIDI, FORMULA, HOSTILE

pytestmark = pytest.mark.thorough

VOID = {"meta", "br", "hr", "img", "link", "input", "col", "wbr", "area", "base", "embed", "source", "track"}
MAX_SIZE = 1_500_000
"""Maximum size of the page [byte], so that it can be sent by mail."""


class ParsedPage(HTMLParser):
    """Elements in order, tables as text, and unbalanced tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.faults: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.tables: list[list[list[str]]] = []
        self.figure = ""
        self.chart_tables: dict[str, list[list[str]]] = {}
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
                self.chart_tables[self.figure] = self.tables[-1]
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
def parsed(text: str) -> ParsedPage:
    return ParsedPage(text)


@pytest.fixture(scope="module")
def charts(tables: ReportTables) -> dict[str, Chart]:
    return draw_charts(tables)


def test_the_page_is_well_formed_and_small(text: str, parsed: ParsedPage) -> None:
    assert text.startswith("<!doctype html>")
    assert (parsed.open, parsed.faults) == ([], [])
    assert len(text.encode()) < MAX_SIZE


def test_ids_are_unique_and_every_reference_resolves(text: str, parsed: ParsedPage) -> None:
    """Each chart defines its own markers."""
    ids = [attributes["id"] for _, attributes in parsed.elements if "id" in attributes]
    used = {
        str(value)
        for _, attributes in parsed.elements
        for value in re.findall(r"#([\w-]+)", attributes.get("href") or "")
    }
    used |= set(re.findall(r"url\(#([\w-]+)\)", text))
    used |= {str(attributes["aria-labelledby"]) for _, attributes in parsed.elements if "aria-labelledby" in attributes}

    assert len(ids) == len(set(ids))
    assert used <= set(ids)
    assert used


def test_nothing_is_loaded_and_nothing_is_run(text: str, parsed: ParsedPage) -> None:
    loads = {"script", "link", "img", "iframe", "object", "embed", "audio", "video", "source", "base", "form", "image"}
    policy = next(
        attributes["content"]
        for _, attributes in parsed.elements
        if attributes.get("http-equiv") == "Content-Security-Policy"
    )

    assert not loads & {tag for tag, _ in parsed.elements}
    assert "default-src 'none'" in str(policy)
    for _, attributes in parsed.elements:
        assert not any(name.startswith("on") or name in ("src", "srcset", "xlink:href") for name in attributes)
        assert str(attributes.get("href", "#")).startswith("#")
    assert not re.search(r"https?:|@import|url\((?!#)|javascript:", text.partition("</head>")[0])
    assert "http://" not in text
    assert "https://" not in text


def test_untrusted_names_are_shown_as_text(text: str, parsed: ParsedPage) -> None:
    visible = "".join(parsed.words)

    assert HOSTILE in visible
    assert FORMULA in visible
    assert "<script" not in text
    assert BIDI not in text
    assert BIDI.replace("\N{RIGHT-TO-LEFT OVERRIDE}", "\N{REPLACEMENT CHARACTER}") in visible


def test_every_chart_has_a_title_alternative_text_and_a_note(parsed: ParsedPage, charts: dict[str, Chart]) -> None:
    figures = [str(attributes["id"]) for tag, attributes in parsed.elements if tag == "figure"]
    alts = [attributes.get("aria-label") for tag, attributes in parsed.elements if tag == "svg"]

    assert figures == [f"chart-{name}" for name in charts]
    assert alts == [chart.alt for chart in charts.values()]
    assert all(len(chart.alt) > 40 and chart.title and chart.note for chart in charts.values())
    assert [tag for tag, _ in parsed.elements].count("figcaption") == len(charts)


def test_the_table_of_each_chart_has_the_plotted_numbers(parsed: ParsedPage, charts: dict[str, Chart]) -> None:
    for name, chart in charts.items():
        columns = [str(column) for column in chart.frame]
        rows = [[format_value(column, row[column]) for column in columns] for row in chart.frame.to_dict("records")]

        assert parsed.chart_tables[name] == [[column_heading(column) for column in columns], *rows], name


def test_every_chart_is_an_svg_with_only_colors_of_the_style_sheet(charts: dict[str, Chart]) -> None:
    for chart in charts.values():
        root = ET.fromstring(chart.svg)
        colors = set(re.findall(r"(?:fill|stroke): ([^;\"]+)", chart.svg))

        assert root.tag == "svg"
        assert all(color == "none" or color.startswith("var(--") for color in colors), colors
        assert root.findall(".//text")


def test_series_differ_by_more_than_their_color(charts: dict[str, Chart]) -> None:
    """Three policies differ by marker, and two by line style."""
    board = ET.fromstring(charts["leaderboard"].svg)
    shapes = {element.get("id"): " ".join(element.get("d", "").split()) for element in board.iter("path")}
    marks: dict[str, set[str]] = {}
    for use in board.iter("use"):
        color = re.findall(r"var\((--first|--second|--third)\)", use.get("style", ""))
        if color:
            marks.setdefault(color[0], set()).add(shapes[use.get("href", "").removeprefix("#")])
    common = set.intersection(*marks.values())  # the ends of the error bars

    assert len(marks) == 3
    assert all(own - common for own in marks.values())
    assert "stroke-dasharray" in charts["learning_curve"].svg


def test_every_row_has_one_marker(charts: dict[str, Chart]) -> None:
    points = charts["predictions"]
    counts = {"--first": "inside", "--second": "outside"}

    for color, label in counts.items():
        marks = re.findall(rf"<use [^>]*stroke: var\({color}\)", points.svg)
        legend = 1
        assert len(marks) == (points.frame["inside"] == label).sum() + legend


def test_the_same_store_gives_the_same_bytes(finished_store: Store, page: Path, tmp_path: Path) -> None:
    again = write_report(finished_store, tmp_path / "again.html")

    assert again.path.read_bytes() == page.read_bytes()


def test_the_page_names_its_bundle(inputs: ReportInputs, page: Path, text: str, parsed: ParsedPage) -> None:
    meta = inputs.bundle.meta

    assert read_report_bundle(page) == inputs.bundle.digest
    visible = " ".join("".join(parsed.words).split())
    for expected in (
        meta["data"]["fingerprint"],
        meta["data"]["feature_set"],
        inputs.bundle.digest,
        "2025-06-01",
    ):
        assert expected in visible
    for members in meta["ensemble"].values():
        for member in members:
            assert json.dumps(member["parameters"], sort_keys=True) in visible


def test_commands_are_on_lines_of_their_own(parsed: ParsedPage) -> None:
    lines = "".join(parsed.words).splitlines()

    assert [line for line in lines if line.startswith("stargaze ") and "fetch" not in line][-4:] == [
        "stargaze select-features",
        "stargaze screen",
        "stargaze tune --trials 4 --seed 5",
        "stargaze report",
    ]


def test_another_page_has_no_bundle(tmp_path: Path) -> None:
    (tmp_path / "x.html").write_bytes(b"<html>\xff")

    assert read_report_bundle(tmp_path / "x.html") == ""


def test_a_failed_write_leaves_the_old_page(
    store: Store, tables: ReportTables, small_disk: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stargaze.report.write.compute_tables", lambda *_args: tables)
    store.report.write_text("old")

    with small_disk(10_000), pytest.raises(ExternalError):  # type: ignore[operator]
        write_report(store)

    assert store.report.read_text() == "old"
    assert not list(store.root.glob(".report*"))
