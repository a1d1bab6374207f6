"""The client repeats a request with the waits that GitHub requests, or raises an error with one clear line."""

from __future__ import annotations

import email.utils
import traceback
from collections.abc import Callable
from typing import get_args
from urllib.parse import urlsplit

import pytest

from stargaze.errors import ConfigError, CredentialsError, ExternalError, StargazeError
from stargaze.features.github.api import rate_limit
from stargaze.features.github.api.client import MAX_TRIES, Client, TooHeavyError
from stargaze.features.github.api.http_transport import FAULT_HINTS, HttpTransport, NoResponseError
from stargaze.features.github.api.replies import MAX_REDIRECTS, Reply
from tests.features.github.conftest import NOW, FakeClock, make_response
from tests.referee.recorded import Exchange
from tests.referee.replay import replaying

ClientWith = Callable[..., tuple[Client, object]]
OK_RESPONSE = make_response(200, {"full_name": "a/b"})
HTML = make_response(200, raw=b"<!DOCTYPE html><html>", content_type="text/html")
SECONDARY = {"message": "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."}
PRIMARY = {"message": "API rate limit exceeded for user ID 1."}


def http_date(moment: float) -> str:
    return email.utils.formatdate(moment, usegmt=True)


def served(status: int, data: object = None, **headers: str) -> Exchange:
    """Return a response for the server on loopback."""
    response = make_response(status, data, **headers)
    return Exchange("", "GET", "", status, dict(response.headers), response.body)


def limit_headers(count: int, reset: float) -> dict[str, str]:
    return {"x_ratelimit_limit": "30", "x_ratelimit_remaining": str(count), "x_ratelimit_reset": f"{reset:.0f}"}


@pytest.mark.parametrize(
    ("refusal", "waits"),
    [
        (make_response(403, SECONDARY, retry_after="30"), [30.5]),
        (make_response(429, SECONDARY, retry_after="30", **limit_headers(0, NOW + 900)), [30.5]),
        (make_response(403, PRIMARY, **limit_headers(0, NOW + 900)), [900.5]),
        (make_response(429, PRIMARY, **limit_headers(0, NOW + 900)), [900.5]),
        (make_response(403, SECONDARY), [60]),
        (make_response(429, {}), [60]),
        (make_response(403, {"message": "You have triggered an abuse detection mechanism."}), [60]),
        (make_response(403, PRIMARY, **limit_headers(0, (NOW + 900) * 1000)), [900.5]),
        (make_response(403, PRIMARY, **limit_headers(0, NOW + 10**7)), [3600.5]),
        (make_response(403, PRIMARY, **limit_headers(0, NOW - 50)), [0.5]),
        (make_response(403, SECONDARY, retry_after="7200"), [7200.5]),
        (make_response(429, SECONDARY, retry_after=" 30 "), [30.5]),
        (make_response(403, SECONDARY, retry_after=http_date(NOW + 5400), **limit_headers(0, NOW + 900)), [5400.5]),
        (make_response(403, SECONDARY, retry_after=http_date(NOW - 5)), [0.5]),
        (make_response(403, SECONDARY, retry_after=http_date(NOW + 90).replace("GMT", "-0000")), [90.5]),
        (make_response(403, SECONDARY, retry_after="soon", **limit_headers(0, NOW + 900)), [900.5]),
        (make_response(403, SECONDARY, retry_after="-1"), [60]),
        (make_response(403, SECONDARY, retry_after="Mon, 99 Jan 99999 00:00:00 GMT"), [60]),
    ],
)
def test_a_limit_is_waited_for_in_the_order_that_github_documents(
    client_with: ClientWith, clock: FakeClock, refusal: object, waits: list[float]
) -> None:
    client, _ = client_with(refusal, OK_RESPONSE)
    assert client.get("/repos/a/b").data == {"full_name": "a/b"}
    assert clock.slept == waits
    assert client.stats.refused == 1


LIMITED = b"<!DOCTYPE html><title>GitHub</title><p>You have exceeded a secondary rate limit.</p>"


def test_a_rate_limit_reported_by_a_web_page_is_recognized(client_with: ClientWith, clock: FakeClock) -> None:
    client, _ = client_with(make_response(403, raw=LIMITED), OK_RESPONSE)
    client.get("/repos/a/b")
    assert (clock.slept, client.stats.refused) == ([60], 1)


