"""Requests are answered and ranked; a batch gives the same answers as single requests, and errors stay separate."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargaze.bundle.growth_bundle import GrowthBundle
from stargaze.bundle.star_bundle import Bundle
from stargaze.serve.lookup.exclusion import Exclusions
from stargaze.serve.lookup.live import BundledRepositories, LookupResult
from stargaze.serve.lookup.star_history import NO_HISTORY
from stargaze.serve.prediction.answer import answer_requests
from stargaze.serve.prediction.batch import PredictionContext
from stargaze.serve.prediction_request import Answer, PredictionRequest
from tests.growth_bundles import constant_bundle
from tests.serve.fake_queue import answer_one

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ENTERED = {"full_name": "me/mine", "forks": "3"}


@pytest.fixture(scope="module")
def bundle(bundle_folder: Path) -> Bundle:
    return Bundle.load(bundle_folder)


@pytest.fixture(scope="module")
def context(bundle: Bundle) -> PredictionContext:
    return PredictionContext(bundle, BundledRepositories(bundle))


@dataclass(frozen=True)
class RenamedLookup:
    """Finds one repository under two names, and another with today's values of GitHub."""

    bundle: Bundle

    def find(self, names: Sequence[str], now: datetime) -> LookupResult:
        frame = self.bundle.known.head(2).assign(fetched_at=now, stars=[1.0, 2.0])
        first = str(frame["full_name"].iloc[0]).lower()
        rows = {first: 0, "old/name": 0, str(frame["full_name"].iloc[1]).lower(): 1}
        return LookupResult(
            lambda: frame, len(frame), rows, dict.fromkeys(rows, "github"), {"old/name": ["was renamed from old/name"]}
        )


@dataclass(frozen=True)
class FailingLookup:
    """Raises KeyError for a certain name."""

    known: BundledRepositories

    def find(self, names: Sequence[str], now: datetime) -> LookupResult:
        if "break/this" in names:
            raise KeyError("no such column")
        return self.known.find(names, now)


@dataclass(frozen=True)
class FakeStarHistories:
    """The same history for all repositories; ``requests`` has the names of each call."""

    requests: list[list[str]] = field(default_factory=list)

    def find_all(
        self, full_names: Sequence[str], now: datetime, growth: GrowthBundle | None
    ) -> Mapping[str, Mapping[str, Any]]:
        self.requests.append(sorted(full_names))
        curve = {"dates": ["2026-01-01"], "stars": [1]}
        history = {**NO_HISTORY, "history": curve, "history_note": growth.digest if growth else ""}
        return {name.lower(): history for name in full_names}


@dataclass(frozen=True)
class FakeTrackRecord:
    """Remembers the answers."""

    answers: list[Answer] = field(default_factory=list)

    def record(self, answers: Sequence[Answer], now: datetime) -> None:
        self.answers.extend(answers)


def names_of(bundle: Bundle, *rows: int) -> tuple[str, ...]:
    """Return the names of rows of the bundle."""
    return tuple(str(name) for name in bundle.known["full_name"].iloc[list(rows)])


def test_predictions_are_ranked_by_predicted_stars(bundle: Bundle) -> None:
    predictions = answer_one(bundle, PredictionRequest(names_of(bundle, 900, 0, 300)))["predictions"]

    assert [row["rank"] for row in predictions] == [1, 2, 3]
    assert [row["expected_stars"] for row in predictions] == sorted(
        (row["expected_stars"] for row in predictions), reverse=True
    )


def test_an_unknown_name_does_not_reject_the_others(bundle: Bundle) -> None:
    (name,) = names_of(bundle, 7)

    answer = answer_one(bundle, PredictionRequest(("no/such-one", name, "No/Other")))

    assert [row["full_name"] for row in answer["predictions"]] == [name]
    assert [(error["name"], error["code"]) for error in answer["errors"]] == [
        ("no/such-one", "unknown_repository"),
        ("No/Other", "unknown_repository"),
    ]
    assert all(error["message"].startswith(f"{error['name']}: not among") for error in answer["errors"])


def test_entered_figures_and_known_repositories_can_be_mixed(bundle: Bundle) -> None:
    predictions = answer_one(bundle, PredictionRequest(names_of(bundle, 0), (ENTERED,)))["predictions"]

    rows = {row["full_name"]: row["source"] for row in predictions}
    assert rows == {names_of(bundle, 0)[0]: "bundle", "me/mine": "entered"}


