"""The result pages: a prediction job, the page of one repository, and what-ifs, whose values are in the address."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from http import HTTPStatus
from typing import Any

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as Redirect

from stargaze.features.schema import FIELD_BY_NAME
from stargaze.serve.prediction.labels import number_unnamed
from stargaze.serve.prediction_request import ErrorDetails, PredictionJob, PredictionQueue, PredictionRequest
from stargaze.serve.queue.long_polling import LongPoller
from stargaze.serve.runtime.hot_reload import HotReloaded
from stargaze.serve.web.pages.addresses import edit_url, url_of_names
from stargaze.serve.web.pages.forms import Page
from stargaze.serve.web.prediction_jobs import find_or_submit, find_shown, get_or_404, retry_header, status_of_job
from stargaze.serve.web.request_parsing import parse_request
from stargaze.serve.web.views.bundle_view import BundleView
from stargaze.serve.web.views.comparison import offers_metrics
from stargaze.serve.web.views.prediction_view import prediction_views, readable_job
from stargaze.serve.web.views.what_if_view import what_if_errors

MAX_WAIT = 5.0
"""Time that a page with a what-if waits for its result [s]."""
MAX_WAITING = 8
"""Pages of a process that wait at the same time; others show the state of the job."""
Values = Mapping[str, Any]
Figures = Sequence[dict[str, Any]]


@dataclass(frozen=True)
class ResultPages:
    """Renders jobs; ``queue`` answers them."""

    queue: PredictionQueue
    view: HotReloaded[BundleView]
    clock: Callable[[], datetime]
    poller: LongPoller

    def show(
        self,
        job: PredictionJob,
        canonical: str = "",
        values: Values | None = None,
        errors: Values | None = None,
        page: str = "",
    ) -> Page:
        """Return the page of a job; ``values`` are those of the what-if's form, and ``errors`` are by field.

        ``page`` is the address that shows the job when it is finished, by default that of the job.
        """
        job = readable_job(job)
        html = self._render(job, page or url_for("pages.prediction", job_id=job.id), canonical, values, errors)
        status = HTTPStatus.BAD_REQUEST if errors and not job.error else status_of_job(job)
        return html, status, retry_header(status, job, self.clock())

    def _render(
        self, job: PredictionJob, page: str, canonical: str, values: Values | None, errors: Values | None
    ) -> str:
        asked = job.request or PredictionRequest()
        what_if = asked.what_if if values is None else values
        answer = job.answer or {}
        if canonical and answer:  # it may be requested by a former name, or in other letters
            owner, _, name = answer["predictions"][0]["full_name"].partition("/")
            canonical = url_for("pages.repository", owner=owner, name=name, _external=True)
        return render_template(
            "prediction.html",
            view=self.view.get(),
            job=job,
            page=page,
            predictions=prediction_views(answer["predictions"], what_if, errors) if answer else [],
            errors=answer.get("errors", []),
            digest=answer.get("digest"),
            entered="\n".join(asked.repositories),
            repository=asked.repositories[0] if len(asked.repositories) == 1 else "",
            offers_metrics=offers_metrics(job.error),
            canonical=canonical,
            address=request.path,
            edit_url=edit_url(job.request),
            api_request=partial(_api_request, asked),
            what_if_errors=errors or {},
        )

    def show_what_if(self, names: Sequence[str], figures: Figures, values: Values, canonical: str = "") -> Page:
        """Return the page with these values changed; with an invalid one, the page without the change and the reason."""
        errors = what_if_errors(values, self.clock())
        if not errors:
            job = readable_job(self._finish(names, figures, values))
            if not job.error or status_of_job(job) != HTTPStatus.BAD_REQUEST:
                return self.show(job, canonical)
            errors = _place_error(job.error, values)
        return self.show(self._finish(names, figures, {}), canonical, values, errors)

    def _finish(self, names: Sequence[str], figures: Figures, values: Values) -> PredictionJob:
        parsed = parse_request(names, figures, max_repositories=1, now=self.clock(), what_if=values)
        job = find_or_submit(self.queue, parsed, self.clock())
        return self.poller.wait(job, MAX_WAIT) or job


def add_result_routes(
    blueprint: Blueprint, queue: PredictionQueue, view: HotReloaded[BundleView], clock: Callable[[], datetime]
) -> None:
    """Add the routes of the result pages."""
    pages = ResultPages(queue, view, clock, LongPoller(queue, MAX_WAITING))

    @blueprint.get("/predictions/<job_id>")
    def prediction(job_id: str) -> str | Page | Redirect:
        job = get_or_404(queue, job_id)
        values, chosen = what_if_values(request.args), request.args.get("repository", "")
        if job.request is None or not (values or chosen):
            return pages.show(job)[0]  # the job exists, even if it failed
        names, figures = _part_of(job.request, chosen)
        if len(job.request.repositories) + len(job.request.figures) == 1:
            return pages.show_what_if(names, figures, values)
        if figures:
            part = parse_request(names, figures, max_repositories=1, now=clock())
            address = url_for("pages.prediction", job_id=find_or_submit(queue, part, clock()).id, **values)
        else:
            address = url_of_names(list(names), **values)
        return redirect(address, HTTPStatus.SEE_OTHER)

    @blueprint.get("/repositories/<owner>/<name>", strict_slashes=False)
    def repository(owner: str, name: str) -> Page:
        canonical = url_for("pages.repository", owner=owner, name=name, _external=True)
        values = what_if_values(request.args)
        if values:
            return pages.show_what_if([f"{owner}/{name}"], [], values, canonical)
        job = find_shown(queue, [f"{owner}/{name}"], clock()) or find_repository(queue, clock, owner, name)
        return pages.show(job, canonical, page=url_for("pages.repository", owner=owner, name=name, job=job.id))


def what_if_values(arguments: Mapping[str, str]) -> dict[str, Any]:
    """Return the fields of a repository among the arguments of an address; an empty one is not changed."""
    return {name: value.strip() for name, value in arguments.items() if name in FIELD_BY_NAME and value.strip()}


def find_repository(queue: PredictionQueue, clock: Callable[[], datetime], owner: str, name: str) -> PredictionJob:
    """Return the job of a repository, which is submitted unless a recent one exists."""
    return find_or_submit(queue, parse_request([f"{owner}/{name}"], max_repositories=1, now=clock()), clock())


def _part_of(asked: PredictionRequest, name: str) -> tuple[Sequence[str], Figures]:
    """Return the names and figures of one repository of a request, the first one if the name is empty."""
    names = number_unnamed([row.get("full_name") or "" for row in asked.figures])
    figures = [dict(row) for row, own_name in zip(asked.figures, names, strict=True) if name in ("", own_name)]
    return ((), figures[:1]) if figures else ((name or asked.repositories[0],), ())


def _place_error(error: ErrorDetails, values: Values) -> dict[str, str]:
    """Return the error of a job by the field that its message names, or by the last one."""
    field = next((name for name in values if name in error["message"]), list(values)[-1])
    return {field: "; ".join(filter(None, (error["message"], error["hint"])))}


def _api_request(asked: PredictionRequest, name: str, *, is_entered: bool) -> dict[str, Any]:
    """Return the body of an API request for one repository of a request; one may be entered and looked up by the same name."""
    figures = _part_of(asked, name)[1] if is_entered else ()
    return {"figures": figures} if figures else {"repositories": [name]}