@pytest.mark.parametrize("status", [400, 403, 404, 408])
def test_a_web_page_after_a_good_response_is_retried(client_with: ClientWith, clock: FakeClock, status: int) -> None:
    client, _ = client_with(OK_RESPONSE, make_response(status, raw=b"<html>Whoa there!</html>"), OK_RESPONSE)
    client.get("/repos/a/b")
    assert client.get("/repos/a/b").data == {"full_name": "a/b"}
    assert clock.slept == [2]


def test_waits_for_a_limit_without_a_stated_end_grow(client_with: ClientWith, clock: FakeClock) -> None:
    client, _ = client_with(*[make_response(403, SECONDARY)] * 5, OK_RESPONSE)
    client.get("/repos/a/b")
    assert clock.slept == [60, 120, 240, 480, 960]


@pytest.mark.parametrize(
    "stated", [{"retry_after": "0"}, {"retry_after": http_date(NOW - 5)}, limit_headers(0, NOW - 5)]
)
def test_waits_grow_if_a_limit_outlasts_its_stated_end(
    client_with: ClientWith, clock: FakeClock, stated: dict[str, str]
) -> None:
    client, _ = client_with(*[make_response(403, SECONDARY, **stated)] * 5, OK_RESPONSE)
    client.get("/repos/a/b")
    assert clock.slept == [0.5, 60, 120, 240, 480]


@pytest.mark.parametrize(
    ("stated", "until"),
    [
        ("172800", "2026-05-30 20:26 UTC, in 48.0 h"),
        (http_date(NOW + 86_400), "2026-05-29 20:26 UTC, in 24.0 h"),
        ("9" * 400, "2027-05-29 20:26 UTC"),
    ],
)
@pytest.mark.parametrize("status", [403, 429, 503])
def test_a_wait_of_days_is_an_error(
    client_with: ClientWith, clock: FakeClock, status: int, stated: str, until: str
) -> None:
    """The message has the time by GitHub's clock, not by the wrong local one."""
    client, transport = client_with(make_response(status, SECONDARY, retry_after=stated), skew=50_000.0)
    with pytest.raises(ExternalError, match=until) as caught:
        client.get("/repos/a/b")
    assert "kept" in caught.value.hint
    assert "run it again then" in caught.value.hint
    assert (len(transport.requests), clock.slept) == (1, [])


def test_a_limit_that_never_lifts_is_an_error(client_with: ClientWith, clock: FakeClock) -> None:
    client, _ = client_with(make_response(403, SECONDARY))
    with pytest.raises(ExternalError, match="still applies after 9 waits") as caught:
        client.get("/repos/a/b")
    assert "kept" in caught.value.hint
    assert sum(clock.slept) > 3600


def test_the_next_request_waits_if_the_limit_is_used_up(client_with: ClientWith, clock: FakeClock) -> None:
    client, _ = client_with(make_response(200, {}, **limit_headers(0, NOW + 40)), OK_RESPONSE)
    client.get("/search/repositories")
    assert clock.slept == []
    client.get("/search/repositories")
    assert clock.slept == [40.5]
    assert client.stats.refused == 0


def test_the_search_limit_does_not_delay_other_requests(client_with: ClientWith, clock: FakeClock) -> None:
    client, _ = client_with(make_response(200, {}, **limit_headers(0, NOW + 40)), OK_RESPONSE)
    client.get("/search/repositories")
    client.get("/repos/a/b")
    assert clock.slept == []


@pytest.mark.parametrize("skew", [-86_400.0, 86_400.0])
def test_a_wrong_local_clock_changes_no_wait_and_is_reported_once(
    client_with: ClientWith, clock: FakeClock, skew: float
) -> None:
    client, _ = client_with(make_response(403, PRIMARY, **limit_headers(0, NOW + 900)), OK_RESPONSE, skew=skew)
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
    NoResponseError("the response was truncated"),
]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_retried_with_growing_waits(client_with: ClientWith, clock: FakeClock, fault: object) -> None:
    client, _ = client_with(fault, fault, OK_RESPONSE)
    assert client.get("/repos/a/b").data == {"full_name": "a/b"}
    assert clock.slept == [2, 4]
    assert client.stats.failed == 2


@pytest.mark.parametrize("status", [500, 502, 503, 504])
@pytest.mark.parametrize("stated", ["120", http_date(NOW + 120)])
def test_the_retry_after_header_of_a_fault_is_obeyed(
    client_with: ClientWith, clock: FakeClock, status: int, stated: str
) -> None:
    client, _ = client_with(
        make_response(status, raw=b"<html>", retry_after=stated),
        make_response(status, {}, retry_after="1"),
        OK_RESPONSE,
    )
    assert client.get("/repos/a/b").data == {"full_name": "a/b"}
    assert clock.slept == [120.5, 4]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_persistent_fault_is_an_error(client_with: ClientWith, fault: object) -> None:
    client, transport = client_with(OK_RESPONSE, fault)
    client.get("/repos/a/b")
    with pytest.raises(ExternalError, match="8 times") as caught:
        client.get("/repos/a/b")
    assert len(transport.requests) == 1 + MAX_TRIES
    assert "continues" in caught.value.hint