def test_entered_figures_are_answered_without_names(bundle: Bundle) -> None:
    answer = answer_one(bundle, PredictionRequest((), (ENTERED,)))

    assert answer["digest"] == bundle.digest
    assert answer["answered_at"] == NOW.isoformat()
    assert answer["predictions"][0]["actual_stars"] is None


def test_an_unknown_repository_is_an_error_with_its_name(bundle: Bundle) -> None:
    error = answer_one(bundle, PredictionRequest(("no/such-one",)))

    assert error["message"] == "no/such-one: not among the 2,000 known repositories"


def test_impossible_figures_are_an_error(bundle: Bundle) -> None:
    error = answer_one(bundle, PredictionRequest((), ({"full_name": "me/mine", "forks": "-3"},)))

    assert "forks is '-3'" in error["message"]


# ---- batches -------------------------------------------------------------------------------------------------

KINDS: dict[str, PredictionRequest] = {
    "entered": PredictionRequest((), (ENTERED,)),
    "what if": PredictionRequest((), ({**ENTERED, "readme_length": 100},), {"readme_length": "9000", "license": "mit"}),
    "plain": PredictionRequest((), (ENTERED,), explain=False),
    "unknown": PredictionRequest(("no/such-one",)),
    "impossible": PredictionRequest((), ({"full_name": "me/mine", "forks": "-3"},)),
    "not editable": PredictionRequest((), (ENTERED,), {"stars": "3000"}),
    "empty": PredictionRequest(),
}


@pytest.mark.thorough
@given(
    items=st.lists(
        st.one_of(
            st.sampled_from(sorted(KINDS)),
            st.tuples(st.lists(st.integers(0, 1999), min_size=1, max_size=3, unique=True), st.booleans()),
        ),
        max_size=6,
    )
)
def test_a_batch_gives_the_same_answers_as_single_requests(context: PredictionContext, items: list[Any]) -> None:
    """Whatever else is in the batch, the answer or the error is the same."""
    requests = [
        KINDS[item] if isinstance(item, str) else PredictionRequest(names_of(context.bundle, *item[0]), explain=item[1])
        for item in items
    ]

    together = answer_requests(context, requests, NOW)

    assert together == [answer_requests(context, [request], NOW)[0] for request in requests]


def test_each_request_gets_its_own_error(context: PredictionContext) -> None:
    requests = [KINDS[name] for name in ("unknown", "entered", "impossible", "not editable")]

    unknown, entered, impossible, not_editable = answer_requests(context, requests, NOW)

    assert unknown["message"] == "no/such-one: not among the 2,000 known repositories"
    assert entered["predictions"][0]["full_name"] == "me/mine"
    assert "forks is '-3'" in impossible["message"]
    assert not_editable["message"] == ("'stars' is not a field that a what-if can change")


def test_the_hint_suggests_a_similar_name(context: PredictionContext) -> None:
    owner, name = names_of(context.bundle, 5)[0].split("/")

    error = answer_requests(context, [PredictionRequest((f"somebody/{name}", "no/such-one"))], NOW)[0]

    assert f"{owner}/{name}" in error["hint"]
    assert "no/such-one: not among" in error["message"]


def test_a_request_that_raises_does_not_affect_the_others(bundle: Bundle) -> None:
    context = PredictionContext(bundle, FailingLookup(BundledRepositories(bundle)))

    good, broken = answer_requests(
        context, [PredictionRequest(names_of(bundle, 0)), PredictionRequest(("break/this",))], NOW
    )

    assert (
        good
        == answer_requests(
            PredictionContext(bundle, BundledRepositories(bundle)), [PredictionRequest(names_of(bundle, 0))], NOW
        )[0]
    )
    assert broken["message"] == "unexpected error in the worker"


def test_no_requests_have_no_answers(context: PredictionContext) -> None:
    assert answer_requests(context, [], NOW) == []


# ---- explanations ------------------------------------------------------------------------------------------------------


