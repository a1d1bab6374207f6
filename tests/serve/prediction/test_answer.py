"""Questions in, ranked answers out: together as alone, and what is wrong with one spoils no other."""

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

from stargaze.bundle.star_bundle import Bundle
from stargaze.errors import BadDataError, ExternalError
from stargaze.features.ingest.user_input import UnknownRepositoryError
from stargaze.serve.prediction.answer import answer_one, answer_requests
from stargaze.serve.prediction.context import BundledRepositories, LookupResult, PredictionContext
from stargaze.serve.prediction_request import Answer, PredictionRequest

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
TYPED = {"full_name": "me/mine", "forks": "3"}


@pytest.fixture(scope="module")
def bundle(bundle_folder: Path) -> Bundle:
    return Bundle.load(bundle_folder)


@pytest.fixture(scope="module")
def office(bundle: Bundle) -> PredictionContext:
    return PredictionContext(bundle, BundledRepositories(bundle))


@dataclass(frozen=True)
class Renaming:
    """A finder that knows a repository under two names, and another as GitHub has it today."""

    bundle: Bundle

    def find(self, names: Sequence[str], now: datetime) -> LookupResult:
        frame = self.bundle.known.head(2).assign(fetched_at=now, stars=[1.0, 2.0])
        first = str(frame["full_name"].iloc[0]).lower()
        rows = {first: 0, "old/name": 0, str(frame["full_name"].iloc[1]).lower(): 1}
        return LookupResult(frame, rows, dict.fromkeys(rows, "github"), {"old/name": ["was renamed from old/name"]})


@dataclass(frozen=True)
class Brittle:
    """A finder that breaks when a certain name is among those asked for."""

    known: BundledRepositories

    def find(self, names: Sequence[str], now: datetime) -> LookupResult:
        if "break/this" in names:
            raise KeyError("no such column")
        return self.known.find(names, now)


@dataclass(frozen=True)
class FakePast:
    """A past that is the same for all, and out of reach for some."""

    lost: str = ""

    def of(self, full_name: str, now: datetime) -> Mapping[str, Any]:
        if full_name == self.lost:
            raise ExternalError("the disk is gone")
        return {"history": {"dates": ["2026-01-01"], "stars": [1]}, "forecast": None}


@dataclass(frozen=True)
class FakeLedger:
    """A ledger that only remembers."""

    noted: list[Answer] = field(default_factory=list)

    def note(self, answers: Sequence[Answer], now: datetime) -> None:
        self.noted.extend(answers)


def names_of(bundle: Bundle, *rows: int) -> tuple[str, ...]:
    """Return names of known repositories."""
    return tuple(str(name) for name in bundle.known["full_name"].iloc[list(rows)])


def test_most_predicted_stars_come_first(bundle: Bundle) -> None:
    predictions = answer_one(bundle, PredictionRequest(names_of(bundle, 900, 0, 300)), NOW)["predictions"]

    assert [row["rank"] for row in predictions] == [1, 2, 3]
    assert [row["stars"] for row in predictions] == sorted((row["stars"] for row in predictions), reverse=True)


def test_typed_figures_stand_beside_known_repositories(bundle: Bundle) -> None:
    predictions = answer_one(bundle, PredictionRequest(names_of(bundle, 0), (TYPED,)), NOW)["predictions"]

    told = {row["full_name"]: (row["known"], row["source"]) for row in predictions}
    assert told == {names_of(bundle, 0)[0]: (True, "known"), "me/mine": (False, "typed")}


def test_typed_figures_alone_are_enough(bundle: Bundle) -> None:
    answer = answer_one(bundle, PredictionRequest((), (TYPED,)), NOW)

    assert answer["digest"] == bundle.digest
    assert answer["answered_at"] == NOW.isoformat()
    assert answer["predictions"][0]["actual"] is None


def test_an_unknown_name_is_named(bundle: Bundle) -> None:
    with pytest.raises(UnknownRepositoryError, match="no/such-one"):
        answer_one(bundle, PredictionRequest(("no/such-one",)), NOW)


