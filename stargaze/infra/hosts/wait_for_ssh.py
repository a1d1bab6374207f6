"""Whether machines answer by ssh: waited for, with the keys that are pinned, and never a question."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from stargaze.errors import CredentialsError, ExternalError, StargazeError
from stargaze.system.ssh import CHANGED, SshHost

LOOK = 2.0
"""Between two tries [s]."""
ONE_TRY = 30.0
"""Longest [s]."""


def wait_for_ssh(machines: Sequence[SshHost], patience: float, tell: Callable[[SshHost], None]) -> None:
    """Wait until all of them let us in, the jump host first.

    Raises
    ------
    ExternalError
        If one did not within ``patience`` [s], or shows another key than the pinned one.
    """
    limit = time.monotonic() + patience
    first = [machine for machine in machines if machine.role == "orchestration"]
    for jump in first:
        _await(jump, limit)
        tell(jump)
    others = [machine for machine in machines if machine not in first]
    failures = list[StargazeError]()

    def reach(machine: SshHost) -> None:
        try:
            _await(machine, limit)
        except StargazeError as error:
            failures.append(error)
        else:
            tell(machine)

    with ThreadPoolExecutor(max(1, len(others))) as pool:
        list(pool.map(reach, others))
    if failures:
        raise ExternalError("; ".join(error.message for error in failures), hint=failures[0].hint)


def _await(machine: SshHost, limit: float) -> None:
    name = f"{machine.name} ({machine.address})"
    while why := machine.barrier(seconds=ONE_TRY):
        if any(word in why for word in CHANGED):
            raise CredentialsError(
                f"{name} shows another host key than the one that was learnt: it may be another machine",
                hint=f"if it was made anew, forget its key: stargaze infra forget {machine.name}",
            )
        if time.monotonic() > limit:
            raise ExternalError(
                f"{name} does not let us in by ssh: {why}",
                hint="infra.user is the image's user; infra.ssh_from must hold this machine's address",
            )
        time.sleep(LOOK)
