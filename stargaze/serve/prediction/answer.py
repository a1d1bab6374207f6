"""Questions in, ranked answers out: the plain function that the worker calls, all questions that wait at once."""

from __future__ import annotations

import dataclasses
import itertools
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import pandas as pd

from stargaze.bundle.star_bundle import Bundle
from stargaze.errors import BadDataError, ExternalError, StargazeError
from stargaze.features.ingest.user_input import UnknownRepositoryError, repositories_from_figures
from stargaze.serve.prediction import what_if as whatif
from stargaze.serve.prediction.batch import PredictionBatch, Row
from stargaze.serve.prediction.batch_predict import BatchResult, predict_batch
from stargaze.serve.prediction.context import BundledRepositories, LookupResult, PredictionContext, as_error
from stargaze.serve.prediction.predict import Prediction, as_json
from stargaze.serve.prediction_request import UNEXPECTED, Answer, Error, PredictionRequest

FAULTS = (
    *(ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError, OSError),
    *(RuntimeError, StargazeError, TypeError, ValueError),
)
"""What a fault in one question can raise; that the time is up is not among them, and ends all of them."""
NO_PAST: dict[str, Any] = {"history": None, "forecast": None}
UNTOLD: dict[str, Any] = {"expected": None, "base": None, "factors": [], "rest": None}
"""What stands for the reasons where none were asked for, even if another question of the batch asked for them."""
Outcome = Answer | StargazeError
log = logging.getLogger(__name__)


def answer_requests(
    office: PredictionContext, questions: Sequence[PredictionRequest], now: datetime
) -> list[Answer | Error]:
    """Answer all questions, one answer or error each and in their order; what is wrong with one spoils no other.

    All repositories of all questions are looked up, computed and predicted together: a data frame costs much a call and
    little a row. Typed figures are true ``now``.
    """
    outcomes = _outcomes(office, questions, now)
    if office.ledger is not None:
        office.ledger.note([outcome for outcome in outcomes if not isinstance(outcome, StargazeError)], now)
    return [as_error(outcome) if isinstance(outcome, StargazeError) else outcome for outcome in outcomes]


def answer_one(bundle: Bundle, question: PredictionRequest, now: datetime) -> Answer:
    """Answer one question from the known repositories alone.

    Raises
    ------
    UnknownRepositoryError
        If a name is not among the known ones; it names near matches.
    BadDataError
        If a typed figure cannot be true.
    """
    outcome = _outcomes(PredictionContext(bundle, BundledRepositories(bundle)), [question], now)[0]
    if isinstance(outcome, StargazeError):
        raise outcome
    return outcome


def _outcomes(office: PredictionContext, questions: Sequence[PredictionRequest], now: datetime) -> list[Outcome]:
    """Answer all together; where that fails, each alone."""
    try:
        return _together(office, questions, now)
    except FAULTS as error:
        if len(questions) == 1:
            return [_reason(error)]
        log.warning("%d questions together: %r; each is tried alone", len(questions), error)
    return [outcome for question in questions for outcome in _outcomes(office, [question], now)]


def _reason(error: Exception) -> StargazeError:
    if isinstance(error, StargazeError):
        return error
    log.error("a question was not answered", exc_info=error)
    return ExternalError(UNEXPECTED["message"], hint=UNEXPECTED["hint"])


def _together(office: PredictionContext, questions: Sequence[PredictionRequest], now: datetime) -> list[Outcome]:
    names = list(dict.fromkeys(name for question in questions for name in question.repositories))
    found = office.finder.find(names, now) if names else LookupResult(office.bundle.known.head(0))
    typed, of_question, wrong = _typed(questions, office.bundle.known.head(0), now)
    table = PredictionBatch(office.bundle, found, typed, typed.head(0))
    asked: dict[int, list[Row]] = {}
    moved: dict[int, list[pd.DataFrame]] = {}
    for place, question in enumerate(questions):
        try:
            if place in wrong:
                raise wrong[place]
            _check_known(question, found)
            rows = table.rows(question.repositories, of_question[place])
            values = whatif.read(question.changes, now)
            if question.changes:
                moved[place] = [whatif.changed(table.frame_of(row), values, now) for row in rows]
            asked[place] = rows
        except StargazeError as error:
            wrong[place] = error
    return _told(office, table, questions, asked, moved, wrong, now)


