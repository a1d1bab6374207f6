"""The page as ``stargaze serve`` runs it, its processes by role, and visitors who keep sending requests."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import psutil
import requests

from stargaze.config import ServeSection
from stargaze.serve.prediction_request import GRACE_PERIOD
from stargaze.serve.runtime.status_files import HEARTBEAT_FILE
from stargaze.store import Store
from tests.isolation import FIXTURE_PROCESSES
from tests.waiting import wait_for

START_TIMEOUT = 120.0
"""Time until the page must be ready on a busy machine [s]."""
JOB_TIMEOUT = 120.0
"""Time until an accepted request must have a result, longer than the deadline of a job [s]."""
ROLES = ("supervisor", "worker main", "prediction process", "gunicorn master", "gunicorn worker")
FIGURES = {
    "contributors": "3",
    "releases": "2",
    "open_issues": "4",
    "size_kb": "900",
    "forks": "60",
    "subscribers": "5",
}


class LivePage:
    """The page of one store on a port that does not change."""

    def __init__(self, folder: Path, bundle: Path, variables: Mapping[str, str]) -> None:
        self.store = Store(folder / "store")
        self.store.serving.mkdir(parents=True)
        self.store.current.symlink_to(bundle)
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._variables = {
            "STARGAZE_STORE_PATH": str(self.store.root),
            "STARGAZE_SERVE_PORT": str(self.port),
            "STARGAZE_SERVE_GITHUB_LOOKUP": "false",
            "STARGAZE_SERVE_RATE_LIMIT": "0",
            **variables,
        }
        self._folder = folder
        self._numbers = iter(range(1, 10**9))
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start ``stargaze serve`` and wait until the page is ready."""
        self.start_command()
        wait_for(self.is_ready, START_TIMEOUT)

    def start_command(self) -> None:
        """Start ``stargaze serve``."""
        with (self._folder.parent / f"{self._folder.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "stargaze", "serve"],
                cwd=self._folder,
                env={**os.environ, **self._variables},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        FIXTURE_PROCESSES.add(self.process.pid)

    def stop(self) -> None:
        """Stop all processes."""
        if self.process is None:
            return
        everything = self.pids()
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for pids in everything.values():
            wait_for(lambda pids=pids: not any(psutil.pid_exists(pid) for pid in pids))
        self.process = None

    def pids(self) -> dict[str, list[int]]:
        """Return the processes of each role."""
        assert self.process is not None
        roles: dict[str, list[int]] = {role: [] for role in ROLES}
        roles["supervisor"] = [self.process.pid]
        for child in _children(self.process.pid):
            is_worker = "stargaze.serve.queue.worker" in _command(child)
            if not is_worker and "gunicorn" not in _command(child):
                continue
            main, other = ("worker main", "prediction process") if is_worker else ("gunicorn master", "gunicorn worker")
            roles[main].append(child.pid)
            roles[other] += [grandchild.pid for grandchild in _children(child.pid)]
        return roles

    def send(self, role: str, number: signal.Signals) -> list[int]:
        """Send a signal to the first process of a role; return the pids that exist."""
        pids = wait_for(lambda: self.pids()[role])
        os.kill(pids[0], number)
        return list(pids)

    def process_with_a_job(self) -> int | None:
        """Return the prediction process that answers a request now, as its heartbeat says."""
        with contextlib.suppress(OSError):
            status = (self.store.queue / HEARTBEAT_FILE).stat()
            if 0 < status.st_mtime - time.monotonic() <= ServeSection().time_limit + GRACE_PERIOD:
                return int(status.st_atime)
        return None

    def is_ready(self) -> bool:
        """Return whether /readyz says so."""
        assert self.process is not None
        assert self.process.poll() is None, "stargaze serve has ended"
        try:
            return requests.get(f"{self.url}/readyz", timeout=5).ok
        except requests.RequestException:
            return False

    def body(self, repositories: int = 1) -> dict[str, Any]:
        """Return a request that was never sent before."""
        names = [f"a/n{next(self._numbers)}" for _ in range(repositories)]
        return {"figures": [{**FIGURES, "full_name": name} for name in names], "explain": repositories > 1}

    def submit(self, body: Mapping[str, Any], *, wait: float = 0.0, timeout: float = 20.0) -> dict[str, Any] | None:
        """Submit a request; return the accepted job, None if the page refused it or did not answer."""
        headers = {"Prefer": f"wait={wait:g}"} if wait else {}
        try:
            response = requests.post(f"{self.url}/api/v1/predictions", json=body, headers=headers, timeout=timeout)
            return dict(response.json()) if response.ok else None
        except (requests.RequestException, ValueError):
            return None

    def get(self, job_id: str) -> dict[str, Any] | None:
        """Return a job, None if the page does not answer now; a job that it does not know is an empty one."""
        try:
            response = requests.get(f"{self.url}/api/v1/predictions/{job_id}", timeout=20)
            return dict(response.json()) if response.ok else {} if response.status_code == 404 else None
        except (requests.RequestException, ValueError):
            return None

    def seconds_until_answered(self, accepted: list[str], limit: float = 90.0) -> float:
        """Return how long it takes until a new request is answered [s]; ``accepted`` gets the ids of all accepted ones."""
        start = time.monotonic()
        while time.monotonic() - start < limit:
            assert self.process is not None
            assert self.process.poll() is None, "stargaze serve has ended"
            job = self.submit(self.body(), wait=2.0)
            if job:
                accepted.append(job["id"])
            if job and job["state"] == "done":
                break
            time.sleep(0.1)
        return time.monotonic() - start


@dataclass
class Visitors:
    """Threads that send requests until they are stopped; every accepted request must then get a result or a clear error."""

    page: LivePage
    threads: int = 4
    accepted: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    """Messages of the requests that failed."""

    def __enter__(self) -> Self:
        self._stopped = threading.Event()
        self._running = [threading.Thread(target=self._visit, daemon=True) for _ in range(self.threads)]
        for thread in self._running:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._running:
            thread.join()

    def count_lost(self) -> int:
        """Wait until every accepted request has a result; return how many never get one, or one without a reason."""
        return sum(not self._is_settled(job_id) for job_id in self.accepted)

    def _visit(self) -> None:
        while not self._stopped.is_set():
            job = self.page.submit(self.page.body(), wait=1.0)
            if job is None:
                self._stopped.wait(0.1)
            else:
                self.accepted.append(job["id"])

    def _is_settled(self, job_id: str) -> bool:
        limit = time.monotonic() + JOB_TIMEOUT
        while time.monotonic() < limit:
            job = self.page.get(job_id)
            if job == {}:
                return False
            if job and job["state"] == "done":
                return True
            if job and job["state"] == "failed":
                self.failed.append(job["error"]["message"])
                return bool(job["error"]["code"] != "internal_error")
            time.sleep(0.2)
        return False


def _children(pid: int) -> Iterator[psutil.Process]:
    try:
        yield from psutil.Process(pid).children()
    except psutil.Error:
        return


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