def test_the_numbers_are_the_same_without_an_explanation(bundle: Bundle) -> None:
    context = PredictionContext(bundle, BundledRepositories(bundle), FakeStarHistories())
    request = PredictionRequest(names_of(bundle, 3, 700, 1500), (ENTERED,))

    full = answer_requests(context, [request], NOW)[0]["predictions"]
    unexplained = answer_requests(context, [dataclasses.replace(request, explain=False)], NOW)[0]["predictions"]

    explanation = {"explanation", "without_popularity", "similar", "controls", "history", "forecast", "milestone"}
    assert [{k: v for k, v in row.items() if k not in explanation} for row in unexplained] == [
        {k: v for k, v in row.items() if k not in explanation} for row in full
    ]
    assert all(row["explanation"]["factors"] and row["similar"] for row in full)
    assert [bool(row["history"]) for row in full] == [row["source"] != "entered" for row in full]
    assert not any(row[name] for row in unexplained for name in explanation)


def test_base_and_factors_multiply_to_the_expected_stars(context: PredictionContext) -> None:
    for row in answer_requests(context, [PredictionRequest(names_of(context.bundle, 3, 700), (ENTERED,))], NOW)[0][
        "predictions"
    ]:
        why = row["explanation"]
        product = (
            (why["baseline_stars"] + 1) * math.prod(item["factor"] for item in why["factors"]) * why["other_factors"]
        )

        assert product == pytest.approx(row["expected_stars"] + 1, rel=1e-6)


def test_an_answer_is_valid_json(context: PredictionContext) -> None:
    answer = answer_requests(
        context, [PredictionRequest(names_of(context.bundle, 3), (ENTERED,), {"topic_count": "4"})], NOW
    )[0]

    assert json.loads(json.dumps(answer, allow_nan=False)) == answer


def test_the_growth_bundle_of_the_release_forecasts_and_is_named(bundle: Bundle) -> None:
    growth = constant_bundle()
    lookup, histories = BundledRepositories(bundle), FakeStarHistories()
    request = PredictionRequest(names_of(bundle, 3))

    answers = [
        answer_requests(PredictionContext(bundle, lookup, histories, growth=each), [request], NOW)[0]
        for each in (growth, None)
    ]

    assert [answer["growth_digest"] for answer in answers] == [growth.digest, None]
    assert [answer["predictions"][0]["history_note"] for answer in answers] == [growth.digest, ""]


def test_the_histories_of_a_batch_are_requested_together_and_only_for_explained_names(bundle: Bundle) -> None:
    first, second, third = names_of(bundle, 0, 1, 2)
    histories = FakeStarHistories()
    requests = [
        PredictionRequest((first, second), (ENTERED,)),
        PredictionRequest((second,)),
        PredictionRequest((third,)),
    ]
    requests[2] = dataclasses.replace(requests[2], explain=False)

    answers = answer_requests(PredictionContext(bundle, BundledRepositories(bundle), histories), requests, NOW)

    rows = [row for answer in answers for row in answer["predictions"]]
    assert histories.requests == [sorted([first, second])]
    assert {row["full_name"] for row in rows if row["history"]} == {first, second}


def test_an_excluded_name_is_an_error_also_with_entered_figures(bundle: Bundle) -> None:
    excluded, shown = names_of(bundle, 3, 700)
    exclusions = Exclusions.parse([excluded])
    context = PredictionContext(bundle, BundledRepositories(bundle, exclusions), exclusions=exclusions)
    requests = [PredictionRequest((excluded, shown)), PredictionRequest((), ({**ENTERED, "full_name": excluded},))]

    named, entered = answer_requests(context, requests, NOW)

    assert [row["full_name"] for row in named["predictions"]] == [shown]
    assert [(error["name"], error["code"]) for error in named["errors"]] == [(excluded, "excluded_repository")]
    assert entered["code"] == "excluded_repository"


# ---- sources and notes -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LookupWithoutRows:
    """Finds repositories of the bundle, whose rows nobody may load."""

    known: BundledRepositories

    def find(self, names: Sequence[str], now: datetime) -> LookupResult:
        return dataclasses.replace(self.known.find(names, now), load=self._fail)

    def _fail(self) -> Any:
        raise AssertionError("loaded")


def test_the_rows_of_known_repositories_are_not_loaded(bundle: Bundle, context: PredictionContext) -> None:
    """Their features and records are computed before: loading rows would take as long as the prediction."""
    request = PredictionRequest(names_of(bundle, 3, 1))
    without_rows = dataclasses.replace(context, lookup=LookupWithoutRows(BundledRepositories(bundle)))

    assert answer_requests(without_rows, [request], NOW) == answer_requests(context, [request], NOW)


