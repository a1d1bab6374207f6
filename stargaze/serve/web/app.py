"""Create the Flask app: security headers, error responses and health checks around page and API."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

from flask import Flask, Response, jsonify, render_template, request
from flask.sessions import SecureCookieSessionInterface
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import BadRequest, HTTPException, SecurityError

from stargaze.config import ServeSection
from stargaze.errors import ExternalError, StargazeError, UsageError
from stargaze.serve.prediction.track_record import TrackRecord
from stargaze.serve.prediction_request import IdempotencyKeyReusedError, PredictionQueue, error_details
from stargaze.serve.queue.celery_app import create_celery_app
from stargaze.serve.queue.celery_queue import CeleryPredictionQueue, utc_now
from stargaze.serve.runtime.hot_reload import HotReloaded, TtlCached
from stargaze.serve.runtime.metrics import observe_error
from stargaze.serve.runtime.request_log import configure_logging, log_requests, request_id
from stargaze.serve.runtime.settings import MAX_BODY, RETRY_AFTER, read_environment, session_key, trusted_hosts
from stargaze.serve.runtime.status_files import DRAINING_FILE, read_reload_interval, record_served_bundle
from stargaze.serve.web.api.rate_limit import add_rate_limit
from stargaze.serve.web.api.routes import api_blueprint
from stargaze.serve.web.pages.bundle_view import BundleView, load_bundle_view
from stargaze.serve.web.pages.exports import exports_blueprint
from stargaze.serve.web.pages.result_routes import find_or_submit
from stargaze.serve.web.pages.routes import pages_blueprint
from stargaze.store import Store

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; object-src 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
DESCRIPTIONS = {HTTPStatus.NOT_FOUND: "this page does not exist", HTTPStatus.TOO_MANY_REQUESTS: "too many requests"}
HINTS = {
    HTTPStatus.NOT_FOUND: "results are stored for a day; submit the request again",
    HTTPStatus.METHOD_NOT_ALLOWED: "use POST to submit a request and GET to read its result",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: f"send at most {MAX_BODY // 1024} kB",
    HTTPStatus.TOO_MANY_REQUESTS: "try again later, or put several repositories into one request",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "send Content-Type: application/json",
}


class SchemeAwareSessions(SecureCookieSessionInterface):
    """Sessions whose cookie is marked Secure if the visitor uses https."""

    def get_cookie_secure(self, app: Flask) -> bool:
        """Return whether the request came by https, as trusted proxy headers say."""
        return request.is_secure


def create() -> Flask:
    """Create the app of one web process; gunicorn calls this."""
    section, store = read_environment(os.environ)
    configure_logging("web")
    return make_web(section, store, CeleryPredictionQueue(create_celery_app(section, store), section, store))


def make_web(
    section: ServeSection, store: Store, queue: PredictionQueue, clock: Callable[[], datetime] = utc_now
) -> Flask:
    """Create the app with page, API, exports and health checks."""
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
    web.session_interface = SchemeAwareSessions()
    web.jinja_options = {"autoescape": True, "trim_blocks": True, "lstrip_blocks": True}
    view = HotReloaded(store.current, load_bundle_view)
    if interval := read_reload_interval(os.environ):
        view.reload_in_background(interval, partial(record_served_bundle, store.queue))
    track_record = TtlCached(TrackRecord(store.predictions).summary) if section.track_record else dict
    queue = add_rate_limit(web, section, store, queue)
    web.register_blueprint(api_blueprint(section, queue, clock))
    web.register_blueprint(pages_blueprint(section, queue, view, clock, track_record))
    web.register_blueprint(exports_blueprint(queue, view, partial(find_or_submit, queue, clock)))
    log_requests(web)
    web.after_request(_add_headers)
    web.register_error_handler(StargazeError, _handle_error)
    web.register_error_handler(HTTPException, _handle_http_error)
    web.register_error_handler(
        ParseException, lambda _: _handle_http_error(BadRequest("the chunks of the body are invalid"))
    )
    _add_health_checks(web, queue, view, store.queue / DRAINING_FILE)
    return web


def _add_health_checks(web: Flask, queue: PredictionQueue, view: HotReloaded[BundleView], draining: Path) -> None:
    @web.get("/healthz")
    def healthz() -> Response:
        return jsonify(status="alive")

    @web.get("/readyz")
    def readyz() -> Response:
        if draining.exists():
            raise ExternalError("this server is shutting down", hint="try again")
        queue.check()
        return jsonify(status="ready", bundle=view.get().digest)


def _add_headers(response: Response) -> Response:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if request.endpoint != "static":
        response.headers.setdefault("Cache-Control", "no-store")
    return response


def _handle_error(error: StargazeError) -> tuple[Any, int, dict[str, str]]:
    """Return 4xx for mistakes of the client, and 503 for all other errors."""
    if isinstance(error, IdempotencyKeyReusedError):
        return _error_response(HTTPStatus.UNPROCESSABLE_ENTITY, error)
    if isinstance(error, UsageError):
        return _error_response(HTTPStatus.BAD_REQUEST, error)
    observe_error(type(error).__name__)
    if not isinstance(error, ExternalError):
        error = StargazeError(f"not ready: {error.message}", hint=error.hint)
    return _error_response(HTTPStatus.SERVICE_UNAVAILABLE, error)


def _handle_http_error(error: HTTPException) -> tuple[Any, int, dict[str, str]]:
    """Handle Flask's own errors: an unknown path, a large body, an unknown host."""
    if isinstance(error, SecurityError):  # no links can be built for an unknown host
        return "unknown host\n", HTTPStatus.BAD_REQUEST, {"Content-Type": "text/plain"}
    status = HTTPStatus(error.code or HTTPStatus.INTERNAL_SERVER_ERROR)
    message = DESCRIPTIONS.get(status) or status.description or status.phrase
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        observe_error(type(getattr(error, "original_exception", None) or error).__name__)
        message = f"something went wrong on our side (request {request_id()})"
    headers = {name: value for name, value in error.get_headers() if name in ("Allow", "Retry-After")}
    return _error_response(status, StargazeError(message, hint=HINTS.get(status, "")), headers)


def _error_response(
    status: HTTPStatus, error: StargazeError, headers: dict[str, str] | None = None
) -> tuple[Any, int, dict[str, str]]:
    headers = headers or {}
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = str(RETRY_AFTER)
    if request.path.startswith("/api/") or request.path in ("/healthz", "/readyz"):
        return jsonify(error=error_details(error)), status, headers
    return render_template("error.html", status=status, error=error), status, headers
