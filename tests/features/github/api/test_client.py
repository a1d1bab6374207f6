"""One request is asked until it is answered, with the pauses that GitHub asks for, or ends in one clear line."""

from __future__ import annotations

import email.utils
import traceback
from collections.abc import Callable
from typing import get_args
from urllib.parse import urlsplit

import pytest

from stargaze.errors import ConfigError, CredentialsError, ExternalError, StargazeError
from stargaze.features.github.api import rate_limit
from stargaze.features.github.api.client import MAX_REDIRECTS, MAX_TRIES, Client, Reply, TooHeavyError
from stargaze.features.github.api.http_transport import HttpTransport, NoResponseError
from tests.features.github.conftest import NOW, FakeClock, make_response
from tests.referee.recorded import Exchange
from tests.referee.replay import replaying

Canned = Callable[..., tuple[Client, object]]
GOOD = make_response(200, {"full_name": "a/b"})
HTML = make_response(200, raw=b"<!DOCTYPE html><html>", content_type="text/html")
SECONDARY = {"message": "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."}
PRIMARY = {"message": "API rate limit exceeded for user ID 1."}


def dated(moment: float) -> str:
    return email.utils.formatdate(moment, usegmt=True)


def served(status: int, data: object = None, **headers: str) -> Exchange:
    """Make an answer for the server on loopback."""
    made = make_response(status, data, **headers)
    return Exchange("", "GET", "", status, dict(made.headers), made.body)


def left(count: int, reset: float) -> dict[str, str]:
    return {"x_ratelimit_limit": "30", "x_ratelimit_remaining": str(count), "x_ratelimit_reset": f"{reset:.0f}"}


@pytest.mark.parametrize(
    ("refusal", "pauses"),
    [
        (make_response(403, SECONDARY, retry_after="30"), [30.5]),
        (make_response(429, SECONDARY, retry_after="30", **left(0, NOW + 900)), [30.5]),
        (make_response(403, PRIMARY, **left(0, NOW + 900)), [900.5]),
        (make_response(429, PRIMARY, **left(0, NOW + 900)), [900.5]),
        (make_response(403, SECONDARY), [60]),
        (make_response(429, {}), [60]),
        (make_response(403, {"message": "You have triggered an abuse detection mechanism."}), [60]),
        (make_response(403, PRIMARY, **left(0, (NOW + 900) * 1000)), [900.5]),
        (make_response(403, PRIMARY, **left(0, NOW + 10**7)), [3600.5]),
        (make_response(403, PRIMARY, **left(0, NOW - 50)), [0.5]),
        (make_response(403, SECONDARY, retry_after="7200"), [7200.5]),
        (make_response(429, SECONDARY, retry_after=" 30 "), [30.5]),
        (make_response(403, SECONDARY, retry_after=dated(NOW + 5400), **left(0, NOW + 900)), [5400.5]),
        (make_response(403, SECONDARY, retry_after=dated(NOW - 5)), [0.5]),
        (make_response(403, SECONDARY, retry_after=dated(NOW + 90).replace("GMT", "-0000")), [90.5]),
        (make_response(403, SECONDARY, retry_after="soon", **left(0, NOW + 900)), [900.5]),
        (make_response(403, SECONDARY, retry_after="-1"), [60]),
        (make_response(403, SECONDARY, retry_after="Mon, 99 Jan 99999 00:00:00 GMT"), [60]),
    ],
)
def test_a_limit_is_waited_for_in_the_order_that_github_documents(
    canned: Canned, clock: FakeClock, refusal: object, pauses: list[float]
) -> None:
    client, _ = canned(refusal, GOOD)
    assert client.get("/repos/a/b").data == {"full_name": "a/b"}
    assert clock.slept == pauses
    assert client.stats.refused == 1


LIMITED = b"<!DOCTYPE html><title>GitHub</title><p>You have exceeded a secondary rate limit.</p>"


def test_a_limit_that_is_said_by_a_web_page_is_one(canned: Canned, clock: FakeClock) -> None:
    client, _ = canned(make_response(403, raw=LIMITED), GOOD)
    client.get("/repos/a/b")
    assert (clock.slept, client.stats.refused) == ([60], 1)


@pytest.mark.parametrize("status", [400, 403, 404, 408])
def test_a_web_page_from_who_has_answered_well_before_is_a_fault_that_passes(
    canned: Canned, clock: FakeClock, status: int
) -> None:
    client, _ = canned(GOOD, make_response(status, raw=b"<html>Whoa there!</html>"), GOOD)
    client.get("/repos/a/b")
    assert client.get("/repos/a/b").data == {"full_name": "a/b"}
    assert clock.slept == [2]


