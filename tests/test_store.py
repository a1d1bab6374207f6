"""The store names the command that creates each artifact."""

from __future__ import annotations

from pathlib import Path

import pytest

from stargaze.cli import EXAMPLES
from stargaze.errors import MissingInputError
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
