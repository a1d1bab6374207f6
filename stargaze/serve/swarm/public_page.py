"""The page as visitors reach it: at the printed address, with its own Host header, through the proxy."""

from __future__ import annotations

import contextlib
import http.client
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from stargaze.errors import ExternalError
from stargaze.serve.swarm.service_status import page_mismatch
from stargaze.system.progress import Notify
from stargaze.system.ssh import SshHost

DEFAULT_PORTS = {"http": 80, "https": 443}
TIMEOUT = 5
"""Timeout for one response [s]."""
POLL_INTERVAL = 1.0
"""[s]"""
_GATEWAY_PROGRAM = """
import socket, ssl, sys
scheme, address, port, name, host = sys.argv[1:]
with socket.create_connection((address, int(port)), timeout=5) as connection:
    if scheme == "https":
        connection = ssl._create_unverified_context().wrap_socket(connection, server_hostname=name)
    connection.sendall(f"GET /readyz HTTP/1.0\\r\\nHost: {host}\\r\\n\\r\\n".encode())
    response = b"".join(iter(lambda: connection.recv(65536), b"")).decode(errors="replace")
head, _, body = response.partition("\\r\\n\\r\\n")
print(head.split()[1], *body.split())
"""
"""Asks the machine itself, as the visitors' connections arrive there; it prints status and body on one line."""


@dataclass(frozen=True)
class PublicPage:
    """An address of the page."""

    url: str
    gateway: SshHost
    """The machine that accepts the visitors' connections."""
    ca_file: str = ""
    """Certificates of a private CA; empty means the public ones."""

    def ask(self) -> tuple[str, str]:
        """Return status and body of ``/readyz``, and why this machine cannot reach the address; then the gateway asks itself."""
        try:
            return self._ask_from_here(), ""
        except ssl.SSLCertVerificationError as error:
            reason = f"its certificate is not accepted here: {error.verify_message}"
        except (OSError, http.client.HTTPException) as error:
            reason = str(getattr(error, "strerror", "") or error or type(error).__name__)
        parts = urlsplit(self.url)
        port = str(parts.port or DEFAULT_PORTS[parts.scheme])
        argv = (parts.scheme, self.gateway.private_ip, port, parts.hostname or "", parts.netloc)
        completed = self.gateway.try_run("python3", "-c", _GATEWAY_PROGRAM, *argv)
        return completed.stdout.decode(errors="replace").strip() if completed.returncode == 0 else "", reason

    def _ask_from_here(self) -> str:
        parts = urlsplit(self.url)
        with contextlib.closing(self._connect(parts.hostname or "", parts.port)) as connection:
            connection.request("GET", "/readyz")
            response = connection.getresponse()
            return f"{response.status} {' '.join(response.read(100_000).decode(errors='replace').split())}"

    def _connect(self, host: str, port: int | None) -> http.client.HTTPConnection:
        if not self.url.startswith("https:"):
            return http.client.HTTPConnection(host, port, timeout=TIMEOUT)
        context = ssl.create_default_context()
        if self.ca_file:
            context.load_verify_locations(self.ca_file)
        return http.client.HTTPSConnection(host, port, timeout=TIMEOUT, context=context)


def await_pages(pages: Sequence[PublicPage], release: str, timeout: float, notify: Notify) -> None:
    """Wait until every address serves a release; ExternalError names the one that does not.

    An address that only this machine cannot reach is reported, and is no error: a firewall may be in between.
    """
    deadline = time.monotonic() + timeout
    for page in pages:
        while True:
            response, reason = page.ask()
            mismatch = page_mismatch(response, release)
            if not mismatch:
                break
            if time.monotonic() > deadline:
                unreachable = f" (this machine cannot reach it: {reason})" if reason else ""
                raise ExternalError(f"{page.url} {mismatch}{unreachable}", hint="stargaze infra configure --tags page")
            time.sleep(POLL_INTERVAL)
        if reason:
            notify(
                f"{page.url} cannot be reached from this machine: {reason}; {page.gateway.name} itself serves it there"
            )
