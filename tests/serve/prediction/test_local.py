"""Predictions in the terminal are the same as those of the page."""

from __future__ import annotations

import pytest

from stargaze.bundle.star_bundle import Bundle
from stargaze.errors import BadDataError, MissingInputError
from stargaze.features.ingest.user_input import UnknownRepositoryError
from stargaze.serve.prediction.local import predict_locally
from stargaze.serve.prediction.predict import predict
from stargaze.store import Store


def test_the_rows_are_ranked_by_predicted_stars(released_store: Store) -> None:
    known = Bundle.load(released_store.current).known["full_name"].tolist()

    rows = predict_locally(released_store, [known[900], known[0], known[1900]])

    assert [row["rank"] for row in rows] == [1, 2, 3]
    stars = [row["prediction"]["expected_stars"] for row in rows]
    assert stars == sorted(stars, reverse=True)


def test_the_prediction_is_the_same_as_on_the_page(released_store: Store) -> None:
    bundle = Bundle.load(released_store.current)
    repository = bundle.known.head(1)

    row = predict_locally(released_store, [repository["full_name"].iloc[0]])[0]

    assert row["prediction"] == predict(bundle, repository)[0].to_json()


@pytest.mark.parametrize("spelling", ["https://github.com/{}", "github.com/{}.git", " {} "])
def test_a_repository_can_be_written_as_name_or_url(released_store: Store, spelling: str) -> None:
    name = Bundle.load(released_store.current).known["full_name"].iloc[0]

    assert predict_locally(released_store, [spelling.format(name)])[0]["repository"] == name


def test_a_repository_that_is_named_twice_is_answered_once(released_store: Store) -> None:
    """GitHub's names are not case-sensitive."""
    name = Bundle.load(released_store.current).known["full_name"].iloc[0]

    assert len(predict_locally(released_store, [name, name.upper(), f"https://github.com/{name}"])) == 1


def test_before_the_first_release_the_newest_bundle_is_used(released_store: Store) -> None:
    name = Bundle.load(released_store.current).known["full_name"].iloc[0]
    bundle = released_store.current.resolve()
    released_store.bundles.mkdir()
    (released_store.bundles / bundle.name).symlink_to(bundle)
    released_store.latest.write_text(bundle.name + "\n")
    released_store.current.unlink()

    assert predict_locally(released_store, [name])[0]["rank"] == 1


def test_without_a_bundle_the_hint_names_the_next_command(store: Store) -> None:
    with pytest.raises(MissingInputError, match="no bundle") as raised:
        predict_locally(store, ["a/b"])
    assert "stargaze" in raised.value.hint


def test_an_invalid_name_is_rejected_before_anything_is_loaded(store: Store) -> None:
    with pytest.raises(BadDataError):
        predict_locally(store, ["../etc"])


def test_the_error_names_an_unknown_repository(released_store: Store) -> None:
    with pytest.raises(UnknownRepositoryError, match="no/such"):
        predict_locally(released_store, ["no/such"])
