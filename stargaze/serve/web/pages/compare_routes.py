"""The comparison of several repositories: a table and a chart of their star histories."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from http import HTTPStatus

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as Redirect

from stargaze.errors import InvalidInputError
from stargaze.serve.prediction_request import PredictionJob, PredictionQueue
from stargaze.serve.runtime.hot_reload import HotReloaded
from stargaze.serve.web.pages.addresses import SEPARATOR, compare_url, edit_url, parse_compared
from stargaze.serve.web.pages.forms import Page, page_with_error
from stargaze.serve.web.prediction_jobs import find_or_submit, find_shown, retry_header, status_of_job
from stargaze.serve.web.request_parsing import parse_request
from stargaze.serve.web.views.bundle_view import BundleView
from stargaze.serve.web.views.comparison import compared_rows, failed_rows, offers_metrics
from stargaze.serve.web.views.overlay_chart import overlay_chart
from stargaze.serve.web.views.prediction_view import readable_job


def add_compare_routes(
    blueprint: Blueprint,
    queue: PredictionQueue,
    view: HotReloaded[BundleView],
    clock: Callable[[], datetime],
    max_repositories: int,
) -> None:
    """Add the route of comparisons."""

    @blueprint.get("/compare/<path:names>")
    def compare(names: str) -> Page | Redirect:
        try:
            compared = parse_compared(names, max_repositories)
        except InvalidInputError as error:
            entered = "\n".join(SEPARATOR.split(names))
            return page_with_error(
                lambda details: render_template("index.html", view=view.get(), entered=entered, error=details), error
            )
        if len(compared) == 1:
            owner, _, name = compared[0].partition("/")
            return redirect(url_for("pages.repository", owner=owner, name=name), HTTPStatus.SEE_OTHER)
        if names != "...".join(compared):
            return redirect(compare_url(compared, **_chosen_axis()), HTTPStatus.SEE_OTHER)
        parsed = parse_request(compared, max_repositories=max_repositories, now=clock())
        job = readable_job(find_shown(queue, compared, clock()) or find_or_submit(queue, parsed, clock()))
        status = status_of_job(job)
        return _comparison_page(view.get(), job, compared), status, retry_header(status, job, clock())


def _chosen_axis() -> dict[str, str | None]:
    return {name: request.args.get(name) for name in ("by", "range")}


def _comparison_page(view: BundleView, job: PredictionJob, names: list[str]) -> str:
    answer = job.answer or {"predictions": [], "errors": []}
    predictions = answer["predictions"]
    notes = dict.fromkeys(item["history_note"] for item in predictions if item["history_note"])
    return render_template(
        "compare.html",
        view=view,
        job=job,
        names=names,
        address=compare_url(names, job=job.id, **_chosen_axis()),
        rows=compared_rows(predictions),
        errors=failed_rows(answer["errors"]),
        offers_metrics=offers_metrics(job.error),
        overlay=overlay_chart(
            predictions,
            "age" if request.args.get("by") == "age" else "date",
            is_recent=request.args.get("range") == "recent",
        ),
        history_note="; ".join(notes) or "No star history is known.",
        coverage=f"{100 * view.meta['coverage']:g}%",
        digest=(job.answer or {}).get("digest"),
        edit_url=edit_url(job.request),
    )
