"""The command ``fetch``: what it says about values, columns and policies, and its preview."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from stargaze.config import SAMPLES
from stargaze.features.samples import open_sample
from tests.conftest import Ended

Run = Callable[..., Ended]
TABLE = """full_name,stars,forks,mainLanguage,notes,pushed_at
ada/one,5,1.5,Python,hello,2024-01-01
ada/two,many,7,Python,hello,2024-01-01
ada/three,8,7,Python,hello,soon
ada/four,9,7,Python,hello,2024-05-05
"""


@pytest.fixture
def table(run: Run) -> Path:
    """A table with one invalid record, unusable values and unused columns."""
    path = Path("table.csv")
    path.write_text(TABLE)
    return path


def report(ended: Ended) -> dict[str, Any]:
    """Return the parsed answer of a command that succeeded."""
    assert ended.code == 0, ended.err
    values: dict[str, Any] = json.loads(ended.out)
    return values


def test_fetch_reports_cleared_values_and_unused_columns(run: Run, table: Path) -> None:
    ended = run("fetch", table)

    assert ended.code == 0
    assert ended.out.splitlines() == [
        "3 repositories from 4 records",
        "1 invalid record:",
        "  table.csv: record 2: stars is 'many': not a whole number",
        "2 unusable values of optional fields, now missing:",
        "  table.csv: pushed_at: not a date; write it YYYY-MM-DD or YYYY-MM-DDTHH:MM:SSZ (1, as 'soon')",
        "  table.csv: forks: not a whole number (1, as '1.5')",
        "unused columns:",
        "  table.csv: mainLanguage (like language), notes",
    ]


def test_fetch_reports_the_same_as_json(run: Run, table: Path) -> None:
    values = report(run("fetch", table, "--json"))

    assert values["sources"] == [{"file": "table.csv", "records": 4, "valid": 3, "invalid": 1}]
    assert {
        "file": "table.csv",
        "field": "forks",
        "reason": "not a whole number",
        "count": 1,
        "example": "'1.5'",
    } in values["cleared"]
    (columns,) = values["columns"]
    assert columns["fields"]["forks"] == "forks"
    assert columns["unused"] == [
        {"column": "mainLanguage", "resembles": "language"},
        {"column": "notes", "resembles": None},
    ]


def test_a_policy_without_a_value_of_its_own_is_a_warning(run: Run) -> None:
    Path("few.csv").write_text("full_name,stars,language\nada/one,5,C\n")
    Path("more.csv").write_text("full_name,stars,commits,forks\nada/one,5,7,2\n")

    few, more = run("fetch", "few.csv"), run("fetch", "more.csv")

    warnings = [line for line in few.err.splitlines() if line.startswith("warning: ")]
    assert [line.split(":")[1] for line in warnings] == [
        " the policy activity has no feature of its own",
        " the policy all has no feature of its own",
    ]
    assert "warning" not in more.err
    assert [*report(run("fetch", "few.csv", "--json"))["warnings"]] == [
        line.removeprefix("warning: ") for line in warnings
    ]


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_gives_no_warning(run: Run, name: str) -> None:
    ended = run("fetch", "--sample", name)

    with open_sample(name) as path:
        rows = pq.read_metadata(path).num_rows
    assert (ended.code, ended.out) == (0, f"{rows:,} repositories from {rows:,} records\n")
    assert "warning" not in ended.err


def test_the_default_is_the_first_sample(run: Run) -> None:
    assert run("fetch").out == run("fetch", "--sample", SAMPLES[0]).out


def test_the_config_names_a_sample(run: Run) -> None:
    Path("stargaze.toml").write_text('[fetch]\nsample = "electron"\n')

    assert run("fetch").out == "13,777 repositories from 13,777 records\n"


def test_an_unknown_sample_is_an_error_with_the_known_ones(run: Run) -> None:
    ended = run("fetch", "--sample", "electrons")

    assert (ended.code, ended.error) == (
        2,
        f"option: fetch.sample should be one of {', '.join(SAMPLES)}, not 'electrons'",
    )


@pytest.mark.parametrize(
    ("options", "toml"),
    [
        (("--from", "table.csv"), ""),
        (("--stars", ">=1000"), ""),
        ((), '[fetch]\nfiles = ["table.csv"]\n'),
        ((), '[github]\nstars = ">=1000"\n'),
    ],
)
def test_a_sample_is_not_combined_with_another_source(
    run: Run, table: Path, options: tuple[str, ...], toml: str
) -> None:
    Path("stargaze.toml").write_text(toml)
    ended = run("fetch", "--sample", "electron", *options)

    assert (ended.code, ended.error) == (2, "--sample cannot be combined with files or a query")
    assert table.name in {path.name for path in Path().iterdir()}
    assert not Path("store").exists()


def test_a_preview_has_the_columns_and_writes_nothing(run: Run, table: Path) -> None:
    ended = run("fetch", "--dry-run", table)

    assert ended.code == 0
    assert ended.out.splitlines()[0] == "table.csv: full_name, stars, pushed_at, forks"
    assert ended.out.splitlines()[1:-1] == run("fetch", table).out.splitlines()
    assert ended.out.splitlines()[-1] == "nothing was written"
    assert ended.err.splitlines()[-1] == "next: the same command without --dry-run"


def test_a_preview_creates_no_store(run: Run, table: Path) -> None:
    run("fetch", "--dry-run", table)

    assert sorted(path.name for path in Path().iterdir()) == ["table.csv"]


def test_a_preview_shows_mapped_columns(run: Run, table: Path) -> None:
    Path("stargaze.toml").write_text('[fetch.columns]\nlanguage = "mainLanguage"\n')

    values = report(run("fetch", "--dry-run", "--json", table))

    assert values["columns"][0]["fields"]["language"] == "mainLanguage"
    assert (values["written"], values["error"], values["repositories"]) == (False, None, 3)


def test_a_preview_without_files_is_that_of_the_sample(run: Run) -> None:
    ended = run("fetch", "--dry-run", "--sample", "electron")

    assert ended.code == 0
    assert "13,777 repositories from 13,777 records\nnothing was written" in ended.out


@pytest.mark.parametrize(
    "content",
    [
        "full_name,stars\nada/one,5\nada/two,x\nada/three,y\n",
        "full_name,stars\nada/one,x\n",
        "full_name,count\nada/one,5\n",
        "full_name;stars\nada/one;5.000\n",
        "",
    ],
)
def test_a_preview_ends_as_the_command_would(run: Run, content: str) -> None:
    Path("bad.csv").write_text(content)

    preview, ended = run("fetch", "--dry-run", "bad.csv"), run("fetch", "bad.csv")

    assert (preview.code, preview.error, preview.hint) == (ended.code, ended.error, ended.hint)
    assert ended.code == 2


def test_a_preview_of_a_refused_file_lists_its_records(run: Run) -> None:
    Path("bad.csv").write_text("full_name,stars\nada/one,5\nada/two,x\nada/three,y\n")

    ended = run("fetch", "--dry-run", "--json", "bad.csv")

    values = json.loads(ended.out)
    assert (ended.code, values["invalid_count"], values["written"]) == (2, 2, False)
    assert values["error"].startswith("bad.csv: 2 of 3 records are invalid")


def test_update_needs_github_in_a_preview_too(run: Run, table: Path) -> None:
    assert run("fetch", "--dry-run", "--update", table).error == "--update only applies when fetching from GitHub"
