"""Files of all formats become one row per repository; invalid records are listed, and a failure leaves the store unchanged."""

from __future__ import annotations

import errno
import gzip
import json
import os
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stargaze.config import FetchSection
from stargaze.errors import BadDataError, ConfigError, ExternalError, MissingInputError
from stargaze.features import schema
from stargaze.features.collection.columns import COLLECTION_COLUMNS, HAS_FETCH_TIME, ROW_NUMBER
from stargaze.features.fetch import fetch_files
from stargaze.features.ingest.fetch_summary import MAX_LISTED, FetchSummary
from stargaze.store import Store

NOW = datetime(2025, 6, 1, tzinfo=UTC)
REST = {
    "id": 7,
    "full_name": "a/b",
    "stargazers_count": 5,
    "updated_at": "2024-03-01T00:00:00Z",
    "created_at": "2015-01-01T00:00:00Z",
}


class InputFolder:
    """A folder of input files with a store, and ``fetch_files`` on them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = Store(folder / "store")

    def put(self, name: str, content: object) -> Path:
        """Write a file: text and bytes unchanged, other values as JSON."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        raw = (
            content
            if isinstance(content, bytes)
            else (content if isinstance(content, str) else json.dumps(content)).encode()
        )
        path.write_bytes(raw)
        return path

    def fetch(self, *paths: Path, now: datetime = NOW, **section: Any) -> FetchSummary:
        """Fetch files."""
        return fetch_files(FetchSection(**section), self.store, paths, now)

    def rows(self) -> pd.DataFrame:
        """Return the stored repositories by name."""
        return schema.conform(self.stored()).set_index("full_name", drop=False)

    def stored(self) -> pd.DataFrame:
        """Return all columns of the stored repositories."""
        return pd.read_parquet(self.store.repositories)


@pytest.fixture
def inputs(tmp_path: Path) -> InputFolder:
    """Return an empty folder."""
    return InputFolder(tmp_path)


def test_all_formats_give_the_same_schema(inputs: InputFolder) -> None:
    inputs.put("table.csv", "full_name,stars\ncsv/x,1\n")
    pd.DataFrame({"full_name": ["parquet/x"], "stars": [2]}).to_parquet(inputs.folder / "table.parquet")
    inputs.put("page.json.gz", gzip.compress(json.dumps({"items": [REST]}).encode()))
    inputs.put(
        "lines.json",
        json.dumps({"fullName": "camel/x", "stargazersCount": 3})
        + "\n"
        + json.dumps({**REST, "id": 8, "full_name": "c/d"}),
    )
    inputs.put(
        "graphql.json", {"data": {"search": {"edges": [{"node": {"nameWithOwner": "gql/x", "stargazerCount": 4}}]}}}
    )

    summary = inputs.fetch(*sorted(path for path in inputs.folder.iterdir() if path.is_file()))

    assert list(inputs.rows()["stars"].items()) == [
        ("a/b", 5),
        ("c/d", 5),
        ("camel/x", 3),
        ("csv/x", 1),
        ("gql/x", 4),
        ("parquet/x", 2),
    ]
    columns = [field.name for field in schema.FIELDS] + list(COLLECTION_COLUMNS)
    assert list(pd.read_parquet(inputs.store.repositories).columns) == columns
    assert (summary.repositories, summary.records, summary.invalid_count) == (6, 6, 0)


def test_without_a_file_the_shipped_sample_is_used(inputs: InputFolder) -> None:
    """A mapping of the user's own tables does not apply to the sample."""
    summary = inputs.fetch(columns={"stars": "star_count"})

    assert summary.repositories > 10_000
    assert summary.invalid_count == 0


def test_without_a_file_argument_the_files_of_the_config_are_used(inputs: InputFolder) -> None:
    path = inputs.put("x.json", REST)

    assert inputs.fetch(files=[str(path)]).repositories == 1


def test_both_formats_of_a_node_id_are_one_repository(inputs: InputFolder) -> None:
    old = {
        "node_id": "MDEwOlJlcG9zaXRvcnkzMjk0NDU0MTg=",
        "nameWithOwner": "old/x",
        "stargazerCount": 1,
        "updatedAt": "2020-01-01T00:00:00Z",
    }
    new = {"id": "R_kgDOE6LwKg", "nameWithOwner": "new/x", "stargazerCount": 2, "updatedAt": "2021-01-01T00:00:00Z"}

    summary = inputs.fetch(inputs.put("x.json", [old, new]))

    assert summary.duplicates == 1
    assert inputs.rows()[["id", "stars"]].values.tolist() == [[329445418, 2.0]]


