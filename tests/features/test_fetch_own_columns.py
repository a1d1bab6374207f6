"""Own columns of CSV, Parquet and JSON through the command, and columns that are not read."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stargaze.config import SAMPLES
from stargaze.features.own_columns import OwnColumn, conform, read_own_columns
from tests.conftest import Ended

TABLE = """full_name,stars,score,team,paid,size,mood
elm/one,40,3.5,core,yes,100,a
elm/two,50,,labs,no,200,b
elm/three,60,high,core,,300,c
elm/four,70,-2,,no,400,d
"""
EXTRA = (
    'extra = ["score", "team", "paid"]\n[fetch.extra_kinds]\nscore = "number"\n[fetch.extra_policies]\nteam = "static"'
)
COLUMNS = (
    OwnColumn("score", "number", "all"),
    OwnColumn("team", "category", "static"),
    OwnColumn("paid", "flag", "all"),
)


@dataclass(frozen=True)
class Fetched:
    """The end of the command and the stored repositories."""

    ended: Ended
    path: Path

    @property
    def columns(self) -> tuple[OwnColumn, ...]:
        """The own columns of the file."""
        return read_own_columns(self.path)

    def values(self, name: str) -> list[Any]:
        """Return a column in the order of the names, None where a value is missing."""
        frame = conform(pd.read_parquet(self.path), self.columns).sort_values("full_name")
        return [None if pd.isna(value) else value for value in frame[name]]


@pytest.fixture
def fetch(run: Callable[..., Ended], tmp_path: Path) -> Callable[..., Fetched]:
    """Return a function that writes files and a section, and fetches."""

    def fetch(section: str, *options: str, **files: str) -> Fetched:
        paths = [tmp_path / name.replace("_", ".") for name in files]
        for path, content in zip(paths, files.values(), strict=True):
            path.write_text(content)
        (tmp_path / "stargaze.toml").write_text(f"[fetch]\n{section}\n")
        ended = run("fetch", "--from", *map(str, paths), *options) if paths else run("fetch", *options)
        return Fetched(ended, tmp_path / "store" / "repositories.parquet")

    return fetch


def test_a_table_keeps_the_columns_that_the_config_names(fetch: Callable[..., Fetched]) -> None:
    fetched = fetch(EXTRA, a_csv=TABLE)

    assert fetched.columns == COLUMNS
    assert fetched.values("score") == [-2.0, 3.5, None, None]
    assert fetched.values("team") == [None, "core", "core", "labs"]
    assert fetched.values("paid") == [0.0, 1.0, None, 0.0]
    assert "own columns: score (number, policy all), team (category, policy static), paid (flag" in fetched.ended.out
    assert "score: not a number (1, as 'high')" in fetched.ended.out
    assert "mood" in fetched.ended.out
    assert "team," not in fetched.ended.out.partition("unused columns")[2]


def test_the_summary_for_programs_has_kinds_policies_and_cleared_values(fetch: Callable[..., Fetched]) -> None:
    value = json.loads(fetch(EXTRA, "--json", a_csv=TABLE).ended.out)

    assert value["own_columns"][1] == {"name": "team", "kind": "category", "policy": "static"}
    assert [(item["field"], item["count"], item["example"]) for item in value["cleared"]] == [("score", 1, "'high'")]


def test_a_parquet_file_and_a_csv_agree(fetch: Callable[..., Fetched], tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(TABLE)
    pd.read_csv(tmp_path / "t.csv").to_parquet(tmp_path / "b.parquet")
    (tmp_path / "t.csv").unlink()
    from_csv = fetch(EXTRA, a_csv=TABLE)
    expected = {name: from_csv.values(name) for name in ("score", "team", "paid")}

    fetched = fetch(f'files = ["{tmp_path / "b.parquet"}"]\n{EXTRA}')

    assert {name: fetched.values(name) for name in expected} == expected
    assert fetched.columns == COLUMNS


RECORDS = [
    {"full_name": "elm/one", "stargazers_count": 4, "metrics": {"score": 1.5}, "size": 10, "team": "core"},
    {"full_name": "elm/two", "stargazers_count": 5, "metrics": {}, "size": 20, "team": None},
    {"full_name": "elm/three", "stargazers_count": 6, "metrics": None, "size": 30},
]


@pytest.mark.parametrize("lines", [True, False])
def test_json_has_own_columns_by_path(fetch: Callable[..., Fetched], lines: bool) -> None:
    content = "\n".join(map(json.dumps, RECORDS)) if lines else json.dumps(RECORDS)

    fetched = fetch('extra = ["metrics.score", "team"]\nexclude = ["size"]', a_json=content)

    assert fetched.columns == (OwnColumn("metrics.score", "number", "all"), OwnColumn("team", "category", "all"))
    assert fetched.values("metrics.score") == [1.5, None, None]
    assert fetched.values("team") == ["core", None, None]
    assert fetched.values("size_kb") == [None] * 3
    assert fetched.values("stars") == [4.0, 6.0, 5.0]


def test_a_path_reaches_into_objects_of_a_table(fetch: Callable[..., Fetched]) -> None:
    table = "full_name,stars,owner\nelm/one,4,\"{'login': 'elm', 'rank': 7}\"\nelm/two,5,\"{'login': 'elm'}\"\n"

    fetched = fetch('extra = ["owner.rank"]', a_csv=table)

    assert fetched.values("owner.rank") == [7.0, None]


def test_one_of_several_files_may_lack_a_column(fetch: Callable[..., Fetched]) -> None:
    """The kind follows from the values of all files."""
    other = "full_name,stars,team\nelm/five,9,x\n"
    number = "full_name,stars,score\nelm/six,9,fast\n"

    fetched = fetch(
        'extra = ["score"]',
        a_csv=TABLE,
        b_csv=other,
        c_csv=number,
        d_json=json.dumps(RECORDS[1] | {"full_name": "elm/seven"}),
    )

    assert fetched.columns == (OwnColumn("score", "category", "all"),)
    assert sorted(filter(None, fetched.values("score"))) == ["-2", "3.5", "fast", "high"]


def test_a_column_that_newer_records_replace_with_nothing_is_a_warning(fetch: Callable[..., Fetched]) -> None:
    newer = "full_name,stars\nelm/one,41\nelm/two,51\nelm/three,61\nelm/four,71\n"

    lost = fetch('extra = ["mood"]', a_csv=TABLE, b_csv=newer)
    kept = fetch('extra = ["mood"]', b_csv=newer, a_csv=TABLE)

    assert "own column 'mood' has no value left: newer records of the same repositories lack it" in lost.ended.err
    assert "has no value left" not in kept.ended.err
    assert kept.values("mood") == ["d", "a", "c", "b"]


@pytest.mark.parametrize("exclude", ["size", "size_kb"])
def test_a_column_is_left_out_by_its_name_or_by_its_field(fetch: Callable[..., Fetched], exclude: str) -> None:
    read, left_out = fetch("", a_csv=TABLE), fetch(f'exclude = ["{exclude}"]', a_csv=TABLE)

    assert left_out.values("size_kb") == [None] * 4
    assert "size" not in left_out.ended.out.partition("unused columns")[2]
    assert left_out.columns == read.columns == ()


def test_a_derived_field_is_left_out_too(fetch: Callable[..., Fetched]) -> None:
    record = {"full_name": "elm/one", "stargazers_count": 4, "topics": ["a", "b"], "description": "words"}

    fetched = fetch('exclude = ["topic_count", "description_length"]', a_json=json.dumps(record))

    assert fetched.values("topic_count") == fetched.values("description_length") == [None]


@pytest.mark.parametrize("name", ["source", "index", "level_0", "sources", "valid", "position", "records"])
def test_a_column_may_have_a_name_that_the_reader_could_use(fetch: Callable[..., Fetched], name: str) -> None:
    table = f"full_name,stars,{name}\nelm/one,4,7\nelm/two,5,8\nelm/two,5,9\n"

    assert fetch(f'extra = ["{name}"]', a_csv=table).values(name)[0] == 7.0


@pytest.mark.parametrize(
    ("section", "message", "hint"),
    [
        ('extra = ["scores"]', "fetch.extra: no file has a column or key 'scores'", "Did you mean score?"),
        ('exclude = ["moods"]', "fetch.exclude: no file has a column or key 'moods'", "Did you mean mood?"),
        ('extra = ["forks_count"]', "is read as the field forks", "remove it"),
        ('exclude = ["stars"]', "cannot be left out", "remove it"),
        (
            'extra = ["team"]\n[fetch.extra_kinds]\nteam = "number"',
            "3 of 3 values of 'team' are unusable, as 'core': not a number",
            'team" = "category"',
        ),
    ],
)
def test_an_error_leaves_the_store_unchanged(
    fetch: Callable[..., Fetched], section: str, message: str, hint: str
) -> None:
    before = fetch(EXTRA, a_csv=TABLE).path.read_bytes()

    fetched = fetch(section, a_csv=TABLE)

    assert fetched.ended.code == 2
    assert message in fetched.ended.error
    assert hint in fetched.ended.hint
    assert fetched.path.read_bytes() == before


def test_a_path_that_no_record_has_is_named_with_a_similar_one(fetch: Callable[..., Fetched]) -> None:
    fetched = fetch('extra = ["metrics.skore"]', a_json=json.dumps(RECORDS))

    assert "no file has a column or key 'metrics.skore'" in fetched.ended.error
    assert fetched.ended.hint == "Did you mean metrics.score?"


def test_the_sample_and_github_have_no_own_columns(fetch: Callable[..., Fetched]) -> None:
    sample = fetch('extra = ["score"]')
    github = fetch('extra = ["score"]', "--stars", ">=1000")
    other = fetch('exclude = ["stargazers"]', "--stars", ">=1000")

    assert f"the sample {SAMPLES[0]} has no column 'score'" in sample.ended.error
    assert "--from FILE" in sample.ended.hint
    assert "fetch.extra only applies to files" in github.ended.error
    assert "fetch.exclude: 'stargazers' is not a field" in other.ended.error
    assert not sample.path.exists()


def test_a_preview_shows_own_columns_and_writes_nothing(fetch: Callable[..., Fetched]) -> None:
    fetched = fetch(EXTRA, "--dry-run", a_csv=TABLE)

    assert "team (category, policy static)" in fetched.ended.out
    assert "a.csv: score, team, paid, full_name" in fetched.ended.out
    assert not fetched.path.exists()