@pytest.mark.parametrize(("reason", "hint"), FAULT_HINTS.items())
def test_the_hint_names_what_causes_a_fault_of_the_connection(client_with: ClientWith, reason: str, hint: str) -> None:
    client, _ = client_with(NoResponseError(reason))

    with pytest.raises(ExternalError) as caught:
        client.get("/repos/a/b")

    assert caught.value.hint.startswith(f"{hint}; ")


def test_an_unreachable_server_is_given_up_soon(client_with: ClientWith, clock: FakeClock) -> None:
    client, _ = client_with(NoResponseError("the server cannot be reached"))
    with pytest.raises(ExternalError, match="3 times with: the server cannot be reached"):
        client.get("/repos/a/b")
    assert sum(clock.slept) < 10


def test_a_web_page_instead_of_the_api_has_a_hint_about_the_api_url(client_with: ClientWith) -> None:
    client, _ = client_with(HTML)
    with pytest.raises(ExternalError) as caught:
        client.get("/repos/a/b")
    assert "a web page" in caught.value.message
    assert "/api/v3" in caught.value.hint


@pytest.mark.parametrize(
    ("other", "message"),
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
    "call",
    [
        lambda client: client.server_time(),
        lambda client: client.get("/repos/a/b"),
        lambda client: client.get("/repos/a/b/readme", allow_refusal=True),
        lambda client: client.query("query", {}),
    ],
    ids=["server_time", "get", "allow_refusal", "query"],
)
def test_a_response_of_another_program_is_an_error_and_not_retried(
    client_with: ClientWith, clock: FakeClock, other: object, message: str, call: Callable[[Client], object]
) -> None:
    """A 404 or 403 of a proxy or of a web site says nothing about a repository."""
    client, transport = client_with(other)
    with pytest.raises(ExternalError, match=message) as caught:
        call(client)
    assert "github.api_url" in caught.value.hint
    assert "/api/v3" in caught.value.hint
    assert "proxy" in caught.value.hint
    assert (len(transport.requests), clock.slept) == (1, [])


