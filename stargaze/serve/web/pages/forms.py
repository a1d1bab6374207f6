"""What the handlers of all forms share: the CSRF token, and a page with the status of an error."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable

from flask import request, session

from stargaze.errors import InvalidInputError, StargazeError
from stargaze.serve.prediction_request import ErrorDetails
from stargaze.serve.web.error_responses import error_headers, status_of_error, visible_error

Page = tuple[str, int, dict[str, str]]
"""A page, its status and headers."""
KEPT_BY_BROWSERS = "private, no-cache"
"""With no-store browsers show an empty form, or an error instead of a refused one, when the visitor goes back."""
TOKEN_SIZE = 24
"""Length of a token [byte]."""


def page_with_error(render: Callable[[ErrorDetails], str], error: StargazeError) -> Page:
    """Return the page that ``render`` makes of what a visitor may read of the error, with the status of the error."""
    status = status_of_error(error)
    return render(visible_error(error)), status, {**error_headers(status), "Cache-Control": KEPT_BY_BROWSERS}


def csrf_token() -> str:
    """Return the token of the visitor's session, which every form carries and other sites do not know.

    Its text is another one in each response: a compressed page that contains the same secret each time, beside what somebody
    else has chosen, would reveal it by its length (BREACH).
    """
    if len(_session_token()) != TOKEN_SIZE:
        session["token"] = secrets.token_urlsafe(TOKEN_SIZE)
    mask = secrets.token_bytes(TOKEN_SIZE)
    return base64.urlsafe_b64encode(mask + _xor(mask, _session_token())).decode()


def check_csrf_token() -> None:
    """Raise InvalidInputError unless the form carries the token of the session."""
    sent, expected = _decode(request.form.get("token", "")), _session_token()
    token = _xor(sent[:TOKEN_SIZE], sent[TOKEN_SIZE:]) if len(sent) == 2 * TOKEN_SIZE else b""
    if len(expected) != TOKEN_SIZE or not secrets.compare_digest(token, expected):
        raise InvalidInputError("your session expired", hint="please submit again; cookies must be enabled")


def _session_token() -> bytes:
    return _decode(str(session.get("token", "")))


def _decode(text: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(text.encode())
    except ValueError:
        return b""


def _xor(first: bytes, second: bytes) -> bytes:
    return bytes(left ^ right for left, right in zip(first, second, strict=True))
