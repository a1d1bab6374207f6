"""Every fault of the local page while visitors send requests: it answers again within 15 s, and no accepted request is lost.

``make faults`` runs all of them. A new fault of the page is a test here that calls :func:`try_fault`.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.live_page import ROLES, LivePage, Visitors
from tests.faults.outcomes import record
from tests.waiting import wait_for

ROUNDS = int(os.environ.get("STARGAZE_FAULT_ROUNDS", "1"))
LIMIT = 15.0
"""Time in which the page must answer again after the end of a fault [s]."""
FULL_DISK = 15.0
"""How long the disk is full [s]."""
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


@pytest.mark.faults
@pytest.mark.parametrize("role", ROLES[1:])
def test_a_stopped_process(serve_page: FactoryOfPages, tmp_path: Path, role: str) -> None:
    """The fault lasts until the supervisor notices it."""
    page = serve_page(tmp_path / "page")

    def stop() -> None:
        page.send(role, signal.SIGSTOP)

    try_fault(f"SIGSTOP, {role}, busy", page, stop)


@pytest.mark.faults
def test_a_supervisor_that_is_stopped_for_some_time(serve_page: FactoryOfPages, tmp_path: Path) -> None:
    page = serve_page(tmp_path / "page")

    def stop() -> None:
        (pid,) = page.send("supervisor", signal.SIGSTOP)
        time.sleep(10)
        os.kill(pid, signal.SIGCONT)

    try_fault("SIGSTOP for 10 s, supervisor, busy", page, stop)


@pytest.mark.faults
def test_all_prediction_processes_are_killed_again_and_again(serve_page: FactoryOfPages, tmp_path: Path) -> None:
    page = serve_page(tmp_path / "page", STARGAZE_SERVE_WORKER_PROCESSES="2")

    def kill_all() -> None:
        for _ in range(5):
            for pid in page.pids()["prediction process"]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.3)

    try_fault("SIGKILL 5 times, all prediction processes, busy", page, kill_all)


@pytest.mark.faults
def test_a_full_disk(small_file_system: Path, serve_page: FactoryOfPages) -> None:
    page = serve_page(small_file_system / "page")

    def fill() -> None:
        filling = small_file_system / "filling"
        deadline = time.monotonic() + FULL_DISK
        with filling.open("ab", buffering=0) as stream:
            while time.monotonic() < deadline:
                with contextlib.suppress(OSError):
                    while stream.write(bytes(4096)):
                        pass
                time.sleep(0.05)
        filling.unlink()

    try_fault(f"disk full for {FULL_DISK:g} s", page, fill)


@pytest.mark.faults
@pytest.mark.parametrize("part", ["", "messages", "taken", "wake-up", "heartbeat"])
def test_a_deleted_queue_folder(serve_page: FactoryOfPages, tmp_path: Path, part: str) -> None:
    """Requests whose message was deleted fail with a reason."""
    page = serve_page(tmp_path / "page")

    def delete() -> None:
        subprocess.run(["rm", "-rf", str(page.store.queue / part)], check=True)

    try_fault(f"queue folder deleted: {part or 'all of it'}", page, delete)


@pytest.mark.faults
def test_garbage_in_the_queue_folder(serve_page: FactoryOfPages, tmp_path: Path) -> None:
    """Damaged copies of real messages, and files that are none."""
    page = serve_page(tmp_path / "page")
    folder = page.store.queue / "messages"
    random_bytes = random.Random(0)

    def add_garbage() -> None:
        page.send("worker main", signal.SIGSTOP)  # so that messages wait
        jobs = [page.submit(page.body()) for _ in range(20)]
        originals = [path for path in sorted(folder.glob("*.msg")) if path.is_file()]
        for number, path in enumerate(originals):
            damaged = bytearray(path.read_bytes())
            for _ in range(number % 7 + 1):
                damaged[random_bytes.randrange(len(damaged))] = random_bytes.randrange(256)
            (folder / f"{number:020d}_0_0_x{number}.stargaze.predictions.msg").write_bytes(
                damaged[: len(damaged) - number * 40]
            )
        (folder / "00000000000000000000_0_0_x.stargaze.predictions.msg").mkdir()
        (folder / "notes.txt").touch()
        assert any(jobs)

    try_fault("garbage in the queue folder", page, add_garbage, visitors=1)


@pytest.mark.faults
def test_a_request_that_kills_its_process_is_reported_and_the_page_goes_on(
    serve_page: FactoryOfPages, tmp_path: Path
) -> None:
    """Whoever answers it is killed, as by a crash in a library."""
    page = serve_page(tmp_path / "page")
    states = []

    def kill_its_processes() -> None:
        job = wait_for(lambda: page.submit(page.body(repositories=5)))
        next_look = 0.0
        while job["state"] in ("queued", "running"):
            if pid := page.process_with_a_job():
                time.sleep(0.005)  # the attempt is recorded by then, and rarely answered
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if time.monotonic() > next_look:
                job, next_look = page.get(job["id"]) or job, time.monotonic() + 0.5
            time.sleep(0.001)
        states.append(job["state"])

    try_fault("a request that kills every process", page, kill_its_processes, visitors=0)
    assert "failed" in states


@pytest.mark.faults
@pytest.mark.parametrize("jump", [3600.0, -3600.0], ids=["forward", "back"])
def test_a_clock_that_jumps(serve_page: FactoryOfPages, tmp_path: Path, jump: float) -> None:
    """As the files of the queue see it: their times and the names of waiting messages are an hour off."""
    page = serve_page(tmp_path / "page")
    folder = page.store.queue / "messages"

    def jump_files() -> None:
        page.send("worker main", signal.SIGSTOP)
        for _ in range(10):
            page.submit(page.body())
        for path in [path for path in page.store.queue.rglob("*") if path.name != "heartbeat"]:
            with contextlib.suppress(OSError):
                os.utime(path, (time.time() + jump, time.time() + jump))
        for path in folder.glob("*.msg"):
            sent_at, rest = path.name.split("_", 1)
            with contextlib.suppress(OSError):
                path.rename(folder / f"{int(sent_at) + int(jump * 1e9):020d}_{rest}")

    try_fault(f"clock jumps {jump / 3600:+g} h", page, jump_files, visitors=2)