def _told(
    office: PredictionContext,
    table: PredictionBatch,
    questions: Sequence[PredictionRequest],
    asked: Mapping[int, list[Row]],
    moved: Mapping[int, list[pd.DataFrame]],
    wrong: Mapping[int, StargazeError],
    now: datetime,
) -> list[Outcome]:
    """Judge all rows at once and deal them out again."""
    frames = [frame for of_question in moved.values() for frame in of_question]
    if frames:
        table = dataclasses.replace(table, moved=pd.concat(frames))
    begin = itertools.count(len(table.found.frame) + len(table.typed))
    otherwise = {place: {row.place: next(begin) for row in asked[place]} for place in moved}
    pairs = {row: before for rows in otherwise.values() for before, row in rows.items()}
    places = sorted({row.place for rows in asked.values() for row in rows})
    reasons = {row.place for place, rows in asked.items() if questions[place].reasons for row in rows}
    judged = predict_batch(office, table, places, reasons, pairs)
    return [
        wrong[place]
        if place in wrong
        else _answer(office, table, judged, asked[place], otherwise.get(place, {}), question, now)
        for place, question in enumerate(questions)
    ]


def _answer(
    office: PredictionContext,
    table: PredictionBatch,
    judged: BatchResult,
    rows: Sequence[Row],
    otherwise: Mapping[int, int],
    question: PredictionRequest,
    now: datetime,
) -> Answer:
    """Put one answer together, most stars first."""
    ranked = sorted(rows, key=lambda row: _order(judged.predictions[row.place]))
    predictions = [
        {
            "rank": rank,
            "known": row.source != "typed",
            "source": row.source,
            "remarks": list(row.remarks),
            **as_json(judged.predictions[row.place]),
            "similar": judged.similar[row.place] if question.reasons else [],
            "beyond": judged.beyond[row.place],
            "levers": whatif.levers(table.records[row.place]),
            "what_if": judged.moved[otherwise[row.place]] if otherwise else None,
            **(_past(office, judged.predictions[row.place].full_name, now) if question.reasons else NO_PAST | UNTOLD),
        }
        for rank, row in enumerate(ranked, start=1)
    ]
    return {"digest": office.bundle.digest, "answered_at": now.isoformat(), "predictions": predictions}


def _order(prediction: Prediction) -> tuple[float, str]:
    return -prediction.stars, prediction.full_name


def _past(office: PredictionContext, full_name: str, now: datetime) -> dict[str, Any]:
    if office.past is None:
        return NO_PAST
    try:
        return {name: office.past.of(full_name, now).get(name) for name in NO_PAST}
    except StargazeError as error:
        log.warning("%s: no history: %s", full_name, error.message)
        return NO_PAST


def _check_known(question: PredictionRequest, found: LookupResult) -> None:
    """Raise one error for all names that were not found."""
    errors = [found.errors[name.lower()] for name in question.repositories if name.lower() in found.errors]
    if errors:
        messages, hints = (list(dict.fromkeys(error[part] for error in errors)) for part in ("message", "hint"))
        raise UnknownRepositoryError("; ".join(messages), hint="; ".join(filter(None, hints)))


def _typed(
    questions: Sequence[PredictionRequest], nothing: pd.DataFrame, now: datetime
) -> tuple[pd.DataFrame, list[range], dict[int, StargazeError]]:
    """Read the figures of all questions at once; where some cannot be true, question by question, to know whose they are."""
    wrong: dict[int, StargazeError] = {}
    figures = [row for question in questions for row in question.figures]
    counts = [len(question.figures) for question in questions]
    try:
        typed = repositories_from_figures(figures, now) if figures else nothing
    except BadDataError:
        frames = []
        for place, question in enumerate(questions):
            try:
                frames.append(repositories_from_figures(question.figures, now) if question.figures else nothing)
            except BadDataError as error:
                wrong[place] = error
                frames.append(nothing)
        typed = pd.concat(frames, ignore_index=True)
        counts = [len(frame) for frame in frames]
    ends = list(itertools.accumulate(counts, initial=0))
    return typed, [range(begin, end) for begin, end in itertools.pairwise(ends)], wrong
