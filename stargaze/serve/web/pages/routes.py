"""The HTML pages: two forms, the result, the model card. They work without JavaScript."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, jsonify, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as Redirect

from stargaze.config import ServeSection
from stargaze.errors import StargazeError
from stargaze.formatting import format_count
from stargaze.serve.prediction.labels import field_label
from stargaze.serve.prediction_request import PredictionQueue
from stargaze.serve.runtime.hot_reload import HotReloaded
from stargaze.serve.runtime.request_log import request_id
from stargaze.serve.web.pages.bundle_view import BundleView, describe_track_record, model_card, search_names
from stargaze.serve.web.pages.forms import Page, check_csrf_token, csrf_token, page_with_error
from stargaze.serve.web.pages.result_routes import add_result_routes
from stargaze.serve.web.request_parsing import (
    control_type,
    form_figures,
    help_text,
    main_fields,
    other_fields,
    parse_request,
    split_names,
)


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
            "csrf_token": csrf_token,
            "field_label": field_label,
            "track_record": describe_track_record(track_record()),
        }
    )

    def submit(names: list[str], figures: list[dict[str, Any]], what_if: Mapping[str, Any] | None = None) -> Redirect:
        parsed = parse_request(names, figures, max_repositories=section.max_repositories, now=clock(), what_if=what_if)
        job = queue.submit(parsed, request_id=request_id())
        return redirect(url_for("pages.prediction", job_id=job.id), HTTPStatus.SEE_OTHER)

    _add_forms(blueprint, view, submit)
    add_result_routes(blueprint, queue, view, clock, submit)

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
            check_csrf_token()
            return submit(split_names(entered), [])
        except StargazeError as error:
            return page_with_error(_names_page(view.get(), entered=entered, error=error), error)

    @blueprint.get("/figures")
    def figures() -> str:
        return _figures_page(view.get(), entered=request.args.to_dict())

    @blueprint.post("/figures")
    def submit_figures() -> Page | Redirect:
        entered = request.form.to_dict()
        try:
            check_csrf_token()
            rows = [row] if (row := form_figures(entered)) else []
            return submit(split_names(entered.get("repositories", "")), rows)
        except StargazeError as error:
            return page_with_error(_figures_page(view.get(), entered=entered, error=error), error)


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
