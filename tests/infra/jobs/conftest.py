"""A job server with a fake Ray, in this process."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from stargaze.infra.jobs.ray_api import RayJobs
from stargaze.infra.jobs.server import JobServer
from stargaze.store import Store

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@dataclass
class FakeJobs:
    """Ray's job API: a job is a function that runs in a thread."""

    work: Callable[[], None] = lambda: None
    known: dict[str, str] = field(default_factory=dict)
    commands: dict[str, str] = field(default_factory=dict)

    def submit(self, job: str, command: str) -> None:
        self.known[job] = "RUNNING"
        self.commands[job] = command
        threading.Thread(target=self._run, args=(job,), daemon=True).start()

    def status(self, job: str) -> tuple[str, str]:
        return self.known.get(job, ""), ""

    def stop(self, job: str) -> None:
        if self.known.get(job) == "RUNNING":
            self.known[job] = "STOPPED"

    def _run(self, job: str) -> None:
        self.work()
        if self.known[job] == "RUNNING":
            self.known[job] = "SUCCEEDED"


@dataclass
class FakeJobService:
    """A client of a job server in this process; its first ``breaks`` connections are lost after one line."""

    server: JobServer
    breaks: int = 0
    secrets: list[dict[str, str]] = field(default_factory=list)
    name: str = "development"

    def inspect(self, expected: Mapping[str, str]) -> dict[str, Any]:
        return json.loads(json.dumps(self.server.inspect(dict(expected))))

    def submit(self, request: Mapping[str, Any], archive: bytes) -> None:
        self.server.submit(json.loads(json.dumps(request)), io.BytesIO(archive))

    def follow(self, offset: int) -> Iterator[str]:
        from stargaze.errors import ExternalError

        for line in self.server.follow(offset):
            yield line
            if self.breaks:
                self.breaks -= 1
                raise ExternalError("lost the connection to development: gone")

    def stop(self) -> None:
        self.server.stop()

    def download(self, names: Sequence[str]) -> bytes:
        return self.server.download(list(names))


@dataclass
class RemoteSide:
    """The job server and its fake Ray; :meth:`job_does` sets what the next job does."""

    server: JobServer
    jobs: FakeJobs
    secrets: dict[str, str] = field(default_factory=dict)

    def job_does(self, *events: dict[str, Any], result: Any = None, creates: Mapping[str, str] | None = None) -> None:
        """Let the next job read its secrets, create files, and report a result and these events."""

        def work() -> None:
            self.secrets.update(json.loads(self.server.secrets.read_bytes()))
            for name, text in (creates or {}).items():
                path = self.server.store / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            result_event = [] if result is None else [{"result": result, "text": "in words"}]
            self.server.events.write_text("".join(json.dumps(event) + "\n" for event in (*result_event, *events)))

        self.jobs.work = work


@pytest.fixture
def remote(tmp_path: Path) -> RemoteSide:
    """A job server without a job."""
    folder = tmp_path / "remote"
    folder.mkdir()
    jobs = FakeJobs()
    typed: Any = jobs
    assert isinstance(typed, FakeJobs | RayJobs)
    remote_side = RemoteSide(JobServer(folder, typed), jobs)
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
