"""The store names the command that creates each artifact."""

from __future__ import annotations

from pathlib import Path

import pytest

from stargaze.cli import EXAMPLES
from stargaze.errors import MissingInputError, UsageError
from stargaze.store import COMMANDS, Store

ARTIFACTS = (
    "repositories",
    "features",
    "selection",
    "leaderboard",
    "trials",
    "bundles",
    "latest",
    "releases",
    "current",
)


@pytest.mark.parametrize("artifact", ARTIFACTS)
def test_a_missing_artifact_names_the_command_that_creates_it(tmp_path: Path, artifact: str) -> None:
    store = Store(tmp_path)

    with pytest.raises(MissingInputError, match="does not exist yet") as caught:
        store.require(getattr(store, artifact))

    assert caught.value.hint.removeprefix("stargaze ") in EXAMPLES
    assert caught.value.exit_code == 3


def test_an_existing_artifact_is_returned(tmp_path: Path) -> None:
    path = tmp_path / "features.json"
    path.touch()

    assert Store(tmp_path).require(path) == path


def test_every_artifact_is_created_by_a_command() -> None:
    assert set(COMMANDS.values()) <= set(EXAMPLES)


@pytest.mark.parametrize(
    "name", ["", "repositories.parquet", "bundles/x.csv", "keys/../held_out.parquet", "serving/current"]
)
def test_what_a_user_writes_replaces_no_artifact(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="belongs to the store"):
        Store(tmp_path).check_output(tmp_path / name)


@pytest.mark.parametrize("name", ["predictions.csv", "../repositories.parquet", "exports/bundles"])
def test_other_files_may_be_in_the_folder_of_the_store(tmp_path: Path, name: str) -> None:
    Store(tmp_path / "store").check_output(tmp_path / "store" / name)
