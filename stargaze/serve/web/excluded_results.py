"""Excluded repositories in addresses, and in results that were computed before they were excluded."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Collection, Mapping
from typing import Any

from stargaze.serve.lookup.exclusion import NO_EXCLUSIONS, Exclusions, excluded_error, hidden_name
from stargaze.serve.prediction_request import Answer, PredictionJob, PredictionQueue, PredictionRequest


def names_excluded(exclusions: Exclusions, path: str) -> bool:
    """Return whether a path contains the name of an excluded repository; such a path is not logged.

    >>> exclusions = Exclusions.parse(["acme/secret"])
    >>> [names_excluded(exclusions, path) for path in ("/compare/a/b...acme/secret", "/acme/Secret/badge.svg", "/acme/other")]
    [True, True, False]
    """
    if exclusions == NO_EXCLUSIONS:
        return False
    parts = path.replace("...", "/").split("/")
    pairs = [f"{owner}/{name}" for owner, name in itertools.pairwise(parts)]
    return any(map(exclusions.match, [*pairs, *(re.sub(r"\.\w+$", "", pair) for pair in pairs)]))


def hide_excluded(queue: PredictionQueue, exclusions: Exclusions) -> PredictionQueue:
    """Return a queue whose stored requests and results do not contain excluded repositories."""
    return queue if exclusions == NO_EXCLUSIONS else _FilteredQueue(queue, exclusions)


class _FilteredQueue:
    """A queue whose requests are stored without excluded names, and whose results are filtered when they are read."""

    def __init__(self, queue: PredictionQueue, exclusions: Exclusions) -> None:
        self._queue, self._exclusions = queue, exclusions

    def submit(self, request: PredictionRequest, *, key: str = "", request_id: str = "") -> PredictionJob:
        hidden, names = self._hide(request)
        return _show_names(self._filter(self._queue.submit(hidden, key=key, request_id=request_id)), names)

    def find(self, request: PredictionRequest) -> PredictionJob | None:
        hidden, names = self._hide(request)
        job = self._queue.find(hidden)
        return job and _show_names(self._filter(job), names)

    def get(self, job_id: str) -> PredictionJob | None:
        job = self._queue.get(job_id)
        return job and self._filter(job)

    def finished(self, job_ids: Collection[str]) -> Mapping[str, PredictionJob | None]:
        jobs = self._queue.finished(job_ids)
        return {job_id: job and self._filter(job) for job_id, job in jobs.items()}

    def check(self) -> None:
        self._queue.check()

    def _hide(self, request: PredictionRequest) -> tuple[PredictionRequest, dict[str, str]]:
        """Return the request with other names instead of excluded ones, and the excluded ones by these names."""
        names = [*request.repositories, *(str(row.get("full_name")) for row in request.figures)]
        excluded = dict.fromkeys(name for name in names if self._exclusions.match(name))
        hidden = {name: hidden_name(number) for number, name in enumerate(excluded, start=1)}
        if not hidden:
            return request, {}
        repositories = tuple(hidden.get(name, name) for name in request.repositories)
        figures = tuple(
            {"full_name": hidden[name]} if (name := str(row.get("full_name"))) in hidden else row
            for row in request.figures
        )
        changed = dataclasses.replace(request, repositories=repositories, figures=figures)
        return changed, {other: name for name, other in hidden.items()}

    def _filter(self, job: PredictionJob) -> PredictionJob:
        if job.answer is None:
            return job
        answer = self._filter_answer(job.answer)
        if answer["predictions"]:
            return dataclasses.replace(job, answer=answer)
        return dataclasses.replace(job, state="failed", answer=None, error=_without_name(answer["errors"][0]))

    def _filter_answer(self, answer: Answer) -> Answer:
        match = self._exclusions.match
        hidden = [row["full_name"] for row in answer["predictions"] if match(row["full_name"])]
        shown = [row for row in answer["predictions"] if not match(row["full_name"])]
        rows = [
            {**row, "rank": rank, "similar": [item for item in row["similar"] if not match(item["full_name"])]}
            for rank, row in enumerate(shown, start=1)
        ]
        errors = [{"name": name, **excluded_error()} for name in hidden]
        return {**answer, "predictions": rows, "errors": [*answer["errors"], *errors]}


def _show_names(job: PredictionJob, names: Mapping[str, str]) -> PredictionJob:
    """Return the job with the names as the visitor entered them, for the response to the same visitor."""
    if not names:
        return job
    request = job.request and dataclasses.replace(
        job.request, repositories=tuple(names.get(name, name) for name in job.request.repositories)
    )
    if job.answer is None:
        return dataclasses.replace(job, request=request)
    errors = [{**error, "name": names.get(error["name"], error["name"])} for error in job.answer["errors"]]
    return dataclasses.replace(job, request=request, answer={**job.answer, "errors": errors})


def _without_name(error: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in error.items() if name != "name"}
