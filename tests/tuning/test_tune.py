"""Tuning without its trials; the test of the whole job runs Ray."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import stargaze.tuning.tune as tune_module
from stargaze.bundle.ensemble_families import family_weights, format_families
from stargaze.bundle.star_bundle import Bundle
from stargaze.config import TuningSection
from stargaze.errors import ExternalError, MissingInputError, UsageError
from stargaze.features.dataset import read_dataset_and_features
from stargaze.store import Store
from stargaze.system.journal import Journal
from stargaze.tuning.cross_validation import policy_arrays
from stargaze.tuning.search import ray_driver
from stargaze.tuning.tune import Search, TuningResult, tune
from tests.tuning.conftest import limit_policies, write_leaderboard

pytestmark = pytest.mark.thorough

BOARD = [
    ("all", "dummy", "ok", 0.1),
    ("all", "ridge", "ok", 0.6),
    ("all", "lightgbm", "failed", None),
    ("all", "elastic-net", "ok", 0.5),
    ("all", "perceptron", "ok", 0.7),
    ("static", "perceptron", "ok", 0.2),
]


def trial(number: int, family: str, rmsle: float) -> dict[str, Any]:
    """Return a finished trial."""
    parameters = {"alpha": 5.0} if family == "ridge" else {"alpha": 0.003, "l1_ratio": 0.5}
    return {
        "number": number,
        "family": family,
        "parameters": parameters,
        "rmsle": rmsle,
        "folds": [rmsle] * 3,
        "seconds": 1.0,
        "at": 1.0,
        "stopped": "done",
    }


@pytest.fixture
def screened_store(selected_store: Store) -> Store:
    """A store with a leaderboard."""
    write_leaderboard(selected_store, read_dataset_and_features(selected_store)[1], BOARD)
    return selected_store


@pytest.fixture
def stopped_store(screened_store: Store) -> Store:
    """A store whose tuning was stopped after two trials."""
    table, feature_set = read_dataset_and_features(screened_store)
    journal = Journal(screened_store.journal)
    journal.begin(
        {
            "data": table.fingerprint,
            "feature_set": feature_set.digest,
            "finalists": ["elastic-net", "ridge"],
            "metric": "rmsle",
            "policy": "all",
            "racing": True,
            "seed": 0,
            "lookahead": 8,
        }
    )
    journal.add(trial(0, "elastic-net", 0.7))
    journal.add(trial(1, "ridge", 0.6))
    return screened_store


def test_a_resumed_tuning_with_all_trials_only_saves_the_bundle(stopped_store: Store) -> None:
    """It was killed between the last trial and the bundle: no trial runs again."""
    tuned = tune(TuningSection(trials=2), stopped_store, resume=True)

    assert (tuned.best_trial["family"], tuned.trials, tuned.failed) == ("ridge", 2, 0)
    named = {
        policy: format_families(weights) for policy, weights in family_weights(Bundle.load(tuned.bundle).meta).items()
    }
    assert named == {policy: format_families(tuned.scores[policy]["families"]) for policy in named}
    assert all(f": {text}" in tuned.as_text() for text in named.values())
    assert pd.read_parquet(stopped_store.trials)["family"].tolist() == ["ridge", "elastic-net"]


def test_a_trial_that_was_stopped_early_is_never_the_best(stopped_store: Store) -> None:
    """Its score is extrapolated."""
    Journal(stopped_store.journal).add({**trial(2, "ridge", 0.1), "folds": [0.1], "stopped": "lost after fold 1"})

    assert tune(TuningSection(trials=3), stopped_store, resume=True).best_trial["rmsle"] == 0.6


def test_the_bundle_does_not_depend_on_the_order_in_which_trials_ended(stopped_store: Store) -> None:
    """Two trials with the same score: the one with the smaller number comes first."""
    lines = stopped_store.journal.read_text().splitlines()
    same = [{**trial(number, "ridge", 0.6), "parameters": {"alpha": 2.0 + number}} for number in (2, 3)]
    names = set()
    for order in (same, same[::-1]):
        stopped_store.journal.write_text("\n".join([lines[0], *map(json.dumps, order), *lines[1:]]) + "\n")
        names.add(tune(TuningSection(trials=4), stopped_store, resume=True).bundle.name)

    assert len(names) == 1


def test_a_failed_trial_is_counted_and_not_repeated(stopped_store: Store) -> None:
    Journal(stopped_store.journal).add({"number": 2, "family": "ridge", "parameters": {}, "failed": "ValueError: no"})

    tuned = tune(TuningSection(trials=3), stopped_store, resume=True)

    assert (tuned.trials, tuned.failed) == (2, 1)


def test_new_trials_are_in_the_journal_before_the_next_ends(
    stopped_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = list[int]()

    def search(_arrays: Any, search: Any, handle: Any) -> None:
        assert [trial["number"] for trial in search.ended] == [0, 1]
        handle({"lookahead": search.lookahead})
        for number in (3, 2):
            handle({"finished": {**trial(number, "ridge", 0.5), "parameters": {"alpha": 1.0 + number}}})
            written.append(len(stopped_store.journal.read_text().splitlines()))

    monkeypatch.setattr(ray_driver, "search_with_ray", search)

    tuned = tune(TuningSection(trials=4), stopped_store, resume=True)

    assert written == [4, 5]
    assert tuned.best_trial["number"] == 2
    assert pd.read_parquet(stopped_store.trials)["at"].notna().all()


def test_a_search_in_which_every_trial_fails_names_the_finalists(
    stopped_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_driver, "search_with_ray", lambda _arrays, _search, handle: handle({"lookahead": 1}))

    with pytest.raises(ExternalError, match="every trial failed") as error:
        tune(TuningSection(trials=2), stopped_store)

    assert "elastic-net, ridge" in error.value.hint


@pytest.mark.parametrize(
    ("budget", "cores", "trials", "members"),
    [(0.0, 1, 4, 4), (100.0, 1, 1, 2), (320.0, 1, 2, 2), (320.0, 1_000, 4, 4), (1_000_000.0, 1, 4, 4)],
)
def test_a_time_budget_ends_the_trials_and_limits_the_ensemble(
    screened_store: Store, monkeypatch: pytest.MonkeyPatch, budget: float, cores: int, trials: int, members: int
) -> None:
    """Each trial takes 40 s, and the refit three quarters of a short budget; on many cores it fits more models in that time."""
    now, sizes = [0.0], list[int]()

    def search(_arrays: Any, _search: Any, handle: Any) -> None:
        handle({"lookahead": 8})
        for number in range(4):
            now[0] += 40.0
            handle(
                {"finished": {**trial(number, "ridge", 0.5), "parameters": {"alpha": 1.0 + number}, "seconds": 40.0}}
            )

    def save(section: TuningSection, *_arguments: Any) -> tuple[Path, dict[str, Any]]:
        sizes.append(section.ensemble_size)
        return Path("bundle"), {}

    monkeypatch.setattr(ray_driver, "search_with_ray", search)
    monkeypatch.setattr(tune_module, "save_best", save)
    monkeypatch.setattr(tune_module, "count_cores", lambda: cores)

    section = TuningSection(trials=4, time_budget=budget, ensemble_size=4)
    tuned = tune(section, screened_store, clock=lambda: now[0])

    assert (tuned.trials, sizes) == (trials, [members])


def test_a_finished_tuning_removes_the_journal(stopped_store: Store) -> None:
    tune(TuningSection(trials=2), stopped_store, resume=True)

    assert not stopped_store.journal.exists()


def test_finalists_are_the_best_successful_families_without_the_dummy(stopped_store: Store) -> None:
    """The header of the journal names them, and a journal with others is refused."""
    with pytest.raises(MissingInputError, match="cannot be resumed"):
        tune(TuningSection(trials=2, finalists=3), stopped_store, resume=True)

    assert tune(TuningSection(trials=2, finalists=2), stopped_store, resume=True).trials == 2


@pytest.mark.parametrize("change", [{"seed": 1}, {"estimate_policy": "static"}, {"finalists": 1}])
def test_a_journal_of_another_tuning_is_refused_and_not_changed(stopped_store: Store, change: dict[str, Any]) -> None:
    before = stopped_store.journal.read_text()

    with pytest.raises(MissingInputError):
        tune(TuningSection(trials=2, **change), stopped_store, resume=True)

    assert stopped_store.journal.read_text() == before


@pytest.mark.parametrize(
    "change",
    [
        {"number": None},
        {"number": [0]},
        {"family": "dummy"},
        {"family": "perceptron"},
        {"parameters": {"alpha": 1.0, "copy_X": False}},
        {"parameters": {"alpha": "/tmp/file"}},
        {"parameters": {"alpha": float("nan")}},
        {"parameters": [1.0]},
        {"rmsle": "0.1"},
        {"rmsle": 10**400},
        {"folds": None},
        {"at": "late"},
        {"stopped": None},
    ],
    ids=str,
)
def test_a_line_that_no_trial_writes_is_ignored(tmp_path: Path, change: dict[str, Any]) -> None:
    """Another machine may have written the journal; models are built of its parameters."""
    search = Search(TuningSection(), ["elastic-net", "ridge"], Journal(tmp_path / "trials.jsonl"), {"seed": 0})
    for line in ({"seed": 0, "lookahead": 8}, {**trial(2, "ridge", 0.1), **change}, trial(1, "elastic-net", 0.7)):
        search.journal.add(line)

    search.resume()

    assert search.trials() == [trial(1, "elastic-net", 0.7)]


@pytest.mark.parametrize("lookahead", [None, "8", float("inf")])
def test_a_journal_without_a_lookahead_is_refused(tmp_path: Path, lookahead: object) -> None:
    search = Search(TuningSection(), ["ridge"], Journal(tmp_path / "trials.jsonl"), {"seed": 0})
    search.journal.add({"seed": 0, "lookahead": lookahead})
    search.journal.add(trial(0, "ridge", 0.6))

    with pytest.raises(MissingInputError, match="has no lookahead, and cannot be resumed"):
        search.resume()


def test_the_metric_chooses_finalists_and_the_best_trial(screened_store: Store) -> None:
    board = pd.read_csv(screened_store.leaderboard)
    board["rmse"] = board["family"].map({"perceptron": 10.0, "ridge": 20.0}).fillna(90.0)
    board.to_csv(screened_store.leaderboard, index=False)
    table, feature_set = read_dataset_and_features(screened_store)
    journal = Journal(screened_store.journal)
    header = {"data": table.fingerprint, "feature_set": feature_set.digest, "finalists": ["perceptron", "ridge"]}
    journal.begin({**header, "metric": "rmse", "policy": "all", "racing": True, "seed": 0, "lookahead": 8})
    journal.add({**trial(0, "ridge", 0.6), "rmse": 50.0})
    journal.add({**trial(1, "ridge", 0.7), "rmse": 40.0})

    tuned = tune(TuningSection(trials=2, metric="rmse"), screened_store, resume=True)

    assert tuned.best_trial["number"] == 1
    assert pd.read_parquet(screened_store.trials)["rmse"].tolist() == [40.0, 50.0]
    bundle = Bundle.load(tuned.bundle)
    assert bundle.meta["metric"] == "rmse"
    assert bundle.meta["offsets"]["all"] > 0


def test_without_a_journal_there_is_nothing_to_resume(screened_store: Store) -> None:
    with pytest.raises(MissingInputError, match="no stopped tuning"):
        tune(TuningSection(trials=2), screened_store, resume=True)


def test_without_a_leaderboard_the_hint_names_the_command(selected_store: Store) -> None:
    with pytest.raises(MissingInputError) as raised:
        tune(TuningSection(), selected_store)
    assert raised.value.hint == "stargaze screen"


def test_a_policy_of_the_estimate_without_features_is_refused(screened_store: Store) -> None:
    limit_policies(screened_store, "static", "all")

    with pytest.raises(
        UsageError, match=r"no features were selected for policy activity, only for static, all"
    ) as raised:
        tune(TuningSection(estimate_policy="activity"), screened_store)
    assert raised.value.hint == "stargaze select-features --policies static,activity,all, then stargaze screen"


def test_a_leaderboard_without_a_successful_family_is_refused(screened_store: Store) -> None:
    board = pd.read_csv(screened_store.leaderboard).assign(status="failed")
    board.to_csv(screened_store.leaderboard, index=False)

    with pytest.raises(ExternalError, match="no family that succeeded"):
        tune(TuningSection(), screened_store)


def test_trials_fit_training_rows_only(selected_store: Store) -> None:
    table, feature_set = read_dataset_and_features(selected_store)

    arrays = policy_arrays(table, feature_set, "all")

    assert len(arrays.inputs) == len(table.training)
    assert (arrays.folds >= 0).all()
    assert arrays.categories == (0, 1)


def test_the_text_has_the_bundle_the_family_and_all_policies(stopped_store: Store) -> None:
    tuned = tune(TuningSection(trials=2), stopped_store, resume=True)

    text = TuningResult.as_text(tuned)

    assert text.startswith(f"bundle {tuned.bundle.name[:12]} from 2 trials (0 failed), the best trial is one of ridge")
    assert all(policy in text for policy in ("static", "activity", "all"))


@pytest.mark.parametrize(
    ("members", "gain", "ending"),
    [
        (2, 0.01, "2 models: dummy 50%, ridge 50%; 0.0100 ± 0.0200 nat better than one"),
        (2, -0.01, "2 models: dummy 50%, ridge 50%; 0.0100 ± 0.0200 nat worse than one"),
        (1, -0.01, "one model: ridge"),
    ],
)
def test_the_text_says_whether_an_ensemble_is_better_than_one_model(members: int, gain: float, ending: str) -> None:
    """An ensemble that is worse by less than its standard error is used too."""
    numbers = ("rmsle", "cv_rmsle", "cv_spread", "rmse", "r2", "rho", "coverage")
    families = {"dummy": 0.5, "ridge": 0.5} if members == 2 else {"ridge": 1.0}
    scores: dict[str, Any] = dict.fromkeys(numbers, 0.5) | {
        "coverage_by_decade": [],
        "families": families,
        "members": members,
    }
    scores |= {"ensemble_gain": gain, "ensemble_error": 0.02}

    text = TuningResult({"family": "ridge"}, 1, 0, Path("b"), {"all": scores}).as_text()

    assert text.endswith(ending)
