"""What the handlers of all forms share: the CSRF token, and a page with the status of an error."""

from __future__ import annotations

import secrets
from http import HTTPStatus

from flask import request, session

from stargaze.errors import BadDataError, StargazeError, UsageError
from stargaze.serve.runtime.settings import RETRY_AFTER

Page = tuple[str, int, dict[str, str]]


def page_with_error(page: str, error: StargazeError) -> Page:
    """Return the page with the status of the error."""
    if isinstance(error, UsageError):
        return page, HTTPStatus.BAD_REQUEST, {}
    return page, HTTPStatus.SERVICE_UNAVAILABLE, {"Retry-After": str(RETRY_AFTER)}


def csrf_token() -> str:
    """Return the token of the visitor's session, which every form carries and other sites do not know."""
    if "token" not in session:
        session["token"] = secrets.token_urlsafe(24)
    return str(session["token"])


def check_csrf_token() -> None:
    """Raise BadDataError unless the form carries the token of the session."""
    sent, expected = request.form.get("token", ""), session.get("token", "")
    if not expected or not secrets.compare_digest(sent.encode(), str(expected).encode()):
        raise BadDataError("the form has expired", hint="allow cookies and submit it again")
