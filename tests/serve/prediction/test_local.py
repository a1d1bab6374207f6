"""Predictions in the terminal are the same as those of the page."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from stargaze.bundle.star_bundle import Bundle
from stargaze.errors import BadDataError, MissingInputError
from stargaze.features.ingest.user_input import UnknownRepositoryError
from stargaze.serve.lookup.live import BundledRepositories
from stargaze.serve.prediction.answer import answer_requests
from stargaze.serve.prediction.batch import PredictionContext
from stargaze.serve.prediction.local import answer_lines, predict_locally
from stargaze.serve.prediction.sentence import prediction_sentence
from stargaze.serve.prediction_request import PredictionRequest
from stargaze.store import Store

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def predict(store: Store, *names: str) -> list[dict[str, Any]]:
    predictions: list[dict[str, Any]] = predict_locally(store, names, now=NOW)["predictions"]
    return predictions


def test_the_answer_is_the_same_as_on_the_page(released_store: Store) -> None:
    bundle = Bundle.load(released_store.current)
    names = tuple(bundle.known["full_name"].iloc[[900, 0, 1900]])
    context = PredictionContext(bundle, BundledRepositories(bundle))

    answer = predict_locally(released_store, names, now=NOW)

    assert answer == answer_requests(context, [PredictionRequest(names)], NOW)[0]


def test_there_are_two_lines_for_each_repository(released_store: Store) -> None:
    names = Bundle.load(released_store.current).known["full_name"].iloc[[900, 0]].tolist()

    answer = predict_locally(released_store, names, now=NOW)
    lines = answer_lines(answer)

    assert len(lines) == 4
    for sentence, factors, row in zip(lines[::2], lines[1::2], answer["predictions"], strict=True):
        assert sentence == prediction_sentence(row)
        assert factors.count("×") == 3


@pytest.mark.parametrize("spelling", ["https://github.com/{}", "github.com/{}.git", " {} "])
def test_a_repository_can_be_written_as_name_or_url(released_store: Store, spelling: str) -> None:
    name = Bundle.load(released_store.current).known["full_name"].iloc[0]

    assert predict(released_store, spelling.format(name))[0]["full_name"] == name


def test_a_repository_that_is_named_twice_is_answered_once(released_store: Store) -> None:
    """GitHub's names are not case-sensitive."""
    name = Bundle.load(released_store.current).known["full_name"].iloc[0]

    assert len(predict(released_store, name, name.upper(), f"https://github.com/{name}")) == 1


def test_before_the_first_release_the_newest_bundle_is_used(released_store: Store) -> None:
    name = Bundle.load(released_store.current).known["full_name"].iloc[0]
    bundle = released_store.current.resolve()
    released_store.bundles.mkdir()
    (released_store.bundles / bundle.name).symlink_to(bundle)
    released_store.latest.write_text(bundle.name + "\n")
    released_store.current.unlink()

    assert predict(released_store, name)[0]["rank"] == 1


def test_without_a_bundle_the_hint_names_the_next_command(store: Store) -> None:
    with pytest.raises(MissingInputError, match="no bundle") as raised:
        predict(store, "a/b")
    assert "stargaze" in raised.value.hint


def test_an_invalid_name_is_rejected_before_anything_is_loaded(store: Store) -> None:
    with pytest.raises(BadDataError):
        predict(store, "../etc")


def test_the_error_names_an_unknown_repository(released_store: Store) -> None:
    with pytest.raises(UnknownRepositoryError, match="no/such"):
        predict(released_store, "no/such")
