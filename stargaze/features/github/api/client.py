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
from stargaze.features.github.api import rate_limit as manners
from stargaze.features.github.api.rate_limit import ResponseAction, whole_seconds
from stargaze.features.github.api.transport import Clock, ElsewhereError, NoAnswerError, Request, Response, Transport
from stargaze.system.progress import Notify

TRIES = 8
"""Of one request that fails: with pauses of 2, 4, 8 … seconds some four minutes, and a night of faults when each
page gets through at last."""
FIRST_TRIES = 3
"""Where nobody has answered yet, the address is wrong, or there is no network."""
MOST_LIMITS = 8
"""Refusals of one request by a limit that says it lifts, and does not: over an hour by the growing pauses."""
LONGEST_WAIT = 3 * 3600.0
"""Seconds that are waited at once, a day in so many refusals: beyond, a person is told when to come back."""
MOST_REDIRECTS = 5
SKEW = 300.0
"""Seconds by which the clock here may differ from GitHub's before it is said."""
ANSWERS = 60
"""GitHub dates its answers in whole seconds, cut off: the least difference of so many is the clocks' own."""
TOKEN_HINT = "make a token (no scope is needed), then: export GITHUB_TOKEN=..."  # noqa: S105 # no password
NOTHING = Response(0, {}, b"")
FORGIVEN = ("refused", "elsewhere")
RIGHT = "is github.api_url right? For GitHub Enterprise it ends in /api/v3"
KEPT = "what was answered is kept; stargaze fetch, the same command, goes on"


class TooHeavyError(Exception):
    """GitHub did not finish in its ten seconds: ask for less at once."""


@dataclass(frozen=True)
class Reply:
    """An answer that can be used: ``same`` where an earlier one still holds, ``gone`` with the reason why."""

    data: Any
    at: datetime
    etag: str = ""
    same: bool = False
    gone: str = ""
    last_page: int = 1
    took: float = 0.0
    raw: bytes = b""


@dataclass
class Limits:
    """What GitHub last said of one of its limits."""

    limit: int
    remaining: int
    until: float
    """Seconds since 1970 by the clock here, when the window ends."""


