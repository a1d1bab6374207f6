"""Flask's wiring: the guards around page and API, and the two questions that a health check asks."""

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
from werkzeug.exceptions import HTTPException, SecurityError

from stargaze.config import ServeSection
from stargaze.errors import ExternalError, StargazeError, UsageError
from stargaze.serve.prediction.track_record import TrackRecord
from stargaze.serve.prediction_request import IdempotencyKeyReusedError, PredictionQueue
from stargaze.serve.queue.celery_app import make_app
from stargaze.serve.queue.celery_queue import CeleryPredictionQueue, now
from stargaze.serve.runtime import request_log as requestlog
from stargaze.serve.runtime.hot_reload import HotReloaded, TtlCached
from stargaze.serve.runtime.metrics import observe_error
from stargaze.serve.runtime.settings import MAX_BODY, RETRY_AFTER, read_environment, session_key, trusted_hosts
from stargaze.serve.runtime.status_files import draining_file, read_reload_interval, record_served_bundle
from stargaze.serve.web import api, pages
from stargaze.serve.web import exports as sharing
from stargaze.serve.web import rate_limit as limits
from stargaze.serve.web.bundle_view import BundleView, load_shown
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
HINTS = {
    HTTPStatus.NOT_FOUND: "answers are kept for a day; ask again",
    HTTPStatus.METHOD_NOT_ALLOWED: "POST asks, GET reads",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: f"send at most {MAX_BODY // 1024} kB",
    HTTPStatus.TOO_MANY_REQUESTS: "ask fewer at a time, or several repositories in one question",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "send Content-Type: application/json",
}


class Sessions(SecureCookieSessionInterface):
    """Flask's sessions, whose cookie is for https alone where the visitor came by https: here it need not be."""

    def get_cookie_secure(self, app: Flask) -> bool:
        """Say what the request says, as the proxies in front tell it."""
        return request.is_secure


def create() -> Flask:
    """Make the app of one web process; gunicorn calls this."""
    section, store = read_environment(os.environ)
    requestlog.configure_logging("web")
    desk = CeleryPredictionQueue(make_app(section, store), section, store)
    return make_web(section, store, desk)


def make_web(section: ServeSection, store: Store, desk: PredictionQueue, clock: Callable[[], datetime] = now) -> Flask:
    """Put page and API behind the guards."""
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
    web.session_interface = Sessions()
    web.jinja_options = {"autoescape": True, "trim_blocks": True, "lstrip_blocks": True}
    shown = HotReloaded(store.current, load_shown)
    if pause := read_reload_interval(os.environ):
        shown.reload_in_background(pause, partial(record_served_bundle, store.queue))
    web.register_blueprint(api.make(section, desk, clock))
    record = TtlCached(TrackRecord(store.predictions).summary) if section.track_record else dict
    web.register_blueprint(pages.make(section, desk, shown, clock, record))
    web.register_blueprint(sharing.exports_blueprint(desk, shown, partial(pages.asked, desk)))
    requestlog.log_requests(web)
    limits.limit(web, section)
    web.after_request(_guard)
    web.register_error_handler(StargazeError, _explain)
    web.register_error_handler(HTTPException, _refuse)
    _add_health(web, desk, shown, draining_file(store.queue))
    return web


def _add_health(web: Flask, desk: PredictionQueue, shown: HotReloaded[BundleView], sign: Path) -> None:
    @web.get("/healthz")
    def healthz() -> Response:
        return jsonify(status="alive")

    @web.get("/readyz")
    def readyz() -> Response:
        if sign.exists():
            raise ExternalError("this page is about to end", hint="ask another replica")
        desk.check()
        return jsonify(status="ready", bundle=shown.get().digest)


def _guard(response: Response) -> Response:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if request.endpoint != "static":
        response.headers.setdefault("Cache-Control", "no-store")
    return response


def _explain(error: StargazeError) -> tuple[Any, int, dict[str, str]]:
    """Answer our own errors: what the client did wrong is 400, everything else is a reason to come back later."""
    if isinstance(error, IdempotencyKeyReusedError):
        return _answer(HTTPStatus.UNPROCESSABLE_ENTITY, error.message, error.hint)
    if isinstance(error, UsageError):
        return _answer(HTTPStatus.BAD_REQUEST, error.message, error.hint)
    observe_error(type(error).__name__)
    outside = isinstance(error, ExternalError)
    message = error.message if outside else f"not ready: {error.message}"
    return _answer(HTTPStatus.SERVICE_UNAVAILABLE, message, error.hint)


def _refuse(error: HTTPException) -> tuple[Any, int, dict[str, str]]:
    """Answer what Flask refuses: an unknown path, a body that is too large, a host that is not ours."""
    if isinstance(error, SecurityError):  # the host is not ours: there is no address to build links from
        return "this server does not go by that name\n", HTTPStatus.BAD_REQUEST, {"Content-Type": "text/plain"}
    status = HTTPStatus(error.code or HTTPStatus.INTERNAL_SERVER_ERROR)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        observe_error(type(getattr(error, "original_exception", None) or error).__name__)
    return _answer(status, status.description or status.phrase, HINTS.get(status, ""), dict(error.get_headers()))


def _answer(
    status: HTTPStatus, message: str, hint: str, headers: dict[str, str] | None = None
) -> tuple[Any, int, dict[str, str]]:
    kept = {name: value for name, value in (headers or {}).items() if name in ("Allow", "Retry-After")}
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        kept["Retry-After"] = str(RETRY_AFTER)
    if request.path.startswith("/api/") or request.path in ("/healthz", "/readyz"):
        return jsonify(error={"message": message, "hint": hint}), status, kept
    return render_template("problem.html", status=status, message=message, hint=hint), status, kept
