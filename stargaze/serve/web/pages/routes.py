"""The blueprint of all HTML pages, which work without JavaScript; here are search, model card and privacy page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from flask import Blueprint, Response, jsonify, render_template, request

from stargaze.config import ServeSection
from stargaze.formatting import format_count
from stargaze.serve.lookup.github_cache import MAX_ROWS
from stargaze.serve.lookup.github_search import SearchResult
from stargaze.serve.prediction.track_record import MAX_AGE
from stargaze.serve.prediction_request import PredictionJob, PredictionQueue
from stargaze.serve.runtime.hot_reload import HotReloaded
from stargaze.serve.runtime.request_log import request_id
from stargaze.serve.web.pages.addresses import compare_url
from stargaze.serve.web.pages.compare_routes import add_compare_routes
from stargaze.serve.web.pages.form_routes import add_form_routes
from stargaze.serve.web.pages.forms import csrf_token
from stargaze.serve.web.pages.live_example import LiveExample
from stargaze.serve.web.pages.result_routes import add_result_routes
from stargaze.serve.web.request_parsing import parse_request
from stargaze.serve.web.views.bundle_view import BundleView, describe_track_record
from stargaze.serve.web.views.landing import landing_content
from stargaze.serve.web.views.model_card import model_card
from stargaze.serve.web.views.search import MAX_KNOWN, MAX_QUERY, search_names

SearchGithub = Callable[[str], SearchResult]


def pages_blueprint(
    section: ServeSection,
    queue: PredictionQueue,
    view: HotReloaded[BundleView],
    clock: Callable[[], datetime],
    track_record: Callable[[], Mapping[str, Any] | None],
    example: LiveExample,
    search_github: SearchGithub,
) -> Blueprint:
    """Return the routes of the page; ``track_record`` returns the summary of the track record."""
    blueprint = Blueprint("pages", __name__)
    blueprint.app_context_processor(
        lambda: {
            "max_repositories": section.max_repositories,
            "format_count": format_count,
            "compare_url": compare_url,
            "csrf_token": csrf_token,
            "request_id": request_id,
            "track_record": describe_track_record(track_record()),
        }
    )

    def submit(names: Sequence[str], figures: Sequence[dict[str, Any]] = ()) -> PredictionJob:
        parsed = parse_request(names, figures, max_repositories=section.max_repositories, now=clock())
        return queue.submit(parsed, request_id=request_id())

    add_form_routes(
        blueprint, view, clock, section.max_repositories, submit, lambda: landing_content(view.get(), example.find)
    )
    add_result_routes(blueprint, queue, view, clock)
    add_compare_routes(blueprint, queue, view, clock, section.max_repositories)
    _add_search(blueprint, view, search_github)
    _add_information(blueprint, section, view)
    return blueprint


def _add_search(blueprint: Blueprint, view: HotReloaded[BundleView], search_github: SearchGithub) -> None:
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


def _add_information(blueprint: Blueprint, section: ServeSection, view: HotReloaded[BundleView]) -> None:
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


def format_duration(seconds: float) -> str:
    """Return a duration in its largest whole unit.

    >>> format_duration(86_400), format_duration(5400), format_duration(7 * 86_400)
    ('24 hours', '90 minutes', '7 days')
    """
    for unit, size in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if (seconds >= 2 * size or (unit == "hours" and seconds == 86_400)) and seconds % size == 0:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:g} seconds"
