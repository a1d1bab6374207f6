"""What other tools write is read with the values that GitHub gave them, or refused with a command that helps."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stargaze.features import schema
from tests.conftest import Ended
from tests.exports import EVERYTHING, EXPORTS, FRAME, Export, sqlite_database
from tests.histories import histories


@pytest.mark.parametrize(
    "export",
    [pytest.param(export, id=f"{tool}: {export.name}") for tool, exports in EXPORTS.items() for export in exports],
)
def test_an_export_is_read_with_the_values_that_github_gave(
    export: Export, tmp_path: Path, run: Callable[..., Ended]
) -> None:
    (tmp_path / export.name).write_bytes(export.content)
    lines = [f"{name} = {json.dumps(column)}" for name, column in export.mapping.items()]
    (tmp_path / "stargaze.toml").write_text("\n".join(["[fetch.columns]", *lines]) + "\n")

    ended = run("fetch", "--json", "--from", export.name)

    assert ended.code == 0, ended.err
    summary = json.loads(ended.out)
    assert (summary["records"], summary["repositories"], summary["invalid_count"]) == (2, 2, 0), summary
    assert read_values(tmp_path, list(export.expected)) == export.expected


def read_values(folder: Path, names: list[str]) -> dict[str, list[Any]]:
    """Return the stored values of fields, None where one is missing."""
    stored = schema.conform(pd.read_parquet(folder / "store" / "repositories.parquet"))
    return {name: [plain_value(value) for value in stored[name]] for name in names}


def plain_value(value: Any) -> Any:
    """Return a value of the table as Python has it."""
    if value is None or isinstance(value, str):
        return value
    if hasattr(value, "tolist"):
        return value.tolist()
    return None if pd.isna(value) else value


@pytest.mark.parametrize("orient", ["columns", "index", "split", "table"])
def test_json_of_pandas_is_read_in_each_orientation_with_names(
    orient: Any, tmp_path: Path, run: Callable[..., Ended]
) -> None:
    FRAME.to_json(tmp_path / "frame.json", orient=orient)

    assert run("fetch", "--from", "frame.json").code == 0
    assert read_values(tmp_path, list(EVERYTHING)) == EVERYTHING


@pytest.mark.parametrize("name", ["flat.csv", "flat.parquet", "flat.json"])
@pytest.mark.parametrize("separator", [".", "_"])
def test_lists_of_flattened_graphql_records_are_read(
    name: str, separator: str, tmp_path: Path, run: Callable[..., Ended]
) -> None:
    """The topics were in a column `repositoryTopics.nodes`, which was not read."""
    node = {
        "nameWithOwner": "harbor/lantern",
        "stargazerCount": 412,
        "licenseInfo": {"key": "apache-2.0"},
        "repositoryTopics": {"nodes": [{"topic": {"name": "maps"}}, {"topic": {"name": "open-sea"}}]},
        "languages": {"edges": [{"size": 900, "node": {"name": "Rust"}}], "totalSize": 900},
    }
    empty = {"repositoryTopics": {"nodes": []}, "languages": {"edges": [], "totalSize": 0}, "licenseInfo": None}
    frame = pd.json_normalize(
        [node, {**node, "nameWithOwner": "mira/kettle", "stargazerCount": 37, **empty}], sep=separator
    )
    if name.endswith("json"):
        frame.to_json(tmp_path / name, orient="records")
    elif name.endswith("csv"):
        frame.to_csv(tmp_path / name, index=False)
    else:
        frame.to_parquet(tmp_path / name)

    ended = run("fetch", "--from", name)

    assert ended.code == 0, ended.err
    expected = {"topics": [["maps", "open-sea"], []], "languages": [1, 0], "code_bytes": [900, 0]}
    assert read_values(tmp_path, [*expected, "license"]) == {**expected, "license": ["apache-2.0", None]}


def test_json_of_pandas_without_names_is_refused(tmp_path: Path, run: Callable[..., Ended]) -> None:
    FRAME.to_json(tmp_path / "frame.json", orient="values")

    ended = run("fetch", "--from", "frame.json")

    assert (ended.code, ended.error.count("frame.json")) == (2, 1)
    assert not (tmp_path / "store" / "repositories.parquet").exists()


def test_a_database_of_github_to_sqlite_is_refused_with_the_command_that_exports_it(
    tmp_path: Path, run: Callable[..., Ended]
) -> None:
    sqlite_database(tmp_path / "github.db")

    ended = run("fetch", "--from", "github.db")

    assert ended.code > 0
    assert "SQLite" in ended.error
    assert "github.db" in ended.hint
    assert "repos" in ended.hint
    assert "--csv" in ended.hint or "-csv" in ended.hint


@pytest.mark.thorough
def test_the_table_of_star_history_com_is_a_star_history(tmp_path: Path, run: Callable[..., Ended]) -> None:
    """Its dates are JavaScript's, in the time zone of the browser."""
    counts = histories(60, weeks=120)
    dates = (counts["date"] + pd.Timedelta(hours=2)).dt.strftime(
        "%a %b %d %Y %H:%M:%S GMT+0200 (Central European Summer Time)"
    )
    table = pd.DataFrame({"Repository": counts["full_name"], "Date": dates, "Stars": counts["stars"].astype("int64")})
    table.to_csv(tmp_path / "star-history.csv", index=False)
    growth = '[growth]\nhistory_file = "star-history.csv"\nhorizons = [30]\ntrain_until = "2023-06-01"\n'
    (tmp_path / "stargaze.toml").write_text(f'[tuning]\ntarget = "growth"\n{growth}')

    ended = run("tune")

    assert ended.code == 0, ended.err
    bundles = tmp_path / "store" / "bundles"
    meta = json.loads((bundles / (bundles / "latest-growth").read_text().strip() / "bundle.json").read_text())
    assert (meta["data"]["rows"], meta["data"]["repositories"]) == (len(table), 60)
    assert meta["data"]["latest"] == counts["date"].max().isoformat()
