"""GitHub API client: waits for rate limits, retries faults, follows redirects; one request at a time."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from stargaze.errors import ExternalError
from stargaze.features.github.api import rate_limit
from stargaze.features.github.api.http_transport import (
    FAULT_HINTS,
    Clock,
    NoResponseError,
    OtherServerError,
    Request,
    Response,
    Transport,
)
from stargaze.features.github.api.rate_limit import ResponseAction, format_seconds
from stargaze.features.github.api.replies import (
    API_URL_HINT,
    RESUME_HINT,
    Reply,
    check_wait,
    describe_request,
    error_of,
    read_reply,
    redirected,
    resource_of,
)
from stargaze.system.progress import Notify

MAX_TRIES = 8
"""Tries of one failing request: about four minutes, with waits of 2, 4, 8 … seconds."""
MAX_FIRST_TRIES = 3
"""Tries before the first response, when the address may be wrong or the network down."""
MAX_LIMIT_WAITS = 8
"""Waits of one request for the same rate limit; with growing waits this is over an hour."""
MAX_REASON = 500
"""Length of GitHub's message in an error [characters]."""
MAX_CLOCK_SKEW = 300.0
"""Seconds of clock difference to GitHub that are not reported."""
CLOCK_SAMPLES = 60
"""Responses whose smallest time difference is the clock offset; GitHub truncates dates to whole seconds."""
EMPTY_RESPONSE = Response(0, {}, b"")
REFUSAL_KINDS = ("refused", "other_server")


class TooHeavyError(Exception):
    """GitHub did not finish within its ten seconds; the request must be split."""


@dataclass
class LimitState:
    """The last reported state of one rate limit."""

    limit: int
    remaining: int
    until: float
    """End of the window [s since 1970, local clock]."""


@dataclass
class RequestStats:
    """Counts of a run."""

    requests: int = 0
    refused: int = 0
    failed: int = 0
    waited: float = 0.0
    notes: list[str] = field(default_factory=list)


