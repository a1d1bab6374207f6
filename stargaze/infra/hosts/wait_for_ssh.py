"""Wait until machines accept ssh connections with their pinned host keys."""

from __future__ import annotations

import time
from collections.abc import Sequence

from stargaze.errors import CredentialsError, ExternalError, StargazeError
from stargaze.system.parallel import map_in_threads
from stargaze.system.progress import Notify
from stargaze.system.ssh import HOST_KEY_ERRORS, SshHost

POLL_INTERVAL = 2.0
"""Time between two attempts [s]."""
ATTEMPT_TIMEOUT = 30.0
"""Timeout of one attempt [s]."""


def wait_for_ssh(hosts: Sequence[SshHost], timeout: float, notify: Notify) -> None:
    """Wait at most ``timeout`` [s] until all machines accept ssh, the jump host first; a changed host key is an error."""
    deadline = time.monotonic() + timeout
    for host in hosts:
        if host.role == "orchestration":
            _wait_for_host(host, deadline, notify)

    def attempt(host: SshHost) -> StargazeError | None:
        try:
            _wait_for_host(host, deadline, notify)
        except StargazeError as error:
            return error
        return None

    others = [host for host in hosts if host.role != "orchestration"]
    if failures := list(filter(None, map_in_threads(attempt, others))):
        raise ExternalError("; ".join(error.message for error in failures), hint=failures[0].hint)


def _wait_for_host(host: SshHost, deadline: float, notify: Notify) -> None:
    name = f"{host.name} ({host.address})"
    while reason := host.connection_error(seconds=ATTEMPT_TIMEOUT):
        if any(text in reason for text in HOST_KEY_ERRORS):
            raise CredentialsError(
                f"the host key of {name} has changed: it may be a different machine",
                hint=f"if the machine was created again, forget its key: stargaze infra forget {host.name}",
            )
        if time.monotonic() > deadline:
            raise ExternalError(
                f"ssh login to {name} failed: {reason}",
                hint="infra.user must be the image's user; infra.ssh_from must contain this machine's address",
            )
        time.sleep(POLL_INTERVAL)
    notify(f"{host.name} accepts ssh")