@pytest.mark.parametrize(
    ("refusal", "error", "message"),
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
def test_a_refused_request_is_not_retried(
    client_with: ClientWith, clock: FakeClock, refusal: object, error: type[StargazeError], message: str
) -> None:
    client, transport = client_with(refusal)
    with pytest.raises(error, match=message):
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
def test_a_gone_resource_is_returned_even_if_the_limit_is_used_up(
    client_with: ClientWith, clock: FakeClock, status: int, body: object, why: str, remaining: int
) -> None:
    client, _ = client_with(make_response(status, body, **limit_headers(remaining, NOW + 900)))
    assert client.get("/repos/a/b").gone == why
    assert (client.stats.refused, clock.slept) == (0, [])


def test_a_renamed_repository_is_followed(client_with: ClientWith) -> None:
    client, transport = client_with(
        make_response(301, {"message": "Moved"}, location="https://api.github.com/repositories/1"), OK_RESPONSE
    )
    assert client.get("/repos/a/old").data == {"full_name": "a/b"}
    assert transport.requests[1].path == "https://api.github.com/repositories/1"


def test_endless_redirects_are_an_error(client_with: ClientWith) -> None:
    client, transport = client_with(make_response(301, {}, location="https://api.github.com/repositories/1"))
    with pytest.raises(ExternalError, match="without end"):
        client.get("/repos/a/old")
    assert len(transport.requests) == 1 + MAX_REDIRECTS


def test_a_redirect_without_a_location_is_an_error(client_with: ClientWith) -> None:
    client, transport = client_with(make_response(302, {}))
    with pytest.raises(ExternalError, match="no address"):
        client.get("/repos/a/old")
    assert len(transport.requests) == 1


def test_a_redirect_is_relative_to_the_url_of_the_response(clock: FakeClock) -> None:
    with replaying([served(307, location="/api/v3/repositories/1"), served(200, {"full_name": "a/b"})]) as server:
        client = Client(HttpTransport(f"{server.url}/api/v3", "secret", clock), clock)
        assert client.get("/repos/a/old").data == {"full_name": "a/b"}
    assert [path for _, path, _ in server.requests] == ["/api/v3/repos/a/old", "/api/v3/repositories/1"]


def test_a_redirected_query_is_sent_again_unchanged(clock: FakeClock) -> None:
    with replaying([served(308, location="/api/graphql"), served(200, {"data": {}})]) as server:
        client = Client(HttpTransport(server.url, "secret", clock), clock)
        assert client.query("query", {}).data == {"data": {}}
    assert [(method, path) for method, path, _ in server.requests] == [("POST", "/graphql"), ("POST", "/api/graphql")]


OTHER_SERVER = ["http://{}/x", "//{}/x", "HTTP://{}", "http://{here}@{}/x", "http://{}\\@{here}/x", "\t//{}/x"]
SAME_SERVER = ["///{}/x", "////{}/x", "/ //{}", "/\\{}/x", "/%2f/{}/x", "{here}/../{}"]


@pytest.mark.parametrize("form", [*OTHER_SERVER, *SAME_SERVER])
def test_a_redirect_to_another_server_is_not_followed(clock: FakeClock, form: str) -> None:
    with replaying([]) as other, replaying([served(301)] * 2) as server:
        other_host, host = urlsplit(other.url).netloc, urlsplit(server.url).netloc
        location = form.format(other_host, here=host)
        server.responses = [served(301, location=location), served(404, {"message": "Not Found"})]
        client = Client(HttpTransport(server.url, "secret", clock), clock)
        gone = client.get("/repos/a/old", allow_refusal=True).gone
    assert other.requests == []
    assert gone == (f"points to another server, {other_host}" if form in OTHER_SERVER else "Not Found")
    assert (client.stats.requests, clock.slept) == (len(server.requests), [])


def test_a_redirect_to_another_server_is_an_error_unless_refusal_is_allowed(clock: FakeClock) -> None:
    """It is not retried; the message names the other server, for users of a mirror."""
    output: list[str] = []
    for call in (
        lambda client: client.get("/search/repositories", {"q": "x"}),
        lambda client: client.query("query", {}),
    ):
        with replaying([served(301, location="https://evil.example/x?jwt=abc")]) as server:
            client = Client(HttpTransport(server.url, "secret", clock), clock, notify=output.append)
            with pytest.raises(ExternalError, match=r"points to another server, evil\.example") as caught:
                call(client)
        assert "github.api_url" in caught.value.hint
        assert "kept" in caught.value.hint
        assert "jwt" not in caught.value.message + caught.value.hint
        assert len(server.requests) == client.stats.requests == 1
    assert clock.slept == []
    assert "not requested: another server, evil.example" in output


def test_a_refused_redirect_has_the_date_of_its_response(clock: FakeClock) -> None:
    clock.skew = 5_000.0
    with replaying([served(301, location="https://evil.example/x")]) as server:
        client = Client(HttpTransport(server.url, "secret", clock), clock)
        assert client.get("/repos/a/old", allow_refusal=True).at.timestamp() == NOW


def test_a_not_modified_response_is_recognized(client_with: ClientWith) -> None:
    client, transport = client_with(make_response(304, raw=b""))
    assert client.get("/repos/a/b", etag='"x"').not_modified
    assert transport.requests[0].etag == '"x"'


GRAPHQL_LIMIT = {"errors": [{"type": "RATE_LIMITED", "message": "API rate limit exceeded for user ID 1."}]}
SLOW = {
    "data": None,
    "errors": [{"message": "Something went wrong while executing your query. This may be a timeout."}],
}


def test_a_primary_limit_of_graphql_with_status_200_is_waited_for(client_with: ClientWith, clock: FakeClock) -> None:
    client, _ = client_with(
        make_response(200, GRAPHQL_LIMIT, **limit_headers(0, NOW + 70)), make_response(200, {"data": {"nodes": []}})
    )
    assert client.query("query", {}).data == {"data": {"nodes": []}}
    assert clock.slept == [70.5]


def test_a_secondary_limit_of_graphql_with_status_200_is_waited_for(client_with: ClientWith, clock: FakeClock) -> None:
    client, _ = client_with(
        make_response(200, SECONDARY, retry_after="60"), make_response(200, {"data": {"nodes": []}})
    )
    client.query("query", {})
    assert clock.slept == [60.5]


@pytest.mark.parametrize(
    "fault", [make_response(502, SLOW), make_response(504, raw=b"<html>"), make_response(200, SLOW)]
)
def test_a_query_that_is_too_heavy_is_not_retried_by_the_client(
    client_with: ClientWith, clock: FakeClock, fault: object
) -> None:
    client, _ = client_with(fault)
    with pytest.raises(TooHeavyError):
        client.query("query", {})
    assert clock.slept == []


@pytest.mark.parametrize("status", [404, 410, 451])
def test_a_missing_graphql_endpoint_is_an_error(client_with: ClientWith, status: int) -> None:
    client, _ = client_with(make_response(status, {"message": "Not Found"}))
    with pytest.raises(ConfigError) as caught:
        client.query("query", {})
    assert "github.graphql" in caught.value.hint


HOSTILE_HEADERS: list[dict[str, str]] = [
    {"x_ratelimit_limit": "9" * 5000, "x_ratelimit_remaining": "1", "x_ratelimit_reset": "1800000000"},
    {"link": '<http://x?page=\N{SUPERSCRIPT TWO}>; rel="last"'},
    {"link": f'<http://x?page={"9" * 5000}>; rel="last"'},
]


@pytest.mark.parametrize("headers", HOSTILE_HEADERS, ids=["limit", "superscript", "page"])
def test_numbers_of_headers_that_are_none_are_ignored(client_with: ClientWith, headers: dict[str, str]) -> None:
    client, _ = client_with(make_response(200, {"a": 1}, **headers))

    reply = client.get("/x")

    assert (reply.data, reply.last_page, client.limits) == ({"a": 1}, 1, {})


def test_a_message_of_any_length_is_shortened(client_with: ClientWith) -> None:
    client, _ = client_with(make_response(422, {"message": "x" * 10**6}))
    with pytest.raises(ConfigError) as caught:
        client.get("/x")
    assert len(caught.value.message) < 1000


def test_a_query_with_an_empty_response_is_retried(client_with: ClientWith, clock: FakeClock) -> None:
    client, _ = client_with(make_response(204, raw=b""), make_response(200, {"data": {"nodes": []}}))
    assert client.query("query", {}).data == {"data": {"nodes": []}}
    assert clock.slept == [2]


@pytest.mark.parametrize("kind", ["INSUFFICIENT_SCOPES", "FORBIDDEN"])
def test_a_token_without_the_scopes_for_graphql_is_an_error(client_with: ClientWith, kind: str) -> None:
    client, _ = client_with(
        make_response(200, {"errors": [{"type": kind, "message": "Resource not accessible by token"}]})
    )
    with pytest.raises(CredentialsError, match="not accessible"):
        client.query("query", {})


TOKEN = "ghp_not-a-real-token"
RESPONSES = {
    "ok": served(200, {"data": {}}),
    "not_modified": served(304),
    "redirect": served(301, location="/"),
    "other_server": served(302, location="http://evil.example/x"),
    "gone": served(404, {"message": "Not Found"}),
    "rate_limit": served(403, SECONDARY, retry_after="1"),
    "long limit": served(403, SECONDARY, retry_after="999999"),
    "too_heavy": served(502, {}),
    "failed": served(500, {}),
    "no response": served(200, {}, content_encoding="gzip"),
    "refused": served(422, {"message": "Validation Failed"}),
    "unauthorized": served(401, {"message": "Bad credentials"}),
    "not_github": served(404, []),
}


def test_the_responses_cover_every_kind() -> None:
    assert set(get_args(rate_limit.Kind)) <= set(RESPONSES)


@pytest.mark.parametrize("kind", RESPONSES)
@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.get("/repos/a/b", {"page": 1}, etag='"x"'),
        lambda client: client.get("/repos/a/b", allow_refusal=True),
        lambda client: client.query("query", {}),
    ],
    ids=["get", "allow_refusal", "query"],
)
def test_no_output_contains_the_token(
    clock: FakeClock, caplog: pytest.LogCaptureFixture, kind: str, call: Callable[[Client], Reply]
) -> None:
    """For every kind of response, errors with their causes, hints, log lines and logs of libraries do not contain it."""
    caplog.set_level(0)
    output: list[str] = []
    with replaying([RESPONSES[kind]] * 20) as server:
        client = Client(HttpTransport(server.url, TOKEN, clock), clock, notify=output.append)
        client.on_wait = lambda why, _seconds: output.append(why)
        try:
            output.append(str(call(client)))
        except (StargazeError, TooHeavyError) as error:
            output += [*traceback.format_exception(error), repr(vars(error))]
    assert {headers["Authorization"] for _, _, headers in server.requests} == {f"Bearer {TOKEN}"}
    assert len(output) > 1
    assert TOKEN not in "".join(output) + caplog.text + repr(client.stats)
