"""Answer prediction requests: the plain function that the worker calls with all waiting requests at once."""

from __future__ import annotations

import dataclasses
import itertools
import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from stargaze.errors import ExternalError, InvalidInputError, StargazeError
from stargaze.features.ingest.contradictions import describe_unusual
from stargaze.features.ingest.user_input import UnknownRepositoryError, repositories_from_figures
from stargaze.serve.lookup.exclusion import ExcludedRepositoryError, Exclusions
from stargaze.serve.lookup.live import LookupResult
from stargaze.serve.lookup.star_history import NO_HISTORY, leave_out_passed
from stargaze.serve.prediction.batch import BatchResult, PredictionBatch, PredictionContext, Row, predict_batch
from stargaze.serve.prediction.labels import number_unnamed
from stargaze.serve.prediction.what_if import apply_what_if, parse_what_if
from stargaze.serve.prediction_request import UNEXPECTED_ERROR, Answer, ErrorDetails, PredictionRequest, error_details

FAULTS = (
    *(ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError, OSError),
    *(RuntimeError, StargazeError, TypeError, ValueError),
)
"""The exceptions that a fault in one request can raise. SoftTimeLimitExceeded is not among them: it ends the whole batch."""
LEAST_REUSE = 5.0
"""An answer is used again for so long at least [s]: nothing that is missing costs more than one request in that time."""
NO_EXPLANATION: dict[str, Any] = {"explanation": None, "without_popularity": None, "similar": [], "controls": []}
"""Returned where no explanation was requested, even if another request of the batch computed one."""
Outcome = Answer | StargazeError
Part = tuple[list[Row], list[dict[str, str]]]
"""The rows of one request, and an error for each name or what-if that has no answer."""
log = logging.getLogger(__name__)


def answer_requests(
    context: PredictionContext, requests: Sequence[PredictionRequest], now: datetime
) -> list[Answer | ErrorDetails]:
    """Return one answer or error for each request, in their order; an invalid request does not affect the others.

    The repositories of all requests are looked up and predicted together. Entered figures are dated ``now``.
    """
    outcomes = _outcomes(context, requests, now)
    if context.track_record is not None:
        context.track_record.record([item for item in outcomes if not isinstance(item, StargazeError)], now)
    return [error_details(item) if isinstance(item, StargazeError) else item for item in outcomes]


def answer_or_raise(context: PredictionContext, request: PredictionRequest, now: datetime) -> Answer:
    """Return the answer to one request; raise its error."""
    (outcome,) = _answer_together(context, [request], now)
    if isinstance(outcome, StargazeError):
        raise outcome
    return outcome


def _outcomes(context: PredictionContext, requests: Sequence[PredictionRequest], now: datetime) -> list[Outcome]:
    """Answer all requests together; if that fails, answer each alone."""
    try:
        return _answer_together(context, requests, now)
    except FAULTS as error:
        if len(requests) == 1:
            if isinstance(error, StargazeError):
                return [error]
            log.exception("a request was not answered")
            return [ExternalError(UNEXPECTED_ERROR["message"], hint=UNEXPECTED_ERROR["hint"])]
        log.warning("%d requests together: %r; each is tried alone", len(requests), error)
    return [outcome for request in requests for outcome in _outcomes(context, [request], now)]


def _answer_together(context: PredictionContext, requests: Sequence[PredictionRequest], now: datetime) -> list[Outcome]:
    names = list(dict.fromkeys(name for request in requests for name in request.repositories))
    figures = [row for request in requests for row in request.figures]
    lookup_result = context.lookup.find(names, now) if names else LookupResult(lambda: context.no_rows, 0)
    entered_rows = repositories_from_figures(figures, now) if figures else context.no_rows
    batch = PredictionBatch(context.bundle, context.known_records, lookup_result, entered_rows)
    entered = iter(range(len(figures)))
    parts: list[Part | StargazeError] = []
    for request in requests:
        numbers = list(itertools.islice(entered, len(request.figures)))
        try:
            parts.append(_add_to_batch(batch, request, numbers, now, context.exclusions))
        except StargazeError as error:
            parts.append(error)
    answered = [
        (request, part) for request, part in zip(requests, parts, strict=True) if not isinstance(part, StargazeError)
    ]
    rows = sorted({row.index for _, (own, _) in answered for row in own})
    explained = {row.index for request, (own, _) in answered if request.explain for row in own}
    result = predict_batch(context, batch, rows, explained)
    named = {row.index for _, (own, _) in answered for row in own if row.source != "entered"}
    histories = _find_histories(context, [result.predictions[row].full_name for row in explained & named], now)
    return [
        part
        if isinstance(part, StargazeError)
        else _answer(context, batch, result, histories if request.explain else None, part, request, now)
        for request, part in zip(requests, parts, strict=True)
    ]


