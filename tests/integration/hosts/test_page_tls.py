"""TLS of the page in the proxy: an own certificate, and one of an ACME directory (Pebble), which is renewed."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stargaze.serve.stack.certificates import issue_certificates
from tests.integration.hosts.conftest import Configured
from tests.integration.hosts.test_page import page_on_nodes
from tests.integration.hosts_lab import MEMBERS, SECTION, Cluster, PlaybookRun
from tests.labs.hosts.lab import Host
from tests.waiting import wait_for

pytestmark = pytest.mark.hosts

DOMAIN, DIRECTORY = "stars.lab.test", "acme.lab.test"
PORT = 8443
PEBBLE = {
    "listenAddress": "0.0.0.0:14000",
    "managementListenAddress": "0.0.0.0:15000",
    "certificate": "/etc/pebble/acme_cert",
    "privateKey": "/etc/pebble/acme_key",
    "httpPort": SECTION.page_port,
    "tlsPort": 5001,
    "ocspResponderURL": "",
    "externalAccountBindingRequired": False,
    "certificateValidityPeriod": 20 * 86_400,  # [s]; certbot renews what is valid for less than 30 days
}
CLIENT = """
import hashlib
import http.client
import json
import socket
import ssl
import sys

address, port, name, ca, path = sys.argv[1:]
context = ssl.create_default_context(cadata=ca)
connection = http.client.HTTPSConnection(name, int(port), context=context, timeout=20)
connection._create_connection = lambda _, timeout, source: socket.create_connection((address, int(port)), timeout)
connection.request("GET", path, headers={"X-Forwarded-Proto": "http", "X-Forwarded-For": "203.0.113.66"})
certificate = hashlib.sha256(connection.sock.getpeercert(binary_form=True)).hexdigest()
response = connection.getresponse()
print(json.dumps([response.status, dict(response.headers), json.loads(response.read()), certificate]))
"""
"""A visitor that verifies the certificate; it prints status, headers, body and the digest of the certificate."""
REDIRECTED = """
import http.client, sys
connection = http.client.HTTPConnection(sys.argv[1], timeout=20)
connection.request("GET", sys.argv[2], headers={"Host": "elsewhere.invalid"})
response = connection.getresponse()
print(response.status, response.headers.get("Location"))
"""
FETCH = """
import ssl, sys, urllib.request
print(urllib.request.urlopen(sys.argv[1], context=ssl._create_unverified_context()).read().decode())
"""
SLOW_CLIENT = """
import socket
import sys
import time

with socket.create_connection((sys.argv[1], int(sys.argv[2])), 30) as connection:
    started = time.monotonic()
    connection.sendall(b"POST / HTTP/1.1\\r\\nHost: a\\r\\nContent-Length: 5000\\r\\n\\r\\n")
    connection.settimeout(1)
    received = b""
    while not received and time.monotonic() < started + 60:
        try:
            connection.sendall(b"x")
            received = connection.recv(100)
        except TimeoutError:
            pass
        except OSError:
            break
