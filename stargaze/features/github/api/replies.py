"""What the client makes of a response: a reply, the request for a redirect's target, or an error with a hint."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urljoin

from stargaze.errors import ConfigError, CredentialsError, ExternalError, StargazeError
from stargaze.features.github.api import rate_limit
from stargaze.features.github.api.http_transport import Request, Response
from stargaze.features.github.api.rate_limit import ResponseAction, format_seconds

MAX_WAIT = 3 * 3600.0
"""Seconds of the longest single wait; for a longer one, the command stops and names the time."""
MAX_REDIRECTS = 5
TOKEN_HINT = "create a token (no scope is needed), then: export GITHUB_TOKEN=..."  # noqa: S105 # no password
API_URL_HINT = "check github.api_url; for GitHub Enterprise it ends in /api/v3"
RESUME_HINT = "responses so far are kept in the cache; the same command (stargaze fetch) continues"


@dataclass(frozen=True)
class Reply:
    """A usable response; ``gone`` is the reason why a resource is not available, ``refused`` that GitHub has not said so."""

    data: Any
    at: datetime
    etag: str = ""
    not_modified: bool = False
    gone: str = ""
    last_page: int = 1
    duration: float = 0.0
    raw: bytes = b""
    refused: bool = False


def check_wait(request: Request, action: ResponseAction, at: datetime) -> None:
    """Raise an error instead of waiting longer than MAX_WAIT."""
    if action.wait > MAX_WAIT:
        until = at + timedelta(seconds=action.wait)
        raise ExternalError(
            f"rate limited by GitHub until {until:%Y-%m-%d %H:%M} UTC, in {format_seconds(action.wait)} "
            f"({describe_request(request)}: {action.reason})",
            hint=f"run it again then: {RESUME_HINT}",
        )


def redirected(request: Request, response: Response, action: ResponseAction, redirects: int) -> Request:
    """Return the request for the redirect target; GraphQL queries change nothing, so they follow too."""
    if redirects > MAX_REDIRECTS or not action.reason:
        raise ExternalError(f"{request.path}: GitHub redirects without end, or to no address", hint=RESUME_HINT)
    try:
        path = urljoin(response.url, action.reason)
    except ValueError:  # not an address: the transport reports it
        path = action.reason
    return replace(request, path=path, params=request.params if "?" not in path else {})


def read_reply(action: ResponseAction, response: Response, at: datetime) -> Reply:
    """Return the reply of a usable response."""
    return Reply(
        data=action.data,
        at=at,
        etag=response.headers.get("etag", ""),
        not_modified=action.kind == "not_modified",
        gone=action.reason if action.kind == "gone" else "",
        last_page=last_page_of(response.headers.get("link", "")),
        duration=response.duration,
        raw=response.body,
    )


def error_of(action: ResponseAction, request: Request, resource: str) -> StargazeError:
    """Return the error of a response that no retry can change."""
    if action.kind == "unauthorized":
        hint = f"it is wrong, expired or too narrow; {TOKEN_HINT}"
        return CredentialsError(f"GitHub rejects GITHUB_TOKEN: {action.reason}", hint=hint)
    if action.kind == "not_github":
        hint = f"{API_URL_HINT}; or a proxy responds instead of GitHub; {RESUME_HINT}"
        return ExternalError(
            f"{describe_request(request)} was answered with {action.reason}: that is not GitHub's API", hint=hint
        )
    if action.kind == "other_server":
        hint = (
            f"no request and no token is sent there; if GitHub's API is there, set github.api_url to it; {RESUME_HINT}"
        )
        return ExternalError(f"GitHub {action.reason} ({describe_request(request)})", hint=hint)
    graphql_hint = "github.graphql = false uses the search only; " if resource == "graphql" else ""
    hint = f"{graphql_hint}change it; responses so far are kept"
    return ConfigError(f"GitHub rejects the request that [github] describes: {action.reason}", hint=hint)


def resource_of(path: str) -> str:
    """Return the name of the rate limit that counts a REST resource."""
    return "search" if path.startswith("/search/") else "core"


def describe_request(request: Request) -> str:
    """Describe a request in one line; of a GraphQL body only the size."""
    if request.body is not None:
        return f"POST {request.path} ({len(request.body):,} bytes)"
    query = "&".join(f"{name}={value}" for name, value in request.params.items())
    return f"GET {request.path}{'?' * bool(query)}{query}"


def last_page_of(link: str) -> int:
    """Return the number of the last page in a Link header, 1 without one.

    Examples
    --------
    >>> last_page_of('<https://x/repositories/1/contributors?per_page=1&page=2>; rel="next", <https://x/y?page=57>; rel="last"')
    57
    """
    for part in link.split(","):
        address, _, relation = part.partition(";")
        if 'rel="last"' in relation:
            query = address.strip().strip("<>").partition("?")[2]
            pages = [pair.partition("=")[2] for pair in query.split("&") if pair.startswith("page=")]
            return (rate_limit.parse_count(pages[-1]) if pages else None) or 1
    return 1
