"""A question in, a ranked answer out."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from stargaze.bundle import Bundle
from stargaze.errors import BadDataError
from stargaze.features.question import UnknownRepositoryError
from stargaze.serve.answer import respond
from stargaze.serve.tickets import Question

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def bundle(bundle_folder: Path) -> Bundle:
    return Bundle.load(bundle_folder)


def test_most_predicted_stars_come_first(bundle: Bundle) -> None:
    names = tuple(bundle.known["full_name"].iloc[[900, 0, 300]])

    predictions = respond(bundle, Question(names), NOW)["predictions"]

    assert [row["rank"] for row in predictions] == [1, 2, 3]
    assert [row["stars"] for row in predictions] == sorted((row["stars"] for row in predictions), reverse=True)


def test_typed_figures_stand_beside_known_repositories(bundle: Bundle) -> None:
    figures = {"full_name": "me/mine", "forks": "3"}

    predictions = respond(bundle, Question((bundle.known["full_name"].iloc[0],), (figures,)), NOW)["predictions"]

    assert {row["full_name"]: row["known"] for row in predictions} == {
        bundle.known["full_name"].iloc[0]: True,
        "me/mine": False,
    }


def test_typed_figures_alone_are_enough(bundle: Bundle) -> None:
    answer = respond(bundle, Question((), ({"full_name": "me/mine", "forks": "3"},)), NOW)

    assert answer["digest"] == bundle.digest
    assert answer["predictions"][0]["actual"] is None


def test_an_unknown_name_is_named(bundle: Bundle) -> None:
    with pytest.raises(UnknownRepositoryError, match="no/such-one"):
        respond(bundle, Question(("no/such-one",)), NOW)


def test_figures_that_cannot_be_true_are_refused(bundle: Bundle) -> None:
    with pytest.raises(BadDataError, match="forks"):
        respond(bundle, Question((), ({"full_name": "me/mine", "forks": "-3"},)), NOW)