@dataclass
class Tally:
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
        tell: Notify | None = None,
    ) -> None:
        self._transport = transport
        self._clock = clock
        self._tell = tell or (lambda _line: None)
        self.waiting: Callable[[str, float], None] = lambda _why, _seconds: None
        self.answered: Callable[[], None] = lambda: None
        self.limits: dict[str, Limits] = {}
        self.latest: tuple[str, Limits | None] = ("", None)
        self.tally = Tally()
        self._heard = self._understood = False
        self._ahead: deque[float] = deque(maxlen=ANSWERS)

    def get(
        self, path: str, params: Mapping[str, str | int] | None = None, *, etag: str = "", forgiving: bool = False
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
        return self._answered(Request(path, params or {}, etag=etag), _resource_of(path), forgiving=forgiving)

    def query(self, text: str, variables: Mapping[str, Any]) -> Reply:
        """Ask GraphQL; errors as for :meth:`get`, and TooHeavyError where less should be asked for at once."""
        body = json.dumps({"query": text, "variables": variables}).encode()
        return self._answered(Request("/graphql", body=body), "graphql")

    def theirs(self) -> datetime:
        """Ask GitHub for its time, which costs none of its limits, and shows early whether it takes the token."""
        return self.get("/rate_limit", forgiving=True).at

    def rest(self, why: str, seconds: float) -> None:
        """Wait before the next request, and say so."""
        self._pause(f"next try ({why})", seconds)

    def now(self) -> datetime:
        """Return the time here, for what GitHub gave no date of its own."""
        return datetime.fromtimestamp(self._clock.time(), tz=UTC)

    def _answered(self, ask: Request, resource: str, *, forgiving: bool = False) -> Reply:
        faults = limits = redirects = 0
        answer, there = NOTHING, ask
        while True:
            self._wait_for(resource)
            try:
                answer = self._send(there)
                self._remember(answer, resource)
                verdict = manners.classify_response(
                    answer,
                    local_time=self._clock.time(),
                    limits=limits,
                    faults=faults,
                    is_graphql=resource == "graphql",
                )
            except NoAnswerError as error:
                verdict = ResponseAction("broken", why=str(error), wait=manners.backoff(faults))
            except ElsewhereError as error:  # the last answer is the redirect that leads there
                verdict = ResponseAction("elsewhere", why=f"points to another server, {error}")
            verdict = self._meant(verdict, forgiving=forgiving)
            if verdict.kind in ("good", "same", "gone"):
                self._understood = True
                self.answered()
                return _reply(verdict, answer, self._now(answer))
            if verdict.kind == "moved":
                redirects += 1
                there = _redirected(there, answer, verdict, redirects)
            elif verdict.kind == "limit":
                limits += 1
                self._limited(ask, verdict, limits, self._now(answer))
            elif verdict.kind == "heavy" and resource == "graphql":
                self.tally.failed += 1
                raise TooHeavyError(verdict.why)
            elif verdict.kind in ("heavy", "broken"):
                faults += 1
                self._failed(ask, verdict, faults, self._now(answer))
            else:
                raise _refusal(verdict, ask, resource)

    def _meant(self, verdict: ResponseAction, *, forgiving: bool) -> ResponseAction:
        """Take into account what was answered before, and what the one who asks can bear."""
        if verdict.kind == "foreign" and self._understood:  # it is GitHub's API, on a bad day
            return replace(verdict, kind="broken")
        return replace(verdict, kind="gone") if forgiving and verdict.kind in FORGIVEN else verdict

    def _send(self, ask: Request) -> Response:
        self.tally.requests += 1
        try:
            answer = self._transport.send(ask)
        except NoAnswerError as error:
            self._tell(f"{_line(ask)}: {error}")
            raise
        except ElsewhereError as error:
            self.tally.requests -= 1
            self._tell(f"not asked: another server, {error}")
            raise
        self._heard = True
        left = answer.headers.get("x-ratelimit-remaining", "?")
        self._tell(f"{_line(ask)}: {answer.status} in {answer.took:.1f} s, {len(answer.body):,} bytes, {left} left")
        return answer

    def _wait_for(self, resource: str) -> None:
        """Wait where it is known beforehand that GitHub would refuse."""
        known = self.limits.get(resource)
        if known and known.remaining <= 0:
            self._pause(f"{resource} limit", known.until - self._clock.time())
            known.remaining = known.limit

    def _pause(self, why: str, seconds: float) -> None:
        if seconds > 0:
            self._tell(f"waiting {whole_seconds(seconds)} for the {why}")
            self.waiting(why, seconds)
            self.tally.waited += seconds
            self._clock.sleep(seconds)

    def _remember(self, answer: Response, resource: str) -> None:
        local, theirs = self._clock.time(), manners.date(answer.headers)
        if theirs is not None:
            self._ahead.append(local - theirs)
            self._note_skew(local - theirs)
        numbers = [answer.headers.get(f"x-ratelimit-{name}", "") for name in ("limit", "remaining")]
        rest = manners.until_reset(answer.headers, local - min(self._ahead, default=0.0))
        if all(text.isascii() and text.isdigit() for text in numbers) and rest is not None:
            named = answer.headers.get("x-ratelimit-resource", resource)
            self.limits[named] = Limits(int(numbers[0]), int(numbers[1]), local + rest)
            self.latest = (named, self.limits[named])

    def _note_skew(self, ahead: float) -> None:
        if abs(ahead) > SKEW and not self.tally.notes:
            where = "ahead of" if ahead > 0 else "behind"
            note = f"this machine's clock is {whole_seconds(abs(ahead))} {where} GitHub's; GitHub's dates are used"
            self.tally.notes.append(note)

    def _now(self, answer: Response) -> datetime:
        moment = manners.date(answer.headers)
        return self.now() if moment is None else datetime.fromtimestamp(moment, tz=UTC)

    def _limited(self, ask: Request, verdict: ResponseAction, limits: int, at: datetime) -> None:
        self.tally.refused += 1
        if limits > MOST_LIMITS:
            raise ExternalError(
                f"GitHub's {verdict.why} did not lift in {limits} waits ({_line(ask)})",
                hint=f"{KEPT}; wait an hour, and let no other program use the token",
            )
        _check_wait(ask, verdict, at)
        self._pause(verdict.why, verdict.wait)
        _, known = self.latest
        if known:
            known.remaining = max(known.remaining, 1)  # what GitHub asked for has been waited for

    def _failed(self, ask: Request, verdict: ResponseAction, faults: int, at: datetime) -> None:
        self.tally.failed += 1
        tries = TRIES if self._heard else FIRST_TRIES
        if faults >= tries:
            page = "a web page" in verdict.why
            hint = f"{RIGHT}; {KEPT}" if page else KEPT
            raise ExternalError(f"GitHub answered {_line(ask)} {tries} times with: {verdict.why}", hint=hint)
        _check_wait(ask, verdict, at)
        self.rest(verdict.why, verdict.wait)


def _check_wait(ask: Request, verdict: ResponseAction, at: datetime) -> None:
    """Refuse to sit and wait for what takes days."""
    if verdict.wait > LONGEST_WAIT:
        until = at + timedelta(seconds=verdict.wait)
        raise ExternalError(
            f"GitHub wants no request before {until:%Y-%m-%d %H:%M} UTC, in {whole_seconds(verdict.wait)} "
            f"({_line(ask)}: {verdict.why})",
            hint=f"come back then: {KEPT}",
        )


def _redirected(ask: Request, answer: Response, verdict: ResponseAction, redirects: int) -> Request:
    """Return the same request where GitHub points to; what is asked of GraphQL changes nothing, so it may follow too."""
    if redirects > MOST_REDIRECTS or not verdict.why:
        raise ExternalError(f"{ask.path}: GitHub redirects without end, or to nowhere", hint=KEPT)
    try:
        path = urljoin(answer.url, verdict.why)
    except ValueError:  # an address that is none: the transport says so
        path = verdict.why
    return replace(ask, path=path, params=ask.params if "?" not in path else {})


def _reply(verdict: ResponseAction, answer: Response, at: datetime) -> Reply:
    return Reply(
        data=verdict.data,
        at=at,
        etag=answer.headers.get("etag", ""),
        same=verdict.kind == "same",
        gone=verdict.why if verdict.kind == "gone" else "",
        last_page=_last_page(answer.headers.get("link", "")),
        took=answer.took,
        raw=answer.body,
    )


def _refusal(verdict: ResponseAction, ask: Request, resource: str) -> StargazeError:
    if verdict.kind == "token":
        hint = f"it is wrong, expired or too narrow; {TOKEN_HINT}"
        return CredentialsError(f"GitHub does not take GITHUB_TOKEN: {verdict.why}", hint=hint)
    if verdict.kind == "foreign":
        hint = f"{RIGHT}; or a proxy answers in GitHub's place; {KEPT}"
        return ExternalError(f"{_line(ask)} was answered with {verdict.why}: that is not GitHub's API", hint=hint)
    if verdict.kind == "elsewhere":
        hint = f"it is not asked, and gets no token; if GitHub's API is there, set github.api_url to it; {KEPT}"
        return ExternalError(f"GitHub {verdict.why} ({_line(ask)})", hint=hint)
    rich = "github.graphql = false asks the search alone; " if resource == "graphql" else ""
    hint = f"{rich}change it; what was answered is kept"
    return ConfigError(f"GitHub refuses what [github] asks for: {verdict.why}", hint=hint)


def _resource_of(path: str) -> str:
    return "search" if path.startswith("/search/") else "core"


def _line(ask: Request) -> str:
    """Name a request in one line; a GraphQL body is long, and its size says enough."""
    if ask.body is not None:
        return f"POST {ask.path} ({len(ask.body):,} bytes)"
    query = "&".join(f"{name}={value}" for name, value in ask.params.items())
    return f"GET {ask.path}{'?' * bool(query)}{query}"


def _last_page(link: str) -> int:
    """Return the number of the last page that a Link header names, 1 where it names none.

    Examples
    --------
    >>> _last_page('<https://x/repositories/1/contributors?per_page=1&page=2>; rel="next", <https://x/y?page=57>; rel="last"')
    57
    """
    for part in link.split(","):
        address, _, rest = part.partition(";")
        if 'rel="last"' in rest:
            query = address.strip().strip("<>").partition("?")[2]
            pages = [pair.partition("=")[2] for pair in query.split("&") if pair.startswith("page=")]
            return int(pages[-1]) if pages and pages[-1].isdigit() else 1
    return 1
