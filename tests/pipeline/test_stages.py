"""A stage is done if its artifact fits its input and the config; otherwise it runs again."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pandas as pd
import pytest

from stargaze.bundle.manifest import STAR_FORMAT, write_manifest
from stargaze.cli import EXAMPLES
from stargaze.config import (
    POLICIES,
    Config,
    FeaturesSection,
    FetchSection,
    TuningSection,
)
from stargaze.errors import BadDataError
from stargaze.features.dataset import FeatureSet, read_feature_set, write_feature_set
from stargaze.pipeline.stage_records import begin_stage, record_stage
from stargaze.pipeline.stages import Stage, build_stages, plan_stages
from stargaze.pipeline.status import list_artifacts
from stargaze.store import Store
from stargaze.system.files import sha256
from stargaze.tuning.screen import COLUMNS

NOW = datetime(2026, 3, 1, tzinfo=UTC)
CONFIG = Config(features=FeaturesSection(folds=2, importance_repeats=1), tuning=TuningSection(trials=3))
MakeRepositories = Callable[..., pd.DataFrame]


@pytest.fixture
def store(tmp_path: Path, finished_store: Store) -> Store:
    """A store of this test in which every stage except ``deploy`` is done."""
    return Store(shutil.copytree(finished_store.root, tmp_path / "store"))


@pytest.fixture(scope="module")
def finished_store(tmp_path_factory: pytest.TempPathFactory, make_repositories: MakeRepositories) -> Store:
    """Minimal artifacts of every stage except ``deploy``."""
    store = Store(tmp_path_factory.mktemp("made") / "store")
    store.bundles.mkdir(parents=True)
    make_repositories(200).to_parquet(store.repositories)
    selected = {policy: ["age"] for policy in POLICIES}
    write_feature_set(store, FeatureSet(selected, {}, CONFIG.features, sha256(store.repositories), {}))
    digest = read_feature_set(store).digest
    row = {"policy": "all", "family": "ridge", "status": "ok", "rmsle": 0.5, "feature_set": digest}
    pd.DataFrame([row]).reindex(columns=COLUMNS).to_csv(store.leaderboard, index=False)
    pd.DataFrame({"rmsle": [0.5, 0.6, 0.7]}).to_parquet(store.trials)
    pd.DataFrame({"stars": [5.0, 6.0]}).to_parquet(store.held_out)
    store.selection.write_text("feature\n")
    store.selection_plot.write_text("<svg/>")
    write_bundle(
        store,
        {
            "requested_trials": 3,
            "data": {"feature_set": digest},
            "estimate_policy": "all",
        },
    )
    for stage in ALL[:-1]:
        record_stage(stage, store, begin_stage(stage, CONFIG, store), NOW)
    return store


def write_bundle(store: Store, meta: dict[str, Any]) -> Path:
    """Write a bundle without a model."""
    making = store.bundles / "making"
    making.mkdir()
    (making / "bundle.json").write_text(json.dumps({"coverage": 0.9, "format": STAR_FORMAT, **meta}))
    folder = making.rename(store.bundles / write_manifest(making))
    store.latest.write_text(folder.name)
    return folder


def stages_to_run(store: Store, config: Config = CONFIG, *, again: bool = False) -> list[str]:
    """Return the names of the stages that must run."""
    todo = build_stages(config, store, lambda: datetime(2026, 1, 1, tzinfo=UTC))
    return [stage.name for stage, must in plan_stages(todo, again=again) if must]


ALL = ["fetch", "select-features", "screen", "tune", "deploy"]


# ---- which stages run ---------------------------------------------------------------------------------------------


def test_every_stage_is_a_command_in_the_order_of_the_pipeline() -> None:
    names = [stage.name for stage in build_stages(CONFIG, Store(Path("gone")), lambda: datetime.now(UTC))]

    assert names == ALL
    assert [name for name in EXAMPLES if name in names] == names


def test_in_an_empty_store_all_stages_run(tmp_path: Path) -> None:
    assert stages_to_run(Store(tmp_path)) == ALL


def test_finished_stages_are_skipped(store: Store) -> None:
    assert stages_to_run(store) == ["deploy"]


def test_again_runs_all_stages(store: Store) -> None:
    assert stages_to_run(store, again=True) == ALL


def test_deploy_is_done_if_the_bundle_is_installed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    release = Mock(name="release")
    release.name = store.latest.read_text()
    monkeypatch.setattr("stargaze.serve.release.publish.list_releases", lambda _store: [release])
    store.serving.mkdir()
    store.current.symlink_to((store.bundles / store.latest.read_text()).resolve())

    assert stages_to_run(store) == []


def test_all_stages_after_the_first_unfinished_one_run() -> None:
    """A later artifact belongs to the earlier input."""
    checked: list[str] = []

    def stage(name: str, *, done: bool) -> Stage:
        return Stage(name, lambda: checked.append(name) or ("" if done else "new"), lambda _report: "")

    planned = list(plan_stages([stage("a", done=True), stage("b", done=False), stage("c", done=True)]))

    assert [reason for _, reason in planned] == ["", "new", "b ran"]
    assert checked == ["a", "b"]


@pytest.mark.parametrize(
    ("config", "first"),
    [
        (dataclasses.replace(CONFIG, features=FeaturesSection(folds=3, importance_repeats=1)), "select-features"),
        (
            dataclasses.replace(CONFIG, features=FeaturesSection(folds=2, importance_repeats=1, leak_threshold=0.9)),
            "select-features",
        ),
        (dataclasses.replace(CONFIG, tuning=TuningSection(trials=4)), "tune"),
        (dataclasses.replace(CONFIG, tuning=TuningSection(trials=3, estimate_policy="activity")), "tune"),
        (dataclasses.replace(CONFIG, tuning=TuningSection(trials=3, coverage=0.8)), "tune"),
        (dataclasses.replace(CONFIG, tuning=TuningSection(trials=2)), "tune"),
    ],
)
def test_a_changed_config_runs_the_stages_that_depend_on_it(store: Store, config: Config, first: str) -> None:
    assert stages_to_run(store, config)[0] == first


def test_changed_repositories_run_all_later_stages(store: Store, make_repositories: MakeRepositories) -> None:
    make_repositories(200, seed=1).to_parquet(store.repositories)
    record_stage("fetch", store, begin_stage("fetch", CONFIG, store), NOW)

    assert stages_to_run(store) == ALL[1:]


def test_a_changed_feature_set_runs_all_later_stages(store: Store) -> None:
    planned = read_feature_set(store)
    write_feature_set(store, dataclasses.replace(planned, selected={policy: ["forks"] for policy in POLICIES}))
    record_stage("select-features", store, begin_stage("select-features", CONFIG, store), NOW)

    assert stages_to_run(store) == ALL[2:]


JUNK = [b"", b"{", b"[]", b"7", b'"x"', b"{}", b"\xff\xfe\x00", b"a,b\n1,2\n"]


@pytest.mark.parametrize("content", JUNK)
@pytest.mark.parametrize(("artifact", "first"), [("features", "select-features"), ("leaderboard", "screen")])
def test_a_damaged_artifact_is_created_again(store: Store, artifact: str, first: str, content: bytes) -> None:
    getattr(store, artifact).write_bytes(content)

    assert stages_to_run(store)[0] == first


@pytest.mark.parametrize("content", JUNK)
def test_a_bundle_that_differs_from_its_manifest_is_created_again(store: Store, content: bytes) -> None:
    (store.bundles / store.latest.read_text() / "bundle.json").write_bytes(content)

    assert stages_to_run(store)[0] == "tune"


@pytest.mark.parametrize(
    "meta", [{}, {"requested_trials": None}, {"requested_trials": "many"}, {"requested_trials": 9, "data": []}]
)
def test_a_bundle_of_another_version_is_created_again(store: Store, meta: dict[str, Any]) -> None:
    write_bundle(store, meta)
    record_stage("tune", store, begin_stage("tune", CONFIG, store), NOW)

    assert stages_to_run(store)[0] == "tune"


def test_a_bundle_of_an_earlier_format_is_created_again(store: Store) -> None:
    """After an update of stargaze, the pipeline creates a bundle that this version can serve."""
    digest = read_feature_set(store).digest
    meta = {
        "requested_trials": 3,
        "data": {"feature_set": digest},
        "estimate_policy": "all",
    }

    write_bundle(store, meta | {"format": STAR_FORMAT - 1})
    record_stage("tune", store, begin_stage("tune", CONFIG, store), NOW)

    assert stages_to_run(store)[0] == "tune"


@pytest.mark.parametrize("content", [b"", b"gone", b"../..", b"x" * 300])
def test_a_missing_latest_bundle_is_created_again(store: Store, content: bytes) -> None:
    store.latest.write_bytes(content)

    assert stages_to_run(store)[0] == "tune"


# ---- running a stage ----------------------------------------------------------------------------------------------


def test_a_stage_creates_its_artifact_and_returns_one_line(tmp_path: Path, make_repositories: MakeRepositories) -> None:
    make_repositories(200).drop(columns="topics").to_csv(tmp_path / "x.csv", index=False)
    config = dataclasses.replace(CONFIG, fetch=FetchSection(files=[str(tmp_path / "x.csv")]))
    store, reports = Store(tmp_path / "store"), list[tuple[str, float]]()
    fetching = build_stages(config, store, lambda: datetime(2026, 1, 1, tzinfo=UTC))[0]

    line = fetching.run(lambda what, done: reports.append((what, done)))

    assert line == "200 repositories"
    assert [done for _, done in reports][-1] == 1.0
    assert stages_to_run(store, config)[0] == "select-features"


# ---- status -------------------------------------------------------------------------------------------------------


def listed_contents(store: Store) -> dict[str, str]:
    """Return the listed contents by artifact."""
    return {row["artifact"]: row["contents"] for row in list_artifacts(store)}


def test_the_status_of_an_empty_store_names_the_command_for_each_artifact(tmp_path: Path) -> None:
    planned = listed_contents(Store(tmp_path))

    assert [text.removeprefix("missing: stargaze ") for text in planned.values()] == [
        *ALL[:4],
        "tune",
        "tune",
        "deploy",
        "report",
    ]


def test_the_status_describes_each_artifact(store: Store) -> None:
    planned = listed_contents(store)

    assert planned["repositories"] == "200 repositories"
    assert planned["feature set"] == "static 1, activity 1, all 1 features"
    assert planned["leaderboard"] == "ridge leads: RMSLE 0.500"
    assert planned["trials"] == "3 trials"
    assert planned["held-out predictions"] == "2 repositories (not of the newest bundle: stargaze tune)"
    assert planned["bundle"] == store.latest.read_text()[:12]
    assert all(datetime.fromisoformat(row["created"]).tzinfo for row in list_artifacts(store) if row["created"])


def test_the_status_reports_a_feature_set_of_other_repositories(
    store: Store, make_repositories: MakeRepositories
) -> None:
    make_repositories(200, seed=1).to_parquet(store.repositories)

    assert "of other repositories: stargaze select-features" in listed_contents(store)["feature set"]


@pytest.mark.parametrize("content", [*JUNK, b"policy,family\n"])
def test_the_status_lists_damaged_artifacts(store: Store, content: bytes) -> None:
    artifacts = [store.repositories, store.features, store.leaderboard, store.trials, store.latest]
    for path in artifacts:
        path.write_bytes(content)

    planned = listed_contents(store)

    assert planned["repositories"].startswith("cannot be read")
    assert planned["trials"].startswith("cannot be read")
    assert planned["feature set"].startswith(f"{store.features}: ")
    assert "cannot be read" in planned["bundle"] or "missing bundle: stargaze tune" in planned["bundle"]
    assert all("\n" not in text for text in planned.values())


def test_the_status_lists_folders_in_place_of_files(store: Store) -> None:
    files = (store.repositories, store.features, store.leaderboard, store.trials, store.held_out, store.latest)
    for path in files:
        path.unlink()
        path.mkdir()

    assert sum("cannot be read" in text for text in listed_contents(store).values()) == len(files)


def test_the_status_has_no_parentheses_for_an_error_without_a_hint(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.releases.mkdir()
    error = BadDataError("release.json is not JSON")
    monkeypatch.setattr("stargaze.serve.release.publish.read_history", Mock(side_effect=error))

    assert listed_contents(store)["release"] == "release.json is not JSON"