def test_a_limit_without_a_stated_end_is_waited_for_longer_each_time(canned: Canned, clock: FakeClock) -> None:
    client, _ = canned(*[make_response(403, SECONDARY)] * 5, GOOD)
    client.get("/repos/a/b")
    assert clock.slept == [60, 120, 240, 480, 960]


@pytest.mark.parametrize("stated", [{"retry_after": "0"}, {"retry_after": dated(NOW - 5)}, left(0, NOW - 5)])
def test_a_limit_that_holds_longer_than_it_says_is_waited_for_longer_each_time(
    canned: Canned, clock: FakeClock, stated: dict[str, str]
) -> None:
    client, _ = canned(*[make_response(403, SECONDARY, **stated)] * 5, GOOD)
    client.get("/repos/a/b")
    assert clock.slept == [0.5, 60, 120, 240, 480]


@pytest.mark.parametrize(
    ("stated", "until"),
    [
        ("172800", "2026-05-30 20:26 UTC, in 48.0 h"),
        (dated(NOW + 86_400), "2026-05-29 20:26 UTC, in 24.0 h"),
        ("9" * 400, "2027-05-29 20:26 UTC"),
    ],
)
@pytest.mark.parametrize("status", [403, 429, 503])
def test_who_is_told_to_come_back_in_days_is_not_kept_waiting(
    canned: Canned, clock: FakeClock, status: int, stated: str, until: str
) -> None:
    """By GitHub's clock, not by one here that is off."""
    client, transport = canned(make_response(status, SECONDARY, retry_after=stated), skew=50_000.0)
    with pytest.raises(ExternalError, match=until) as caught:
        client.get("/repos/a/b")
    assert "kept" in caught.value.hint
    assert "run it again then" in caught.value.hint
    assert (len(transport.requests), clock.slept) == (1, [])


def test_a_limit_that_never_lifts_ends_in_a_clear_line(canned: Canned, clock: FakeClock) -> None:
    client, _ = canned(make_response(403, SECONDARY))
    with pytest.raises(ExternalError, match="did not lift in 9 waits") as caught:
        client.get("/repos/a/b")
    assert "kept" in caught.value.hint
    assert sum(clock.slept) > 3600


def test_where_nothing_is_left_the_next_request_waits_before_it_is_sent(canned: Canned, clock: FakeClock) -> None:
    client, _ = canned(make_response(200, {}, **left(0, NOW + 40)), GOOD)
    client.get("/search/repositories")
    assert clock.slept == []
    client.get("/search/repositories")
    assert clock.slept == [40.5]
    assert client.stats.refused == 0


def test_the_limits_of_search_do_not_hold_up_other_requests(canned: Canned, clock: FakeClock) -> None:
    client, _ = canned(make_response(200, {}, **left(0, NOW + 40)), GOOD)
    client.get("/search/repositories")
    client.get("/repos/a/b")
    assert clock.slept == []


@pytest.mark.parametrize("skew", [-86_400.0, 86_400.0])
def test_a_clock_that_is_off_changes_no_pause_and_is_told_once(canned: Canned, clock: FakeClock, skew: float) -> None:
    client, _ = canned(make_response(403, PRIMARY, **left(0, NOW + 900)), GOOD, skew=skew)
    reply = client.get("/repos/a/b")
    assert clock.slept == [900.5]
    assert reply.at.timestamp() == NOW
    (note,) = client.stats.notes
    assert ("behind" if skew < 0 else "ahead of") in note


FAULTS = [
    HTML,
    make_response(502, raw=b"<html>502</html>"),
    make_response(503, raw=b"<html>Unicorn!</html>", content_type="text/html"),
    make_response(500, {"message": "Server Error"}),
    make_response(200, raw=b'{"full_name": "a/'),
    make_response(200, raw=b""),
    NoResponseError("the answer was cut short"),
]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_tried_again_after_a_growing_pause(canned: Canned, clock: FakeClock, fault: object) -> None:
    client, _ = canned(fault, fault, GOOD)
    assert client.get("/repos/a/b").data == {"full_name": "a/b"}
    assert clock.slept == [2, 4]
    assert client.stats.failed == 2