print(received.split()[1].decode(), time.monotonic() - started)
"""
"""A client that sends one byte per second."""


@pytest.fixture(scope="module")
def visitor(configured_cluster: Configured) -> Iterator[Host]:
    """A host outside of the cluster, while the nodes serve a page; the last test removes TLS again."""
    with page_on_nodes(configured_cluster.cluster) as outsider:
        yield outsider


def play(cluster: Cluster, **variables: Any) -> PlaybookRun:
    """Configure the proxy with TLS."""
    names = {"stargaze_page_domain": DOMAIN, "stargaze_tls_port": PORT}
    return cluster.play("page.yml", **names, **variables)


def ask(visitor: Host, ca: str, path: str = "/", name: str = DOMAIN) -> tuple[int, dict[str, str], Any, str]:
    """Ask the page by https; return status, headers, body and the digest of the certificate."""
    argv = (MEMBERS["orchestration"], str(PORT), name, ca, path)
    done = visitor.run("python3", "-", *argv, stdin=CLIENT, check=False)
    if done.returncode:
        raise ssl.SSLError(done.stderr.strip().splitlines()[-1])
    status, headers, body, certificate = json.loads(done.stdout)
    return status, {key.lower(): value for key, value in headers.items()}, body, certificate


def redirect(visitor: Host, path: str) -> list[str]:
    """Ask the page by http; return status and the address that it names."""
    address = f"{MEMBERS['orchestration']}:{SECTION.page_port}"
    return visitor.run("python3", "-", address, path, stdin=REDIRECTED).stdout.split()


def test_an_own_certificate(configured_cluster: Configured, visitor: Host, tmp_path: Path) -> None:
    cluster, issued = configured_cluster.cluster, issue_certificates("lab", {"page": [DOMAIN]})
    (tmp_path / "cert").write_bytes(issued.certificates["page"])
    (tmp_path / "key").write_bytes(issued.keys["page"])
    files = {"stargaze_tls_certificate": str(tmp_path / "cert"), "stargaze_tls_key": str(tmp_path / "key")}

    first = play(cluster, stargaze_tls="own", **files)
    second = play(cluster, stargaze_tls="own", **files)

    assert first.code == 0, first.output
    assert second.changed == {"orchestration": 0}
    assert "PRIVATE KEY" not in first.output
    status, headers, body, _ = ask(visitor, issued.ca.decode())
    assert (status, body["x-forwarded-proto"], body["x-forwarded-for"]) == (200, "https", visitor.address)
    assert headers["strict-transport-security"] == "max-age=31536000"
    assert redirect(visitor, "/repo?q=1") == ["308", f"https://{DOMAIN}:{PORT}/repo?q=1"]
    with pytest.raises(ssl.SSLError):  # the handshake for another name fails
        ask(visitor, issued.ca.decode(), name="elsewhere.invalid")
    key = cluster.hosts["orchestration"].run("stat", "-c", "%a %U", "/etc/haproxy/tls/own.pem").stdout.split()
    assert key == ["600", "root"]


def test_a_slow_client_is_cut_off_and_disturbs_nobody(configured_cluster: Configured, visitor: Host) -> None:
    status, seconds = visitor.run(
        "python3", "-", MEMBERS["orchestration"], str(SECTION.page_port), stdin=SLOW_CLIENT
    ).stdout.split()

    assert status == "408"
    assert float(seconds) < 30


def test_a_certificate_of_an_acme_directory_is_renewed(
    configured_cluster: Configured, visitor: Host, tmp_path: Path
) -> None:
    cluster, proxy = configured_cluster.cluster, configured_cluster.cluster.hosts["orchestration"]
    private_ca = start_directory(visitor, proxy)
    ca_file = tmp_path / "ca"
    ca_file.write_text(private_ca)
    acme = {"stargaze_acme_directory": f"https://{DIRECTORY}:14000/dir", "stargaze_tls_ca": str(ca_file)}

    wrong = cluster.play(
        "page.yml", stargaze_tls="acme", stargaze_page_domain="nowhere.lab.test", stargaze_tls_port=PORT, **acme
    )
    assert wrong.code != 0
    assert "nowhere.lab.test" in wrong.output.partition("Check that there is a certificate")[2]
    assert redirect(visitor, "/")[0] == "200"  # visitors keep using http
    first = play(cluster, stargaze_tls="acme", **acme)
    assert first.code == 0, first.output
    second = play(cluster, stargaze_tls="acme", **acme)

    assert second.changed == {"orchestration": 0}, second.output
    issuer = visitor.run("python3", "-c", FETCH, "https://127.0.0.1:15000/roots/0").stdout
    status, headers, body, certificate = ask(visitor, issuer)
    assert (status, body["x-forwarded-proto"]) == (200, "https")
    assert "strict-transport-security" in headers
    assert redirect(visitor, "/a?b")[1] == f"https://{DOMAIN}:{PORT}/a?b"
    assert proxy.run("systemctl", "is-enabled", "certbot.timer").stdout.strip() == "enabled"

    proxy.run("systemctl", "start", "certbot.service")  # what the timer starts

    wait_for(lambda: ask(visitor, issuer)[3] != certificate)
    assert ask(visitor, issuer)[0] == 200


def test_without_tls_the_port_is_closed_and_the_certificate_deleted(
    configured_cluster: Configured, visitor: Host
) -> None:
    cluster = configured_cluster.cluster

    run = cluster.play("page.yml")

    assert run.code == 0, run.output
    with pytest.raises(ssl.SSLError, match=r"refused|timed out"):
        ask(visitor, issue_certificates("any", {}).ca.decode())
    assert redirect(visitor, "/")[0] == "200"
    left = cluster.hosts["orchestration"].run(
        "sh", "-c", "ls /etc/haproxy/tls /etc/letsencrypt/renewal 2>/dev/null; true"
    )
    assert "pem" not in left.stdout
    assert "stargaze" not in left.stdout


def start_directory(host: Host, proxy: Host) -> str:
    """Start an ACME directory outside of the cluster; return the certificate of its private CA."""
    issued = issue_certificates("directory", {"acme": [DIRECTORY]})
    files = {
        "/etc/pebble/config.json": json.dumps({"pebble": PEBBLE}),
        "/etc/pebble/acme_cert": issued.certificates["acme"].decode(),
        "/etc/pebble/acme_key": issued.keys["acme"].decode(),
    }
    host.run("mkdir", "-p", "/etc/pebble")
    for path, text in files.items():
        host.run("tee", path, stdin=text)
    host.run("tee", "-a", "/etc/hosts", stdin=f"{MEMBERS['orchestration']} {DOMAIN}\n")
    proxy.run("tee", "-a", "/etc/hosts", stdin=f"{host.address} {DIRECTORY}\n")
    host.run(
        "systemd-run", "--unit=pebble", "--setenv=PEBBLE_VA_NOSLEEP=1", "pebble", "-config", "/etc/pebble/config.json"
    )
    wait_for(lambda: host.run("python3", "-c", FETCH, "https://127.0.0.1:14000/dir", check=False).returncode == 0)
    return issued.ca.decode()
