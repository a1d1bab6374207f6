"""Every command of the pipeline on the sample, from `fetch` to `run`."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from stargaze.tuning.families import select_families
from tests.job.project import Pipeline

pytestmark = pytest.mark.job

POLICIES = ("static", "activity", "all")


def test_every_artifact_is_in_its_place(job: Pipeline) -> None:
    store = job.project.store

    for name in ("repositories.parquet", "features.json", "selection.csv", "selection.svg", "leaderboard.csv"):
        assert (store / name).stat().st_size > 0
    digest = (store / "bundles" / "latest").read_text().strip()
    assert (store / "bundles" / digest / "manifest.json").is_file()
    assert (store / "serving" / "current").resolve().name == digest
    assert len(pd.read_parquet(store / "trials.parquet")) == 3
    assert not (store / "trials.jsonl").exists()


def test_no_temporary_file_is_left_in_the_store(job: Pipeline) -> None:
    assert not [path for path in job.project.store.rglob(".*") if path.name != ".lock"]


def test_nobody_else_can_write_the_store_or_read_its_secrets_whatever_the_umask(job: Pipeline) -> None:
    modes = {path: path.lstat().st_mode for path in job.project.store.rglob("*") if not path.is_symlink()}
    private = (job.project.store / "keys", job.project.store / "queue", job.project.store / "logs")

    assert {path: oct(mode) for path, mode in modes.items() if mode & 0o022} == {}
    assert {path: oct(modes[path]) for path in private if path in modes and modes[path] & 0o077} == {}
    assert {path: oct(mode) for path, mode in modes.items() if ".sqlite" in path.name and mode & 0o077} == {}
    assert modes[job.project.store / "releases.git" / "hooks" / "pre-receive"] & 0o777 == 0o755


def test_the_sample_is_complete(job: Pipeline) -> None:
    assert job.output["fetch"]["repositories"] > 13_000


def test_the_star_count_under_another_name_is_not_selected_as_a_feature(job: Pipeline) -> None:
    row = next(row for row in job.output["select-features"] if row["feature"] == "watchers")

    assert row["all"].startswith("leaks the target")
    selected = json.loads((job.project.store / "features.json").read_text())["selected"]
    assert all("watchers" not in names for names in selected.values())


def test_every_family_is_screened_under_every_policy_and_beats_the_dummy(job: Pipeline) -> None:
    board = pd.DataFrame(job.output["screen"])

    assert len(board) == 3 * len(select_families([]))
    assert (board["status"] == "ok").all()
    for _, rows in board.groupby("policy"):
        dummy = rows.loc[rows["family"] == "dummy", "rmsle"].item()
        assert (rows.loc[rows["family"] != "dummy", "rmsle"] < dummy).all()


def test_policies_that_read_more_features_predict_better_and_all_beat_the_dummy(job: Pipeline) -> None:
    scores = job.output["tune"]["scores"]
    board = pd.DataFrame(job.output["screen"])

    static, activity, everything = (scores[policy]["rmsle"] for policy in POLICIES)

    assert everything < activity < static < board.loc[board["family"] == "dummy", "rmsle"].min()
    assert everything < 0.55
    assert activity < 0.85


def test_no_score_suggests_a_leak(job: Pipeline) -> None:
    """An R² of 0.97 or more is considered a leak."""
    assert all(of["r2"] < 0.97 for of in job.output["tune"]["scores"].values())


def test_the_coverage_of_prediction_intervals_on_held_out_repositories_is_close_to_90_percent(job: Pipeline) -> None:
    for of in job.output["tune"]["scores"].values():
        assert 0.85 <= of["coverage"] <= 0.95


def test_a_second_deploy_of_the_same_bundle_changes_nothing(job: Pipeline) -> None:
    again = job.project.run_json("deploy")

    assert job.output["deploy"]["changed"]
    assert not again["changed"]
    assert len(job.project.run_json("releases")) == 1


def test_rollback_fails_after_only_one_release(job: Pipeline) -> None:
    failed = job.project.run("rollback", expect=3)

    assert "to roll back to" in failed.stderr


def test_known_repositories_are_predicted_in_the_terminal(job: Pipeline) -> None:
    names = ("connors/photon", "https://github.com/feross/webtorrent", "Zeit/Hyper")
    answers = job.project.run_json("predict", *names)["predictions"]

    assert {answer["full_name"] for answer in answers} == {"connors/photon", "feross/webtorrent", "zeit/hyper"}
    assert answers == sorted(answers, key=lambda answer: -answer["expected_stars"])
    for answer in answers:
        assert answer["interval_low"] <= answer["expected_stars"] <= answer["interval_high"]
        assert answer["expected_stars"] > 500  # each has more than five thousand; most of the sample have none


@pytest.mark.parametrize(
    ("argv", "code", "text"),
    [
        (("predict", "../etc"), 2, "../etc"),
        (("predict", "no/such-repository"), 3, "no/such-repository"),
        (("screen", "--families", "lightgmb"), 2, "lightgmb"),
        (("tune", "--resume"), 3, "there is no stopped tuning"),
        (("deploy", "0123456789"), 3, "0123456789"),
    ],
)
def test_an_invalid_command_prints_an_error_and_a_hint_and_sets_the_exit_code(
    job: Pipeline, argv: tuple[str, ...], code: int, text: str
) -> None:
    failed = job.project.run(*argv, expect=code)

    assert text in failed.stderr
    assert "hint:" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert failed.stdout == ""


def test_run_skips_finished_stages_and_the_page_predicts_the_same_as_the_terminal(job: Pipeline) -> None:
    offline = {"STARGAZE_SERVE_GITHUB_LOOKUP": "false"}
    done = job.project.run("run", "--once", "--trials", "3", "--port", "0", "--json", **offline)

    over_http = json.loads(done.stdout)

    assert done.stderr.count("already done") == 5
    assert len(over_http) == 5
    in_terminal = job.project.run_json("predict", *(answer["full_name"] for answer in over_http))["predictions"]
    assert [answer["rank"] for answer in over_http] == [1, 2, 3, 4, 5]
    assert over_http == in_terminal
    assert not any(answer["in_training_data"] for answer in over_http)


def test_the_page_leaves_no_process_running(job: Pipeline) -> None:
    assert job.project.processes() == []
