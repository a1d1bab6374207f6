"""The page for people: two forms and the answer, which works without JavaScript and is livelier with it."""

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
from stargaze.features.ingest.user_input import parse_name
from stargaze.serve.prediction.labels import field_label
from stargaze.serve.prediction.what_if import EDITABLE_FIELDS
from stargaze.serve.prediction_request import PredictionJob, PredictionQueue, PredictionRequest, is_job_id
from stargaze.serve.runtime.hot_reload import HotReloaded
from stargaze.serve.runtime.request_log import request_id
from stargaze.serve.runtime.settings import RETRY_AFTER
from stargaze.serve.web import request_parsing as forms
from stargaze.serve.web.bundle_view import BundleView, suggest
from stargaze.serve.web.model_card import model_card, track_record
from stargaze.serve.web.prediction_view import POLICY_WORDS, cards_of, number

Page = tuple[str, int, dict[str, str]]


def make(
    section: ServeSection,
    desk: PredictionQueue,
    shown: HotReloaded[BundleView],
    clock: Callable[[], datetime],
    record: Callable[[], Mapping[str, Any] | None] = lambda: None,
) -> Blueprint:
    """Return the routes of the page; ``record`` tells how predictions did that were seen again."""
    blueprint = Blueprint("pages", __name__)
    blueprint.app_context_processor(
        lambda: {
            "most": section.max_repositories,
            "number": number,
            "token": _token,
            "field_label": field_label,
            "track": track_record(record()),
        }
    )

    @blueprint.get("/")
    def ask() -> str:
        return _names_form(shown, typed=request.args.get("repositories", ""))

    @blueprint.post("/")
    def hand_in() -> Page | Redirect:
        typed = request.form.get("repositories", "")
        try:
            _check_token()
            return _asked(
                desk, forms.parse_request(forms.names_in(typed), [], most=section.max_repositories, now=clock())
            )
        except StargazeError as error:
            return _again(_names_form(shown, typed=typed, error=error), error)

    @blueprint.get("/figures")
    def figures() -> str:
        return _figures_form(shown, typed=request.args.to_dict())

    @blueprint.post("/figures")
    def hand_in_figures() -> Page | Redirect:
        typed = request.form.to_dict()
        try:
            _check_token()
            rows = [row] if (row := forms.figures_in(typed)) else []
            names = forms.names_in(typed.get("repositories", ""))
            return _asked(desk, forms.parse_request(names, rows, most=section.max_repositories, now=clock()))
        except StargazeError as error:
            return _again(_figures_form(shown, typed=typed, error=error), error)

    _add_answers(blueprint, section, desk, shown, clock)

    @blueprint.get("/model")
    def model() -> str:
        return render_template("model.html", shown=shown.get(), card=model_card(shown.get(), record()))

    @blueprint.get("/repositories")
    def repositories() -> Response:
        return jsonify(suggest(shown.get().names, request.args.get("like", "")))

    return blueprint


def _add_answers(
    blueprint: Blueprint,
    section: ServeSection,
    desk: PredictionQueue,
    shown: HotReloaded[BundleView],
    clock: Callable[[], datetime],
) -> None:
    @blueprint.get("/predictions/<job_id>")
    def prediction(job_id: str) -> str:
        job = desk.get(job_id) if is_job_id(job_id) else None
        if job is None:
            abort(HTTPStatus.NOT_FOUND)
        return _job_page(shown, job)

    @blueprint.get("/of/<owner>/<name>")
    def one(owner: str, name: str) -> str:
        job = asked(desk, PredictionRequest((parse_name(f"{owner}/{name}"),)))
        return _job_page(shown, job, canonical=url_for("pages.one", owner=owner, name=name, _external=True))

    @blueprint.post("/what-if")
    def what_if() -> Page | Redirect:
        _check_token()
        job_id = request.form.get("job", "")
        job = desk.get(job_id) if is_job_id(job_id) else None
        if job is None or job.request is None:
            abort(HTTPStatus.NOT_FOUND)
        names, figures = forms.part_of(job.request, request.form.get("repository", ""))
        changes = {name: request.form[name] for name in EDITABLE_FIELDS if request.form.get(name, "").strip()}
        try:
            return _asked(
                desk, forms.parse_request(names, figures, most=section.max_repositories, now=clock(), what_if=changes)
            )
        except StargazeError as error:
            return _again(_job_page(shown, job, error=error), error)


def _names_form(shown: HotReloaded[BundleView], *, typed: str, error: StargazeError | None = None) -> str:
    return render_template("ask.html", shown=shown.get(), typed=typed, error=error)


def _figures_form(shown: HotReloaded[BundleView], *, typed: dict[str, str], error: StargazeError | None = None) -> str:
    used = shown.get().fields
    groups = {"first": forms.first_fields(used), "others": forms.other_fields(used)}
    return render_template("figures.html", shown=shown.get(), typed=typed, error=error, forms=forms, **groups)


def _asked(desk: PredictionQueue, question: PredictionRequest) -> Redirect:
    job = desk.submit(question, request_id=request_id())
    return redirect(url_for("pages.prediction", job_id=job.id), HTTPStatus.SEE_OTHER)


def asked(desk: PredictionQueue, question: PredictionRequest) -> PredictionJob:
    """Return the job of a question; it is asked unless somebody has, a moment ago."""
    return desk.find(question) or desk.submit(question, request_id=request_id())


def _again(page: str, error: StargazeError) -> Page:
    """Show the form once more, with what was typed and the reason."""
    if isinstance(error, UsageError):
        return page, HTTPStatus.BAD_REQUEST, {}
    return page, HTTPStatus.SERVICE_UNAVAILABLE, {"Retry-After": str(RETRY_AFTER)}


def _job_page(
    shown: HotReloaded[BundleView], job: PredictionJob, canonical: str = "", error: StargazeError | None = None
) -> str:
    answer: dict[str, Any] = job.answer or {}
    cards, ticks = cards_of(answer["predictions"]) if answer else ([], [])
    names = job.request.repositories if job.request else ()
    return render_template(
        "prediction.html",
        shown=shown.get(),
        job=job,
        cards=cards,
        ticks=ticks,
        digest=answer.get("digest"),
        words=POLICY_WORDS,
        typed="\n".join(names),
        asked=names[0] if len(names) == 1 else "",
        canonical=canonical,
        error=error,
    )


def _token() -> str:
    """Return the token of this visitor's session, which every form carries: other sites cannot know it."""
    if "token" not in session:
        session["token"] = secrets.token_urlsafe(24)
    return str(session["token"])


def _check_token() -> None:
    sent, expected = request.form.get("token", ""), session.get("token", "")
    if not expected or not secrets.compare_digest(sent.encode(), str(expected).encode()):
        raise BadDataError("this form is no longer valid", hint="cookies must be allowed; send it once more")
