"""The way to the page: the orchestration machine leads visitors to the production nodes that can answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.integration.hosts.conftest import MEMBERS, SECTION, Configured
from tests.labs.hosts.lab import Host
from tests.waiting import wait_for

pytestmark = pytest.mark.hosts

NODES = ("production1", "production2")
DOOR = f"http://{MEMBERS['orchestration']}:{SECTION.page_port}"
PAGE = """
import http.server
import json
import socket

class Page(http.server.BaseHTTPRequestHandler):
    begun = []

    def answer(self):
        if self.path == "/asked":
            return self.say(self.begun)
        if self.path == "/dropped":
            self.begun.append(self.command)
            if socket.gethostname() == "production1":
                return
        self.say({"node": socket.gethostname(), **{name.lower(): value for name, value in self.headers.items()}})

    do_GET = do_POST = answer

    def say(self, what):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(what).encode())

http.server.ThreadingHTTPServer(("", PORT), Page).serve_forever()
"""
"""Stands where the page would: it says who it is and what it was asked, and one of the two leaves some without an answer."""
ASK = """
import json
import sys
import urllib.error
import urllib.request

url, method, number = sys.argv[1:]
answers = []
for _ in range(int(number)):
    headers = {"X-Forwarded-For": "203.0.113.66", "X-Forwarded-Host": "elsewhere.invalid"}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method=method, headers=headers), timeout=20) as answer:
            answers.append([answer.status, json.load(answer)])
    except urllib.error.HTTPError as error:
        answers.append([error.code, {}])
print(json.dumps(answers))
"""
"""A visitor, who claims to be someone else."""


def asked(host: Host, url: str, number: int = 1, method: str = "GET") -> list[tuple[int, Any]]:
    """Ask so many times from a host; return status and body of each answer."""
    done = host.run("python3", "-", url, method, str(number), stdin=ASK)
    return [(status, body) for status, body in json.loads(done.stdout)]


@pytest.fixture
def visitor(configured: Configured) -> Iterator[Host]:
    """Somebody outside, while both nodes have a page."""
    cluster = configured.cluster
    stranger = cluster.hosts["stranger"]
    for name in NODES:
        stand(cluster.hosts[name])
    try:
        wait_for(lambda: answering(stranger) == set(NODES))
        yield stranger
    finally:
        for name in NODES:
            cluster.hosts[name].run("systemctl", "stop", "page", check=False)


def stand(host: Host) -> None:
    """Start a page on a host; one that was killed is gone with all that is known of it."""
    script = PAGE.replace("PORT", str(SECTION.page_port))
    host.run("systemd-run", "--unit=page", "--collect", "python3", "-c", script)


def answering(visitor: Host) -> set[str]:
    """Return who answers; a node that is not known to be up has not been asked."""
    return {body["node"] for status, body in asked(visitor, DOOR, 4) if status == 200}


def test_a_visitor_is_led_to_both_nodes_and_cannot_claim_to_be_another(visitor: Host) -> None:
    [(_, body)] = asked(visitor, DOOR)

    assert body["x-forwarded-for"] == visitor.address
    assert body["x-forwarded-host"] == DOOR.removeprefix("http://")
    assert body["x-forwarded-proto"] == "http"


def test_a_node_that_is_away_is_missed_by_nobody_and_comes_back(configured: Configured, visitor: Host) -> None:
    """Also in the seconds before it is known to be away."""
    node = configured.cluster.hosts["production2"]
    node.run("systemctl", "kill", "--signal=KILL", "page")

    answers = asked(visitor, DOOR, 40)

    assert {(status, body["node"]) for status, body in answers} == {(200, "production1")}
    stand(node)
    wait_for(lambda: answering(visitor) == set(NODES))


def test_only_what_may_be_asked_twice_is_asked_twice(configured: Configured, visitor: Host) -> None:
    url = f"{DOOR}/dropped"

    read, written = asked(visitor, url, 6), asked(visitor, url, 6, "POST")

    begun = [method for name in NODES for method in told(configured, name)]
    assert {status for status, _ in read} == {200}
    assert begun.count("GET") > 6
    assert {status for status, _ in written} == {200, 502}
    assert begun.count("POST") == 6


def told(configured: Configured, name: str) -> list[str]:
    """Return the methods of what a node was asked and could leave without an answer."""
    host = configured.cluster.hosts[name]
    [(_, begun)] = asked(host, f"http://127.0.0.1:{SECTION.page_port}/asked")
    return list(begun)


def test_the_nodes_are_reached_through_the_orchestration_machine_alone(
    configured: Configured, visitor: Host, reached: Callable[..., list[int]]
) -> None:
    hosts, port = configured.cluster.hosts, SECTION.page_port

    assert reached(visitor, hosts["orchestration"], port) == [port]
    for name in NODES:
        assert reached(visitor, hosts[name], port) == []
        assert reached(hosts["development"], hosts[name], port) == []
        assert reached(hosts["orchestration"], hosts[name], port) == [port]
    assert reached(hosts["production1"], hosts["production2"], port) == [port]
