"""The rate limit of a visitor, by address; replicas share the counts in Redis."""

from __future__ import annotations

import os
from collections.abc import Mapping
from http import HTTPStatus

from flask import Flask, Response, request
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from werkzeug.middleware.proxy_fix import ProxyFix

from stargaze.config import ServeSection
from stargaze.serve.runtime.settings import results_tls, results_url

LIMITED_ENDPOINTS = (
    *("api.submit", "pages.submit_names", "pages.submit_figures", "pages.what_if", "pages.repository"),
    *("exports.badge", "exports.card"),
)
"""The endpoints that can queue a job."""
REDIS_TIMEOUT = 1
"""After this time without an answer Redis is treated as unavailable [s]."""


def add_rate_limit(web: Flask, section: ServeSection, environ: Mapping[str, str] = os.environ) -> None:
    """Reject a visitor who exceeds ``serve.rate_limit``; without Redis each process counts alone."""
    if count := section.trusted_proxies:
        web.wsgi_app = ProxyFix(web.wsgi_app, x_for=count, x_proto=count, x_host=count)  # type: ignore[method-assign]
    if not section.rate_limit:
        return
    url = results_url(section, environ)
    timeouts = {"socket_connect_timeout": REDIS_TIMEOUT, "socket_timeout": REDIS_TIMEOUT}
    limiter = Limiter(
        get_remote_address,
        application_limits=[f"{section.rate_limit}/minute"],
        storage_uri=url or "memory://",
        storage_options={**timeouts, **results_tls(url, environ)} if url else {},
        strategy="fixed-window",
        key_prefix="stargaze",
        swallow_errors=True,
        in_memory_fallback_enabled=True,
        headers_enabled=True,
    )
    limiter.request_filter(lambda: request.endpoint not in LIMITED_ENDPOINTS)
    web.after_request(_drop_retry_after)  # runs after the limiter's own
    limiter.init_app(web)


def _drop_retry_after(response: Response) -> Response:
    """Remove Retry-After from successful responses: clients would wait for the end of the window."""
    if response.status_code < HTTPStatus.BAD_REQUEST:
        response.headers.pop("Retry-After", None)
    return response