def test_two_names_of_one_repository_are_answered_once(bundle: Bundle) -> None:
    context = PredictionContext(bundle, RenamedLookup(bundle))

    predictions = answer_requests(context, [PredictionRequest((names_of(bundle, 0)[0], "old/name"))], NOW)[0][
        "predictions"
    ]

    assert len(predictions) == 1
    assert predictions[0]["notes"] == ["was renamed from old/name"]
    assert predictions[0]["source"] == "github"


def test_values_of_github_replace_those_of_the_bundle(bundle: Bundle) -> None:
    name = names_of(bundle, 0)

    fresh = answer_requests(PredictionContext(bundle, RenamedLookup(bundle)), [PredictionRequest(name)], NOW)[0][
        "predictions"
    ][0]

    assert fresh["actual_stars"] == 1.0
    assert fresh["fetched_at"] == "2026-03-01"


def test_answers_are_recorded_and_errors_are_not(bundle: Bundle) -> None:
    track_record = FakeTrackRecord()

    answers = answer_requests(
        PredictionContext(bundle, BundledRepositories(bundle), track_record=track_record),
        [KINDS["unknown"], PredictionRequest(names_of(bundle, 0))],
        NOW,
    )

    assert track_record.answers == answers[1:]


def control_values(row: dict[str, Any]) -> dict[str, Any]:
    return {control["field"]: control["value"] for control in row["controls"]}


def test_a_changed_field_changes_the_estimate(context: PredictionContext) -> None:
    request = PredictionRequest((), ({**ENTERED, "forks": 100},), {"forks": "900"})

    row = answer_requests(context, [request], NOW)[0]["predictions"][0]

    assert control_values(row)["forks"] == 100
    assert row["what_if"]["factor"] > 1.1
    assert row["what_if"]["factor"] == pytest.approx(
        (row["what_if"]["expected_stars"] + 1) / (row["expected_stars"] + 1)
    )
    assert row["what_if"]["changes"] == [{"field": "forks", "label": "Forks", "before": "100", "after": "900"}]


def test_a_what_if_that_one_repository_cannot_have_does_not_reject_the_others(context: PredictionContext) -> None:
    """A day after the values of the known repository, but not after those that are entered today."""
    (name,) = names_of(context.bundle, 3)
    both = PredictionRequest((name,), (ENTERED,), {"latest_release_at": "2020-05-01"})

    answer = answer_requests(context, [both], NOW)[0]
    alone = answer_requests(context, [dataclasses.replace(both, figures=())], NOW)[0]

    what_if = {row["full_name"]: row["what_if"] for row in answer["predictions"]}
    assert what_if[name] is None
    assert what_if["me/mine"]["changes"]
    assert [(error["name"], error["code"]) for error in answer["errors"]] == [(name, "invalid_field")]
    assert answer["errors"][0]["message"] == alone["message"]


def test_a_what_if_names_its_values_outside_of_the_training_data(context: PredictionContext) -> None:
    known = {**ENTERED, "forks": 4_000_000, "language": "JavaScript"}
    request = PredictionRequest((), (known,), {"language": "Klingon"})

    row = answer_requests(context, [request], NOW)[0]["predictions"][0]

    assert "forks" in [item["label"] for item in row["out_of_range"]]
    assert row["what_if"]["out_of_range"] == [{"label": "main language", "value": "Klingon", "low": "", "high": ""}]


@pytest.mark.parametrize("row", [0, 800])
def test_an_unchanged_field_changes_nothing(context: PredictionContext, row: int) -> None:
    name = names_of(context.bundle, row)
    before = answer_requests(context, [PredictionRequest(name)], NOW)[0]["predictions"][0]
    same = {field: str(value) for field, value in control_values(before).items() if value is not None}

    after = answer_requests(context, [PredictionRequest(name, what_if=same)], NOW)[0]["predictions"][0]

    assert after["what_if"] == {
        **{part: before[part] for part in ("expected_stars", "interval_low", "interval_high")},
        "factor": 1.0,
        "changes": [],
        "notes": [],
        "out_of_range": [],
        "unlike_training": None,
    }
