"""A stage is done only for the keys and inputs in force, whichever command ran it."""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from stargaze.cli import main
from stargaze.config import SAMPLES, Config, FeaturesSection, FetchSection, GithubSection
from stargaze.errors import UsageError
from stargaze.pipeline.stage_records import (
    begin_stage,
    describe_record,
    record_end,
    record_stage,
    record_start,
    why_outdated,
)
from stargaze.store import Store
from stargaze.system.files import sha256
from tests.pipeline.test_stages import ALL, CONFIG, NOW, finished_store, stages_to_run

__all__ = ["finished_store"]

TUNE_KEYS = (
    "trials",
    "finalists",
    "time_budget",
    "racing",
    "seed",
    "ensemble_size",
    "coverage",
    "estimate_policy",
    "metric",
)
STARTS_AT = {
    **dict.fromkeys(("fetch.since", "fetch.files", "fetch.sample", "fetch.exclude"), "fetch"),
    **dict.fromkeys(("fetch.extra", "fetch.extra_kinds", "fetch.extra_policies"), "fetch"),
    **dict.fromkeys((f"github.{field.name}" for field in dataclasses.fields(GithubSection)), "fetch"),
    **dict.fromkeys((f"features.{field.name}" for field in dataclasses.fields(CONFIG.features)), "select-features"),
    **dict.fromkeys(
        ("screening.families", "screening.max_rows", "screening.time_limit", "screening.time_budget"), "screen"
    ),
    **dict.fromkeys((f"tuning.{name}" for name in TUNE_KEYS), "tune"),
    "tuning.bundled_repositories": "tune",
    "github.api_url": "deploy",
}
"""The first stage that runs after a change of each key. No other key starts a stage; ``github.api_url`` alone is no search."""
SECTIONS = [field.name for field in dataclasses.fields(Config)]
KEYS = [f"{section}.{key.name}" for section in SECTIONS for key in dataclasses.fields(getattr(CONFIG, section))]


@pytest.fixture
def store(tmp_path: Path, finished_store: Store) -> Store:
    """A store of this test in which every stage except ``deploy`` is done."""
    return Store(shutil.copytree(finished_store.root, tmp_path / "store"))


def changed(config: Config, name: str) -> Config:
    """Return the config with another value of one key."""
    section, key = name.split(".")
    settings = getattr(config, section)
    field = next(field for field in dataclasses.fields(settings) if field.name == key)
    value, choices = getattr(settings, key), field.metadata["choices"]
    other: Any
    if isinstance(value, dict):
        other = {**value, "stars": "count"}
    elif choices:
        other = next(choice for choice in choices if choice != value)
    elif isinstance(value, bool):
        other = not value
    elif isinstance(value, (int, float)):
        other = value + 1
    elif isinstance(value, list):
        other = [*value, "ridge"]
    else:
        other = f"{value}2016-01-01"
    return dataclasses.replace(config, **{section: dataclasses.replace(settings, **{key: other})})


@pytest.mark.thorough
def test_a_changed_key_starts_the_pipeline_at_the_first_stage_that_depends_on_it(finished_store: Store) -> None:
    assert stages_to_run(finished_store) == ["deploy"]

    starts = {key: stages_to_run(finished_store, changed(CONFIG, key))[0] for key in KEYS}

    assert starts == {key: STARTS_AT.get(key, "deploy") for key in KEYS}


@pytest.mark.parametrize(
    ("artifact", "first"),
    [
        ("repositories", "fetch"),
        ("features", "select-features"),
        ("selection", "select-features"),
        ("selection_plot", "select-features"),
        ("leaderboard", "screen"),
        ("latest", "tune"),
        ("trials", "tune"),
        ("held_out", "tune"),
    ],
)
@pytest.mark.parametrize("edit", ["delete", "append"])
def test_a_deleted_or_edited_artifact_is_made_again(store: Store, artifact: str, first: str, edit: str) -> None:
    path: Path = getattr(store, artifact)
    content = path.read_bytes()
    path.unlink()
    if edit == "append":
        path.write_bytes(content + b"\n")

    assert stages_to_run(store)[0] == first


