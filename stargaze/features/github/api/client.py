"""One request at a time, asked until it is answered: limits are waited for, faults retried, redirects followed."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urljoin

from stargaze.errors import ConfigError, CredentialsError, ExternalError, StargazeError
from stargaze.features.github.api import rate_limit
from stargaze.features.github.api.rate_limit import ResponseAction, format_seconds
from stargaze.features.github.api.transport import (
    Clock,
    NoResponseError,
    OtherServerError,
    Request,
    Response,
    Transport,
)
from stargaze.system.progress import Notify

MAX_TRIES = 8
"""Of one request that fails: with pauses of 2, 4, 8 … seconds some four minutes, and a night of faults when each
page gets through at last."""
MAX_FIRST_TRIES = 3
"""Where nobody has answered yet, the address is wrong, or there is no network."""
MAX_LIMIT_WAITS = 8
"""Refusals of one request by a limit that says it lifts, and does not: over an hour by the growing pauses."""
MAX_WAIT = 3 * 3600.0
"""Seconds that are waited at once, a day in so many refusals: beyond, a person is told when to come back."""
MAX_REDIRECTS = 5
MAX_CLOCK_SKEW = 300.0
"""Seconds by which the clock here may differ from GitHub's before it is said."""
CLOCK_SAMPLES = 60
"""GitHub dates its answers in whole seconds, cut off: the least difference of so many is the clocks' own."""
TOKEN_HINT = "make a token (no scope is needed), then: export GITHUB_TOKEN=..."  # noqa: S105 # no password
EMPTY_RESPONSE = Response(0, {}, b"")
REFUSAL_KINDS = ("refused", "elsewhere")
API_URL_HINT = "is github.api_url right? For GitHub Enterprise it ends in /api/v3"
RESUME_HINT = "what was answered is kept; stargaze fetch, the same command, goes on"


class TooHeavyError(Exception):
    """GitHub did not finish in its ten seconds: ask for less at once."""


@dataclass(frozen=True)
class Reply:
    """An answer that can be used: ``same`` where an earlier one still holds, ``gone`` with the reason why."""

    data: Any
    at: datetime
    etag: str = ""
    not_modified: bool = False
    gone: str = ""
    last_page: int = 1
    duration: float = 0.0
    raw: bytes = b""


@dataclass
class LimitState:
    """What GitHub last said of one of its limits."""

    limit: int
    remaining: int
    until: float
    """Seconds since 1970 by the clock here, when the window ends."""


@dataclass
class RequestStats:
    """Counts of a run."""

    requests: int = 0
    refused: int = 0
    failed: int = 0
    waited: float = 0.0
    notes: list[str] = field(default_factory=list)


