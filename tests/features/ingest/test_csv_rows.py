"""A row of a CSV that cannot be parsed is refused, and hides no other row."""

from __future__ import annotations

import csv
import io
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargaze.features.ingest import csv_rows
from stargaze.features.ingest.csv_rows import MISPLACED, TOO_LONG, UNCLOSED, RowShape, read_csv_rows

CELL = st.text(st.characters(codec="utf-8"), max_size=8)
FAULTS = ("open", "open name", "stray end", "both", "short", "long", "misplaced")


def read(text: str, width: int = 3, delimiter: str = ",") -> list[tuple[int, list[str], str]]:
    """Return all rows of a text without header."""
    return list(read_csv_rows(io.StringIO(text, newline=""), delimiter, width, names=(0,), counts=(1,)))


def refused(text: str, width: int = 3) -> list[tuple[int, str]]:
    """Return position and reason of the invalid rows, and check that the others have the right width."""
    rows = read(text, width)
    assert [position for position, _, _ in rows] == list(range(1, len(rows) + 1))
    assert all(len(cells) == width for _, cells, reason in rows if not reason)
    return [(position, reason) for position, _, reason in rows if reason]


def lines(first: int, last: int) -> str:
    """Return good rows."""
    return "".join(f"ada/tool{n},{n},text of {n}\n" for n in range(first, last))


@pytest.mark.parametrize("behind", [0, 1, 7, 600, 3000])
def test_an_unclosed_quote_costs_one_row(behind: int) -> None:
    text = lines(0, 4) + 'bob/x,4,"open\n' + lines(5, 5 + behind)

    assert refused(text) == [(5, UNCLOSED)]
    assert len(read(text)) == 5 + behind


@pytest.mark.parametrize("distance", [0, 1, 500, 2500])
@pytest.mark.parametrize("closing", ['bob/y,9,text"\n', 'bob/y,9",text\n', 'bob/y",9,text\n'])
def test_rows_between_two_stray_quotes_are_read(distance: int, closing: str) -> None:
    """They would be the text of one valid row, or of one with too many cells."""
    text = lines(0, 3) + 'bob/x,4,"open\n' + lines(4, 4 + distance) + closing + lines(9000, 9002)

    assert refused(text) == [(4, UNCLOSED)]
    assert len(read(text)) == 3 + 1 + distance + 1 + 2


def test_a_readme_of_many_lines_is_one_row() -> None:
    readme = 'First line, with ""quotes""\n\n' * 9000

    rows = read(lines(0, 2) + f'bob/x,4,"{readme}"\n' + lines(3, 5))

    assert [cells[0] for _, cells, _ in rows] == ["ada/tool0", "ada/tool1", "bob/x", "ada/tool3", "ada/tool4"]
    assert rows[2][1][2] == readme.replace('""', '"')


def test_a_field_of_ten_megabytes_is_read() -> None:
    rows = read('bob/x,4,"' + "word " * 2_000_000 + '"\n' + "bob/y,5," + "z" * 10_000_000 + "\nbob/z,6,\n")

    assert [(len(cells[2]), reason) for _, cells, reason in rows] == [(10_000_000, ""), (10_000_000, ""), (0, "")]


def test_a_quoted_text_that_shows_a_table_is_one_row() -> None:
    text = 'bob/x,4,"An example:\nfull_name,stars,text\nada/tool,5,fine\nThat is all."\n' + lines(0, 2)

    assert refused(text) == []
    assert len(read(text)) == 3


def test_a_long_record_with_a_missing_cell_is_one_row() -> None:
    text = lines(0, 2) + 'bob/x,"one\ntwo, and three\nfour"\n' + lines(3, 5)

    assert refused(text) == [(3, "2 columns instead of 3")]
    assert len(read(text)) == 5


def test_a_text_that_is_cut_at_the_end_of_the_file_is_one_row() -> None:
    assert refused(lines(0, 3) + 'bob/x,4,"one\ntwo\nthree') == [(4, UNCLOSED)]


def test_text_behind_a_closing_quote_costs_one_row() -> None:
    assert refused(lines(0, 2) + 'bob/x,4,"one" two\n' + lines(3, 5)) == [(3, MISPLACED)]


def test_lines_of_a_broken_text_do_not_count_as_rows() -> None:
    """A README of a hundred lines, written without doubled quotes, is one broken row and not a hundred."""
    readme = 'They said "no", and left.\nThe next line\n' * 50

    assert refused(lines(0, 200) + f'bob/x,4,"{readme}"\n' + lines(201, 204)) == [(201, MISPLACED)]