def _add_to_batch(
    batch: PredictionBatch, request: PredictionRequest, entered: Iterable[int], now: datetime, exclusions: Exclusions
) -> Part:
    """Return the rows of a request, with its what-ifs added to the batch, and the errors of those without an answer."""
    if any(exclusions.match(str(row.get("full_name"))) for row in request.figures):
        raise ExcludedRepositoryError
    errors = list_errors(request, batch.lookup_result)
    unknown = {error["name"].lower() for error in errors}
    rows = batch.rows([name for name in request.repositories if name.lower() not in unknown], entered)
    if not rows:
        times = [batch.lookup_result.retry_at.get(name.lower(), 0.0) for name in request.repositories]
        raise _combined(errors, _expiry(times, now))
    values = parse_what_if(request.what_if, now)
    if not request.what_if:
        return rows, errors
    changed: dict[Row, pd.DataFrame] = {}
    for row in rows:
        frame = batch.frame_of(row)
        try:
            changed[row] = apply_what_if(frame, values, now)
        except InvalidInputError as error:
            if len(rows) == 1:
                raise
            errors.append({"name": str(frame["full_name"].iloc[0]), **error_details(error)})
    return [
        dataclasses.replace(row, what_if=batch.add_what_if(row, changed[row])) if row in changed else row
        for row in rows
    ], errors


def _combined(errors: Sequence[Mapping[str, str]], expires_at: str | None) -> StargazeError:
    """Return one error for all names, with the code of the first, and until when it can be expected to hold."""
    messages, hints = (list(dict.fromkeys(error[part] for error in errors)) for part in ("message", "hint"))
    error = UnknownRepositoryError("; ".join(messages), hint="; ".join(filter(None, hints)))
    error.code, error.expires_at = errors[0]["code"], expires_at
    return error


def list_errors(request: PredictionRequest, lookup_result: LookupResult) -> list[dict[str, str]]:
    """Return ``name``, ``code``, ``message`` and ``hint`` of each name that was not found."""
    found = {name: lookup_result.errors.get(name.lower()) for name in request.repositories}
    return [{"name": name, **error} for name, error in found.items() if error is not None]


def _answer(
    context: PredictionContext,
    batch: PredictionBatch,
    result: BatchResult,
    histories: Mapping[str, Mapping[str, Any]] | None,
    part: Part,
    request: PredictionRequest,
    now: datetime,
) -> Answer:
    """Return the answer to one request, most stars first; without histories it has no explanation either."""

    def controls(index: int, policy: str) -> list[dict[str, Any]]:
        return [control.to_json(batch.records[index]) for control in context.controls.for_policy(policy)]

    (rows, errors), predictions = part, []
    retry_at = [batch.lookup_result.retry_at.get(name.lower(), 0.0) for name in request.repositories]
    names = number_unnamed([result.predictions[row.index].full_name for row in rows])
    for row, name in zip(rows, names, strict=True):
        prediction = result.predictions[row.index]
        explanation = (
            {"similar": result.similar[row.index], "controls": controls(row.index, prediction.policy)}
            if histories is not None
            else NO_EXPLANATION
        )
        found = (histories or {}) if row.source != "entered" else {}
        present = found.get(prediction.full_name.lower(), NO_HISTORY)
        history = dict(leave_out_passed(present, now, prediction.actual_stars))
        retry_at.append(history.pop("retry_at"))
        predictions.append(
            {
                "source": row.source,
                "notes": [*row.notes, *describe_unusual(batch.records[row.index])],
                **prediction.to_json(),
                "full_name": name,
                **explanation,
                "out_of_range": result.out_of_range[row.index],
                "unlike_training": result.unlike_training[row.index],
                "what_if": None if row.what_if is None else result.what_if[row.what_if],
                **history,
            }
        )
    predictions.sort(key=lambda item: (-item["expected_stars"], item["full_name"]))
    ranked = [{"rank": rank, **item} for rank, item in enumerate(predictions, start=1)]
    return {
        "digest": context.bundle.digest,
        "growth_digest": context.growth.digest if context.growth else None,
        "answered_at": now.isoformat(),
        "expires_at": _expiry(retry_at, now),
        "predictions": ranked,
        "errors": errors,
    }


def _expiry(retry_at: Iterable[float], now: datetime) -> str | None:
    """Return until when an answer may be used again: as long as the reasons of what is missing can be expected to hold."""
    earliest = min(filter(None, retry_at), default=0.0)
    return datetime.fromtimestamp(max(earliest, now.timestamp() + LEAST_REUSE), UTC).isoformat() if earliest else None


def _find_histories(
    context: PredictionContext, full_names: Sequence[str], now: datetime
) -> Mapping[str, Mapping[str, Any]]:
    """Return the star histories of all explained repositories of the batch, by name in lower case."""
    if context.star_histories is None:
        return {}
    return context.star_histories.find_all(full_names, now, context.growth)
