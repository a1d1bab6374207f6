"""The two forms: names of repositories, which leads to their pages, and the metrics of a repository."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as Redirect

from stargaze.errors import InvalidInputError, StargazeError
from stargaze.features.ingest.parsing.repository_names import parse_name
from stargaze.features.ingest.user_input import find_invalid_fields
from stargaze.serve.prediction_request import ErrorDetails, PredictionJob
from stargaze.serve.runtime.hot_reload import HotReloaded
from stargaze.serve.web.pages.addresses import url_of_names
from stargaze.serve.web.pages.forms import KEPT_BY_BROWSERS, Page, check_csrf_token, page_with_error
from stargaze.serve.web.views.bundle_view import BundleView
from stargaze.serve.web.views.form_fields import form_fields, form_figures, split_names


def add_form_routes(
    blueprint: Blueprint,
    view: HotReloaded[BundleView],
    clock: Callable[[], datetime],
    max_repositories: int,
    submit: Callable[..., PredictionJob],
    landing_content: Callable[[], Mapping[str, Any]],
) -> None:
    """Add the routes; ``submit`` queues a request of names and figures."""

    def names_page(entered: str, error: ErrorDetails | None = None) -> str:
        words = split_names(entered)
        query = " ".join(words) if error and words and not any("/" in word for word in words) else ""
        content = {} if error or entered else landing_content()
        return render_template("index.html", view=view.get(), entered=entered, error=error, query=query, **content)

    @blueprint.get("/")
    def index() -> Response:
        return _kept_form(names_page(request.args.get("repositories", "")))

    @blueprint.post("/")
    def submit_names() -> Page | Redirect:
        entered = request.form.get("repositories", "")
        try:
            check_csrf_token()
            names = parse_names(entered, max_repositories)
            submit(names)  # here, so that the form is kept if nothing is accepted
            return redirect(url_of_names(names), HTTPStatus.SEE_OTHER)
        except StargazeError as error:
            return page_with_error(lambda error: names_page(entered, error), error)

    @blueprint.get("/figures")
    def figures() -> Response:
        return _kept_form(_figures_page(view.get(), entered=request.args.to_dict()))

    @blueprint.post("/figures")
    def submit_figures() -> Page | Redirect:
        entered = request.form.to_dict()
        row, names = form_figures(entered), entered.get("repositories", "")
        with contextlib.suppress(InvalidInputError):
            row = row | {"full_name": parse_name(row["full_name"])} if "full_name" in row else row
        invalid = find_invalid_fields(row, clock())
        try:
            check_csrf_token()
            if not row:
                raise InvalidInputError("enter at least one value", hint="any field will do")
            others = parse_names(names, max_repositories - 1) if split_names(names) else []
            if invalid:
                count = "1 value is" if len(invalid) == 1 else f"{len(invalid)} values are"
                # The form of another bundle may have had more fields.
                other = (
                    f"{name}: {text}" for name, text in invalid.items() if name not in (*view.get().fields, "full_name")
                )
                message = "; ".join([f"{count} not valid", *other])
                raise InvalidInputError(message, hint="correct the value and retry")
            job = submit(others, [row])
            return redirect(url_for("pages.prediction", job_id=job.id), HTTPStatus.SEE_OTHER)
        except StargazeError as error:
            return page_with_error(
                lambda error: _figures_page(view.get(), entered=entered, error=error, invalid=invalid), error
            )


def parse_names(text: str, most: int) -> list[str]:
    """Return the names in a text, each once; InvalidInputError, with all reasons, if there are none, too many or invalid ones."""
    parts, names, reasons = split_names(text), dict[str, str](), list[InvalidInputError]()
    if not parts:
        raise InvalidInputError("enter at least one repository", hint="use owner/name, or its GitHub URL")
    for part in parts:
        try:
            name = parse_name(part)
            names.setdefault(name.casefold(), name)
        except InvalidInputError as error:
            reasons.append(error)
    if len(names) + len(reasons) > most:
        raise InvalidInputError(f"{len(names) + len(reasons)} repositories are too many", hint=f"enter up to {most}")
    if reasons:
        messages = dict.fromkeys(error.message for error in reasons)
        raise InvalidInputError("; ".join(messages), hint=reasons[0].hint)
    return list(names.values())


def _kept_form(page: str) -> Response:
    response = make_response(page)
    response.headers["Cache-Control"] = KEPT_BY_BROWSERS
    return response


def _figures_page(
    view: BundleView,
    *,
    entered: dict[str, str],
    error: ErrorDetails | None = None,
    invalid: dict[str, str] | None = None,
) -> str:
    visible, folded = form_fields(view.fields, view.importance, view.meta["vocabularies"])
    return render_template(
        "figures.html",
        view=view,
        entered=entered,
        error=error,
        invalid=invalid or {},
        visible=visible,
        folded=folded,
        open_folded=any(entered.get(field.name) for field in folded),
    )
