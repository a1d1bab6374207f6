"""The load balancer: the orchestration machine forwards requests for the page to the production nodes that can answer."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.integration.hosts.conftest import Configured
from tests.integration.hosts_lab import MEMBERS, SECTION, Cluster
from tests.labs.hosts.lab import Host
from tests.waiting import wait_for

pytestmark = pytest.mark.hosts

NODES = ("production1", "production2")
URL = f"http://{MEMBERS['orchestration']}:{SECTION.page_port}"
PAGE = """
import http.server
import json
import socket

class Page(http.server.BaseHTTPRequestHandler):
    dropped = []

    def answer(self):
        if self.path == "/log":
            return self.reply(self.dropped)
        if self.path == "/dropped":
            self.dropped.append(self.command)
            if socket.gethostname() == "production1":
                return
        self.reply({"node": socket.gethostname(), **{name.lower(): value for name, value in self.headers.items()}})

    do_GET = do_POST = answer

    def reply(self, content):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(content).encode())

http.server.ThreadingHTTPServer(("", PORT), Page).serve_forever()
"""
"""A server in place of the page: it returns its name and the request headers, and production1 drops some requests."""
REQUESTS = """
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
        headers = {name.lower(): value for name, value in error.headers.items()}
        answers.append([error.code, {**headers, "text": error.read().decode()}])
print(json.dumps(answers))
"""
"""A client that sends forged forwarding headers."""


def send(host: Host, url: str, number: int = 1, method: str = "GET") -> list[tuple[int, Any]]:
    """Send requests from a host; return status and body of each response."""
    done = host.run("python3", "-", url, method, str(number), stdin=REQUESTS)
    return [(status, body) for status, body in json.loads(done.stdout)]


@contextlib.contextmanager
def page_on_nodes(cluster: Cluster) -> Iterator[Host]:
    """Let both nodes serve a page; give a host outside of the cluster."""
    outsider = cluster.hosts["outsider"]
    for name in NODES:
        start_page(cluster.hosts[name])
    try:
        wait_for(lambda: responding_nodes(outsider) == set(NODES))
        yield outsider
    finally:
        for name in NODES:
            cluster.hosts[name].run("systemctl", "stop", "page", check=False)


@pytest.fixture
def visitor(configured_cluster: Configured) -> Iterator[Host]:
    """A host outside of the cluster, while both nodes serve a page."""
    with page_on_nodes(configured_cluster.cluster) as outsider:
        yield outsider


def start_page(host: Host) -> None:
    """Start a page on a host; systemd has forgotten one that was killed."""
    script = PAGE.replace("PORT", str(SECTION.page_port))
    host.run("systemd-run", "--unit=page", "--collect", "python3", "-c", script)


def responding_nodes(visitor: Host) -> set[str]:
    """Return the nodes that respond; the load balancer asks no node that it has not seen working."""
    return {body["node"] for status, body in send(visitor, URL, 4) if status == 200}


def test_forged_forwarding_headers_are_replaced(visitor: Host) -> None:
    [(_, body)] = send(visitor, URL)

    assert body["x-forwarded-for"] == visitor.address
    assert body["x-forwarded-host"] == URL.removeprefix("http://")
    assert body["x-forwarded-proto"] == "http"


def test_no_request_fails_when_a_node_fails_and_a_repaired_node_is_used_again(
    configured_cluster: Configured, visitor: Host
) -> None:
    """Also in the seconds before the load balancer notices."""
    node = configured_cluster.cluster.hosts["production2"]
    node.run("systemctl", "kill", "--signal=KILL", "page")

    answers = send(visitor, URL, 40)

    assert {(status, body["node"]) for status, body in answers} == {(200, "production1")}
    start_page(node)
    wait_for(lambda: responding_nodes(visitor) == set(NODES))


def test_only_idempotent_requests_are_sent_to_a_second_node(configured_cluster: Configured, visitor: Host) -> None:
    url = f"{URL}/dropped"

    read, written = send(visitor, url, 6), send(visitor, url, 6, "POST")

    dropped = [method for name in NODES for method in dropped_methods(configured_cluster, name)]
    assert {status for status, _ in read} == {200}
    assert dropped.count("GET") > 6
    assert {status for status, _ in written} == {200, 502}
    assert dropped.count("POST") == 6


def test_while_no_node_serves_the_page_a_client_of_the_api_gets_json(
    configured_cluster: Configured, visitor: Host
) -> None:
    for name in NODES:
        configured_cluster.cluster.hosts[name].run("systemctl", "stop", "page")

    [(status, answer)], [(_, page)] = send(visitor, f"{URL}/api/v1/predictions"), send(visitor, URL)

    assert (status, answer["retry-after"], answer["content-type"]) == (503, "5", "application/problem+json")
    problem = json.loads(answer["text"])
    assert (problem["status"], problem["code"]) == (503, "service_unavailable")
    assert problem["detail"].startswith("no node serves the page")
    assert problem["request_id"]
    assert (page["retry-after"], page["content-type"]) == ("5", "text/plain")
    assert page["text"].startswith("no node serves the page")


def dropped_methods(configured: Configured, name: str) -> list[str]:
    """Return the methods of the requests to /dropped that a node received."""
    host = configured.cluster.hosts[name]
    [(_, methods)] = send(host, f"http://127.0.0.1:{SECTION.page_port}/log")
    return list(methods)


def test_the_nodes_are_reachable_only_through_the_orchestration_machine(
    configured_cluster: Configured, visitor: Host, open_ports: Callable[..., list[int]]
) -> None:
    hosts, port = configured_cluster.cluster.hosts, SECTION.page_port

    assert open_ports(visitor, hosts["orchestration"], port) == [port]
    for name in NODES:
        assert open_ports(visitor, hosts[name], port) == []
        assert open_ports(hosts["development"], hosts[name], port) == []
        assert open_ports(hosts["orchestration"], hosts[name], port) == [port]
    assert open_ports(hosts["production1"], hosts["production2"], port) == [port]