def files_config(*paths: Path) -> Config:
    """Return a config that names files."""
    return dataclasses.replace(CONFIG, fetch=FetchSection([str(path) for path in paths]))


def test_a_fetch_typed_by_hand_does_not_hide_a_changed_config(store: Store, tmp_path: Path) -> None:
    """It read the files of the config as it was then."""
    for name in "ab":
        (tmp_path / f"{name}.csv").write_text(f"full_name\n{name}/{name}\n")
    first, other = files_config(tmp_path / "a.csv"), files_config(tmp_path / "b.csv")
    record_stage("fetch", store, begin_stage("fetch", first, store), NOW)

    assert why_outdated("fetch", first, store) == ""
    assert why_outdated("fetch", other, store) == "other fetch.files"
    assert why_outdated("fetch", changed(first, "fetch.columns"), store) == "other fetch.columns"
    (tmp_path / "a.csv").write_text("full_name\nb/b\n")
    assert why_outdated("fetch", first, store) == "other fetch.files"
    (tmp_path / "a.csv").unlink()
    assert why_outdated("fetch", first, store) == "other fetch.files"


def test_another_list_of_test_repositories_makes_the_feature_set_outdated(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("a/b\n")
    config = dataclasses.replace(CONFIG, features=FeaturesSection(folds=2, test_repositories=str(path)))
    record_stage("select-features", store, begin_stage("select-features", config, store), NOW)

    assert why_outdated("select-features", config, store) == ""
    path.write_text("a/b\nc/d\n")
    assert why_outdated("select-features", config, store) == "other features.test_repositories"
    path.unlink()
    assert why_outdated("select-features", config, store) == "other features.test_repositories"


def test_a_file_that_changes_while_it_is_fetched_is_fetched_again(store: Store, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("full_name\na/a\n")
    config = files_config(tmp_path / "a.csv")
    keys = begin_stage("fetch", config, store)

    (tmp_path / "a.csv").write_text("full_name\nb/b\n")
    record_stage("fetch", store, keys, NOW)

    assert why_outdated("fetch", config, store) == "other fetch.files"


def test_another_sample_is_fetched_again(store: Store) -> None:
    record = store.settings / "fetch.json"
    content = record.read_text()
    sample = content.partition('"sample": "')[2][:64]
    record.write_text(content.replace(sample, "0" * 64))

    assert why_outdated("fetch", CONFIG, store) == "other sample"


def test_options_typed_by_hand_are_not_the_keys_in_force(store: Store) -> None:
    record_stage("screen", store, begin_stage("screen", changed(CONFIG, "screening.families"), store), NOW)
    assert why_outdated("screen", CONFIG, store) == "other screening.families"

    record_stage("tune", store, begin_stage("tune", changed(CONFIG, "tuning.trials"), store), NOW)
    assert why_outdated("tune", CONFIG, store) == "other tuning.trials"


def test_the_sample_does_not_replace_repositories_whose_source_was_typed(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("full_name\na/a\n")
    record_stage("fetch", store, begin_stage("fetch", CONFIG, store, files=[path]), NOW, typed=True)

    assert why_outdated("fetch", CONFIG, store) == ""
    assert "from mine.csv, as typed by hand" in describe_record("fetch", store)
    assert why_outdated("fetch", files_config(tmp_path / "other.csv"), store) == "other fetch.files"
    since = dataclasses.replace(CONFIG, fetch=FetchSection(since="2020-01-01"))
    with pytest.raises(UsageError, match=r"fetched by hand from mine\.csv"):
        why_outdated("fetch", since, store)


def test_a_stage_on_the_cluster_is_recorded_with_the_settings_of_its_start(store: Store) -> None:
    """Another command, with other options, may download its results."""
    record_start("tune", store, begin_stage("tune", changed(CONFIG, "tuning.trials"), store))
    assert why_outdated("tune", CONFIG, store) == ""

    record_end("tune", store, NOW)

    assert why_outdated("tune", CONFIG, store) == "other tuning.trials"
    record_end("tune", store, NOW)  # nothing was started since


def test_the_sample_does_not_replace_repositories_of_unknown_origin(store: Store, tmp_path: Path) -> None:
    """A store of an earlier version has no records."""
    (store.settings / "fetch.json").unlink()

    with pytest.raises(UsageError, match="not recorded where they come from, and the config names no source"):
        why_outdated("fetch", CONFIG, store)
    assert "not recorded" in why_outdated("fetch", files_config(tmp_path / "a.csv"), store)


def test_a_failed_fetch_does_not_make_repositories_of_unknown_origin_replaceable(store: Store) -> None:
    store.settings.joinpath("fetch.json").unlink()

    begin_stage("fetch", CONFIG, store)  # and it fails

    with pytest.raises(UsageError, match="not recorded where they come from"):
        why_outdated("fetch", CONFIG, store)


def test_a_pipe_is_left_to_the_stage_because_it_can_be_read_once(store: Store, tmp_path: Path) -> None:
    os.mkfifo(pipe := tmp_path / "pipe.json")

    keys = begin_stage("fetch", CONFIG, store, files=[pipe])

    assert keys["fetch.files"] == [["pipe.json", None]]


def test_a_stage_that_was_killed_before_it_was_recorded_runs_again(store: Store) -> None:
    (store.settings / "fetch.json").unlink()
    written = store.repositories.rename(store.root / "written")

    begin_stage("fetch", CONFIG, store)
    written.rename(store.repositories)  # and it is killed

    assert why_outdated("fetch", CONFIG, store) == "it was interrupted"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"7", b"{}", b'{"keys": 1, "artifacts": {}}', b"\xff"])
def test_a_damaged_record_runs_the_stage(store: Store, content: bytes) -> None:
    (store.settings / "screen.json").write_bytes(content)

    assert stages_to_run(store)[0] == "screen"
    assert "not recorded" in why_outdated("screen", CONFIG, store)


def test_each_reuse_names_artifact_time_and_origin(store: Store) -> None:
    lines = [describe_record(stage, store) for stage in ALL[:-1]]

    assert lines[0] == "repositories.parquet of 2026-03-01T00:00:00+00:00, from the included sample " + SAMPLES[0]
    assert all(" of 2026-03-01T00:00:00+00:00, from " in line for line in lines)


@pytest.mark.thorough
def test_run_fetches_other_files_of_the_config_after_a_fetch_typed_by_hand(
    tmp_path: Path, make_repositories: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The config changed after the last ``fetch``; the old data must not serve."""
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate("ab"):
        make_repositories(200, seed=number).drop(columns="topics").to_csv(tmp_path / f"{name}.csv", index=False)
    toml = tmp_path / "stargaze.toml"
    toml.write_text('[fetch]\nfiles = ["a.csv"]\n[features]\nfolds = 2\nimportance_repeats = 1\n')
    with pytest.raises(SystemExit, match="0"):
        main(["fetch"])
    before = sha256(Path("store/repositories.parquet"))
    monkeypatch.setattr("stargaze.pipeline.stages._select", Mock(side_effect=UsageError("ends the run", hint="")))

    toml.write_text(toml.read_text().replace("a.csv", "b.csv"))
    with pytest.raises(SystemExit, match="2"):
        main(["run", "--once"])

    assert "fetch runs: other fetch.files" in capsys.readouterr().err
    assert sha256(Path("store/repositories.parquet")) != before
    with pytest.raises(SystemExit, match="2"):
        main(["run", "--once"])
    assert "fetch: already done: repositories.parquet of " in capsys.readouterr().err
