"""Headers of all responses: security, caching, and which of them scripts of other sites may read."""

from __future__ import annotations

from flask import Response, request

SECURITY_HEADERS = {
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
PUBLIC_PATHS = ("/api/v1/", "/badge/", "/card/")
"""Scripts of other sites may read these (CORS); they depend on no cookie."""
READ_METHODS = ("GET", "HEAD", "OPTIONS")
CORS_HEADERS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "ETag, Location, RateLimit, RateLimit-Policy, Retry-After, X-Request-Id",
    "Cross-Origin-Resource-Policy": "cross-origin",
}
PREFLIGHT_HEADERS = {
    "Access-Control-Allow-Methods": "GET, HEAD",
    "Access-Control-Allow-Headers": "If-None-Match, Prefer, X-Request-Id",
    "Access-Control-Max-Age": "86400",
}


def add_headers(response: Response) -> Response:
    """Add the headers that the response does not have yet."""
    if request.path.startswith(PUBLIC_PATHS) and request.method in READ_METHODS:
        response.headers.update(CORS_HEADERS)
        if request.method == "OPTIONS":
            response.headers.update(PREFLIGHT_HEADERS)
    present = {name.lower() for name, _ in response.headers}
    defaults = SECURITY_HEADERS if request.endpoint == "static" else {**SECURITY_HEADERS, "Cache-Control": "no-store"}
    response.headers.extend({name: value for name, value in defaults.items() if name.lower() not in present})
    return response