def test_the_newest_record_of_a_repository_stays(inputs: InputFolder) -> None:
    path = inputs.put("x.csv", "full_name,stars,date\na/b,1,2020-01-01\na/b,3,2022-01-01\na/b,2,2021-01-01\n")

    inputs.fetch(path, columns={"fetched_at": "date"})

    assert inputs.rows()["stars"].tolist() == [3]


def test_records_older_than_since_are_dropped_and_counted(inputs: InputFolder) -> None:
    path = inputs.put("x.csv", "full_name,stars,fetched_at\na/b,1,2020-01-01\nc/d,3,2023-01-01\n")

    summary = inputs.fetch(path, since="2023-01-01")

    assert (summary.repositories, summary.too_old) == (1, 1)


def test_without_a_fetch_date_the_latest_date_of_the_file_is_used(inputs: InputFolder) -> None:
    other = {**REST, "id": 8, "full_name": "c/d", "updated_at": "2024-05-05T00:00:00Z"}

    inputs.fetch(inputs.put("x.json", [REST, other]))

    assert inputs.rows()["fetched_at"].astype(str).tolist() == ["2024-05-05 00:00:00+00:00"] * 2


def test_a_fetch_time_that_no_record_states_is_a_day(inputs: InputFolder) -> None:
    """Its time of day would be the minute in which another record was collected."""
    stated = {**REST, "id": 8, "full_name": "c/d", "_collected_at": "2024-05-05T10:30:00Z"}

    inputs.fetch(inputs.put("x.json", [{**REST, "updated_at": "2024-05-05T09:15:00Z"}, stated]))

    rows = inputs.stored()
    assert rows["fetched_at"].astype(str).tolist() == ["2024-05-05 00:00:00+00:00", "2024-05-05 10:30:00+00:00"]
    assert rows[HAS_FETCH_TIME].tolist() == [False, True]


def test_the_order_of_the_files_rows_is_stored(inputs: InputFolder) -> None:
    """The stored repositories are sorted by name."""
    names = ["z/z", "a/a", "m/m"]

    inputs.fetch(inputs.put("x.json", [{**REST, "id": i, "full_name": name} for i, name in enumerate(names)]))

    assert inputs.stored().sort_values(ROW_NUMBER)["full_name"].tolist() == names


def test_files_of_one_record_in_one_folder_were_fetched_together(inputs: InputFolder) -> None:
    """Otherwise each would seem to be fetched on the day of its last star, and its age would leak its stars."""
    first = inputs.put("a/1.json", REST)
    two = inputs.put("a/2.json", {**REST, "id": 8, "full_name": "c/d", "updated_at": "2024-05-05T00:00:00Z"})
    far = inputs.put("b/3.json", {**REST, "id": 9, "full_name": "e/f", "updated_at": "2021-05-05T00:00:00Z"})

    inputs.fetch(first, two, far)

    assert inputs.rows()["fetched_at"].dt.year.tolist() == [2024, 2024, 2021]
    assert inputs.rows()["fetched_at"].dt.month.tolist() == [5, 5, 5]


def test_a_fetch_date_in_the_future_becomes_now(inputs: InputFolder) -> None:
    """The clock of the source may be an hour ahead."""
    inputs.fetch(inputs.put("x.json", {**REST, "_collected_at": "2025-06-01T01:00:00Z"}))

    assert inputs.rows()["fetched_at"].tolist() == [pd.Timestamp(NOW)]


def test_a_file_without_dates_has_no_fetch_date(inputs: InputFolder) -> None:
    summary = inputs.fetch(inputs.put("x.csv", "full_name,stars\na/b,1\n"))

    assert summary.latest is None
    assert inputs.rows()["fetched_at"].isna().all()


BAD: list[dict[str, Any]] = [
    {"full_name": "../etc"},
    {"full_name": "x" * 10_000},
    {"full_name": "a/b\u0000"},
    {"stargazers_count": -1},
    {"stargazers_count": 10**12},
    {"stargazers_count": 1.5},
    {"stargazers_count": float("nan")},
    {"stargazers_count": float("inf")},
    {"stargazers_count": None},
]

