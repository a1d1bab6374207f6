"""Whether machines answer by ssh: waited for, with the keys that are pinned, and never a question."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from stargaze.errors import CredentialsError, OutsideError, StargazeError
from stargaze.infra.inventory import Access, ssh
from stargaze.infra.machines import Host, jump_of

LOOK = 2.0
"""Between two tries [s]."""
ONE_TRY = 30
"""Longest [s]."""
CHANGED = ("REMOTE HOST IDENTIFICATION HAS CHANGED", "Host key verification failed")
REFUSED = ("Permission denied", "Too many authentication failures")


def await_ssh(hosts: Sequence[Host], access: Access, patience: float, tell: Callable[[Host], None]) -> None:
    """Wait until all of them let us in, the jump host first.

    Raises
    ------
    OutsideError
        If one did not within ``patience`` [s], or shows another key than the pinned one.
    """
    limit = time.monotonic() + patience
    jump = jump_of(hosts)
    if jump:
        _await(jump, None, access, limit)
        tell(jump)
    others = [host for host in hosts if host is not jump]
    failures = list[StargazeError]()

    def reach(host: Host) -> None:
        try:
            _await(host, jump, access, limit)
        except StargazeError as error:
            failures.append(error)
        else:
            tell(host)

    with ThreadPoolExecutor(max(1, len(others))) as pool:
        list(pool.map(reach, others))
    if failures:
        raise OutsideError("; ".join(error.message for error in failures), hint=failures[0].hint)


def answers(host: Host, jump: Host | None, access: Access) -> str:
    """Try once; return what is in the way, empty if nothing is."""
    words = [*ssh(host, jump, access), "true"]
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=ONE_TRY, stdin=subprocess.DEVNULL, check=False
        )
    except subprocess.TimeoutExpired:
        return "no answer"
    except FileNotFoundError as error:
        raise OutsideError("ssh is not installed", hint="apt-get install openssh-client") from error
    return "" if done.returncode == 0 else _reason(done.stderr)


def _reason(said: str) -> str:
    """Pick the line that tells most; ssh of a jump host adds its own."""
    lines = [line.strip("@ \r") for line in said.splitlines() if line.strip("@ \r")]
    telling = [line for line in lines for word in (*CHANGED, *REFUSED) if word in line]
    return next(iter([*telling, *reversed(lines)]), "no answer")


def _await(host: Host, jump: Host | None, access: Access, limit: float) -> None:
    while why := answers(host, jump, access):
        name = host.machine.name
        if any(word in why for word in CHANGED):
            raise CredentialsError(
                f"{name} ({host.address}) shows another host key than the one that was learnt: it may be another machine",
                hint=f"if it was made anew, forget its key: stargaze infra forget {name}",
            )
        if time.monotonic() > limit:
            raise OutsideError(
                f"{name} ({host.address}) does not let us in by ssh: {why}",
                hint="infra.user is the image's user; infra.ssh_from must hold this machine's address",
            )
        time.sleep(LOOK)