@pytest.mark.parametrize("status", [500, 502, 503, 504])
@pytest.mark.parametrize("stated", ["120", dated(NOW + 120)])
def test_a_fault_that_says_how_long_it_lasts_is_waited_for(
    canned: Canned, clock: FakeClock, status: int, stated: str
) -> None:
    client, _ = canned(
        make_response(status, raw=b"<html>", retry_after=stated), make_response(status, {}, retry_after="1"), GOOD
    )
    assert client.get("/repos/a/b").data == {"full_name": "a/b"}
    assert clock.slept == [120.5, 4]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_that_stays_ends_in_a_clear_line(canned: Canned, fault: object) -> None:
    client, transport = canned(GOOD, fault)
    client.get("/repos/a/b")
    with pytest.raises(ExternalError, match="8 times") as caught:
        client.get("/repos/a/b")
    assert len(transport.requests) == 1 + MAX_TRIES
    assert "continues" in caught.value.hint


def test_an_address_where_nobody_ever_answered_is_abandoned_soon(canned: Canned, clock: FakeClock) -> None:
    client, _ = canned(NoResponseError("the server cannot be reached"))
    with pytest.raises(ExternalError, match="3 times with: the server cannot be reached"):
        client.get("/repos/a/b")
    assert sum(clock.slept) < 10


def test_a_web_page_instead_of_an_api_says_where_the_mistake_may_be(canned: Canned) -> None:
    client, _ = canned(HTML)
    with pytest.raises(ExternalError) as caught:
        client.get("/repos/a/b")
    assert "a web page" in caught.value.message
    assert "/api/v3" in caught.value.hint


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (make_response(404, raw=b"<!DOCTYPE html><html>Not Found"), "status 404 and a web page"),
        (make_response(403, raw=b"Blocked by policy", content_type="text/html"), "status 403 and a web page"),
        (make_response(401, raw=b"<html>Log in</html>"), "status 401 and a web page"),
        (make_response(451, raw=b"<html>By order of"), "status 451 and a web page"),
        (make_response(404, raw=b""), "status 404 and no message from GitHub"),
        (make_response(404, raw=b"404 page not found"), "no message from GitHub"),
        (make_response(404, {"detail": "Not Found"}), "no message from GitHub"),
        (make_response(404, ["message"]), "no message from GitHub"),
        (make_response(300, {}), "status 300 and no message from GitHub"),
    ],
)
@pytest.mark.parametrize(
    "ask",
    [
        lambda client: client.server_time(),
        lambda client: client.get("/repos/a/b"),
        lambda client: client.get("/repos/a/b/readme", allow_refusal=True),
        lambda client: client.query("query", {}),
    ],
    ids=["theirs", "get", "forgiving", "query"],
)
def test_what_another_than_github_answers_is_no_answer_and_not_asked_for_again(
    canned: Canned, clock: FakeClock, other: object, words: str, ask: Callable[[Client], object]
) -> None:
    """A proxy, or a web site in the place of the API, knows nothing of what is gone or forbidden."""
    client, transport = canned(other)
    with pytest.raises(ExternalError, match=words) as caught:
        ask(client)
    assert "github.api_url" in caught.value.hint
    assert "/api/v3" in caught.value.hint
    assert "proxy" in caught.value.hint
    assert (len(transport.requests), clock.slept) == (1, [])


@pytest.mark.parametrize(
    ("refusal", "error", "words"),
    [
        (make_response(401, {"message": "Bad credentials"}), CredentialsError, "Bad credentials"),
        (
            make_response(
                422, {"message": "Validation Failed", "errors": [{"message": "The listed users cannot be searched"}]}
            ),
            ConfigError,
            "cannot be searched",
        ),
        (
            make_response(403, {"message": "Resource not accessible by personal access token"}),
            ConfigError,
            "not accessible",
        ),
    ],
)
def test_a_refusal_is_not_asked_again(
    canned: Canned, clock: FakeClock, refusal: object, error: type[StargazeError], words: str
) -> None:
    client, transport = canned(refusal)
    with pytest.raises(error, match=words):
        client.get("/search/repositories")
    assert len(transport.requests) == 1
    assert clock.slept == []


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (404, {"message": "Not Found"}, "Not Found"),
        (410, {"message": "Gone"}, "Gone"),
        (451, {"message": "Repository access blocked", "block": {"reason": "dmca"}}, "blocked (dmca)"),
        (451, {"message": "Unavailable For Legal Reasons"}, "blocked"),
        (403, {"message": "Repository access blocked", "block": {"reason": "tos"}}, "blocked (tos)"),
        (403, {"message": "Repository access blocked"}, "blocked"),
        (403, {"message": "Sorry", "block": {"reason": None}}, "blocked"),
    ],
)
@pytest.mark.parametrize("remaining", [4000, 0])
def test_what_is_gone_is_an_answer_whatever_the_limit_is(
    canned: Canned, clock: FakeClock, status: int, body: object, why: str, remaining: int
) -> None:
    client, _ = canned(make_response(status, body, **left(remaining, NOW + 900)))
    assert client.get("/repos/a/b").gone == why
    assert (client.stats.refused, clock.slept) == (0, [])


