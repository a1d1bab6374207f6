"""Repositories unlike the training repositories carry a warning in the API, in a what-if and in the terminal."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stargaze.bundle.star_bundle import Bundle
from stargaze.config import FetchSection
from stargaze.features.streams.record_stream import open_records
from stargaze.serve.lookup.live import BundledRepositories
from stargaze.serve.predict_records import predict_records
from stargaze.serve.prediction.answer import answer_requests
from stargaze.serve.prediction.batch import PredictionContext
from stargaze.serve.prediction.local import answer_lines
from stargaze.serve.prediction.out_of_range import describe_unlike
from stargaze.serve.prediction_request import PredictionRequest

NOW = datetime(2017, 2, 1, 12, 0, tzinfo=UTC)
TYPICAL = {
    "contributors": 2,
    "open_issues": 1,
    "forks": 6,
    "subscribers": 3,
    "size_kb": 300,
    "created_at": "2015-06-01",
}
FARTHER = "Farther from the training data than 99% of the repositories held out from it, mostly in "
UNUSUAL = {**TYPICAL, "contributors": 1, "open_issues": 0, "forks": 900, "subscribers": 1}


@pytest.fixture(scope="module")
def context(tuned_bundle: Bundle) -> PredictionContext:
    """The saved bundle, without GitHub."""
    return PredictionContext(tuned_bundle, BundledRepositories(tuned_bundle))


def predict(context: PredictionContext, entered: dict[str, Any], what_if: dict[str, Any] | None = None) -> Any:
    """Return the answer about one entered repository."""
    return answer_requests(context, [PredictionRequest((), (entered,), what_if or {})], NOW)[0]


def test_a_saved_bundle_has_the_most_important_numbers(tuned_bundle: Bundle) -> None:
    assert tuned_bundle.population is not None
    assert {"forks", "subscribers", "age"} <= set(tuned_bundle.population.features)
    assert len(tuned_bundle.content["population.bin"]) < 50_000


def test_few_known_repositories_are_unlike_the_training_repositories(tuned_bundle: Bundle) -> None:
    held_out = tuned_bundle.known_features[tuned_bundle.known_sets == "test"]

    assert np.mean([found is not None for found in describe_unlike(tuned_bundle, held_out)]) < 0.04


def test_a_repository_with_many_forks_and_one_subscriber_is_unlike_them(context: PredictionContext) -> None:
    row, typical = (predict(context, entered)["predictions"][0] for entered in (UNUSUAL, TYPICAL))

    assert row["out_of_range"] == []
    assert row["unlike_training"]["labels"][0] == "forks"
    assert row["unlike_training"]["text"].startswith(FARTHER + "forks")
    assert typical["unlike_training"] is None


def test_a_what_if_can_be_unlike_them(context: PredictionContext) -> None:
    row = predict(context, TYPICAL, {"forks": "900", "subscribers": "1", "contributors": "1"})["predictions"][0]

    assert row["unlike_training"] is None
    assert "forks" in row["what_if"]["unlike_training"]["labels"]


def test_the_terminal_prints_the_sentence(context: PredictionContext) -> None:
    answer = predict(context, UNUSUAL)

    assert f"  {answer['predictions'][0]['unlike_training']['text']}" in answer_lines(answer)
    assert not any(FARTHER in line for line in answer_lines(predict(context, TYPICAL)))


def test_three_known_values_are_enough(context: PredictionContext) -> None:
    row = predict(context, {"forks": 900, "subscribers": 1, "created_at": "2015-06-01"})

    assert row["predictions"][0]["unlike_training"] is not None
    assert predict(context, {"forks": 9})["predictions"][0]["unlike_training"] is None


def test_records_of_files_name_what_sets_them_apart(tuned_bundle: Bundle, tmp_path: Path) -> None:
    rows = [{"full_name": f"nobody/{name}", "stars": 1, **row} for name, row in (("a", UNUSUAL), ("b", TYPICAL))]
    path = tmp_path / "records.jsonl"
    path.write_text("".join(f"{json.dumps(row | {'fetched_at': '2017-02-01'})}\n" for row in rows))

    with open_records(FetchSection(), (), [path], NOW) as stream:
        results = pd.concat(predict_records(tuned_bundle, stream)).set_index("full_name")

    assert "forks" in results.loc["nobody/a", "unlike_training"]
    assert pd.isna(results.loc["nobody/b", "unlike_training"])
