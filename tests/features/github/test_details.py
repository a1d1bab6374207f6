"""What a search row does not tell, by GraphQL and by REST: kept where it is answered, and where it is not, the reason."""

from __future__ import annotations

from collections.abc import Callable

from stargaze.features.github import graphql
from stargaze.features.github.client import Client
from tests.features.github.conftest import NOW, FakeClock, FakeTransport, answer

Canned = Callable[..., tuple[Client, FakeTransport]]


def test_the_points_of_graphql_are_read_from_its_headers_and_asked_for_in_no_query(
    canned: Canned, clock: FakeClock
) -> None:
    stated = {
        "x_ratelimit_limit": "5000",
        "x_ratelimit_remaining": "0",
        "x_ratelimit_reset": str(int(NOW) + 1800),
        "x_ratelimit_resource": "graphql",
    }
    client, _ = canned(answer(200, {"data": {"nodes": []}}, **stated))
    texts = [*(kind.text for kind in graphql.KINDS), graphql.names_query(1)]
    for text in texts[:2]:
        client.query(text, {})
    assert sum(clock.slept) == 1800.5
    assert not [text for text in texts if "rateLimit" in text]
