"""A job server with a fake Ray, in this process."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from stargaze.infra.jobs.archive import unpack_files
from stargaze.infra.jobs.job_folder import JobFolder
from stargaze.infra.jobs.server import JobServer
from stargaze.infra.jobs.ssh_client import ConnectionLostError
from stargaze.store import Store

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


JOB = "stargaze-0123456789ab"
OTHER_JOB = "stargaze-ba9876543210"


@dataclass
class FakeJobs:
    """Ray's job API: a job is a function that runs in a thread."""

    work: Callable[[JobFolder], None] = lambda _place: None
    known: dict[str, str] = field(default_factory=dict)
    commands: dict[str, str] = field(default_factory=dict)
    used: tuple[float, float] = (2.0, 2.0)

    def submit(self, job: str, *argv: str) -> None:
        self.known[job] = "RUNNING"
        self.commands[job] = " ".join(argv)
        threading.Thread(target=self._run, args=(job, JobFolder(Path(argv[-1]))), daemon=True).start()

    def status(self, job: str) -> tuple[str, str]:
        return self.known.get(job, ""), ""

    def stop(self, job: str) -> None:
        if self.known.get(job) == "RUNNING":
            self.known[job] = "STOPPED"

    def running(self) -> list[str]:
        return [job for job, status in self.known.items() if status == "RUNNING"]

    def cores(self) -> tuple[float, float]:
        return self.used

    def _run(self, job: str, place: JobFolder) -> None:
        self.work(place)
        if self.known[job] == "RUNNING":
            self.known[job] = "SUCCEEDED"


@dataclass
class FakeJobService:
    """A client of a job server in this process; its first ``breaks`` connections are lost after one line."""

    server: JobServer
    breaks: int = 0
    name: str = "development"

    def inspect(self, checksums: Mapping[str, str], origin: str) -> dict[str, Any]:
        return self._copy(self.server.inspect(dict(checksums), origin))

    def begin(self, job: str, request: Mapping[str, Any], archive: Iterable[bytes]) -> None:
        assert request["id"] == job
        self.server.begin(self._copy(request), io.BytesIO(b"".join(archive)))

    def describe(self, job: str) -> dict[str, Any]:
        assert not list(self.server.settle(job))
        return self._copy(self.server.describe(job))

    def list_jobs(self) -> list[dict[str, Any]]:
        return [self._copy(job) for job in self.server.list_jobs()]

    def follow(self, job: str, offset: int) -> Iterator[dict[str, Any]]:
        assert not list(self.server.settle(job))
        for answer in filter(None, self.server.follow(job, offset)):
            yield self._copy(answer)
            if self.breaks:
                self.breaks -= 1
                raise ConnectionLostError("lost the connection to development: gone")

    def stop(self, job: str) -> dict[str, Any]:
        assert not list(self.server.settle(job))
        assert not [answer for answer in self.server.stop(job) if answer]
        return self._copy(self.server.describe(job))

    def download(self, job: str, names: Sequence[str], folder: Path, accepts: Callable[[str], bool]) -> list[str]:
        return unpack_files(io.BytesIO(b"".join(self.server.download(job, names))), folder, accepts)

    def _copy(self, value: Any) -> dict[str, Any]:
        return dict(json.loads(json.dumps(value)))


@dataclass
class RemoteSide:
    """The job server and its fake Ray; :meth:`job_does` sets what the next jobs do."""

    server: JobServer
    jobs: FakeJobs
    secrets: dict[str, str] = field(default_factory=dict)

    def job_does(
        self, *events: dict[str, Any], result: Any = None, creates: Mapping[str, str | bytes] | None = None
    ) -> None:
        """Let the next jobs read their secrets, create files, and report a result and these events."""

        def work(place: JobFolder) -> None:
            self.secrets.update(json.loads(place.secrets.read_bytes()))
            for name, text in (creates or {}).items():
                path = place.store / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(text if isinstance(text, bytes) else text.encode())
            result_event = [] if result is None else [{"result": result, "text": "in words"}]
            place.events.write_text("".join(json.dumps(event) + "\n" for event in (*result_event, *events)))

        self.jobs.work = work

    def job_runs_on(self) -> None:
        """Let the next jobs run until they are stopped, after what they do."""
        before = self.jobs.work

        def work(place: JobFolder) -> None:
            before(place)
            while self.jobs.known[place.root.name] == "RUNNING":
                time.sleep(0.01)

        self.jobs.work = work


@pytest.fixture
def remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RemoteSide:
    """A job server without a job, and without pauses."""
    for name in ("server.POLL_INTERVAL", "server.STATUS_INTERVAL", "receive.POLL_INTERVAL"):
        monkeypatch.setattr(f"stargaze.infra.jobs.{name}", 0.01)
    folder = tmp_path / "remote"
    folder.mkdir()
    jobs: Any = FakeJobs()
    remote_side = RemoteSide(JobServer(folder, jobs), jobs)
    remote_side.job_does({"exit_code": 0})
    return remote_side


@pytest.fixture
def service(remote: RemoteSide) -> FakeJobService:
    """The client of that server."""
    return FakeJobService(remote.server)


@pytest.fixture
def filled_store(store: Store) -> Store:
    """A store with the inputs of tune; their contents do not matter."""
    store.root.mkdir()
    for path in (store.repositories, store.features, store.leaderboard):
        path.write_text(path.name)
    return store
