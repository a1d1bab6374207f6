"""Predictions in the terminal are the same as those of the page."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stargaze.bundle.growth_bundle import GrowthBundle
from stargaze.bundle.manifest import write_manifest
from stargaze.bundle.star_bundle import Bundle
from stargaze.errors import BadDataError, MissingInputError
from stargaze.features.ingest.user_input import UnknownRepositoryError
from stargaze.features.samples import open_sample
from stargaze.serve.lookup.live import BundledRepositories
from stargaze.serve.prediction.answer import answer_requests
from stargaze.serve.prediction.batch import PredictionContext
from stargaze.serve.prediction.local import answer_lines, predict_locally
from stargaze.serve.prediction.sentence import SET_NOTES, prediction_sentence
from stargaze.serve.prediction_request import PredictionRequest
from stargaze.serve.web.verify_bundle import verify_bundle
from stargaze.store import Store
from tests.histories import one_history

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


def test_repositories_of_a_table_without_ids_are_found_by_name(bundle_folder: Path, tmp_path: Path) -> None:
    """As in the best-of sample, which has hashed words instead of descriptions, too."""
    with open_sample("best-of") as path:
        known = pd.read_parquet(path)
    known = known.drop(columns=list(known.select_dtypes("datetimetz")))  # later than the bundle's
    making = tmp_path / "bundles" / "making"
    shutil.copytree(bundle_folder, making)
    known.to_parquet(making / "known.parquet")
    store, digest = Store(tmp_path), write_manifest(making)
    making.rename(store.bundles / digest)
    store.latest.write_text(digest + "\n")

    verify_bundle(store.bundles / digest)
    answer = predict_locally(store, ["Pandas-dev/pandas", "pandas-dev/panda"], now=NOW)

    expected = known.set_index("full_name")["stars"]["pandas-dev/pandas"]
    found = [(row["full_name"], row["actual_stars"]) for row in answer["predictions"]]
    assert found == [("pandas-dev/pandas", expected)]
    assert answer["errors"][0]["hint"].startswith("Did you mean pandas-dev/pandas")


@pytest.mark.thorough
@pytest.mark.parametrize("is_released", [True, False])
def test_the_forecast_is_that_of_the_released_growth_bundle_or_of_the_newest_if_there_is_no_release(
    released_store: Store, growth_bundle_folder: Path, tmp_path: Path, *, is_released: bool
) -> None:
    store = Store(tmp_path / "other")
    digest = GrowthBundle.load(growth_bundle_folder).digest
    stars = store.current if is_released else store.bundles / "stars"
    shutil.copytree(released_store.current, stars)
    shutil.copytree(growth_bundle_folder, stars / "growth" if is_released else store.bundles / digest)
    if not is_released:
        store.latest.write_text("stars\n")
        store.latest_growth.write_text(digest + "\n")
    name = Bundle.load(stars).known["full_name"].iloc[0]
    path = tmp_path / "history.csv"
    one_history(name, list(range(4900, 4990))).to_csv(path, index=False)

    answer = predict_locally(store, [name], now=datetime(2023, 9, 19, tzinfo=UTC), history=str(path))

    assert answer["growth_digest"] == digest
    assert answer["predictions"][0]["forecast"]


@pytest.mark.thorough
def test_a_release_without_growth_bundle_has_no_forecast(
    released_store: Store, growth_bundle_folder: Path, tmp_path: Path
) -> None:
    """As on the page, which does not use a growth bundle before it is deployed."""
    store = Store(tmp_path / "other")
    shutil.copytree(released_store.current, store.current)
    digest = GrowthBundle.load(growth_bundle_folder).digest
    shutil.copytree(growth_bundle_folder, store.bundles / digest)
    store.latest_growth.write_text(digest + "\n")

    answer = predict_locally(store, [Bundle.load(store.current).known["full_name"].iloc[0]], now=NOW)

    assert answer["growth_digest"] is None


def test_an_excluded_repository_has_no_answer_and_is_not_similar_to_any(released_store: Store) -> None:
    excluded, name = Bundle.load(released_store.current).known["full_name"].iloc[:2]
    owner = excluded.partition("/")[0]

    answer = predict_locally(released_store, [excluded, name], now=NOW, exclude=[excluded])
    similar = [item["full_name"] for item in answer["predictions"][0]["similar"]]
    exclude = [name for name in similar if not name.startswith(f"{owner}/")]
    others = predict_locally(released_store, [name], now=NOW, exclude=exclude)["predictions"][0]["similar"]

    assert [error["code"] for error in answer["errors"]] == ["excluded_repository"]
    assert exclude
    assert not set(exclude) & {item["full_name"] for item in others}


def test_each_repository_has_its_sentence_and_its_factors(released_store: Store) -> None:
    names = Bundle.load(released_store.current).known["full_name"].iloc[[900, 0]].tolist()

    answer = predict_locally(released_store, names, now=NOW)
    lines = answer_lines(answer)

    assert lines[-1] == f"bundle {answer['digest'][:12]}"
    sentences = [number for number, line in enumerate(lines[:-1]) if not line.startswith("  ")]
    assert [lines[number] for number in sentences] == [prediction_sentence(row) for row in answer["predictions"]]
    assert all(lines[number + 1].count("×") == 3 for number in sentences)


def test_the_set_of_a_repository_is_named(released_store: Store) -> None:
    bundle = Bundle.load(released_store.current)
    names = {name: str(bundle.known["full_name"][bundle.known_sets == name].iloc[0]) for name in SET_NOTES}

    answer = predict_locally(released_store, [*names.values()], now=NOW)

    assert {row["set"]: row["full_name"] for row in answer["predictions"]} == names
    assert {row["set"] for row in answer["predictions"] if row["in_training_data"]} == {"training"}
    lines = answer_lines(answer)
    assert all(lines.count(f"  {note}") == 1 for note in SET_NOTES.values())


def test_a_malformed_name_does_not_affect_the_others(released_store: Store) -> None:
    name = Bundle.load(released_store.current).known["full_name"].iloc[0]

    answer = predict_locally(released_store, ["no name", name, "https://gitlab.com/a/b"], now=NOW)

    assert [row["full_name"] for row in answer["predictions"]] == [name]
    assert [(error["name"], error["code"]) for error in answer["errors"]] == [
        ("'no name'", "invalid_request"),
        ("'https://gitlab.com/a/b'", "invalid_request"),
    ]


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


def test_hints_name_a_command_and_not_the_form_of_the_page(released_store: Store) -> None:
    known, unknown = Bundle.load(released_store.current).known["full_name"].iloc[0], "zzzzzz/qqqqqqqq"

    with pytest.raises(UnknownRepositoryError) as alone:
        predict_locally(released_store, [unknown], now=NOW)
    beside = predict_locally(released_store, [unknown, known], now=NOW)["errors"][0]

    assert alone.value.hint == beside["hint"] == "stargaze serve looks it up on GitHub"
