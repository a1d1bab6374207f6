"""All HTML pages, which work without JavaScript: forms, results, and the pages around them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from flask import Blueprint

from stargaze.config import ServeSection
from stargaze.formatting import format_count
from stargaze.serve.prediction_request import PredictionJob, PredictionQueue
from stargaze.serve.runtime.hot_reload import HotReloaded
from stargaze.serve.runtime.request_log import request_id
from stargaze.serve.web.pages.bundle_view import BundleView, describe_track_record
from stargaze.serve.web.pages.form_routes import add_form_routes
from stargaze.serve.web.pages.forms import csrf_token
from stargaze.serve.web.pages.result_routes import add_result_routes
from stargaze.serve.web.request_parsing import parse_request
from stargaze.serve.web.site.compare import compare_url
from stargaze.serve.web.site.landing import landing_content
from stargaze.serve.web.site.live_example import LiveExample
from stargaze.serve.web.site.routes import SearchGithub, add_site_routes


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
        blueprint, view, clock, section.max_repositories, submit, lambda: landing_content(view.get(), example)
    )
    add_result_routes(blueprint, queue, view, clock)
    add_site_routes(blueprint, section, queue, view, clock, search_github)
    return blueprint