@pytest.mark.parametrize(
    ("text", "cells"),
    [
        ('a/b,5,5" disk\n', ["a/b", "5", '5" disk']),
        ("a/b,5,x\x00y\n", ["a/b", "5", "x\x00y"]),
        ("\r\n\na/b,5,\r\n\r\n", ["a/b", "5", ""]),
        ("a/b,5,last", ["a/b", "5", "last"]),
        ('"a/b","5",""\n', ["a/b", "5", ""]),
        ('a/b,5,"x\r\ny"\r\n', ["a/b", "5", "x\r\ny"]),
    ],
)
def test_unusual_characters_are_read(text: str, cells: list[str]) -> None:
    assert read(text) == [(1, cells, "")]


def test_lines_that_end_with_a_carriage_return_are_rows() -> None:
    assert len(read(lines(0, 1000).replace("\n", "\r"))) == 1000


@pytest.mark.parametrize("text", ["x" * 100, '"' + "x" * 100 + '"', '"' + "x\n" * 50 + '"'])
def test_a_row_beyond_the_limit_costs_one_row(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(csv_rows, "MAX_VALUE", 90)
    monkeypatch.setattr(csv_rows, "PIECE", 16)
    monkeypatch.setattr(csv_rows, "LINES", 4)

    assert refused(f"a/b,1,x\nc/d,2,{text}\ne/f,3,y\n") == [(2, TOO_LONG)]


def test_memory_is_bounded_for_a_line_without_end() -> None:
    """Only the limit is kept of a line that never ends."""

    class Endless(io.StringIO):
        served = 0

        def readline(self, size: int | None = -1, /) -> str:
            self.served += 1
            assert size is not None
            return "x" * size if self.served < 2000 else ""

    assert [reason for _, _, reason in read_csv_rows(Endless(), ",", 2)] == [TOO_LONG]


@pytest.mark.parametrize(
    "line", ['a/b,1,"x\n', 'x","y\n', 'a/b,1,x","y\n', '"\n', 'a/b,1,"""\n', '"a","b\n', 'a/b,1,"x\ny"\n', ",\n"]
)
def test_a_crafted_file_is_read_in_linear_time(line: str) -> None:
    """Each line could begin a record that ends far behind it; the number of parsed characters is counted."""
    parsed = 0

    original = csv.reader

    def count(source: Iterator[str], **options: object) -> Iterator[list[str]]:
        def counted() -> Iterator[str]:
            nonlocal parsed
            for item in source:
                parsed += len(item)
                yield item

        return original(counted(), **options)  # type: ignore[call-overload, no-any-return]

    def work(repeats: int) -> int:
        nonlocal parsed
        parsed = 0
        for _ in read_csv_rows(io.StringIO(line * repeats, newline=""), ",", 3, names=(0,), counts=(1,)):
            pass
        return parsed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_rows, "FREE_LOOKAHEAD", 10_000)
        patch.setattr(csv_rows, "csv", _Module(count))
        assert work(8000) < 2.5 * work(4000) + 100_000


class _Module:
    """The csv module with another reader."""

    def __init__(self, reader: object) -> None:
        self.reader = reader

    def __getattr__(self, name: str) -> object:
        return getattr(csv, name)


def test_the_limit_of_the_csv_module_is_restored_after_the_last_reader() -> None:
    before = csv.field_size_limit()
    first = read_csv_rows(io.StringIO("a,b\nc,d\n"), ",", 2)
    second = read_csv_rows(io.StringIO("a,b\nc,d\n"), ",", 2)
    next(first)
    next(second)
    list(first)
    inside = csv.field_size_limit()
    second.close()  # type: ignore[attr-defined]

    assert (inside, csv.field_size_limit()) == (csv_rows.MAX_VALUE, before)


def test_threads_read_at_the_same_time() -> None:
    before = csv.field_size_limit()
    counts: list[int] = []
    text = 'a/b,1,"' + "x" * 300_000 + '"\n' + lines(0, 3000)
    threads = [threading.Thread(target=lambda: counts.append(len(read(text)))) for _ in range(4)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (counts, csv.field_size_limit()) == ([3001] * 4, before)


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["ada/tool", "5", "x"], True),
        (["https://github.com/ada/tool", "x", ""], True),
        (["ada/tool", "1.234"], True),
        (["no name", "5", "x"], True),
        (["ada/tool"], False),
        (["Well", " then", " yes"], False),
        (["5", "5"], False),
        ([], False),
    ],
)
def test_a_line_is_like_a_row_for_two_reasons_of_three(cells: list[str], expected: bool) -> None:
    assert RowShape(3, (0,), (1,)).is_like_row(cells) is expected


def test_without_columns_of_name_and_stars_the_width_decides() -> None:
    rows = read_csv_rows(io.StringIO('a,"1\nb,2\nc,3\n'), ",", 2)

    assert [(cells, reason) for _, cells, reason in rows] == [([], UNCLOSED), (["b", "2"], ""), (["c", "3"], "")]