class Client:
    """GitHub, asked politely.

    ``tell`` hears of each request and wait, ``waiting`` of each wait before it begins, ``answered`` of each answer that
    can be used.
    """

    def __init__(
        self,
        transport: Transport,
        clock: Clock,
        *,
        notify: Notify | None = None,
    ) -> None:
        self._transport = transport
        self._clock = clock
        self._notify = notify or (lambda _line: None)
        self.on_wait: Callable[[str, float], None] = lambda _why, _seconds: None
        self.on_response: Callable[[], None] = lambda: None
        self.limits: dict[str, LimitState] = {}
        self.latest: tuple[str, LimitState | None] = ("", None)
        self.stats = RequestStats()
        self._has_response = self._is_github = False
        self._clock_offsets: deque[float] = deque(maxlen=CLOCK_SAMPLES)

    def get(
        self, path: str, params: Mapping[str, str | int] | None = None, *, etag: str = "", allow_refusal: bool = False
    ) -> Reply:
        """Ask REST; with ``forgiving``, a refusal of this one question is an answer, as that it is gone.

        So is a redirect to another server, which is never followed.

        Raises
        ------
        ConfigError
            If GitHub refuses the question itself (422 and the like).
        CredentialsError
            If it does not take the token.
        ExternalError
            If faults or limits outlast all patience, GitHub points to another server, or it is not GitHub that answers.
        """
        return self._request(Request(path, params or {}, etag=etag), _resource_of(path), allow_refusal=allow_refusal)

    def query(self, text: str, variables: Mapping[str, Any]) -> Reply:
        """Ask GraphQL; errors as for :meth:`get`, and TooHeavyError where less should be asked for at once."""
        body = json.dumps({"query": text, "variables": variables}).encode()
        return self._request(Request("/graphql", body=body), "graphql")

    def server_time(self) -> datetime:
        """Ask GitHub for its time, which costs none of its limits, and shows early whether it takes the token."""
        return self.get("/rate_limit", allow_refusal=True).at

    def wait_before_retry(self, why: str, seconds: float) -> None:
        """Wait before the next request, and say so."""
        self._pause(f"next try ({why})", seconds)

    def now(self) -> datetime:
        """Return the time here, for what GitHub gave no date of its own."""
        return datetime.fromtimestamp(self._clock.time(), tz=UTC)

    def _request(self, request: Request, resource: str, *, allow_refusal: bool = False) -> Reply:
        faults = limits = redirects = 0
        response, target = EMPTY_RESPONSE, request
        while True:
            self._wait_for(resource)
            try:
                response = self._send(target)
                self._update_limits(response, resource)
                action = rate_limit.classify_response(
                    response,
                    local_time=self._clock.time(),
                    limits=limits,
                    faults=faults,
                    is_graphql=resource == "graphql",
                )
            except NoResponseError as error:
                action = ResponseAction("broken", why=str(error), wait=rate_limit.backoff(faults))
            except OtherServerError as error:  # the last answer is the redirect that leads there
                action = ResponseAction("elsewhere", why=f"points to another server, {error}")
            action = self._adjust_action(action, allow_refusal=allow_refusal)
            if action.kind in ("good", "same", "gone"):
                self._is_github = True
                self.on_response()
                return _reply(action, response, self._response_time(response))
            if action.kind == "moved":
                redirects += 1
                target = _redirected(target, response, action, redirects)
            elif action.kind == "limit":
                limits += 1
                self._handle_limit(request, action, limits, self._response_time(response))
            elif action.kind == "heavy" and resource == "graphql":
                self.stats.failed += 1
                raise TooHeavyError(action.why)
            elif action.kind in ("heavy", "broken"):
                faults += 1
                self._handle_fault(request, action, faults, self._response_time(response))
            else:
                raise _error_for(action, request, resource)

    def _adjust_action(self, action: ResponseAction, *, allow_refusal: bool) -> ResponseAction:
        """Take into account what was answered before, and what the one who asks can bear."""
        if action.kind == "foreign" and self._is_github:  # it is GitHub's API, on a bad day
            return replace(action, kind="broken")
        return replace(action, kind="gone") if allow_refusal and action.kind in REFUSAL_KINDS else action

    def _send(self, request: Request) -> Response:
        self.stats.requests += 1
        try:
            response = self._transport.send(request)
        except NoResponseError as error:
            self._notify(f"{_describe(request)}: {error}")
            raise
        except OtherServerError as error:
            self.stats.requests -= 1
            self._notify(f"not asked: another server, {error}")
            raise
        self._has_response = True
        left = response.headers.get("x-ratelimit-remaining", "?")
        self._notify(
            f"{_describe(request)}: {response.status} in {response.duration:.1f} s, {len(response.body):,} bytes, {left} left"
        )
        return response

    def _wait_for(self, resource: str) -> None:
        """Wait where it is known beforehand that GitHub would refuse."""
        state = self.limits.get(resource)
        if state and state.remaining <= 0:
            self._pause(f"{resource} limit", state.until - self._clock.time())
            state.remaining = state.limit

    def _pause(self, why: str, seconds: float) -> None:
        if seconds > 0:
            self._notify(f"waiting {format_seconds(seconds)} for the {why}")
            self.on_wait(why, seconds)
            self.stats.waited += seconds
            self._clock.sleep(seconds)

    def _update_limits(self, response: Response, resource: str) -> None:
        local_time, server_time = self._clock.time(), rate_limit.response_time(response.headers)
        if server_time is not None:
            self._clock_offsets.append(local_time - server_time)
            self._note_skew(local_time - server_time)
        headers = [response.headers.get(f"x-ratelimit-{name}", "") for name in ("limit", "remaining")]
        reset_wait = rate_limit.seconds_until_reset(
            response.headers, local_time - min(self._clock_offsets, default=0.0)
        )
        if all(text.isascii() and text.isdigit() for text in headers) and reset_wait is not None:
            name = response.headers.get("x-ratelimit-resource", resource)
            self.limits[name] = LimitState(int(headers[0]), int(headers[1]), local_time + reset_wait)
            self.latest = (name, self.limits[name])

    def _note_skew(self, ahead: float) -> None:
        if abs(ahead) > MAX_CLOCK_SKEW and not self.stats.notes:
            where = "ahead of" if ahead > 0 else "behind"
            note = f"this machine's clock is {format_seconds(abs(ahead))} {where} GitHub's; GitHub's dates are used"
            self.stats.notes.append(note)

    def _response_time(self, response: Response) -> datetime:
        moment = rate_limit.response_time(response.headers)
        return self.now() if moment is None else datetime.fromtimestamp(moment, tz=UTC)

    def _handle_limit(self, request: Request, action: ResponseAction, limits: int, at: datetime) -> None:
        self.stats.refused += 1
        if limits > MAX_LIMIT_WAITS:
            raise ExternalError(
                f"GitHub's {action.why} did not lift in {limits} waits ({_describe(request)})",
                hint=f"{RESUME_HINT}; wait an hour, and let no other program use the token",
            )
        _check_wait(request, action, at)
        self._pause(action.why, action.wait)
        _, state = self.latest
        if state:
            state.remaining = max(state.remaining, 1)  # what GitHub asked for has been waited for

    def _handle_fault(self, request: Request, action: ResponseAction, faults: int, at: datetime) -> None:
        self.stats.failed += 1
        tries = MAX_TRIES if self._has_response else MAX_FIRST_TRIES
        if faults >= tries:
            page = "a web page" in action.why
            hint = f"{API_URL_HINT}; {RESUME_HINT}" if page else RESUME_HINT
            raise ExternalError(f"GitHub answered {_describe(request)} {tries} times with: {action.why}", hint=hint)
        _check_wait(request, action, at)
        self.wait_before_retry(action.why, action.wait)