def test_a_renamed_repository_is_followed(canned: Canned) -> None:
    client, transport = canned(
        make_response(301, {"message": "Moved"}, location="https://api.github.com/repositories/1"), GOOD
    )
    assert client.get("/repos/a/old").data == {"full_name": "a/b"}
    assert transport.requests[1].path == "https://api.github.com/repositories/1"


def test_redirects_without_end_are_not_followed(canned: Canned) -> None:
    client, transport = canned(make_response(301, {}, location="https://api.github.com/repositories/1"))
    with pytest.raises(ExternalError, match="without end"):
        client.get("/repos/a/old")
    assert len(transport.requests) == 1 + MAX_REDIRECTS


def test_a_redirect_to_nowhere_is_not_followed(canned: Canned) -> None:
    client, transport = canned(make_response(302, {}))
    with pytest.raises(ExternalError, match="no address"):
        client.get("/repos/a/old")
    assert len(transport.requests) == 1


def test_a_redirect_is_relative_to_who_answered(clock: FakeClock) -> None:
    with replaying([served(307, location="/api/v3/repositories/1"), served(200, {"full_name": "a/b"})]) as server:
        client = Client(HttpTransport(f"{server.url}/api/v3", "secret", clock), clock)
        assert client.get("/repos/a/old").data == {"full_name": "a/b"}
    assert [path for _, path, _ in server.requests] == ["/api/v3/repos/a/old", "/api/v3/repositories/1"]


def test_a_query_is_sent_on_as_it_was(clock: FakeClock) -> None:
    with replaying([served(308, location="/api/graphql"), served(200, {"data": {}})]) as server:
        client = Client(HttpTransport(server.url, "secret", clock), clock)
        assert client.query("query", {}).data == {"data": {}}
    assert [(method, path) for method, path, _ in server.requests] == [("POST", "/graphql"), ("POST", "/api/graphql")]


ELSEWHERE = ["http://{}/x", "//{}/x", "HTTP://{}", "http://{here}@{}/x", "http://{}\\@{here}/x", "\t//{}/x"]
BELOW = ["///{}/x", "////{}/x", "/ //{}", "/\\{}/x", "/%2f/{}/x", "{here}/../{}"]


@pytest.mark.parametrize("form", [*ELSEWHERE, *BELOW])
def test_a_redirect_sends_no_other_server_anything(clock: FakeClock, form: str) -> None:
    with replaying([]) as other, replaying([served(301)] * 2) as server:
        there, here = urlsplit(other.url).netloc, urlsplit(server.url).netloc
        location = form.format(there, here=here)
        server.responses = [served(301, location=location), served(404, {"message": "Not Found"})]
        client = Client(HttpTransport(server.url, "secret", clock), clock)
        gone = client.get("/repos/a/old", allow_refusal=True).gone
    assert other.requests == []
    assert gone == (f"points to another server, {there}" if form in ELSEWHERE else "Not Found")
    assert (client.stats.requests, clock.slept) == (len(server.requests), [])


def test_who_may_not_be_gone_ends_at_a_redirect_to_another_server_in_one_line(clock: FakeClock) -> None:
    """Waiting heals nothing; whoever runs a mirror reads where it points to."""
    said: list[str] = []
    for ask in (
        lambda client: client.get("/search/repositories", {"q": "x"}),
        lambda client: client.query("query", {}),
    ):
        with replaying([served(301, location="https://evil.example/x?jwt=abc")]) as server:
            client = Client(HttpTransport(server.url, "secret", clock), clock, notify=said.append)
            with pytest.raises(ExternalError, match=r"points to another server, evil\.example") as caught:
                ask(client)
        assert "github.api_url" in caught.value.hint
        assert "kept" in caught.value.hint
        assert "jwt" not in caught.value.message + caught.value.hint
        assert len(server.requests) == client.stats.requests == 1
    assert clock.slept == []
    assert "not requested: another server, evil.example" in said


def test_what_is_gone_elsewhere_has_the_date_of_the_redirect(clock: FakeClock) -> None:
    clock.skew = 5_000.0
    with replaying([served(301, location="https://evil.example/x")]) as server:
        client = Client(HttpTransport(server.url, "secret", clock), clock)
        assert client.get("/repos/a/old", allow_refusal=True).at.timestamp() == NOW


def test_an_answer_that_still_holds_is_told(canned: Canned) -> None:
    client, transport = canned(make_response(304, raw=b""))
    assert client.get("/repos/a/b", etag='"x"').not_modified
    assert transport.requests[0].etag == '"x"'