UNUSABLE: list[tuple[str, Any, str]] = [
    ("created_at", "1999-01-01T00:00:00Z", "before GitHub began (2007-10-29)"),
    ("pushed_at", "2999-01-01T00:00:00Z", "in the future"),
    ("updated_at", "yesterday", "not a date; write it YYYY-MM-DD or YYYY-MM-DDTHH:MM:SSZ"),
    ("forks", -3, "a count cannot be negative"),
    ("contributors", 12.5, "not a whole number"),
    ("has_wiki", "sometimes", "should be true or false"),
    ("language", "x" * 300, "longer than 255 characters"),
    ("id", 1.5, "not a whole number"),
    ("topics", 7, "not a list"),
]


@pytest.mark.parametrize("change", BAD, ids=lambda change: str(change)[:40])
def test_an_invalid_record_is_listed_and_the_others_are_read(inputs: InputFolder, change: dict[str, Any]) -> None:
    path = inputs.put("x.json", [REST, {**REST, "id": 8, **change}, {**REST, "id": 9, "full_name": "e/f"}])

    summary = inputs.fetch(path)

    assert (summary.repositories, summary.records, summary.invalid_count) == (2, 3, 1)
    (file, position, reason), *_ = summary.invalid
    assert (file, position) == (str(path), 2)
    assert len(reason) < 150
    assert "\n" not in reason


@pytest.mark.parametrize(("name", "value", "reason"), UNUSABLE, ids=lambda value: str(value)[:20])
def test_an_unusable_optional_value_is_missing_and_counted(
    inputs: InputFolder, name: str, value: object, reason: str
) -> None:
    records = [REST, {**REST, "id": 8, "full_name": "c/d", name: value}, {**REST, "id": 9, "full_name": "e/f"}]

    summary = inputs.fetch(inputs.put("x.json", records))

    assert (summary.repositories, summary.invalid_count) == (3, 0)
    (item,) = summary.cleared
    assert (item.file, item.field, item.reason, item.count) == (str(inputs.folder / "x.json"), name, reason, 1)
    assert str(value)[:30] in item.example
    assert np.all(inputs.rows().loc[["c/d"], name].isna())


def test_unusable_values_are_counted_by_file_field_and_reason(inputs: InputFolder) -> None:
    one = inputs.put("one.csv", "full_name,stars,forks,has_wiki\na/b,1,1.5,no\nc/d,2,2.5,perhaps\ne/f,x,-1,perhaps\n")
    two = inputs.put("two.csv", "full_name,stars,forks,has_wiki\ng/h,4,-4,\n")

    summary = inputs.fetch(one, two)

    assert [(Path(item.file).name, item.field, item.count, item.example) for item in summary.cleared] == [
        ("one.csv", "forks", 2, "'1.5'"),
        ("one.csv", "has_wiki", 1, "'perhaps'"),
        ("two.csv", "forks", 1, "'-4'"),
    ]
    assert "4 unusable values of optional fields, now missing:" in summary.as_text()
    assert "forks: not a whole number (2, as '1.5')" in summary.as_text()


def test_null_nodes_of_a_response_are_invalid_records(inputs: InputFolder) -> None:
    answer = {
        "data": {"search": {"nodes": [None, {"nameWithOwner": "a/b", "stargazerCount": 1}]}},
        "errors": [{"message": "x"}],
    }

    assert inputs.fetch(inputs.put("x.json", answer)).invalid[0][1:] == (
        1,
        "GitHub responded with an error: 'x'",
    )


def test_the_first_thousand_invalid_records_are_listed_and_all_counted(inputs: InputFolder) -> None:
    path = inputs.put("x.csv", "full_name,stars\n" + "a/b,1\n" * (MAX_LISTED + 9) + "c/d,-1\n" * (MAX_LISTED + 5))

    summary = inputs.fetch(path)

    assert (len(summary.invalid), summary.invalid_count) == (MAX_LISTED, MAX_LISTED + 5)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.csv", "full_name,stars\na/b,-1\nc/d,x\n"),
        ("x.json", [{**REST, "stargazers_count": -1}]),
        ("x.json", {"message": "Not Found"}),
        ("x.json", {"total_count": 0, "items": []}),
        ("x.csv", "full_name,stars\n"),
        ("x.jsonl", "broken\nlines\n"),
        ("x.json", [1, 2, 3]),
    ],
)
def test_a_file_without_a_valid_record_is_an_error(inputs: InputFolder, name: str, content: object) -> None:
    with pytest.raises(BadDataError) as caught:
        inputs.fetch(inputs.put(name, content))

    assert caught.value.exit_code == 2
    assert caught.value.hint
    assert name in caught.value.message


