"""Every fault of the local page while visitors send requests: it answers again within 15 s, and no accepted request is lost.

``make faults`` runs all of them. A new fault of the page is a test here that calls :func:`try_fault`.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.live_page import ROLES, LivePage, Visitors
from tests.faults.outcomes import record

ROUNDS = int(os.environ.get("STARGAZE_FAULT_ROUNDS", "1"))
LIMIT = 15.0
"""Time in which the page must answer again after the end of a fault [s]."""
WARM_UP = 1.0
"""How long visitors send requests before a fault [s]."""
FactoryOfPages = Callable[..., LivePage]


def try_fault(name: str, page: LivePage, fault: Callable[[], None], *, visitors: int = 4) -> None:
    """Let visitors send requests, cause the fault, which has ended when ``fault`` returns, and check that the page recovers."""
    for _ in range(ROUNDS):
        with Visitors(page, threads=visitors) as load:
            time.sleep(WARM_UP)
            fault()
            seconds = page.seconds_until_answered(load.accepted)
        lost = load.count_lost()
        record(name, recovered=seconds <= LIMIT, lost=lost, seconds=seconds)
        assert lost == 0, f"{lost} of {len(load.accepted)} accepted requests; errors: {set(load.failed)}"
        assert seconds <= LIMIT


@pytest.mark.faults
@pytest.mark.parametrize("visitors", [0, 8], ids=["idle", "busy"])
@pytest.mark.parametrize("role", ROLES)
def test_a_killed_process(serve_page: FactoryOfPages, tmp_path: Path, role: str, visitors: int) -> None:
    page = serve_page(tmp_path / "page")

    def kill() -> None:
        page.send(role, signal.SIGKILL)
        if role == "supervisor":  # systemd, or the user, starts it again
            assert page.process is not None
            page.process.wait()
            page.start_command()

    try_fault(f"SIGKILL, {role}, {'busy' if visitors else 'idle'}", page, kill, visitors=visitors)
