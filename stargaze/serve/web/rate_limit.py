"""How much one visitor may ask: counted by address, in Redis where several replicas share the counts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from http import HTTPStatus

from flask import Flask, Response, request
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from werkzeug.middleware.proxy_fix import ProxyFix

from stargaze.config import ServeSection
from stargaze.serve.runtime.settings import results_url

ASKING = (
    *("api.ask", "pages.hand_in", "pages.hand_in_figures", "pages.what_if", "pages.one"),
    *("sharing.badge", "sharing.card"),
)
"""The routes that put something into the queue."""
PATIENCE = 1
"""How long the counts may take to answer before they are taken to be away [s]."""


def limit(web: Flask, section: ServeSection, environ: Mapping[str, str] = os.environ) -> None:
    """Refuse a visitor who asks more than the config allows in a minute; where the counts are away, nobody is refused."""
    if section.trusted_proxies:
        number = section.trusted_proxies
        web.wsgi_app = ProxyFix(web.wsgi_app, x_for=number, x_proto=number, x_host=number)  # type: ignore[method-assign]
    if not section.rate_limit:
        return
    url = results_url(section, environ)
    limiter = Limiter(
        get_remote_address,
        application_limits=[f"{section.rate_limit}/minute"],
        storage_uri=url or "memory://",
        storage_options={"socket_connect_timeout": PATIENCE, "socket_timeout": PATIENCE} if url else {},
        strategy="fixed-window",
        key_prefix="stargaze",
        swallow_errors=True,
        in_memory_fallback_enabled=True,
        headers_enabled=True,
    )
    limiter.request_filter(lambda: request.endpoint not in ASKING)
    web.after_request(_only_to_the_refused)  # runs after the limiter's own
    limiter.init_app(web)


def _only_to_the_refused(response: Response) -> Response:
    """Take away when the window ends from whoever was answered: read as "come back then", it would cost a minute."""
    if response.status_code < HTTPStatus.BAD_REQUEST:
        response.headers.pop("Retry-After", None)
    return response
