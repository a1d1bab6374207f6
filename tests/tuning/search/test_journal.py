"""The journal of finished trials, from which a stopped tuning is resumed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stargaze.errors import MissingInputError
from stargaze.tuning.search.journal import Journal, write_trials

HEADER = {"feature_set": "f", "finalists": ["ridge"], "policy": "all", "seed": 0}


def trial(number: int) -> dict[str, Any]:
    """Return a finished trial."""
    return {
        "family": "ridge",
        "parameters": {"alpha": float(number)},
        "rmsle": 1.0 / (1 + number),
        "folds": [0.5, 0.6],
        "seconds": 1.5,
        "at": 3.0 * number,
        "stopped": "done",
    }


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    """A journal with two finished trials."""
    journal = Journal(tmp_path / "trials.jsonl")
    journal.begin(HEADER)
    journal.add(trial(0))
    journal.add(trial(1))
    return journal


def test_resume_returns_the_finished_trials(journal: Journal) -> None:
    assert journal.resume(HEADER) == [trial(0), trial(1)]


@pytest.mark.parametrize("missing", [1, 2, 30, 120])
def test_an_incomplete_last_line_is_ignored(journal: Journal, missing: int) -> None:
    """A line that lacks only its line break may be read or ignored."""
    text = journal.path.read_text()
    journal.path.write_text(text[:-missing])

    assert journal.resume(HEADER) in ([trial(0)], [trial(0), trial(1)])


@pytest.mark.parametrize("missing", [1, 2, 30, 120])
def test_trials_after_an_incomplete_line_are_not_lost(journal: Journal, missing: int) -> None:
    """The first trial after a resume must not be appended to the incomplete line."""
    journal.path.write_text(journal.path.read_text()[:-missing])
    before = journal.resume(HEADER)

    journal.add(trial(2))
    journal.add(trial(3))

    assert journal.resume(HEADER) == [*before, trial(2), trial(3)]


@pytest.mark.parametrize(
    "change", [{"feature_set": "g"}, {"finalists": ["ridge", "lightgbm"]}, {"policy": "static"}, {"seed": 1}]
)
def test_a_journal_of_another_tuning_is_refused(journal: Journal, change: dict[str, Any]) -> None:
    with pytest.raises(MissingInputError, match="cannot be resumed"):
        journal.resume(HEADER | change)


@pytest.mark.parametrize("text", ["", "\n", "{", "null\n", "7\n", "\x00\x00\x00"])
def test_a_journal_without_a_header_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "trials.jsonl").write_text(text)

    with pytest.raises(MissingInputError):
        Journal(tmp_path / "trials.jsonl").resume(HEADER)


def test_without_a_journal_there_is_nothing_to_resume(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="no stopped tuning"):
        Journal(tmp_path / "trials.jsonl").resume(HEADER)


def test_a_new_start_keeps_the_previous_journal(journal: Journal) -> None:
    """The trials are not lost if ``--resume`` was forgotten."""
    old = journal.path.read_text()

    journal.begin(HEADER | {"seed": 1})

    assert journal.resume(HEADER | {"seed": 1}) == []
    assert journal.path.with_name("trials.before.jsonl").read_text() == old


def test_each_trial_is_written_at_once(journal: Journal) -> None:
    journal.add(trial(5))

    assert json.loads(journal.path.read_text().splitlines()[-1]) == trial(5)


def test_the_table_of_trials_has_the_best_first(tmp_path: Path) -> None:
    write_trials(tmp_path / "trials.parquet", [trial(0), trial(2), trial(1)])

    table = pd.read_parquet(tmp_path / "trials.parquet")

    assert table["rmsle"].tolist() == [1 / 3, 1 / 2, 1.0]
    assert json.loads(table["parameters"][0]) == {"alpha": 2.0}
    assert table.columns.tolist() == ["family", "parameters", "rmsle", "fold_0", "fold_1", "seconds", "at", "stopped"]


def test_a_trial_without_a_time_has_a_missing_value(tmp_path: Path) -> None:
    old = {name: value for name, value in trial(0).items() if name != "at"}

    write_trials(tmp_path / "trials.parquet", [old, trial(1)])

    assert pd.read_parquet(tmp_path / "trials.parquet")["at"].isna().tolist() == [False, True]


def test_folds_that_a_stopped_trial_did_not_run_have_no_score(tmp_path: Path) -> None:
    write_trials(tmp_path / "trials.parquet", [trial(0), {**trial(1), "folds": [0.7], "stopped": "lost after fold 1"}])

    table = pd.read_parquet(tmp_path / "trials.parquet")

    assert table["stopped"].tolist() == ["done", "lost after fold 1"]  # its score is extrapolated
    assert table["fold_0"].tolist() == [0.5, 0.7]
    assert table["fold_1"].isna().tolist() == [False, True]
