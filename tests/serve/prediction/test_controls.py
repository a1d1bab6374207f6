"""A control is offered only if it changes estimates, and it then really does so through the whole answer."""

from __future__ import annotations

import dataclasses
import itertools
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stargaze.bundle.star_bundle import Bundle
from stargaze.features.matrix import allowed_features
from stargaze.features.schema import FIELD_BY_NAME
from stargaze.serve.lookup.live import BundledRepositories
from stargaze.serve.prediction.answer import answer_requests
from stargaze.serve.prediction.batch import PredictionContext
from stargaze.serve.prediction.controls import MAX_CONTROLS, ControlIndex, candidate_fields
from stargaze.serve.prediction.what_if import WHAT_IF_FIELDS, what_if_words
from stargaze.serve.prediction_request import PredictionRequest

NOW = datetime(2026, 3, 1, tzinfo=UTC)
TRIED: dict[str, tuple[Any, ...]] = {
    "number": (0, 1, 10, 1000, 100_000),
    "flag": (True, False),
    "date": ("today", "2016-12-01", "2015-06-01", "2013-01-01", "none"),
}


class Constant:
    """A model of the prediction error that is always the same."""

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        return np.ones(len(inputs))


@pytest.fixture(scope="module")
def bundle(bundle_folder: Path) -> Bundle:
    """The small bundle with two policies that can answer."""
    whole = Bundle.load(bundle_folder)
    intervals = dataclasses.asdict(whole.answer_policies[0].intervals)
    answers = [{"policy": policy, "intervals": intervals} for policy in ("all", "activity")]
    both = dataclasses.replace(whole, meta=whole.meta | {"answer_policies": answers})
    both.__dict__["spreads"] = {"all": whole.spreads["all"], "activity": Constant()}
    return both


@pytest.fixture(scope="module")
def context(bundle: Bundle) -> PredictionContext:
    return PredictionContext(bundle, BundledRepositories(bundle))


def predict(context: PredictionContext, name: str, **what_if: Any) -> dict[str, Any]:
    answer = answer_requests(context, [PredictionRequest((name,), (), what_if)], NOW)[0]
    prediction: dict[str, Any] = answer["predictions"][0] if "predictions" in answer else answer
    return prediction


def without_popularity(frame: pd.DataFrame) -> dict[str, Any]:
    """Return the figures of a repository that policy ``all`` cannot answer."""
    record = frame.iloc[0]
    names = ("contributors", "open_issues", "size_kb", "license", "language")
    return {"full_name": "me/mine", "created_at": "2015-01-01", **{name: record[name] for name in names}}


@pytest.mark.parametrize("policy", ["all", "activity"])
def test_controls_are_fields_that_the_models_use(bundle: Bundle, policy: str) -> None:
    controls = ControlIndex(bundle).for_policy(policy)

    names = [control.field.name for control in controls]
    assert 1 < len(names) <= MAX_CONTROLS
    assert len(set(names)) == len(names)
    assert set(names) <= set(candidate_fields(bundle, policy))
    assert ("forks" in names) == (policy == "all")
    assert "has_wiki" not in names  # the small bundle does not use it


def test_every_offered_control_changes_at_least_one_of_100_repositories(context: PredictionContext) -> None:
    names = context.bundle.known["full_name"].iloc[np.linspace(0, 1999, 100).astype(int)].tolist()
    controls = predict(context, names[0])["controls"]

    for control in controls:
        values = control["options"] or TRIED[control["kind"]]
        assert any(
            round(row["what_if"]["expected_stars"]) != round(row["expected_stars"])
            for value in values
            for row in (predict(context, name, **{control["field"]: value}) for name in names)
            if row.get("what_if")
        ), control["field"]


def test_a_field_without_effect_is_not_offered(bundle: Bundle) -> None:
    class Forks:
        """A model that uses forks only."""

        def predict(self, inputs: np.ndarray) -> np.ndarray:
            return np.log1p(np.nan_to_num(inputs[:, bundle.meta["features"]["all"].index("forks")]))

    other = dataclasses.replace(bundle)
    other.__dict__["models"] = {"all": Forks()}

    assert [control.field.name for control in ControlIndex(other).for_policy("all")] == ["forks"]


def test_the_most_important_field_is_the_first_control(bundle: Bundle) -> None:
    names = [control.field.name for control in ControlIndex(bundle).for_policy("all")]
    importance = {name: float(rank) for rank, name in enumerate(names)}
    other = dataclasses.replace(bundle, meta=bundle.meta | {"importance": {"all": importance}})

    assert [control.field.name for control in ControlIndex(other).for_policy("all")] == names[::-1]


