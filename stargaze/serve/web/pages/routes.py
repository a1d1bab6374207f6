"""The HTML pages: two forms, the result, the model card. They work without JavaScript."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, abort, jsonify, redirect, render_template, request, session, url_for
from werkzeug.wrappers import Response as Redirect

from stargaze.config import ServeSection
from stargaze.errors import BadDataError, StargazeError, UsageError
from stargaze.formatting import format_count
from stargaze.serve.prediction.labels import field_label
from stargaze.serve.prediction.what_if import EDITABLE_FIELDS
from stargaze.serve.prediction_request import PredictionJob, PredictionQueue
from stargaze.serve.runtime.hot_reload import HotReloaded
from stargaze.serve.runtime.request_log import request_id
from stargaze.serve.runtime.settings import RETRY_AFTER
from stargaze.serve.web.api.routes import get_or_404
from stargaze.serve.web.pages.bundle_view import BundleView, describe_track_record, model_card, search_names
from stargaze.serve.web.pages.prediction_view import POLICY_TEXTS, prediction_views, readable_job
from stargaze.serve.web.request_parsing import (
    control_type,
    form_figures,
    help_text,
    main_fields,
    other_fields,
    parse_request,
    part_of,
    split_names,
)

Page = tuple[str, int, dict[str, str]]


def pages_blueprint(
    section: ServeSection,
    queue: PredictionQueue,
    view: HotReloaded[BundleView],
    clock: Callable[[], datetime],
    track_record: Callable[[], Mapping[str, Any] | None] = lambda: None,
) -> Blueprint:
    """Return the routes of the page; ``track_record`` returns the summary of the track record."""
    blueprint = Blueprint("pages", __name__)
    blueprint.app_context_processor(
        lambda: {
            "max_repositories": section.max_repositories,
            "format_count": format_count,
            "csrf_token": _csrf_token,
            "field_label": field_label,
            "track_record": describe_track_record(track_record()),
        }
    )

    def submit(names: list[str], figures: list[dict[str, Any]], what_if: Mapping[str, Any] | None = None) -> Redirect:
        parsed = parse_request(names, figures, max_repositories=section.max_repositories, now=clock(), what_if=what_if)
        job = queue.submit(parsed, request_id=request_id())
        return redirect(url_for("pages.prediction", job_id=job.id), HTTPStatus.SEE_OTHER)

    _add_forms(blueprint, view, submit)
    _add_results(blueprint, queue, view, clock, submit)

    @blueprint.get("/model")
    def model() -> str:
        return render_template("model.html", view=view.get(), card=model_card(view.get()))

    @blueprint.get("/repositories")
    def search() -> Response:
        return jsonify(search_names(view.get().names, request.args.get("query", "")))

    return blueprint


def _add_forms(blueprint: Blueprint, view: HotReloaded[BundleView], submit: Callable[..., Redirect]) -> None:
    @blueprint.get("/")
    def index() -> str:
        return _names_page(view.get(), entered=request.args.get("repositories", ""))

    @blueprint.post("/")
    def submit_names() -> Page | Redirect:
        entered = request.form.get("repositories", "")
        try:
            _check_csrf_token()
            return submit(split_names(entered), [])
        except StargazeError as error:
            return _with_error(_names_page(view.get(), entered=entered, error=error), error)

    @blueprint.get("/figures")
    def figures() -> str:
        return _figures_page(view.get(), entered=request.args.to_dict())

    @blueprint.post("/figures")
    def submit_figures() -> Page | Redirect:
        entered = request.form.to_dict()
        try:
            _check_csrf_token()
            rows = [row] if (row := form_figures(entered)) else []
            return submit(split_names(entered.get("repositories", "")), rows)
        except StargazeError as error:
            return _with_error(_figures_page(view.get(), entered=entered, error=error), error)


def _add_results(
    blueprint: Blueprint,
    queue: PredictionQueue,
    view: HotReloaded[BundleView],
    clock: Callable[[], datetime],
    submit: Callable[..., Redirect],
) -> None:
    @blueprint.get("/predictions/<job_id>")
    def prediction(job_id: str) -> str:
        return _job_page(view.get(), get_or_404(queue, job_id))

    @blueprint.get("/repositories/<owner>/<name>")
    def repository(owner: str, name: str) -> str:
        canonical = url_for("pages.repository", owner=owner, name=name, _external=True)
        return _job_page(view.get(), find_or_submit(queue, clock, owner, name), canonical=canonical)

    @blueprint.post("/what-if")
    def what_if() -> Page | Redirect:
        _check_csrf_token()
        job = get_or_404(queue, request.form.get("job", ""))
        if job.request is None:
            abort(HTTPStatus.NOT_FOUND)
        values = {name: request.form[name] for name in EDITABLE_FIELDS if request.form.get(name, "").strip()}
        try:
            return submit(*part_of(job.request, request.form.get("repository", "")), what_if=values)
        except StargazeError as error:
            return _with_error(_job_page(view.get(), job, error=error), error)


def find_or_submit(queue: PredictionQueue, clock: Callable[[], datetime], owner: str, name: str) -> PredictionJob:
    """Return the job of a repository, which is submitted unless a recent one exists."""
    parsed = parse_request([f"{owner}/{name}"], max_repositories=1, now=clock())
    return queue.find(parsed) or queue.submit(parsed, request_id=request_id())


def _names_page(view: BundleView, *, entered: str, error: StargazeError | None = None) -> str:
    return render_template("index.html", view=view, entered=entered, error=error)


def _figures_page(view: BundleView, *, entered: dict[str, str], error: StargazeError | None = None) -> str:
    return render_template(
        "figures.html",
        view=view,
        entered=entered,
        error=error,
        main_fields=main_fields(view.fields),
        other_fields=other_fields(view.fields),
        control_type=control_type,
        help_text=help_text,
    )


def _job_page(view: BundleView, job: PredictionJob, canonical: str = "", error: StargazeError | None = None) -> str:
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
        repository=names[0] if len(names) == 1 else "",
        canonical=canonical,
        error=error,
    )


def _with_error(page: str, error: StargazeError) -> Page:
    """Return the page with the status of the error."""
    if isinstance(error, UsageError):
        return page, HTTPStatus.BAD_REQUEST, {}
    return page, HTTPStatus.SERVICE_UNAVAILABLE, {"Retry-After": str(RETRY_AFTER)}


def _csrf_token() -> str:
    """Return the token of the visitor's session, which every form carries and other sites do not know."""
    if "token" not in session:
        session["token"] = secrets.token_urlsafe(24)
    return str(session["token"])


def _check_csrf_token() -> None:
    sent, expected = request.form.get("token", ""), session.get("token", "")
    if not expected or not secrets.compare_digest(sent.encode(), str(expected).encode()):
        raise BadDataError("the form has expired", hint="allow cookies and submit it again")