def test_a_file_of_several_invalid_records_is_an_error_beside_a_valid_file_too(inputs: InputFolder) -> None:
    with pytest.raises(BadDataError, match="no valid record among 2"):
        inputs.fetch(inputs.put("good.json", REST), inputs.put("x.csv", "full_name,stars\na/b,-1\nc/d,x\n"))


@pytest.mark.parametrize("bad", [5, 6, 9])
def test_a_file_that_is_mostly_invalid_is_an_error_and_the_stored_table_stays(inputs: InputFolder, bad: int) -> None:
    inputs.fetch(inputs.put("good.json", REST))
    before = inputs.store.repositories.read_bytes()
    rows = [f"ada/t{n},{n if n >= bad else 'many'}" for n in range(10)]
    path = inputs.put("x.csv", "\n".join(["full_name,stars", *rows]))

    if bad == 5:
        assert inputs.fetch(path).invalid_count == 5
        return
    with pytest.raises(BadDataError) as caught:
        inputs.fetch(path, inputs.folder / "good.json")

    assert caught.value.message == (
        f"{path}: {bad} of 10 records are invalid; record 1: stars is 'many': not a whole number"
    )
    assert 'stars = "…"' in caught.value.hint
    assert inputs.store.repositories.read_bytes() == before


def test_an_error_names_different_reasons(inputs: InputFolder) -> None:
    rows = ['a/b,1,"open', "c/d,x,y", "c/d,z,y", "../e,5,y", "e/f,5", "g/h,5,good"]

    with pytest.raises(BadDataError) as caught:
        inputs.fetch(inputs.put("x.csv", "\n".join(["full_name,stars,description", *rows])))

    assert "5 of 6 records are invalid; record 1: a quote is not closed; record 5: 2 columns" in caught.value.message
    assert "record 2: stars is 'x'" in caught.value.message


def test_a_folder_of_responses_is_an_error_if_most_of_them_are_invalid(inputs: InputFolder) -> None:
    gone = [inputs.put(f"a/{n}.json", {"message": "Not Found"}) for n in range(3)]
    good = [inputs.put(f"a/{n}.json", {**REST, "id": n, "full_name": f"a/n{n}"}) for n in range(4, 7)]

    assert inputs.fetch(*gone, *good).invalid_count == 3
    with pytest.raises(BadDataError, match="3 of 5 files of one record are invalid"):
        inputs.fetch(*gone, *good[:2])


def test_among_valid_files_a_file_of_one_invalid_record_is_only_counted(inputs: InputFolder) -> None:
    """A folder of sixteen thousand responses includes deleted repositories."""
    summary = inputs.fetch(inputs.put("1.json", REST), inputs.put("2.json", {"message": "Not Found"}))

    assert summary.invalid == ((str(inputs.folder / "2.json"), 1, "GitHub responded with 'Not Found'"),)
    assert [(source.records, source.valid, source.invalid) for source in summary.sources] == [(1, 1, 0), (1, 0, 1)]


def test_a_broken_file_leaves_the_store_unchanged(inputs: InputFolder) -> None:
    inputs.fetch(inputs.put("good.json", REST))
    before = inputs.store.repositories.read_bytes()

    for broken in (b"", b"<html>", gzip.compress(os.urandom(9999))[:-9], b'{"items": [', b"PAR1"):
        with pytest.raises(BadDataError):
            inputs.fetch(inputs.put("bad.json", broken))
    with pytest.raises(MissingInputError):
        inputs.fetch(inputs.folder / "absent.json")

    assert inputs.store.repositories.read_bytes() == before
    assert [path.name for path in inputs.store.root.iterdir()] == ["repositories.parquet"]