GRAPHQL_LIMIT = {"errors": [{"type": "RATE_LIMITED", "message": "API rate limit exceeded for user ID 1."}]}
SLOW = {
    "data": None,
    "errors": [{"message": "Something went wrong while executing your query. This may be a timeout."}],
}


def test_the_primary_limit_of_graphql_comes_as_status_200(canned: Canned, clock: FakeClock) -> None:
    client, _ = canned(
        make_response(200, GRAPHQL_LIMIT, **left(0, NOW + 70)), make_response(200, {"data": {"nodes": []}})
    )
    assert client.query("query", {}).data == {"data": {"nodes": []}}
    assert clock.slept == [70.5]


def test_the_secondary_limit_of_graphql_comes_as_status_200_too(canned: Canned, clock: FakeClock) -> None:
    client, _ = canned(make_response(200, SECONDARY, retry_after="60"), make_response(200, {"data": {"nodes": []}}))
    client.query("query", {})
    assert clock.slept == [60.5]


@pytest.mark.parametrize(
    "fault", [make_response(502, SLOW), make_response(504, raw=b"<html>"), make_response(200, SLOW)]
)
def test_a_query_that_is_too_heavy_is_left_to_be_halved(canned: Canned, clock: FakeClock, fault: object) -> None:
    client, _ = canned(fault)
    with pytest.raises(TooHeavyError):
        client.query("query", {})
    assert clock.slept == []


@pytest.mark.parametrize("status", [404, 410, 451])
def test_a_graphql_that_is_not_there_is_a_refusal_and_no_answer(canned: Canned, status: int) -> None:
    client, _ = canned(make_response(status, {"message": "Not Found"}))
    with pytest.raises(ConfigError) as caught:
        client.query("query", {})
    assert "github.graphql" in caught.value.hint


def test_a_query_without_an_answer_is_asked_again(canned: Canned, clock: FakeClock) -> None:
    client, _ = canned(make_response(204, raw=b""), make_response(200, {"data": {"nodes": []}}))
    assert client.query("query", {}).data == {"data": {"nodes": []}}
    assert clock.slept == [2]


@pytest.mark.parametrize("kind", ["INSUFFICIENT_SCOPES", "FORBIDDEN"])
def test_a_token_that_is_too_narrow_for_graphql_is_told(canned: Canned, kind: str) -> None:
    client, _ = canned(make_response(200, {"errors": [{"type": kind, "message": "Resource not accessible by token"}]}))
    with pytest.raises(CredentialsError, match="not accessible"):
        client.query("query", {})


TOKEN = "ghp_a-token-of-nobody"
ENDS = {
    "ok": served(200, {"data": {}}),
    "not_modified": served(304),
    "redirect": served(301, location="/"),
    "other_server": served(302, location="http://evil.example/x"),
    "gone": served(404, {"message": "Not Found"}),
    "rate_limit": served(403, SECONDARY, retry_after="1"),
    "long limit": served(403, SECONDARY, retry_after="999999"),
    "too_heavy": served(502, {}),
    "failed": served(500, {}),
    "no answer": served(200, {}, content_encoding="gzip"),
    "refused": served(422, {"message": "Validation Failed"}),
    "unauthorized": served(401, {"message": "Bad credentials"}),
    "not_github": served(404, []),
}


def test_every_verdict_is_among_the_ends() -> None:
    assert set(get_args(rate_limit.Kind)) <= set(ENDS)


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize(
    "ask",
    [
        lambda client: client.get("/repos/a/b", {"page": 1}, etag='"x"'),
        lambda client: client.get("/repos/a/b", allow_refusal=True),
        lambda client: client.query("query", {}),
    ],
    ids=["get", "forgiving", "query"],
)
def test_no_message_holds_the_token(
    clock: FakeClock, caplog: pytest.LogCaptureFixture, end: str, ask: Callable[[Client], Reply]
) -> None:
    """However it ends: errors with their causes, hints, lines for people and the logs of others know nothing of it."""
    caplog.set_level(0)
    said: list[str] = []
    with replaying([ENDS[end]] * 20) as server:
        client = Client(HttpTransport(server.url, TOKEN, clock), clock, notify=said.append)
        client.on_wait = lambda why, _seconds: said.append(why)
        try:
            said.append(str(ask(client)))
        except (StargazeError, TooHeavyError) as error:
            said += [*traceback.format_exception(error), repr(vars(error))]
    assert {headers["Authorization"] for _, _, headers in server.requests} == {f"Bearer {TOKEN}"}
    assert len(said) > 1
    assert TOKEN not in "".join(said) + caplog.text + repr(client.stats)
