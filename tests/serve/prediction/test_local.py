"""The answer in the terminal: the same as the page's."""

from __future__ import annotations

import pytest

from stargaze.bundle.star_bundle import Bundle
from stargaze.errors import BadDataError, MissingInputError
from stargaze.features.ingest.user_input import UnknownRepositoryError
from stargaze.serve.prediction.local import answer
from stargaze.serve.prediction.predict import as_json, predict
from stargaze.store import Store


def test_the_rows_are_ranked_by_predicted_stars(released: Store) -> None:
    known = Bundle.load(released.current).known["full_name"].tolist()

    rows = answer(released, [known[900], known[0], known[1900]])

    assert [row["rank"] for row in rows] == [1, 2, 3]
    stars = [row["prediction"]["stars"] for row in rows]
    assert stars == sorted(stars, reverse=True)


def test_the_whole_prediction_is_what_the_page_would_say(released: Store) -> None:
    bundle = Bundle.load(released.current)
    repository = bundle.known.head(1)

    row = answer(released, [repository["full_name"].iloc[0]])[0]

    assert row["prediction"] == as_json(predict(bundle, repository)[0])


@pytest.mark.parametrize("spelling", ["https://github.com/{}", "github.com/{}.git", " {} "])
def test_a_name_is_understood_however_it_is_written(released: Store, spelling: str) -> None:
    name = Bundle.load(released.current).known["full_name"].iloc[0]

    assert answer(released, [spelling.format(name)])[0]["repository"] == name


def test_a_repository_that_is_asked_for_twice_is_answered_once(released: Store) -> None:
    """Case does not matter on GitHub."""
    name = Bundle.load(released.current).known["full_name"].iloc[0]

    assert len(answer(released, [name, name.upper(), f"https://github.com/{name}"])) == 1


def test_before_the_first_release_the_newest_bundle_answers(released: Store) -> None:
    name = Bundle.load(released.current).known["full_name"].iloc[0]
    bundle = released.current.resolve()
    released.bundles.mkdir()
    (released.bundles / bundle.name).symlink_to(bundle)
    released.latest.write_text(bundle.name + "\n")
    released.current.unlink()

    assert answer(released, [name])[0]["rank"] == 1


def test_without_any_bundle_the_next_step_is_named(store: Store) -> None:
    with pytest.raises(MissingInputError, match="no bundle") as raised:
        answer(store, ["a/b"])
    assert "stargaze" in raised.value.hint


def test_a_name_that_is_none_is_refused_before_anything_is_loaded(store: Store) -> None:
    with pytest.raises(BadDataError):
        answer(store, ["../etc"])


def test_an_unknown_repository_is_named(released: Store) -> None:
    with pytest.raises(UnknownRepositoryError, match="no/such"):
        answer(released, ["no/such"])
