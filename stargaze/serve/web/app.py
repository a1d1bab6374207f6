"""Create the Flask app: page, API, exports, health checks."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from flask import Flask, Request, Response, jsonify, request
from flask.sessions import SecureCookieSessionInterface

from stargaze.config import ServeSection
from stargaze.formatting import capitalize_first
from stargaze.serve.lookup.exclusion import Exclusions
from stargaze.serve.lookup.github_search import SearchResult, open_github_search
from stargaze.serve.prediction.labels import label_fields
from stargaze.serve.prediction.track_record import TrackRecord
from stargaze.serve.prediction_request import PredictionQueue, QueueUnavailableError
from stargaze.serve.queue.celery_app import create_celery_app
from stargaze.serve.queue.celery_queue import CeleryPredictionQueue, utc_now
from stargaze.serve.runtime.hot_reload import HotReloaded, TtlCached
from stargaze.serve.runtime.request_log import configure_logging, log_requests
from stargaze.serve.runtime.settings import MAX_BODY, read_environment, read_sources, session_key, trusted_hosts
from stargaze.serve.runtime.status_files import DRAINING_FILE, read_reload_interval, record_served_bundle
from stargaze.serve.web.api.rate_limit import add_rate_limit
from stargaze.serve.web.api.routes import api_blueprint
from stargaze.serve.web.compression import compress_response
from stargaze.serve.web.error_responses import add_error_handlers
from stargaze.serve.web.excluded_results import hide_excluded, names_excluded
from stargaze.serve.web.pages.exports import exports_blueprint
from stargaze.serve.web.pages.live_example import LiveExample
from stargaze.serve.web.pages.routes import SearchGithub, pages_blueprint
from stargaze.serve.web.response_headers import add_headers
from stargaze.serve.web.views.bundle_view import BundleView, load_bundle_view
from stargaze.serve.web.views.prediction_view import is_readable
from stargaze.store import Store

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

ROBOTS = """User-agent: *
Disallow: /api/
Disallow: /predictions/
Disallow: /search
Allow: /
"""
"""Search engines find pages and figures, but queue no requests."""
WARM_UP_TIMEOUT = 2.0
"""A process does not wait longer for the servers of queue and results before it answers [s]."""


class SchemeAwareSessions(SecureCookieSessionInterface):
    """Sessions whose cookie is marked Secure if the visitor uses https; Flask would create a serializer for every request."""

    get_signing_serializer = lru_cache(maxsize=1)(SecureCookieSessionInterface.get_signing_serializer)

    def get_cookie_secure(self, app: Flask) -> bool:
        """Return whether the request came by https, as trusted proxy headers say."""
        return request.is_secure


class LowerCaseHostRequest(Request):
    """A request whose Host header is in lower case, as the names that it is compared with: host names have no case."""

    def __init__(self, environ: WSGIEnvironment, populate_request: bool = True, shallow: bool = False) -> None:  # noqa: FBT001, FBT002 - werkzeug's
        if "HTTP_HOST" in environ:
            environ["HTTP_HOST"] = environ["HTTP_HOST"].lower()
        super().__init__(environ, populate_request, shallow)


def create() -> Flask:
    """Create the app of one web process; gunicorn calls this."""
    section, store = read_environment(os.environ)
    configure_logging("web")
    queue = CeleryPredictionQueue(create_celery_app(section, store), section, store, is_readable=is_readable)
    warm_up = threading.Thread(target=queue.warm_up, name="warm-up", daemon=True)
    warm_up.start()
    warm_up.join(WARM_UP_TIMEOUT)
    exclusions = Exclusions.parse(section.exclude)
    url = read_sources(os.environ).github_url
    search = open_github_search(url, store, is_enabled=section.github_lookup, exclusions=exclusions)
    return make_web(section, store, queue, search_github=search.find, requests_example=True)


def make_web(
    section: ServeSection,
    store: Store,
    queue: PredictionQueue,
    clock: Callable[[], datetime] = utc_now,
    *,
    search_github: SearchGithub = lambda _: SearchResult(),
    requests_example: bool = False,
) -> Flask:
    """Create the app with page, API, exports and health checks.

    Without ``search_github`` the search finds known names only; ``requests_example`` lets the landing page submit its example.
    """
    web = Flask("stargaze.serve.web")
    web.config.update(
        SECRET_KEY=session_key(store),
        TRUSTED_HOSTS=trusted_hosts(section),
        MAX_CONTENT_LENGTH=MAX_BODY,
        MAX_FORM_MEMORY_SIZE=MAX_BODY,
        MAX_FORM_PARTS=200,
        SESSION_COOKIE_NAME="stargaze",
        SESSION_COOKIE_SAMESITE="Strict",
        SESSION_COOKIE_HTTPONLY=True,
        TEMPLATES_AUTO_RELOAD=False,
    )
    web.request_class = LowerCaseHostRequest
    web.session_interface = SchemeAwareSessions()
    web.jinja_options = {"autoescape": True, "trim_blocks": True, "lstrip_blocks": True}
    web.jinja_env.filters |= {"label_fields": label_fields, "capitalize_first": capitalize_first}
    exclusions = Exclusions.parse(section.exclude)
    view = HotReloaded(store.current, partial(load_bundle_view, exclusions=exclusions))
    if interval := read_reload_interval(os.environ):
        view.reload_in_background(interval, partial(record_served_bundle, store.queue))
    example = LiveExample(queue, clock, submits=requests_example)
    track_record = TtlCached(TrackRecord(store.predictions).summary) if section.track_record else dict
    queue = hide_excluded(queue, exclusions)
    queue = add_rate_limit(web, section, store, queue)
    web.register_blueprint(api_blueprint(section, queue, clock))
    web.register_blueprint(pages_blueprint(section, queue, view, clock, track_record, example, search_github))
    web.register_blueprint(exports_blueprint(queue, view, clock))
    log_requests(web, partial(names_excluded, exclusions))
    web.after_request(compress_response)  # the last one that was added runs first
    web.after_request(add_headers)
    add_error_handlers(web)
    _add_health_checks(web, queue, view, store.queue / DRAINING_FILE)
    return web


def _add_health_checks(web: Flask, queue: PredictionQueue, view: HotReloaded[BundleView], draining: Path) -> None:
    @web.get("/healthz")
    def healthz() -> Response:
        return jsonify(status="alive")

    @web.get("/readyz")
    def readyz() -> Response:
        if draining.exists():
            raise QueueUnavailableError("this server is shutting down", hint="try again")
        queue.check()
        bundle = view.get()
        return jsonify(status="ready", bundle=bundle.digest, growth_digest=bundle.growth_digest)

    @web.get("/robots.txt")
    def robots() -> Response:
        return Response(ROBOTS, mimetype="text/plain", headers={"Cache-Control": "public, max-age=86400"})
