"""The prediction: a plain function whose answer is consistent in itself."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stargaze.bundle.star_bundle import Bundle
from stargaze.features import schema
from stargaze.serve.prediction.predict import Prediction, as_json, predict


@pytest.fixture(scope="module")
def bundle(bundle_folder: Path) -> Bundle:
    """The bundle that answers."""
    return Bundle.load(bundle_folder)


@pytest.fixture(scope="module")
def asked(sample: pd.DataFrame) -> pd.DataFrame:
    """Repositories from many stars to few, in no order, and one of which nothing is known but its name."""
    chosen = sample.iloc[::40].sample(frac=1, random_state=0)
    nameless = schema.conform(pd.DataFrame([{"full_name": "nobody/knows"}]))
    return pd.concat([chosen.head(30), nameless, chosen.tail(10)], ignore_index=True)


@pytest.fixture(scope="module")
def answers(bundle: Bundle, asked: pd.DataFrame) -> list[Prediction]:
    """What it answers."""
    return predict(bundle, asked)


def test_the_answers_are_in_the_order_of_the_question(answers: list[Prediction], asked: pd.DataFrame) -> None:
    assert [answer.full_name for answer in answers] == asked["full_name"].tolist()


def test_one_by_one_and_all_at_once_are_the_same(
    bundle: Bundle, asked: pd.DataFrame, answers: list[Prediction]
) -> None:
    for row in (0, 7, 30):
        assert predict(bundle, asked.iloc[[row]]) == [answers[row]]


def test_every_figure_can_be_true(answers: list[Prediction]) -> None:
    for answer in answers:
        assert 0 <= answer.low <= answer.high
        assert answer.stars >= 0
        assert answer.expected >= 0
        assert 0 <= answer.percentile <= 100
        assert answer.low <= math.ceil(answer.stars)
        assert math.floor(answer.stars) <= answer.high


def test_more_stars_are_a_higher_percentile(answers: list[Prediction]) -> None:
    ordered = sorted(answers, key=lambda answer: answer.stars)

    percentiles = [answer.percentile for answer in ordered]

    assert percentiles == sorted(percentiles)
    assert percentiles[0] < percentiles[-1]


@pytest.mark.parametrize("factors", [0, 1, 3, 10, 100])
def test_base_factors_and_rest_multiply_to_what_is_expected(bundle: Bundle, asked: pd.DataFrame, factors: int) -> None:
    """What the page shows can be checked with a pocket calculator; it is rounded to four places."""
    for answer in predict(bundle, asked, factors=factors):
        product = (answer.base + 1) * math.prod(factor.times for factor in answer.factors) * answer.rest

        assert product == pytest.approx(answer.expected + 1, rel=5e-3, abs=0.01)
        assert len(answer.factors) == min(factors, 7)


def test_the_strongest_factor_is_first(answers: list[Prediction]) -> None:
    for answer in answers:
        strength = [abs(math.log(factor.times)) for factor in answer.factors]
        assert strength == sorted(strength, reverse=True) or max(np.diff(strength)) < 1e-3


def test_what_is_not_known_is_called_so(answers: list[Prediction]) -> None:
    nameless = next(answer for answer in answers if answer.full_name == "nobody/knows")

    assert {factor.value for factor in nameless.factors} == {"not known"}
    assert nameless.actual is None
    assert nameless.fetched_at is None
    assert not nameless.learned


def test_the_true_count_and_its_day_are_passed_on_not_used(bundle: Bundle, asked: pd.DataFrame) -> None:
    honest, flattered = predict(bundle, asked.head(1))[0], predict(bundle, asked.head(1).assign(stars=1e6))[0]

    assert honest.actual == asked["stars"].iloc[0]
    assert flattered.actual == 1e6
    assert (honest.stars, honest.low, honest.high) == (flattered.stars, flattered.low, flattered.high)
    assert honest.fetched_at == asked["fetched_at"].iloc[0].date().isoformat()


def test_a_factor_tells_its_value_for_people(answers: list[Prediction], asked: pd.DataFrame) -> None:
    values = {factor.feature: factor.value for factor in answers[0].factors}

    assert values["language"] == asked["language"].iloc[0]
    assert values["size_kb"] == f"{asked['size_kb'].iloc[0]:,.0f} kB"


def test_an_answer_is_plain_json(answers: list[Prediction]) -> None:
    for answer in answers:
        assert json.loads(json.dumps(as_json(answer), allow_nan=False))["full_name"] == answer.full_name
