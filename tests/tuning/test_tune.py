"""What tuning does around its trials; Ray itself is part of the whole job."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import pytest

from stargaze.bundle.star_bundle import Bundle
from stargaze.config import TuningSection
from stargaze.errors import ExternalError, MissingInputError
from stargaze.features.dataset import read_dataset_and_features
from stargaze.store import Store
from stargaze.tuning.cross_validation import policy_arrays
from stargaze.tuning.screen import COLUMNS
from stargaze.tuning.search import ray_tune
from stargaze.tuning.search.journal import Journal
from stargaze.tuning.tune import TuningResult, tune

pytestmark = pytest.mark.thorough

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ROW = {"r2": 0.5, "mdape": 0.5, "rho": 0.5, "fit_time": 1.0, "size_mb": 1.0, "rows": 600, "note": "", "spread": 0.1}
BOARD = [
    ("all", "dummy", "ok", 0.1),
    ("all", "ridge", "ok", 0.6),
    ("all", "lightgbm", "failed", None),
    ("all", "elastic-net", "ok", 0.5),
    ("all", "perceptron", "ok", 0.7),
    ("static", "perceptron", "ok", 0.2),
]


def trial(family: str, rmsle: float) -> dict[str, Any]:
    """Make a finished trial."""
    parameters = {"alpha": 5.0} if family == "ridge" else {"alpha": 0.003, "l1_ratio": 0.5}
    return {
        "family": family,
        "parameters": parameters,
        "rmsle": rmsle,
        "folds": [rmsle] * 3,
        "seconds": 1.0,
        "at": 1.0,
        "stopped": "done",
    }


@pytest.fixture
def screened(learnt: Store) -> Store:
    """A store with a leaderboard."""
    digest = read_dataset_and_features(learnt)[1].digest
    rows = [
        {**ROW, "policy": policy, "family": family, "status": status, "rmsle": rmsle, "feature_set": digest}
        for policy, family, status, rmsle in BOARD
    ]
    pd.DataFrame(rows)[COLUMNS].to_csv(learnt.leaderboard, index=False)
    return learnt


@pytest.fixture
def stopped(screened: Store) -> Store:
    """A store whose tuning was stopped after two trials."""
    journal = Journal(screened.journal)
    journal.begin(
        {
            "feature_set": read_dataset_and_features(screened)[1].digest,
            "finalists": ["elastic-net", "ridge"],
            "policy": "all",
            "seed": 0,
        }
    )
    journal.add(trial("elastic-net", 0.7))
    journal.add(trial("ridge", 0.6))
    return screened


def test_a_tuning_that_has_its_trials_already_only_saves_the_best(stopped: Store) -> None:
    """Killed after the last trial and before the bundle: nothing is computed twice."""
    tuned = tune(TuningSection(trials=2), stopped, now=NOW, resume=True)

    assert (tuned.best["family"], tuned.trials, tuned.failed) == ("ridge", 2, 0)
    assert Bundle.load(tuned.bundle).meta["family"] == "ridge"
    assert pd.read_parquet(stopped.trials)["family"].tolist() == ["ridge", "elastic-net"]


def test_a_trial_that_was_ended_early_is_never_the_best(stopped: Store) -> None:
    """What it would have scored on the other folds is a guess."""
    Journal(stopped.journal).add({**trial("ridge", 0.1), "folds": [0.1], "stopped": "lost after fold 1"})

    assert tune(TuningSection(trials=3), stopped, now=NOW, resume=True).best["rmsle"] == 0.6


def test_a_tuning_that_an_older_version_began_goes_on(stopped: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its journal does not say when a trial ended; a new trial says how long after that it did."""
    lines = [json.loads(line) for line in stopped.journal.read_text().splitlines()]
    for line in lines:
        line.pop("at", None)
    stopped.journal.write_text("".join(json.dumps(line) + "\n" for line in lines))
    new = {name: value for name, value in trial("ridge", 0.5).items() if name != "at"}
    monkeypatch.setattr(ray_tune, "run_trials", lambda _arrays, _search, finished, _failed: finished(new))

    tuned = tune(TuningSection(trials=3), stopped, now=NOW, resume=True)

    assert tuned.best["rmsle"] == 0.5
    assert pd.read_parquet(stopped.trials)["at"].notna().tolist() == [True, False, False]


def test_a_finished_tuning_leaves_no_journal(stopped: Store) -> None:
    tune(TuningSection(trials=2), stopped, now=NOW, resume=True)

    assert not stopped.journal.exists()


def test_the_finalists_are_the_best_that_were_fitted_and_never_the_dummy(stopped: Store) -> None:
    """The header of the journal names them: one that named others would be refused."""
    with pytest.raises(MissingInputError, match="cannot be resumed"):
        tune(TuningSection(trials=2, finalists=3), stopped, now=NOW, resume=True)

    assert tune(TuningSection(trials=2, finalists=2), stopped, now=NOW, resume=True).trials == 2


@pytest.mark.parametrize("change", [{"seed": 1}, {"estimate_policy": "static"}, {"finalists": 1}])
def test_a_journal_of_another_tuning_is_left_alone(stopped: Store, change: dict[str, Any]) -> None:
    before = stopped.journal.read_text()

    with pytest.raises(MissingInputError):
        tune(TuningSection(trials=2, **change), stopped, now=NOW, resume=True)

    assert stopped.journal.read_text() == before


def test_without_a_journal_there_is_nothing_to_resume(screened: Store) -> None:
    with pytest.raises(MissingInputError, match="no stopped tuning"):
        tune(TuningSection(trials=2), screened, now=NOW, resume=True)


def test_before_screen_the_command_is_named(learnt: Store) -> None:
    with pytest.raises(MissingInputError) as raised:
        tune(TuningSection(), learnt, now=NOW)
    assert raised.value.hint == "stargaze screen"


def test_a_leaderboard_of_failures_names_the_command(screened: Store) -> None:
    board = pd.read_csv(screened.leaderboard).assign(status="failed")
    board.to_csv(screened.leaderboard, index=False)

    with pytest.raises(ExternalError, match="no family that succeeded"):
        tune(TuningSection(), screened, now=NOW)


def test_trials_fit_training_rows_only(learnt: Store) -> None:
    table, feature_set = read_dataset_and_features(learnt)

    arrays = policy_arrays(table, feature_set, "all")

    assert len(arrays.inputs) == len(table.training)
    assert (arrays.folds >= 0).all()
    assert arrays.categories == (0, 1)


def test_the_text_tells_what_a_person_wants_to_know(stopped: Store) -> None:
    tuned = tune(TuningSection(trials=2), stopped, now=NOW, resume=True)

    text = TuningResult.as_text(tuned)

    assert text.startswith(f"bundle {tuned.bundle.name[:12]}: ridge, best of 2 trials (0 failed)")
    assert all(policy in text for policy in ("static", "activity", "all"))
