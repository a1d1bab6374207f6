"""Records without stars are read by the readers of ``fetch``, in batches, each record once."""

from __future__ import annotations

import gzip
import json
import os
import threading
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from stargaze.config import FetchSection
from stargaze.errors import BadDataError, ConfigError, MissingInputError
from stargaze.features.dataset import read_repositories
from stargaze.features.extract import extract
from stargaze.features.fetch import fetch_files
from stargaze.features.own_columns import OwnColumn
from stargaze.features.streams import record_stream
from stargaze.features.streams.record_stream import RecordBatch, open_records
from stargaze.store import Store

NOW = datetime(2026, 3, 1, tzinfo=UTC)
CSV = "full_name,forks,created_at,stars\na/b,1.234,2020-05-01,7\nnot a name,2,2021-01-01,8\nc/d,12.345,,\n"


def read(*files: Path, section: FetchSection | None = None, own: tuple[OwnColumn, ...] = ()) -> list[RecordBatch]:
    """Read all batches."""
    with open_records(section or FetchSection(), own, files, NOW) as stream:
        stream.scan()
        return list(stream.read())


def test_a_refused_record_keeps_its_position(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(CSV)

    (batch,) = read(tmp_path / "a.csv")

    assert batch.positions == [1, 3]
    assert batch.repositories["full_name"].tolist() == ["a/b", "c/d"]
    assert batch.repositories["forks"].tolist() == [1234.0, 12345.0]
    assert batch.repositories["stars"].tolist()[0] == 7.0
    assert [(position, reason) for _, position, reason in batch.refused] == [
        (2, "full_name is 'not a name': not the name of a repository")
    ]


def test_records_without_a_fetch_date_are_of_the_latest_date_of_their_file(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(CSV)
    (tmp_path / "b.csv").write_text("full_name,fetched_at\ne/f,2019-07-01\n")

    first, second = read(tmp_path / "a.csv", tmp_path / "b.csv")

    assert first.repositories["fetched_at"].dt.date.astype("str").tolist() == ["2021-01-01"] * 2
    assert second.repositories["fetched_at"].dt.date.astype("str").tolist() == ["2019-07-01"]


def test_records_without_a_fetch_time_have_the_ages_that_fetch_gives_them(tmp_path: Path) -> None:
    """The latest date of the file has a time of day, which says nothing about the other records."""
    path = tmp_path / "a.csv"
    path.write_text(
        "full_name,stars,created_at,pushed_at,fetched_at\n"
        "a/b,1,2020-05-01T08:30:00Z,2021-01-01T17:45:10Z,\n"
        "c/d,2,2020-06-01T23:10:00Z,2020-12-31T01:02:03Z,2021-02-03T04:05:06Z\n"
    )
    fetch_files(FetchSection(), Store(tmp_path), [path], NOW)
    fetched = read_repositories(Store(tmp_path))

    (batch,) = read(path)

    names = ["age", "push_age"]
    pd.testing.assert_frame_equal(extract(batch.repositories, names), extract(fetched, names))
    assert batch.repositories["fetched_at"].astype("str").tolist() == fetched["fetched_at"].astype("str").tolist()


@pytest.mark.parametrize("size", [1, 2, 100])
def test_batches_of_any_size_have_the_same_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """The separator of thousands and the date follow from the whole file."""
    records = [
        {"full_name": "a/b", "commits": "1.234", "pushed_at": "2020-01-01"},
        {"name": "none"},
        {"full_name": "c/d", "commits": "1.345.678", "pushed_at": "2021-01-01"},
        {"full_name": "e/f", "stargazers_count": 3},
    ]
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(map(json.dumps, records)))
    monkeypatch.setattr(record_stream, "BATCH", size)

    batches = read(path)

    frame = pd.concat([batch.repositories for batch in batches])
    assert frame["full_name"].tolist() == ["a/b", "c/d", "e/f"]
    assert frame["commits"].tolist()[:2] == [1234.0, 1345678.0]
    assert frame["stars"].tolist()[2] == 3.0
    assert set(frame["fetched_at"].dt.year) == {2021}
    assert [position for batch in batches for _, position, _ in batch.refused] == [2]


def test_a_gzipped_pipe_is_read_as_a_file_and_named_in_errors(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    def send(content: bytes) -> threading.Thread:
        thread = threading.Thread(target=pipe.write_bytes, args=(content,))
        thread.start()
        return thread

    thread = send(gzip.compress(CSV.encode()))
    (batch,) = read(pipe)
    thread.join()
    assert batch.repositories["full_name"].tolist() == ["a/b", "c/d"]

    thread = send(b"forks\n1\n")
    with pytest.raises(BadDataError) as caught:
        read(pipe)
    thread.join()
    assert caught.value.message.startswith(f"{pipe}: no column for full_name")


def test_a_mapping_of_the_stars_may_be_unused(tmp_path: Path) -> None:
    """The config that was written for the training table is used for tables without stars."""
    section = FetchSection(columns={"stars": "star_count", "forks": "fork_count"})
    (tmp_path / "a.csv").write_text("full_name,fork_count\na/b,5\n")
    (tmp_path / "b.jsonl").write_text('{"full_name": "c/d", "fork_count": 6}\n{"full_name": "e/f", "fork_count": 7}\n')

    batches = read(tmp_path / "a.csv", tmp_path / "b.jsonl", section=section)

    assert [count for batch in batches for count in batch.repositories["forks"]] == [5.0, 6.0, 7.0]
    (tmp_path / "c.csv").write_text("full_name,stars\na/b,5\n")
    with pytest.raises(ConfigError, match="has no column 'fork_count'"):
        read(tmp_path / "c.csv", section=section)


def test_own_columns_have_the_kinds_of_the_bundle(tmp_path: Path) -> None:
    own = (OwnColumn("score", "number", "all"), OwnColumn("team", "category", "all"), OwnColumn("old", "flag", "all"))
    (tmp_path / "a.csv").write_text("full_name,score,team\na/b,7,1\nc/d,many,\n")

    (batch,) = read(tmp_path / "a.csv", own=own)

    assert batch.repositories["score"].tolist()[0] == 7.0
    assert batch.repositories["score"].isna().tolist() == [False, True]
    assert batch.repositories["team"].tolist()[0] == "1"
    assert batch.repositories["old"].isna().all()


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="no such file"):
        read(tmp_path / "gone.csv")
