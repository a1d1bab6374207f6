"""The pages around the results: comparison, search, model card, privacy."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from http import HTTPStatus

from flask import Blueprint, Response, jsonify, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as Redirect

from stargaze.config import ServeSection
from stargaze.errors import InvalidInputError
from stargaze.serve.lookup.github_cache import MAX_ROWS
from stargaze.serve.lookup.github_search import SearchResult
from stargaze.serve.prediction.track_record import MAX_AGE
from stargaze.serve.prediction_request import PredictionJob, PredictionQueue, is_job_id
from stargaze.serve.runtime.hot_reload import HotReloaded
from stargaze.serve.web.pages.bundle_view import BundleView
from stargaze.serve.web.pages.form_routes import edit_url
from stargaze.serve.web.pages.overlay_chart import overlay_chart
from stargaze.serve.web.pages.prediction_view import readable_job
from stargaze.serve.web.prediction_jobs import find_or_submit, status_of_job
from stargaze.serve.web.request_parsing import parse_request
from stargaze.serve.web.site.compare import compare_url, compared_rows, parse_compared
from stargaze.serve.web.site.model_card import model_card
from stargaze.serve.web.site.search import MAX_KNOWN, MAX_QUERY, search_names

SearchGithub = Callable[[str], SearchResult]


def add_site_routes(
    blueprint: Blueprint,
    section: ServeSection,
    queue: PredictionQueue,
    view: HotReloaded[BundleView],
    clock: Callable[[], datetime],
    search_github: SearchGithub,
) -> None:
    """Add the routes."""
    _add_comparison(blueprint, section, queue, view, clock)

    @blueprint.get("/search")
    def search_page() -> str:
        query = request.args.get("query", "").strip()[:MAX_QUERY]
        known = search_names(view.get().names, query, MAX_KNOWN)
        result = search_github(query) if query else SearchResult()
        found = [item for item in result.repositories if item.full_name not in known]
        return render_template("search.html", view=view.get(), query=query, known=known, found=found, note=result.note)

    @blueprint.get("/repositories")
    def suggestions() -> Response:
        return jsonify(search_names(view.get().names, request.args.get("query", "")))

    @blueprint.get("/model")
    def model() -> str:
        return render_template("model.html", view=view.get(), card=model_card(view.get()))

    @blueprint.get("/privacy")
    def privacy() -> str:
        return render_template(
            "privacy.html",
            view=view.get(),
            section=section,
            kept=format_duration(section.results_ttl),
            track_record_days=MAX_AGE.days,
            cached_replies=MAX_ROWS,
        )


def _add_comparison(
    blueprint: Blueprint,
    section: ServeSection,
    queue: PredictionQueue,
    view: HotReloaded[BundleView],
    clock: Callable[[], datetime],
) -> None:
    @blueprint.get("/compare/<path:names>")
    def compare(names: str) -> tuple[str, HTTPStatus] | Redirect:
        compared = parse_compared(names)
        if len(compared) > section.max_repositories:
            raise InvalidInputError(
                f"{len(compared)} repositories are too many", hint=f"compare up to {section.max_repositories}"
            )
        if len(compared) == 1:
            owner, _, name = compared[0].partition("/")
            return redirect(url_for("pages.repository", owner=owner, name=name), HTTPStatus.SEE_OTHER)
        if names != "...".join(compared):
            return redirect(compare_url(compared), HTTPStatus.SEE_OTHER)
        parsed = parse_request(compared, max_repositories=section.max_repositories, now=clock())
        job = readable_job(_shown_job(queue, compared) or find_or_submit(queue, parsed))
        return _comparison_page(view.get(), job, compared), status_of_job(job)


def _shown_job(queue: PredictionQueue, names: list[str]) -> PredictionJob | None:
    """Return the job that a waiting page names, if it is about these repositories: a failed one is not submitted again."""
    job_id = request.args.get("job", "")
    job = queue.get(job_id) if is_job_id(job_id) else None
    is_same = job is not None and job.request is not None and list(job.request.repositories) == names
    return job if is_same else None


def _comparison_page(view: BundleView, job: PredictionJob, names: list[str]) -> str:
    answer = job.answer or {"predictions": [], "errors": []}
    predictions = answer["predictions"]
    notes = dict.fromkeys(item["history_note"] for item in predictions if item["history_note"])
    return render_template(
        "compare.html",
        view=view,
        job=job,
        names=names,
        address=compare_url(names, job=job.id),
        rows=compared_rows(predictions),
        errors=answer["errors"],
        overlay=overlay_chart(predictions, "age" if request.args.get("by") == "age" else "date"),
        history_note="; ".join(notes) or "No star history is known.",
        coverage=f"{100 * view.meta['coverage']:g}%",
        digest=(job.answer or {}).get("digest"),
        edit_url=edit_url(job.request),
    )


def format_duration(seconds: float) -> str:
    """Return a duration in its largest whole unit.

    >>> format_duration(86_400), format_duration(5400), format_duration(7 * 86_400)
    ('24 hours', '90 minutes', '7 days')
    """
    for unit, size in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if (seconds >= 2 * size or (unit == "hours" and seconds == 86_400)) and seconds % size == 0:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:g} seconds"
