"""The command ``stargaze report``."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from stargaze.pipeline.status import list_artifacts
from stargaze.report.write import read_report_bundle
from stargaze.store import Store
from tests.conftest import Ended
from tests.previous_format import META, write_previous_bundle, write_previous_trials

pytestmark = pytest.mark.thorough

Run = Callable[..., Ended]


@pytest.fixture
def project(run: Run, finished_store: Store) -> Store:
    """The finished store in an empty folder."""
    return Store(shutil.copytree(finished_store.root, Path("store")))


def test_it_writes_the_page_into_the_store(run: Run, project: Store) -> None:
    ended = run("report")

    assert ended.code == 0, ended.err
    assert ended.out.startswith(f"{project.report}: bundle {read_report_bundle(project.report)[:12]}")
    assert project.report.read_text().startswith("<!doctype html>")


def test_it_writes_to_another_path_and_prints_the_tables_as_json(run: Run, project: Store) -> None:
    ended = run("report", "--output", "deep/page.html", "--json")

    values = json.loads(ended.out, parse_constant=pytest.fail)
    assert Path("deep/page.html").exists()
    assert not project.report.exists()
    assert values["headline"]["bundle"] == read_report_bundle(Path("deep/page.html"))
    assert {row["policy"] for row in values["policies"]} >= {"static", "activity", "all"}
    assert len(values["trials"]) == 4


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--predictions", "store/held_out.parquet"), "belongs to the store"),
        (("--output", "store/trials.parquet"), "belongs to the store"),
        (("--predictions", "p.csv", "--output", "./p.csv"), "have the same name"),
    ],
)
def test_neither_file_replaces_the_other_or_an_artifact(
    run: Run, project: Store, options: tuple[str, ...], problem: str
) -> None:
    before = {path: path.read_bytes() for path in project.root.iterdir() if path.is_file()}

    ended = run("report", *options)

    assert ended.code == 2
    assert problem in ended.error
    assert {path: path.read_bytes() for path in project.root.iterdir() if path.is_file()} == before


def test_predictions_on_the_standard_output_are_a_table(run: Run, project: Store) -> None:
    ended = run("report", "--predictions", "/dev/stdout")

    assert ended.code == 0, ended.err
    frame = pd.read_csv(io.StringIO(ended.out))
    assert len(frame) == len(pd.read_parquet(project.held_out))
    assert "held-out predictions" in ended.err


def test_without_a_bundle_the_hint_names_the_command(run: Run, project: Store) -> None:
    project.latest.unlink()

    ended = run("report")

    assert ended.code == 3
    assert "does not exist yet" in ended.error
    assert ended.hint == "stargaze tune"


def test_a_bundle_and_trials_in_the_previous_format_name_the_command_to_run_again(run: Run, project: Store) -> None:
    write_previous_trials(project)
    write_previous_bundle(project, META)

    ended = run("report")

    assert ended.code == 5
    assert ended.error.endswith("another version wrote this bundle: format")
    assert ended.hint == "stargaze tune writes one for this version"


@pytest.mark.parametrize(
    ("artifact", "column", "command"), [("trials", "parameters", "tune"), ("selection", "feature", "select-features")]
)
def test_a_table_with_other_columns_names_the_command_to_run_again(
    run: Run, project: Store, artifact: str, column: str, command: str
) -> None:
    path = getattr(project, artifact)
    if artifact == "trials":
        pd.read_parquet(path).drop(columns=column).to_parquet(path)
    else:
        pd.read_csv(path).drop(columns=column).to_csv(path, index=False)

    ended = run("report")

    assert ended.code == 5
    assert ended.error == f"{path}: was written by another version: it lacks {column}"
    assert ended.hint == f"stargaze {command} creates it again"


def test_status_names_the_bundle_of_the_page(project: Store, page: Path) -> None:
    def contents() -> str:
        return next(row["contents"] for row in list_artifacts(project) if row["artifact"] == "report")

    shutil.copy(page, project.report)
    fresh = contents()
    project.report.write_text(page.read_text().replace(read_report_bundle(page), "0" * 64))

    assert fresh == f"of bundle {project.latest.read_text()[:12]}"
    assert contents() == "of bundle 000000000000 (not the newest: stargaze report)"
