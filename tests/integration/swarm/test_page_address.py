"""Visitors at the address that `deploy` prints: that of the proxy, with its own name in the Host header."""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import urlsplit

import pandas as pd
import pytest

from tests.integration.swarm.conftest import HOSTS, PORT, Workspace

pytestmark = pytest.mark.swarm
URL = f"http://{HOSTS['orchestration']}:{PORT}"


@pytest.fixture(scope="module")
def deployed_release(workspace: Workspace) -> Workspace:
    """A release on both hosts."""
    workspace.run("deploy", workspace.a[:12])
    return workspace


def ask(path: str, body: Any = None, **headers: str) -> tuple[int, str]:
    """Send a request to the printed address; return status and body."""
    connection = http.client.HTTPConnection(urlsplit(URL).netloc, timeout=60)
    sent = {"Content-Type": "application/json", "Prefer": "wait=5", **headers}
    connection.request("POST" if body else "GET", path, json.dumps(body) if body else None, sent)
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    return response.status, text


def test_deploy_and_status_print_the_address_of_the_proxy(deployed_release: Workspace) -> None:
    printed = deployed_release.run("deploy", deployed_release.a[:12])
    (row,) = deployed_release.run("status", "--json").json["pages"]

    assert URL in printed.out
    assert "cannot be reached" not in printed.err
    assert row == {"page": URL, "state": "ready", "release": deployed_release.a[:12], "reason": ""}


def test_a_visitor_at_the_printed_address_is_answered(deployed_release: Workspace) -> None:
    known = pd.read_parquet(
        deployed_release.store.bundles / deployed_release.a / "known.parquet", columns=["full_name"]
    )
    name = str(known["full_name"].iloc[0])

    page, job = ask("/"), ask("/api/v1/predictions", {"repositories": [name]})

    assert page[0] == 200
    assert "<form" in page[1]
    assert job[0] in (200, 202), job


@pytest.mark.parametrize(
    "headers", [{"Host": "elsewhere.invalid"}, {"Host": "elsewhere.invalid", "X-Forwarded-Host": "10.78.0.10"}]
)
def test_a_foreign_name_is_refused(deployed_release: Workspace, headers: dict[str, str]) -> None:
    assert ask("/", **headers)[0] == 400


def test_forged_forwarding_headers_have_no_effect(deployed_release: Workspace) -> None:
    status, body = ask(
        "/", **{"X-Forwarded-Host": "elsewhere.invalid", "X-Forwarded-For": "203.0.113.1", "X-Forwarded-Proto": "https"}
    )

    assert status == 200
    assert "elsewhere.invalid" not in body


def test_broker_and_result_store_answer_with_tls_only(deployed_release: Workspace) -> None:
    """Read in the network namespaces of their containers: every listening port that another container can reach."""
    script = """
for service in broker results; do
  id=$(docker ps -q --filter label=com.docker.swarm.service.name=stargaze_$service)
  pid=$(docker inspect --format '{{.State.Pid}}' "$id")
  nsenter --target "$pid" --net ss -Hltn | awk -v service=$service '{print service, $4}'
done
"""
    lines = [line.split() for line in deployed_release.manager.run("sh", "-c", script).stdout.splitlines()]
    ports = {
        (name, int(address.rpartition(":")[2])) for name, address in lines if not address.startswith(("127.", "[::1]"))
    }

    # 4369 and 25672 belong to the brokers of a cluster, which authenticate each other by a secret.
    assert ports - {("broker", 4369), ("broker", 25672)} == {("broker", 5671), ("results", 6379)}