def test_figures_that_cannot_be_true_are_refused(bundle: Bundle) -> None:
    with pytest.raises(BadDataError, match="forks"):
        answer_one(bundle, PredictionRequest((), ({"full_name": "me/mine", "forks": "-3"},)), NOW)


# ---- many at once -------------------------------------------------------------------------------------------------

KINDS: dict[str, PredictionRequest] = {
    "typed": PredictionRequest((), (TYPED,)),
    "moved": PredictionRequest((), ({**TYPED, "readme_length": 100},), {"readme_length": "9000", "license": "mit"}),
    "plain": PredictionRequest((), (TYPED,), reasons=False),
    "unknown": PredictionRequest(("no/such-one",)),
    "impossible": PredictionRequest((), ({"full_name": "me/mine", "forks": "-3"},)),
    "no lever": PredictionRequest((), (TYPED,), {"forks": "3000"}),
    "empty": PredictionRequest(),
}


@pytest.mark.thorough
@given(
    asked=st.lists(
        st.one_of(
            st.sampled_from(sorted(KINDS)),
            st.tuples(st.lists(st.integers(0, 1999), min_size=1, max_size=3, unique=True), st.booleans()),
        ),
        max_size=6,
    )
)
def test_many_at_once_are_answered_as_each_alone(office: PredictionContext, asked: list[Any]) -> None:
    """Whatever stands beside a question: its answer is the same, or the same error."""
    questions = [
        KINDS[one] if isinstance(one, str) else PredictionRequest(names_of(office.bundle, *one[0]), reasons=one[1])
        for one in asked
    ]

    together = answer_requests(office, questions, NOW)

    assert together == [answer_requests(office, [question], NOW)[0] for question in questions]


def test_each_error_is_of_its_own_question(office: PredictionContext) -> None:
    questions = [KINDS[name] for name in ("unknown", "typed", "impossible", "no lever")]

    unknown, typed, impossible, no_lever = answer_requests(office, questions, NOW)

    assert unknown["message"] == "no/such-one: not among the 2,000 known repositories"
    assert typed["predictions"][0]["full_name"] == "me/mine"
    assert "forks is '-3'" in impossible["message"]
    assert no_lever["message"] == (
        "'forks' cannot be changed here, only readme_length, topic_count, license, latest_release_at"
    )


def test_a_near_name_is_the_hint(office: PredictionContext) -> None:
    owner, name = names_of(office.bundle, 5)[0].split("/")

    error = answer_requests(office, [PredictionRequest((f"somebody/{name}", "no/such-one"))], NOW)[0]

    assert f"{owner}/{name}" in error["hint"]
    assert "no/such-one: not among" in error["message"]


def test_one_question_that_breaks_something_spoils_no_other(bundle: Bundle) -> None:
    office = PredictionContext(bundle, Brittle(BundledRepositories(bundle)))

    good, broken = answer_requests(
        office, [PredictionRequest(names_of(bundle, 0)), PredictionRequest(("break/this",))], NOW
    )

    assert (
        good
        == answer_requests(
            PredictionContext(bundle, BundledRepositories(bundle)), [PredictionRequest(names_of(bundle, 0))], NOW
        )[0]
    )
    assert broken["message"] == "the worker met an error that it did not expect"


def test_no_question_has_no_answer(office: PredictionContext) -> None:
    assert answer_requests(office, [], NOW) == []


# ---- reasons ------------------------------------------------------------------------------------------------------


def test_without_reasons_the_numbers_are_the_same(bundle: Bundle) -> None:
    office = PredictionContext(bundle, BundledRepositories(bundle), FakePast())
    question = PredictionRequest(names_of(bundle, 3, 700, 1500), (TYPED,))

    full = answer_requests(office, [question], NOW)[0]["predictions"]
    plain = answer_requests(office, [dataclasses.replace(question, reasons=False)], NOW)[0]["predictions"]

    reasons = {"expected", "base", "factors", "rest", "similar", "history", "forecast"}
    assert [{k: v for k, v in row.items() if k not in reasons} for row in plain] == [
        {k: v for k, v in row.items() if k not in reasons} for row in full
    ]
    assert all(row["factors"] and row["similar"] and row["history"] for row in full)
    assert not any(row[name] for row in plain for name in reasons)