class Client:
    """Client of the REST and GraphQL API.

    ``notify`` is called for each request and wait, ``on_wait`` before each wait, ``on_response`` for each usable response.
    """

    def __init__(self, transport: Transport, clock: Clock, *, notify: Notify | None = None) -> None:
        self._transport = transport
        self._clock = clock
        self._notify = notify or (lambda _line: None)
        self.on_wait: Callable[[str, float], None] = lambda _reason, _seconds: None
        self.on_response: Callable[[], None] = lambda: None
        self.limits: dict[str, LimitState] = {}
        self.latest: tuple[str, LimitState | None] = ("", None)
        self.stats = RequestStats()
        self._has_response = self._is_github = False
        self._clock_offsets: deque[float] = deque(maxlen=CLOCK_SAMPLES)

    def get(
        self, path: str, params: Mapping[str, str | int] | None = None, *, etag: str = "", allow_refusal: bool = False
    ) -> Reply:
        """GET a REST resource.

        With ``allow_refusal``, a refused request and a redirect to another server (never followed) return ``gone``. Raise
        ConfigError if GitHub rejects the request itself (422 and similar), CredentialsError if it rejects the token, and
        ExternalError if faults or limits outlast all retries or the server is not GitHub.
        """
        return self._request(Request(path, params or {}, etag=etag), resource_of(path), allow_refusal=allow_refusal)

    def query(self, text: str, variables: Mapping[str, Any]) -> Reply:
        """POST a GraphQL query; errors as for :meth:`get`, and TooHeavyError if the query must be split."""
        body = json.dumps({"query": text, "variables": variables}).encode()
        return self._request(Request("/graphql", body=body), "graphql")

    def server_time(self) -> datetime:
        """Return GitHub's time; the request is free and reveals an invalid token early."""
        return self.get("/rate_limit", allow_refusal=True).at

    def wait_before_retry(self, reason: str, seconds: float) -> None:
        """Report the wait, then wait before the next request."""
        self._pause(f"next try ({reason})", seconds)

    def now(self) -> datetime:
        """Return the local time, for responses without a date."""
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
                action = ResponseAction("failed", reason=str(error), wait=rate_limit.backoff(faults))
            except OtherServerError as error:  # the last response is the redirect to it
                action = ResponseAction("other_server", reason=f"points to another server, {error}")
            is_refused = action.kind in REFUSAL_KINDS
            action = self._adjust_action(action, allow_refusal=allow_refusal)
            if action.kind in ("ok", "not_modified", "gone"):
                self._is_github = True
                self.on_response()
                return replace(read_reply(action, response, self._response_time(response)), refused=is_refused)
            if action.kind == "redirect":
                redirects += 1
                target = redirected(target, response, action, redirects)
            elif action.kind == "rate_limit":
                limits += 1
                self._handle_limit(request, action, limits, self._response_time(response))
            elif action.kind == "too_heavy" and resource == "graphql":
                self.stats.failed += 1
                raise TooHeavyError(action.reason)
            elif action.kind in ("too_heavy", "failed"):
                faults += 1
                self._handle_fault(request, action, faults, self._response_time(response))
            else:
                raise error_of(action, request, resource)

    def _adjust_action(self, action: ResponseAction, *, allow_refusal: bool) -> ResponseAction:
        """Adjust the action to earlier responses and to ``allow_refusal``; a message may have any length."""
        if action.kind != "redirect":
            action = replace(action, reason=action.reason[:MAX_REASON])
        if action.kind == "not_github" and self._is_github:  # earlier responses came from GitHub's API
            return replace(action, kind="failed")
        return replace(action, kind="gone") if allow_refusal and action.kind in REFUSAL_KINDS else action

    def _send(self, request: Request) -> Response:
        self.stats.requests += 1
        try:
            response = self._transport.send(request)
        except NoResponseError as error:
            self._notify(f"{describe_request(request)}: {error}")
            raise
        except OtherServerError as error:
            self.stats.requests -= 1
            self._notify(f"not requested: another server, {error}")
            raise
        self._has_response = True
        left = response.headers.get("x-ratelimit-remaining", "?")
        size = f"{len(response.body):,} bytes"
        text = f"{response.status} in {response.duration:.1f} s, {size}, {left} left"
        self._notify(f"{describe_request(request)}: {text}")
        return response

    def _wait_for(self, resource: str) -> None:
        """Wait if the limit is known to be used up."""
        state = self.limits.get(resource)
        if state and state.remaining <= 0:
            self._pause(f"{resource} limit", state.until - self._clock.time())
            state.remaining = state.limit

    def _pause(self, reason: str, seconds: float) -> None:
        if seconds > 0:
            self._notify(f"waiting {format_seconds(seconds)} for the {reason}")
            self.on_wait(reason, seconds)
            self.stats.waited += seconds
            self._clock.sleep(seconds)

    def _update_limits(self, response: Response, resource: str) -> None:
        local_time, server_time = self._clock.time(), rate_limit.response_time(response.headers)
        if server_time is not None:
            self._clock_offsets.append(local_time - server_time)
            self._note_skew(local_time - server_time)
        limit, remaining = (
            rate_limit.parse_count(response.headers.get(f"x-ratelimit-{name}", "")) for name in ("limit", "remaining")
        )
        reset_wait = rate_limit.seconds_until_reset(
            response.headers, local_time - min(self._clock_offsets, default=0.0)
        )
        if limit is not None and remaining is not None and reset_wait is not None:
            name = response.headers.get("x-ratelimit-resource", resource)
            self.limits[name] = LimitState(limit, remaining, local_time + reset_wait)
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
                f"GitHub's {action.reason} still applies after {limits} waits ({describe_request(request)})",
                hint=f"{RESUME_HINT}; wait an hour, and use the token in no other program",
            )
        check_wait(request, action, at)
        self._pause(action.reason, action.wait)
        _, state = self.latest
        if state:
            state.remaining = max(state.remaining, 1)  # the requested wait is over

    def _handle_fault(self, request: Request, action: ResponseAction, faults: int, at: datetime) -> None:
        self.stats.failed += 1
        tries = MAX_TRIES if self._has_response else MAX_FIRST_TRIES
        if faults >= tries:
            page = "a web page" in action.reason
            cause = API_URL_HINT if page else FAULT_HINTS.get(action.reason, "")
            hint = f"{cause}; {RESUME_HINT}" if cause else RESUME_HINT
            raise ExternalError(
                f"GitHub answered {describe_request(request)} {tries} times with: {action.reason}", hint=hint
            )
        check_wait(request, action, at)
        self.wait_before_retry(action.reason, action.wait)
