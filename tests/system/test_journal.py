"""The journal of ended trials, from which a stopped tuning is resumed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stargaze.errors import MissingInputError
from stargaze.system.journal import Journal

HEADER = {"feature_set": "f", "finalists": ["ridge"], "policy": "all", "seed": 0, "lookahead": 8}
OTHER = HEADER | {"seed": 1}


def trial(number: int) -> dict[str, Any]:
    """Return a finished trial."""
    return {"number": number, "family": "ridge", "parameters": {"alpha": float(number)}, "rmsle": 1.0 / (1 + number)}


def write_journal(path: Path, header: dict[str, Any], numbers: list[int]) -> Journal:
    journal = Journal(path)
    journal.begin(header)
    for number in numbers:
        journal.add(trial(number))
    return journal


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    """A journal with two finished trials."""
    return write_journal(tmp_path / "trials.jsonl", HEADER, [0, 1])


def kept_trials(journal: Journal) -> list[list[int]]:
    """Return the numbers of the trials in the kept journals."""
    files = sorted(journal.path.parent.glob("trials-*.jsonl"))
    return [[json.loads(line)["number"] for line in path.read_text().splitlines()[1:]] for path in files]


def test_resume_returns_the_first_line_and_the_trials(journal: Journal) -> None:
    assert journal.resume(HEADER) == (HEADER, [trial(0), trial(1)])


@pytest.mark.parametrize("missing", [1, 2, 30, 70])
def test_trials_after_an_incomplete_line_are_not_lost(journal: Journal, missing: int) -> None:
    """The first trial after a resume must not be appended to the incomplete line."""
    journal.path.write_text(journal.path.read_text()[:-missing])
    assert journal.resume(HEADER)[1] == [trial(0)]

    journal.add(trial(2))
    journal.add(trial(3))

    assert journal.resume(HEADER)[1] == [trial(0), trial(2), trial(3)]


def test_an_unreadable_line_hides_no_other_trial(journal: Journal) -> None:
    with journal.path.open("ab") as stream:
        stream.write(b"\x00\xff not JSON\n7\n")
    journal.add(trial(2))

    assert journal.resume(HEADER)[1] == [trial(0), trial(1), trial(2)]


def test_the_lookahead_of_the_journal_is_in_force(journal: Journal) -> None:
    """It depends on the number of cores, and the same search on another machine goes on with it."""
    header = {name: value for name, value in HEADER.items() if name != "lookahead"}

    assert journal.resume(header)[0]["lookahead"] == 8


@pytest.mark.parametrize(
    "change", [{"feature_set": "g"}, {"finalists": ["ridge", "lightgbm"]}, {"policy": "static"}, {"seed": 1}]
)
def test_a_journal_of_another_tuning_is_refused_and_not_changed(journal: Journal, change: dict[str, Any]) -> None:
    before = journal.path.read_text()

    with pytest.raises(MissingInputError, match="cannot be resumed"):
        journal.resume(HEADER | change)

    assert journal.path.read_text() == before


@pytest.mark.parametrize("text", ["", "\n", "{", "null\n", "7\n", "\x00\x00\x00"])
def test_a_journal_without_a_header_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "trials.jsonl").write_text(text)

    with pytest.raises(MissingInputError):
        Journal(tmp_path / "trials.jsonl").resume(HEADER)


def test_without_a_journal_there_is_nothing_to_resume(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="no stopped tuning"):
        Journal(tmp_path / "trials.jsonl").resume(HEADER)


def test_any_number_of_new_starts_keeps_the_trials(journal: Journal) -> None:
    """The trials are not lost if ``--resume`` was forgotten, however often."""
    for header in (OTHER, OTHER, HEADER, OTHER):
        journal.begin(header)

    assert kept_trials(journal) == [[0, 1]]
    assert journal.resume(HEADER)[1] == [trial(0), trial(1)]


def test_a_new_start_of_the_same_tuning_is_merged_with_the_kept_one(journal: Journal) -> None:
    journal.begin(HEADER)
    for number in (2, 0):
        journal.add(trial(number))

    numbers = [trial["number"] for trial in journal.resume(HEADER)[1]]

    assert sorted(numbers) == [0, 1, 2]
    assert kept_trials(journal) == []


def test_resuming_another_tuning_keeps_the_current_one(journal: Journal) -> None:
    write_journal(journal.path, OTHER, [5])

    assert journal.resume(HEADER)[1] == [trial(0), trial(1)]
    assert journal.resume(OTHER)[1] == [trial(5)]
    assert kept_trials(journal) == [[0, 1]]


def test_journals_with_another_lookahead_are_not_mixed(journal: Journal) -> None:
    """Their trials have the same numbers and other parameters; the longer one is resumed."""
    write_journal(journal.path, HEADER | {"lookahead": 16}, [0, 1, 2])

    first, trials = journal.resume(HEADER)

    assert (first["lookahead"], len(trials)) == (16, 3)
    assert kept_trials(journal) == [[0, 1]]


def test_a_journal_whose_first_line_is_damaged_is_kept(journal: Journal) -> None:
    text = "damaged" + journal.path.read_text()
    journal.path.write_text(text)

    journal.begin(HEADER)

    assert journal.path.with_name("trials-unreadable.jsonl").read_text() == text


@pytest.mark.parametrize(("header", "kept"), [(HEADER, []), (OTHER, [[0, 1]])])
def test_an_adopted_journal_loses_no_trial_of_this_one(
    journal: Journal, tmp_path: Path, header: dict[str, Any], kept: list[list[int]]
) -> None:
    """A stopped job of the cluster returns its journal."""
    (tmp_path / "downloaded").mkdir()
    other = write_journal(tmp_path / "downloaded" / "trials.jsonl", header, [1, 2])

    journal.adopt(other.path)

    assert not other.path.exists()
    assert kept_trials(journal) == kept
    assert journal.resume(header)[1][-1] == trial(2)
    assert len(journal.resume(HEADER)[1]) == (3 if header == HEADER else 2)


def test_a_finished_tuning_deletes_its_journals(journal: Journal) -> None:
    journal.begin(HEADER)
    for number in (0, 1, 2):
        journal.add(trial(number))

    journal.finish()

    assert not list(journal.path.parent.glob("trials*"))


def test_a_finished_tuning_keeps_trials_that_it_did_not_have(journal: Journal) -> None:
    """It was started again with fewer trials."""
    write_journal(journal.path, HEADER, [0])

    journal.finish()

    assert kept_trials(journal) == [[0, 1]]


def test_each_trial_is_written_at_once(journal: Journal) -> None:
    journal.add(trial(5))

    assert json.loads(journal.path.read_text().splitlines()[-1]) == trial(5)
