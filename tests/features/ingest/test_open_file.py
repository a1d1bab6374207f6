"""The format is detected from the content, and an unreadable file is an error of one line."""

from __future__ import annotations

import contextlib
import gzip
import os
import random
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from stargaze.errors import BadDataError, MissingInputError
from stargaze.features.ingest.open_file import open_source
from tests.conftest import Ended

RECORD = b'{"full_name": "a/b", "stars": 1}'


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b'{"items": []}', "json"),
        (RECORD, "json"),
        (b'{\n "full_name": "a/b",\n "stars": 1\n}\n', "json"),
        (b"\xef\xbb\xbf  [1]", "json list"),
        (RECORD + b"\n" + RECORD + b"\n", "json lines"),
        (b'{"full_name": "broken\n' + RECORD, "json lines"),
        (b'{"items": [\n{"full_name": "a/b"}]}', "json"),
        (b"full_name,stars\na/b,1\n", "csv"),
        ("full_name\tstars\n".encode("utf-16"), "csv"),
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("name", ["data", "data.csv", "data.parquet", "data.gz"])
def test_the_format_is_detected_from_the_content_not_the_name(
    tmp_path: Path, content: bytes, kind: str, pack: object, name: str
) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if pack is gzip.compress else content)

    with open_source(path) as source:
        assert source.format == kind


def test_parquet_is_detected_by_its_first_bytes(tmp_path: Path) -> None:
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "x.csv")

    with open_source(tmp_path / "x.csv") as source:
        assert source.format == "parquet"


def test_a_single_line_is_json_lines_if_the_name_says_so(tmp_path: Path) -> None:
    """One line of JSON lines looks like one document, but only a broken line is a single invalid record."""
    (tmp_path / "x.jsonl").write_bytes(RECORD)

    with open_source(tmp_path / "x.jsonl") as source:
        assert source.format == "json lines"


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "is empty"),
        (b" \n\t\n", "is empty"),
        (gzip.compress(b"", mtime=0), "is empty"),
        (b"<!DOCTYPE html><html></html>", "web page"),
        (b"\n  <?xml version='1.0'?>", "web page"),
        (b"PK\x03\x04rest", "a zip archive"),
        (b"PK\x03\x04" + b"\x00" * 26 + b"[Content_Types].xml", "a spreadsheet"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "a spreadsheet"),
        (b"ARROW1\x00\x00", "an Arrow"),
        (b"\x80\x05\x95", "a pickle"),
        (b"%PDF-1.7", "a PDF"),
        (b"\x28\xb5\x2f\xfdrest", "zstd"),
        (gzip.compress(gzip.compress(b"{}", mtime=0), mtime=0), "gzip inside gzip"),
        (b"\x00\x01\x02\x03" * 10, "neither text nor Parquet"),
        (gzip.compress(random.Random(0).randbytes(5000), mtime=0)[:-9], "broken gzip"),
        (b"\x1f\x8bnot gzip at all", "broken gzip"),
    ],
)
def test_an_unsupported_format_is_rejected_by_name(tmp_path: Path, content: bytes, what: str) -> None:
    (tmp_path / "x.json").write_bytes(content)

    with pytest.raises(BadDataError, match=what) as caught, open_source(tmp_path / "x.json"):
        pass

    assert str(tmp_path / "x.json") in caught.value.message
    assert caught.value.hint


def test_a_database_is_explained_with_a_command_that_works(
    tmp_path: Path, run: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    database = tmp_path / "my stars.db"
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("create table repos (full_name text, stargazers_count integer, license text, owner integer)")
        connection.executemany(
            "insert into repos values (?, ?, ?, ?)", [("yew/one", 5, "isc", 7), ("yew/two", 6, None, 7)]
        )

    ended = run("fetch", "--from", database)

    assert ended.code == 2
    assert "my stars.db is a SQLite database" in ended.err
    command = ended.hint.partition(": ")[2]
    assert command == f"sqlite3 -header -csv '{database}' 'select * from repos' > repos.csv"
    if not shutil.which("sqlite3"):
        pytest.skip("needs the program sqlite3")
    subprocess.run(command, shell=True, check=True)
    assert run("fetch", "--from", "repos.csv").code == 0


@pytest.mark.parametrize("name", ["nothing.json", "", "x" * 5000, "a\0b"])
def test_a_file_that_cannot_be_opened_is_a_missing_input(tmp_path: Path, name: str) -> None:
    with pytest.raises(MissingInputError) as caught, open_source(tmp_path / name):
        pass

    assert caught.value.exit_code == 3
    assert caught.value.hint


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("-", "write /dev/stdin to read a pipe"),
        ("data/*.csv", "only a shell expands patterns, without quotes: stargaze fetch --from data/*.csv"),
        ("none.csv", "check the path; it is relative to this folder"),
        ("/none.csv", "check the path"),
        ("two words", "name its files, as stargaze fetch --from 'two words'/*"),
    ],
)
def test_the_hint_for_a_file_that_cannot_be_opened_fits_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, hint: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "two words").mkdir()

    with pytest.raises(MissingInputError) as caught, open_source(Path(name)):
        pass

    assert caught.value.hint.partition("; in the config")[0] == hint


def test_a_decompression_bomb_stops_at_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stargaze.features.ingest.open_file.MAX_BYTES", 4 * 2**20)
    (tmp_path / "bomb.gz").write_bytes(gzip.compress(b"[" + b"1," * 10**7))

    with pytest.raises(BadDataError, match="decompresses to more than"), open_source(tmp_path / "bomb.gz") as source:
        source.stream.read()


def test_a_truncated_gzip_is_detected_at_its_end(tmp_path: Path) -> None:
    """The beginning is readable; the truncation is detected only at the end."""
    (tmp_path / "x.jsonl.gz").write_bytes(gzip.compress(os.urandom(3 * 2**20).hex().encode())[:-50_000])

    with pytest.raises(BadDataError, match="broken gzip"), open_source(tmp_path / "x.jsonl.gz") as source:
        source.text().read()


def test_an_invalid_character_does_not_stop_the_text(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(b"full_name,caf\xe9")

    with open_source(tmp_path / "x.csv") as source:
        assert source.text().read() == "full_name,caf\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize(
    "content",
    [bytes(99), b"\x00name,stars\na/b,1\n", b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 9, b"a,b\n" + bytes(20)],
)
def test_binary_files_are_rejected(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)

    with pytest.raises(BadDataError, match="neither text nor Parquet"), open_source(tmp_path / "x"):
        pass


def test_a_zero_byte_in_a_text_is_no_binary_file(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"full_name,stars,text\na/b,1,one\x00two\n")

    with open_source(tmp_path / "x") as source:
        assert source.format == "csv"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf16_is_read_with_and_without_its_mark(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "export.csv"
    path.write_bytes("full_name,stars\nelm/caf\u00e9,1\n".encode(encoding))

    with open_source(path) as source:
        assert source.format == "csv"
        assert source.text().read() == "full_name,stars\nelm/caf\u00e9,1\n"