def test_the_factors_of_an_answer_multiply_to_what_is_expected(office: PredictionContext) -> None:
    for row in answer_requests(office, [PredictionRequest(names_of(office.bundle, 3, 700), (TYPED,))], NOW)[0][
        "predictions"
    ]:
        product = (row["base"] + 1) * math.prod(factor["times"] for factor in row["factors"]) * row["rest"]

        assert product == pytest.approx(row["expected"] + 1, rel=5e-3, abs=0.01)


def test_an_answer_is_plain_json(office: PredictionContext) -> None:
    answer = answer_requests(
        office, [PredictionRequest(names_of(office.bundle, 3), (TYPED,), {"topic_count": "4"})], NOW
    )[0]

    assert json.loads(json.dumps(answer, allow_nan=False)) == answer


def test_a_history_that_cannot_be_read_costs_no_answer(bundle: Bundle) -> None:
    first, second = names_of(bundle, 0, 1)
    office = PredictionContext(bundle, BundledRepositories(bundle), FakePast(lost=first))

    told = {
        row["full_name"]: row
        for row in answer_requests(office, [PredictionRequest((first, second))], NOW)[0]["predictions"]
    }

    assert told[first]["history"] is None
    assert told[second]["history"] == {"dates": ["2026-01-01"], "stars": [1]}


# ---- what came from where -----------------------------------------------------------------------------------------


def test_two_names_of_one_repository_are_answered_once(bundle: Bundle) -> None:
    office = PredictionContext(bundle, Renaming(bundle))

    predictions = answer_requests(office, [PredictionRequest((names_of(bundle, 0)[0], "old/name"))], NOW)[0][
        "predictions"
    ]

    assert len(predictions) == 1
    assert predictions[0]["remarks"] == ["was renamed from old/name"]
    assert predictions[0]["source"] == "github"


def test_what_github_says_today_is_judged_not_what_was_known(bundle: Bundle) -> None:
    name = names_of(bundle, 0)

    fresh = answer_requests(PredictionContext(bundle, Renaming(bundle)), [PredictionRequest(name)], NOW)[0][
        "predictions"
    ][0]

    assert fresh["actual"] == 1.0
    assert fresh["fetched_at"] == "2026-03-01"


def test_good_answers_are_noted_and_errors_are_not(bundle: Bundle) -> None:
    ledger = FakeLedger()

    answers = answer_requests(
        PredictionContext(bundle, BundledRepositories(bundle), ledger=ledger),
        [KINDS["unknown"], PredictionRequest(names_of(bundle, 0))],
        NOW,
    )

    assert ledger.noted == answers[1:]


def test_a_lever_that_is_moved_moves_the_number(office: PredictionContext) -> None:
    question = PredictionRequest((), ({**TYPED, "readme_length": 100},), {"readme_length": "9000"})

    row = answer_requests(office, [question], NOW)[0]["predictions"][0]

    assert row["levers"]["readme_length"] == 100
    assert row["what_if"]["times"] == pytest.approx((row["what_if"]["stars"] + 1) / (row["stars"] + 1), rel=1e-2)
    assert row["what_if"]["changes"] == [
        {"field": "readme_length", "label": "Readme length", "before": "100", "after": "9,000"}
    ]


@pytest.mark.parametrize("row", [0, 800])
def test_a_lever_that_stays_where_it_is_moves_nothing(office: PredictionContext, row: int) -> None:
    name = names_of(office.bundle, row)
    before = answer_requests(office, [PredictionRequest(name)], NOW)[0]["predictions"][0]
    same = {field: str(value) for field, value in before["levers"].items() if value is not None}

    after = answer_requests(office, [PredictionRequest(name, changes=same)], NOW)[0]["predictions"][0]

    assert after["what_if"] == {
        **{part: before[part] for part in ("stars", "low", "high")},
        "times": 1.0,
        "changes": [],
    }
