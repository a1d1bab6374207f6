"""Wait until machines accept ssh connections with their pinned host keys."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from stargaze.errors import CredentialsError, ExternalError, StargazeError
from stargaze.system.progress import Notify
from stargaze.system.ssh import HOST_KEY_ERRORS, SshHost

POLL_INTERVAL = 2.0
"""Between two attempts [s]."""
ATTEMPT_TIMEOUT = 30.0
"""Of one attempt [s]."""


def wait_for_ssh(hosts: Sequence[SshHost], timeout: float, notify: Notify) -> None:
    """Wait at most ``timeout`` [s] until all machines accept ssh, the jump host first; a changed host key is an error."""
    deadline = time.monotonic() + timeout
    jump_hosts = [host for host in hosts if host.role == "orchestration"]
    for host in jump_hosts:
        _wait_for_one(host, deadline, notify)
    others = [host for host in hosts if host not in jump_hosts]
    failures = list[StargazeError]()

    def attempt(host: SshHost) -> None:
        try:
            _wait_for_one(host, deadline, notify)
        except StargazeError as error:
            failures.append(error)

    with ThreadPoolExecutor(max(1, len(others))) as pool:
        list(pool.map(attempt, others))
    if failures:
        raise ExternalError("; ".join(error.message for error in failures), hint=failures[0].hint)


def _wait_for_one(host: SshHost, deadline: float, notify: Notify) -> None:
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
