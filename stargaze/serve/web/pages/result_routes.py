"""The result pages: a prediction job, the page of one repository, and what-ifs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from http import HTTPStatus

from flask import Blueprint, abort, render_template, request, url_for
from werkzeug.wrappers import Response as Redirect

from stargaze.errors import StargazeError
from stargaze.serve.prediction.what_if import EDITABLE_FIELDS
from stargaze.serve.prediction_request import ErrorDetails, PredictionJob, PredictionQueue
from stargaze.serve.runtime.hot_reload import HotReloaded
from stargaze.serve.runtime.request_log import request_id
from stargaze.serve.web.api.routes import get_or_404
from stargaze.serve.web.pages.bundle_view import BundleView
from stargaze.serve.web.pages.form_routes import edit_url
from stargaze.serve.web.pages.forms import Page, check_csrf_token, page_with_error
from stargaze.serve.web.pages.prediction_view import POLICY_TEXTS, prediction_views, readable_job
from stargaze.serve.web.request_parsing import parse_request, part_of


def add_result_routes(
    blueprint: Blueprint,
    queue: PredictionQueue,
    view: HotReloaded[BundleView],
    clock: Callable[[], datetime],
    submit: Callable[..., Redirect],
) -> None:
    """Add the routes; ``submit`` queues a request and redirects to its job."""

    @blueprint.get("/predictions/<job_id>")
    def prediction(job_id: str) -> str:
        return _job_page(view.get(), get_or_404(queue, job_id))

    @blueprint.get("/repositories/<owner>/<name>")
    def repository(owner: str, name: str) -> str:
        canonical = url_for("pages.repository", owner=owner, name=name, _external=True)
        return _job_page(view.get(), find_or_submit(queue, clock, owner, name), canonical=canonical)

    @blueprint.post("/what-if")
    def what_if() -> Page | Redirect:
        check_csrf_token()
        job = get_or_404(queue, request.form.get("job", ""))
        if job.request is None:
            abort(HTTPStatus.NOT_FOUND)
        values = {name: request.form[name] for name in EDITABLE_FIELDS if request.form.get(name, "").strip()}
        try:
            return submit(*part_of(job.request, request.form.get("repository", "")), what_if=values)
        except StargazeError as error:
            return page_with_error(lambda error: _job_page(view.get(), job, error=error), error)


def find_or_submit(queue: PredictionQueue, clock: Callable[[], datetime], owner: str, name: str) -> PredictionJob:
    """Return the job of a repository, which is submitted unless a recent one exists."""
    parsed = parse_request([f"{owner}/{name}"], max_repositories=1, now=clock())
    return queue.find(parsed) or queue.submit(parsed, request_id=request_id())


def _job_page(view: BundleView, job: PredictionJob, canonical: str = "", error: ErrorDetails | None = None) -> str:
    job = readable_job(job)
    predictions, ticks = prediction_views(job.answer["predictions"]) if job.answer else ([], [])
    names = job.request.repositories if job.request else ()
    return render_template(
        "prediction.html",
        view=view,
        job=job,
        predictions=predictions,
        ticks=ticks,
        digest=(job.answer or {}).get("digest"),
        policy_texts=POLICY_TEXTS,
        entered="\n".join(names),
        edit_url=edit_url(job.request),
        repository=names[0] if len(names) == 1 else "",
        canonical=canonical,
        error=error,
    )