def test_a_full_disk_leaves_the_store_unchanged(inputs: InputFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs.fetch(inputs.put("good.json", REST))
    before = inputs.store.repositories.read_bytes()

    def full(frame: pd.DataFrame, path: Path, **options: object) -> None:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_parquet", full)
    with pytest.raises(ExternalError, match="the disk is full"):
        inputs.fetch(inputs.put("good.json", {**REST, "stargazers_count": 9}))

    assert inputs.store.repositories.read_bytes() == before
    assert [path.name for path in inputs.store.root.iterdir()] == ["repositories.parquet"]


LIMITED = """
import resource, sys
from datetime import UTC, datetime
from pathlib import Path
from stargaze.store import Store
from stargaze.config import FetchSection
from stargaze.errors import ExternalError
from stargaze.features.fetch import fetch_files

resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    fetch_files(FetchSection(), Store(Path(sys.argv[1])), [], datetime(2025, 6, 1, tzinfo=UTC))
except ExternalError as error:
    raise SystemExit(error.message)
"""


@pytest.mark.thorough
def test_a_refused_write_leaves_the_store_unchanged(inputs: InputFolder) -> None:
    """The real writer hits a real limit of the system: files of 4 kB, and the sample is larger."""
    inputs.fetch(inputs.put("good.json", REST))
    before = inputs.store.repositories.read_bytes()

    done = subprocess.run(
        [sys.executable, "-B", "-c", LIMITED, str(inputs.store.root)], capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert "the disk is full" in done.stderr
    assert inputs.store.repositories.read_bytes() == before
    assert [path.name for path in inputs.store.root.iterdir()] == ["repositories.parquet"]


@pytest.mark.parametrize("day", ["2023", "yesterday", "01.02.2023", "2023-13-01"])
def test_an_invalid_since_is_rejected_before_reading(inputs: InputFolder, day: str) -> None:
    with pytest.raises(ConfigError, match=r"fetch\.since"):
        inputs.fetch(inputs.folder / "absent.json", since=day)


def test_a_since_that_drops_every_record_is_an_error(inputs: InputFolder) -> None:
    with pytest.raises(BadDataError, match="no record was fetched since 2025-01-01"):
        inputs.fetch(inputs.put("x.json", REST), since="2025-01-01")


def test_a_wrong_mapping_is_rejected_before_reading(inputs: InputFolder) -> None:
    with pytest.raises(ConfigError, match="not a field"):
        inputs.fetch(inputs.folder / "absent.json", columns={"strs": "x"})


def test_the_summary_is_json(inputs: InputFolder) -> None:
    summary = inputs.fetch(inputs.put("x.json", [REST, None]))

    values = json.loads(json.dumps(summary.as_dict()))

    assert (values["repositories"], values["records"], values["invalid_count"]) == (1, 2, 1)
    assert values["sources"] == [{"file": str(inputs.folder / "x.json"), "records": 2, "valid": 1, "invalid": 1}]
    assert values["latest"] == "2024-03-01T00:00:00+00:00"


def test_progress_is_reported_from_0_to_1(inputs: InputFolder) -> None:
    shares: list[float] = []

    fetch_files(
        FetchSection(), inputs.store, [inputs.put("x.json", REST)], NOW, lambda what, share: shares.append(share)
    )

    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 1.0)


def test_fetching_the_stored_repositories_changes_nothing(inputs: InputFolder) -> None:
    """The store is a Parquet file in our schema, which is read like any other."""
    inputs.fetch(
        inputs.put(
            "x.json", [REST, {**REST, "id": 8, "full_name": "c/d", "topics": ["x"], "homepage": "https://x.org"}]
        )
    )
    before = inputs.rows()

    inputs.fetch(inputs.store.repositories)

    pd.testing.assert_frame_equal(inputs.rows(), before)


RECORDS = st.lists(
    st.fixed_dictionaries(
        {"full_name": st.sampled_from(["a/b", "A/B", "c/d", "e/f", "../x"]), "stars": st.integers(-1, 5)},
        optional={
            "id": st.integers(1, 3),
            "fetched_at": st.dates(date(2007, 1, 1), date(2026, 1, 1)).map(str),
            "license": st.text(max_size=5),
            "description": st.text(st.characters(exclude_categories=()), max_size=5),
        },
    ),
    min_size=1,
    max_size=8,
)


@pytest.mark.thorough
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(RECORDS)
def test_every_record_is_a_repository_a_duplicate_or_invalid(
    inputs: InputFolder, records: list[dict[str, Any]]
) -> None:
    good = [{"full_name": "always/good", "stars": 1, "fetched_at": "2020-01-01"}] * 8

    summary = inputs.fetch(inputs.put("x.json", [*good, *records]))

    assert summary.records == len(records) + 8 == summary.repositories + summary.duplicates + summary.invalid_count
    assert inputs.rows()["full_name"].str.lower().is_unique