def _check_wait(request: Request, action: ResponseAction, at: datetime) -> None:
    """Refuse to sit and wait for what takes days."""
    if action.wait > MAX_WAIT:
        until = at + timedelta(seconds=action.wait)
        raise ExternalError(
            f"GitHub wants no request before {until:%Y-%m-%d %H:%M} UTC, in {format_seconds(action.wait)} "
            f"({_describe(request)}: {action.why})",
            hint=f"come back then: {RESUME_HINT}",
        )


def _redirected(request: Request, response: Response, action: ResponseAction, redirects: int) -> Request:
    """Return the same request where GitHub points to; what is asked of GraphQL changes nothing, so it may follow too."""
    if redirects > MAX_REDIRECTS or not action.why:
        raise ExternalError(f"{request.path}: GitHub redirects without end, or to nowhere", hint=RESUME_HINT)
    try:
        path = urljoin(response.url, action.why)
    except ValueError:  # an address that is none: the transport says so
        path = action.why
    return replace(request, path=path, params=request.params if "?" not in path else {})


def _reply(action: ResponseAction, response: Response, at: datetime) -> Reply:
    return Reply(
        data=action.data,
        at=at,
        etag=response.headers.get("etag", ""),
        not_modified=action.kind == "same",
        gone=action.why if action.kind == "gone" else "",
        last_page=_last_page(response.headers.get("link", "")),
        duration=response.duration,
        raw=response.body,
    )


def _error_for(action: ResponseAction, request: Request, resource: str) -> StargazeError:
    if action.kind == "token":
        hint = f"it is wrong, expired or too narrow; {TOKEN_HINT}"
        return CredentialsError(f"GitHub does not take GITHUB_TOKEN: {action.why}", hint=hint)
    if action.kind == "foreign":
        hint = f"{API_URL_HINT}; or a proxy answers in GitHub's place; {RESUME_HINT}"
        return ExternalError(
            f"{_describe(request)} was answered with {action.why}: that is not GitHub's API", hint=hint
        )
    if action.kind == "elsewhere":
        hint = f"it is not asked, and gets no token; if GitHub's API is there, set github.api_url to it; {RESUME_HINT}"
        return ExternalError(f"GitHub {action.why} ({_describe(request)})", hint=hint)
    rich = "github.graphql = false asks the search alone; " if resource == "graphql" else ""
    hint = f"{rich}change it; what was answered is kept"
    return ConfigError(f"GitHub refuses what [github] asks for: {action.why}", hint=hint)


def _resource_of(path: str) -> str:
    return "search" if path.startswith("/search/") else "core"


def _describe(request: Request) -> str:
    """Name a request in one line; a GraphQL body is long, and its size says enough."""
    if request.body is not None:
        return f"POST {request.path} ({len(request.body):,} bytes)"
    query = "&".join(f"{name}={value}" for name, value in request.params.items())
    return f"GET {request.path}{'?' * bool(query)}{query}"


def _last_page(link: str) -> int:
    """Return the number of the last page that a Link header names, 1 where it names none.

    Examples
    --------
    >>> _last_page('<https://x/repositories/1/contributors?per_page=1&page=2>; rel="next", <https://x/y?page=57>; rel="last"')
    57
    """
    for part in link.split(","):
        address, _, relation = part.partition(";")
        if 'rel="last"' in relation:
            query = address.strip().strip("<>").partition("?")[2]
            pages = [pair.partition("=")[2] for pair in query.split("&") if pair.startswith("page=")]
            return int(pages[-1]) if pages and pages[-1].isdigit() else 1
    return 1