@given(st.lists(st.lists(CELL, min_size=3, max_size=3), max_size=30), st.sampled_from(",;\t"))
def test_what_the_csv_module_writes_is_read(table: list[list[str]], delimiter: str) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter).writerows(table)

    rows = read(text.getvalue(), delimiter=delimiter)

    assert [cells for _, cells, _ in rows] == table
    assert not any(reason for _, _, reason in rows)


def broken(number: int, fault: str) -> str:
    """Return a row with one fault."""
    name = f"ada/tool{number}"
    changed = {
        "open": f'{name},{number},"open\n',
        "open name": f'"{name},{number},text\n',
        "stray end": f'{name},{number},"open, and closed" behind\n',
        "both": f'"{name}","{number}","one "two" three"\n',
        "short": f"{name},{number}\n",
        "long": f"{name},{number},a,b\n",
        "misplaced": f'{name},"{number}"0,text\n',
    }
    return changed[fault]


@given(st.lists(st.sampled_from(["", "", "lines", *FAULTS]), max_size=40))
def test_each_row_is_read_or_refused_once(faults: list[str]) -> None:
    text = ""
    for number, fault in enumerate(faults):
        if fault == "lines":
            text += f'ada/tool{number},{number},"two\nlines, of ""text"""\n'
        else:
            text += broken(number, fault) if fault else lines(number, number + 1)

    rows = read(text)

    assert len(rows) == len(faults)
    assert [bool(reason) for _, _, reason in rows] == [fault not in ("", "lines") for fault in faults]
    good = [cells[0] for _, cells, reason in rows if not reason]
    assert good == [f"ada/tool{number}" for number, fault in enumerate(faults) if fault in ("", "lines")]


@pytest.mark.parametrize(
    ("order", "text"),
    [
        (("note", "name", "count"), "two\nlines"),
        (("count", "note", "name"), "two\nlines, and a comma"),
        (("count", "note", "name"), "one, comma\nhere"),
        (("count", "note", "name"), "all, in, one\n1, 2, 3\n4, 5, 6"),
        (("name", "note", "count"), "a\nb\nc\nd"),
        (("name", "count", "note"), "name,count,note\nfir/one,5,good"),
    ],
)
def test_texts_of_several_lines_are_read_in_any_column(order: tuple[str, ...], text: str) -> None:
    """A correct CSV is read as it is, wherever its texts are; the last line of one may look like a row."""
    written = io.StringIO()
    writer = csv.DictWriter(written, order)
    writer.writerows({"note": text, "name": f"fir/tree{i}", "count": i} for i in range(20))
    written.seek(0)
    at = {"names": [order.index("name")], "counts": [order.index("count")]}

    read = list(read_csv_rows(written, ",", 3, **at))

    assert [reason for _, _, reason in read] == [""] * 20
    assert {cells[order.index("note")] for _, cells, _ in read} == {text}


@pytest.mark.parametrize("first", ['fir/a,5,"open', 'fir/a,many,"open'])
def test_rows_that_stray_quotes_join_are_not_lost(first: str) -> None:
    text = f'{first}\nfir/b,6,x\nfir/c,7,y\nfir/d,8,close"\n'

    read = list(read_csv_rows(io.StringIO(text), ",", 3, names=[0], counts=[1]))

    assert [cells[:1] for _, cells, _ in read] == [[], ["fir/b"], ["fir/c"], ["fir/d"]]


@pytest.mark.parametrize(
    ("header", "broken_lines"),
    [
        ("full_name,note,stars", ['elm/a,word,"671', 'elm/b,",640']),
        ("full_name,note,stars", ['elm/a,"some words,271', 'elm/b,",135']),
        ("full_name,note,stars", ['elm a,"some words,239', "elm/b,,943,x", 'elm/c,",356']),
        ("full_name,stars,note", ['elm/a,832,"one, two""', 'elm/b,217,words"']),
        ("full_name,stars,note", ['elm/a,289,"one, two""', "elm/b,801", 'elm/c,958,words"']),
        ("full_name,stars,note", ['elm a,736,"', 'elm/b,876,"']),
    ],
)
def test_neighbors_with_stray_quotes_are_counted_one_by_one(header: str, broken_lines: list[str]) -> None:
    """Together, such lines are a record: of a wrong width, or even a valid one."""
    order = header.split(",")
    at = {"names": [order.index("full_name")], "counts": [order.index("stars")]}
    good = [",".join({"full_name": f"oak/t{i}", "stars": "4", "note": "x"}[name] for name in order) for i in range(9)]

    read = list(read_csv_rows(io.StringIO("\n".join([*good, *broken_lines, *good])), ",", 3, **at))

    assert len(read) == len(broken_lines) + 18
    assert [cells[at["names"][0]] for _, cells, _ in read[-9:]] == [f"oak/t{i}" for i in range(9)]
