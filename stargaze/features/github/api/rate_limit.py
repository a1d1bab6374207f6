"""Classify a GitHub response: success, wait for the rate limit, retry, split the request, or give up.

The wait follows GitHub's documentation: ``retry-after``, then ``x-ratelimit-reset`` if nothing remains, else a minute,
doubled each time; after a repeated refusal the wait grows too. Waits are differences of GitHub's own dates, so a wrong
local clock does no harm.
"""

from __future__ import annotations

import email.utils
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC
from typing import Any, Literal

from stargaze.features.github.api.http_transport import Response

Kind = Literal[
    "ok",
    "not_modified",
    "redirect",
    "other_server",
    "gone",
    "rate_limit",
    "too_heavy",
    "failed",
    "refused",
    "unauthorized",
    "not_github",
]
"""``other_server``: a redirect to another server; ``not_github``: not a response of GitHub's API."""

FIRST_LIMIT_WAIT = 60.0
MAX_WINDOW = 3600.0
"""Seconds of GitHub's longest rate limit window; a later reset is cut to it."""
MAX_STATED_WAIT = 366 * 86_400.0
"""Seconds to which retry-after is cut, so that it fits a date."""
MAX_TIME = 1e11
"""Latest date, in the year 5138 [s since 1970]: a wait may be added to it."""
MAX_DIGITS = 15
MAX_BACKOFF = 960.0
ROUNDING_MARGIN = 0.5
"""Seconds added to a wait that GitHub states in whole seconds."""
FIRST_RETRY = 2.0
LIMIT_STATUS = (403, 429)
GONE_STATUS = (404, 410)
TOO_HEAVY_STATUS = (502, 504)
REQUEST_TIMEOUT = 408
MAX_PAGE_BYTES = 4096
"""Bytes of a web page that are searched for a rate limit message."""
REDIRECT_STATUS = (301, 302, 307, 308)


@dataclass(frozen=True)
class ResponseAction:
    """The handling of a response; ``data`` is its JSON, ``wait`` the seconds before a retry."""

    kind: Kind
    reason: str = ""
    wait: float = 0.0
    data: Any = None


def classify_response(
    response: Response, *, local_time: float, limits: int = 0, faults: int = 0, is_graphql: bool = False
) -> ResponseAction:
    """Return how to handle a response.

    ``limits`` and ``faults`` count how often this request was rate limited and failed; unstated waits grow with them.
    ``local_time`` [s since 1970] is used only if GitHub sends no date. GraphQL reports limits and faults with status 200, and
    its own endpoint is never gone.
    """
    status = response.status
    if status in (204, 304) and not is_graphql:
        return ResponseAction("not_modified" if status == 304 else "ok", data=[])
    if status in REDIRECT_STATUS:
        return ResponseAction("redirect", reason=response.headers.get("location", ""))
    data = _parse_body(response)
    message = error_message(data)
    if _is_limit(response, message, data):
        return ResponseAction(
            "rate_limit", reason=_limit_name(response, message), wait=limit_wait(response, local_time, limits)
        )
    if status >= 300:
        action = _classify_error(response, message, data, _fault_wait(response, local_time, faults))
        return replace(action, kind="refused") if is_graphql and action.kind == "gone" else action
    if not isinstance(data, (dict, list)):
        return ResponseAction("failed", reason=_describe_unreadable(response), wait=backoff(faults))
    return _classify_graphql(data, faults) if is_graphql else ResponseAction("ok", data=data)


def _classify_error(response: Response, message: str, data: Any, wait: float) -> ResponseAction:
    status = response.status
    if status < 500 and not message:
        what = "a web page" if _is_page(response) else "no message from GitHub"
        return ResponseAction(
            "failed" if status == REQUEST_TIMEOUT else "not_github", reason=f"status {status} and {what}", wait=wait
        )
    if _is_blocked(status, message, data):
        return ResponseAction("gone", reason=_blocked_reason(data), data=data)
    if status == 401:
        return ResponseAction("unauthorized", reason=message)
    if status in GONE_STATUS:
        return ResponseAction("gone", reason=message, data=data)
    if status < 500:
        return ResponseAction("refused", reason=_join_messages(message, data), data=data)
    kind: Kind = "too_heavy" if status in TOO_HEAVY_STATUS else "failed"
    reason = _describe_unreadable(response) if data is None and status not in TOO_HEAVY_STATUS else f"status {status}"
    return ResponseAction(kind, reason=reason, wait=wait)


def limit_wait(response: Response, local_time: float, limits: int) -> float:
    """Return the wait [s] for a rate limit, in the order that GitHub documents."""
    now = _server_time(response, local_time)
    wait = retry_after(response.headers, now)
    if wait is None and response.headers.get("x-ratelimit-remaining") == "0":
        wait = seconds_until_reset(response.headers, now)
    if wait is None:
        return float(min(FIRST_LIMIT_WAIT * 2**limits, MAX_BACKOFF))
    return max(wait, float(min(FIRST_LIMIT_WAIT * 2 ** (limits - 1), MAX_BACKOFF))) if limits else wait


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Return the seconds of the retry-after header, which may be a date; None without a valid one."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        wait = float(text)
    else:
        moment = _parse_http_date(text)
        if moment is None:
            return None
        wait = max(moment - now, 0.0)
    return min(wait, MAX_STATED_WAIT) + ROUNDING_MARGIN


def seconds_until_reset(headers: Mapping[str, str], now: float) -> float | None:
    """Return the seconds until the rate limit resets, None if not stated; ``now`` is GitHub's time [s since 1970]."""
    text = headers.get("x-ratelimit-reset", "")
    if not (text.isascii() and text.isdigit()):
        return None
    reset = float(text) / (1000.0 if len(text) > 11 else 1.0)  # recorded traffic has milliseconds
    return min(max(reset - now, 0.0), MAX_WINDOW) + ROUNDING_MARGIN