def test_a_bundle_without_known_repositories_has_controls(bundle: Bundle) -> None:
    other = dataclasses.replace(bundle)
    other.__dict__["known"] = bundle.known.head(0)

    assert ControlIndex(other).for_policy("all")


@pytest.mark.parametrize("policy", ["all", "activity"])
@pytest.mark.parametrize(
    ("name", "word"), [(name, word) for name in sorted(WHAT_IF_FIELDS) for word in sorted(what_if_words(name))]
)
def test_every_word_is_answered_under_every_policy(
    context: PredictionContext, policy: str, name: str, word: str
) -> None:
    figures = without_popularity(context.bundle.known.head(1)) | ({"forks": 5} if policy == "all" else {})

    answer = answer_requests(context, [PredictionRequest((), (figures,), {name: word}, explain=False)], NOW)[0]

    prediction = answer["predictions"][0]
    assert prediction["policy"] == policy
    assert prediction["what_if"]["interval_low"] <= prediction["what_if"]["interval_high"]


def test_a_what_if_keeps_the_policy_unless_information_was_added(context: PredictionContext) -> None:
    """The difference is one of values then, not one of models."""
    figures = without_popularity(context.bundle.known.head(1))

    def changed(**what_if: Any) -> float:
        answer = answer_requests(context, [PredictionRequest((), (figures,), what_if, explain=False)], NOW)[0]
        return float(answer["predictions"][0]["what_if"]["expected_stars"])

    def asked(**fields: Any) -> dict[str, Any]:
        answer = answer_requests(context, [PredictionRequest((), (figures | fields,), explain=False)], NOW)[0]
        prediction: dict[str, Any] = answer["predictions"][0]
        return prediction

    assert (asked()["policy"], asked(forks=900)["policy"]) == ("activity", "all")
    assert changed(forks=900) == pytest.approx(asked(forks=900)["expected_stars"])
    assert changed(contributors=900) == pytest.approx(asked(contributors=900)["expected_stars"])


def test_controls_have_the_values_of_the_repository(context: PredictionContext) -> None:
    repository = context.bundle.known.iloc[3]

    controls = {item["field"]: item for item in predict(context, repository["full_name"])["controls"]}

    assert controls["forks"]["value"] == repository["forks"]
    assert controls["forks"]["kind"] == "number"
    for control in controls.values():
        assert (control["options"] is not None) == (control["kind"] == "choice")
        assert FIELD_BY_NAME[control["field"]].kind in ("count", "flag", "date", "category")


@pytest.mark.thorough
def test_the_controls_of_a_tuned_bundle_change_its_estimates_under_every_policy(tuned_bundle: Bundle) -> None:
    """Each through the whole answer, with the policy of the repository."""
    context = PredictionContext(tuned_bundle, BundledRepositories(tuned_bundle))
    known = tuned_bundle.known.iloc[np.linspace(0, len(tuned_bundle.known) - 1, 100).astype(int)]
    for policy in ("all", "activity", "static"):
        figures = [_figures(row, policy) for row in known.to_dict("records")]
        first = answer_requests(context, [PredictionRequest((), (figures[0],))], NOW)[0]["predictions"][0]
        assert first["policy"] == policy
        assert first["controls"]
        assert (first["without_popularity"] is not None) == (policy == "all")
        for control in first["controls"]:
            values = control["options"] or TRIED[control["kind"]]
            cases = itertools.product(values, (figures[start::4] for start in range(4)))
            assert any(_changes_one(context, rows, control["field"], value) for value, rows in cases), control


def _changes_one(context: PredictionContext, figures: list[dict[str, Any]], field: str, value: Any) -> bool:
    requests = [PredictionRequest((), (row,), {field: value}, explain=False) for row in figures]
    answers = [answer for answer in answer_requests(context, requests, NOW) if "predictions" in answer]
    rows = [answer["predictions"][0] for answer in answers]
    return any(round(row["what_if"]["expected_stars"]) != round(row["expected_stars"]) for row in rows)


def _figures(record: dict[str, Any], policy: str) -> dict[str, Any]:
    """Return the values of a repository that a policy may use."""
    allowed = {field for feature in allowed_features(policy) for field in feature.source} & set(WHAT_IF_FIELDS)
    known = {
        name: value.isoformat() if FIELD_BY_NAME[name].kind == "date" else value
        for name, value in record.items()
        if name in allowed and FIELD_BY_NAME[name].kind not in ("list", "text") and pd.notna(value)
    }
    return known | {"full_name": "me/mine", "fetched_at": record["fetched_at"].isoformat()}