def response_time(headers: Mapping[str, str]) -> float | None:
    """Return the date of a response [s since 1970, GitHub's clock]."""
    return _parse_http_date(headers.get("date", ""))


def parse_count(text: str) -> int | None:
    """Return a whole number of a header, None if it is not one.

    >>> parse_count("57"), parse_count("²"), parse_count("9" * 5000)
    (57, None, None)
    """
    return int(text) if text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS else None


def backoff(faults: int) -> float:
    """Return the wait [s] before a retry after a fault: 2, 4, 8 … up to 16 minutes."""
    return float(min(FIRST_RETRY * 2.0**faults, MAX_BACKOFF))


def _fault_wait(response: Response, local_time: float, faults: int) -> float:
    """Return the wait [s] after a fault, at least the retry-after header."""
    return max(backoff(faults), retry_after(response.headers, _server_time(response, local_time)) or 0.0)


def _server_time(response: Response, local_time: float) -> float:
    server_time = response_time(response.headers)
    return local_time if server_time is None else server_time


def _parse_http_date(text: str) -> float | None:
    """Parse an HTTP date [s since 1970], None if it is invalid."""
    try:
        moment = email.utils.parsedate_to_datetime(text)
        seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
    return seconds if 0 <= seconds <= MAX_TIME else None


def error_message(data: Any) -> str:
    """Return GitHub's error message, empty without one."""
    if not isinstance(data, dict):
        return ""
    message = data.get("message")
    if isinstance(message, str):
        return message
    errors = data.get("errors")
    first = errors[0] if isinstance(errors, list) and errors else errors
    message = first.get("message") if isinstance(first, dict) else first
    return message if isinstance(message, str) else ""


def _parse_body(response: Response) -> Any:
    try:
        return json.loads(response.body)
    except (ValueError, RecursionError):
        return None


def _is_blocked(status: int, message: str, data: Any) -> bool:
    """Return whether GitHub blocks the repository: 451 for legal reasons, 403 by its terms, even with a used-up limit."""
    named = isinstance(data, dict) and isinstance(data.get("block"), dict)
    return status == 451 or (status == 403 and (named or "access blocked" in message.lower()))


def _is_limit(response: Response, message: str, data: Any) -> bool:
    """Return whether a primary or secondary rate limit applies; the status may be 403, 429 or 200."""
    text = (response.body[:MAX_PAGE_BYTES].decode(errors="replace") if data is None else message).lower()
    if _is_blocked(response.status, message, data):
        return False
    if response.status == 429 or "rate limit" in text or "abuse detection" in text:
        return response.status in (200, *LIMIT_STATUS)
    if response.status == 200:
        return _error_type(data) == "RATE_LIMITED"
    stated = "retry-after" in response.headers or response.headers.get("x-ratelimit-remaining") == "0"
    return response.status in LIMIT_STATUS and stated


def _limit_name(response: Response, message: str) -> str:
    name = response.headers.get("x-ratelimit-resource", "")
    kind = "secondary limit" if "secondary" in message.lower() or "abuse" in message.lower() else "limit"
    return f"{name} {kind}".strip()


def _blocked_reason(data: Any) -> str:
    block = data.get("block") if isinstance(data, dict) else None
    reason = block.get("reason") if isinstance(block, dict) else None
    return f"blocked ({reason})" if isinstance(reason, str) else "blocked"


def _join_messages(message: str, data: Any) -> str:
    """Join the error message with the messages of each field."""
    errors = data.get("errors") if isinstance(data, dict) else None
    if not isinstance(errors, list):
        return message
    parts = [error.get("message") if isinstance(error, dict) else error for error in errors]
    return "; ".join(dict.fromkeys(part for part in (message, *parts) if isinstance(part, str) and part))


def _describe_unreadable(response: Response) -> str:
    return "a web page instead of JSON" if _is_page(response) else "JSON that is broken or cut short"


def _is_page(response: Response) -> bool:
    head = response.body[:200].lstrip().lower()
    return "html" in response.headers.get("content-type", "") or head.startswith((b"<!doctype", b"<html"))


def _classify_graphql(data: Any, faults: int) -> ResponseAction:
    """Classify a GraphQL response of status 200; errors of single nodes are left to the caller."""
    if not isinstance(data, dict):
        return ResponseAction("failed", reason="not a GraphQL response", wait=backoff(faults))
    if isinstance(data.get("data"), dict):
        return ResponseAction("ok", data=data)
    message, kind = error_message(data), _error_type(data)
    text = message.lower()
    if kind in ("INSUFFICIENT_SCOPES", "FORBIDDEN"):
        return ResponseAction("unauthorized", reason=message)
    if "timeout" in text or "something went wrong" in text or kind == "RESOURCE_LIMITS_EXCEEDED":
        return ResponseAction("too_heavy", reason=message, wait=backoff(faults))
    return ResponseAction("refused", reason=message or "no data", data=data)


def _error_type(data: Any) -> str:
    errors = data.get("errors") if isinstance(data, dict) else None
    first = errors[0] if isinstance(errors, list) and errors else None
    kind = first.get("type") if isinstance(first, dict) else None
    return kind if isinstance(kind, str) else ""


def format_seconds(seconds: float) -> str:
    """Format a duration for people.

    Examples
    --------
    >>> format_seconds(42.2), format_seconds(125), format_seconds(9000)
    ('43 s', '3 min', '2.5 h')
    """
    if seconds < 100:
        return f"{math.ceil(seconds)} s"
    return f"{math.ceil(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
