"""A desk whose Ray is a table of jobs, and a head that is this machine."""

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
from stargaze.infra.jobs.server import Desk
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
class FakeHead:
    """A head that is a desk of this process; connections break as often as they are told to."""

    desk: Desk
    breaks: int = 0
    secrets: list[dict[str, str]] = field(default_factory=list)
    name: str = "development"

    def look(self, wanted: Mapping[str, str]) -> dict[str, Any]:
        return json.loads(json.dumps(self.desk.look(dict(wanted))))

    def begin(self, asked: Mapping[str, Any], parcel: bytes) -> None:
        self.desk.begin(json.loads(json.dumps(asked)), io.BytesIO(parcel))

    def follow(self, offset: int) -> Iterator[str]:
        from stargaze.errors import ExternalError

        for line in self.desk.follow(offset):
            yield line
            if self.breaks:
                self.breaks -= 1
                raise ExternalError("development is out of reach: gone")

    def stop(self) -> None:
        self.desk.stop()

    def give(self, names: Sequence[str]) -> bytes:
        return self.desk.give(list(names))


@dataclass
class There:
    """The head's side, for a test: what a job does is told by :meth:`does`."""

    desk: Desk
    jobs: FakeJobs
    secrets: dict[str, str] = field(default_factory=dict)

    def does(self, *events: dict[str, Any], answer: Any = None, makes: Mapping[str, str] | None = None) -> None:
        """Let the next job take its secrets, make files in the store, tell these events and answer."""

        def work() -> None:
            self.secrets.update(json.loads(self.desk.secrets.read_bytes()))
            for name, text in (makes or {}).items():
                path = self.desk.store / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            first = [] if answer is None else [{"answer": answer, "text": "in words"}]
            self.desk.events.write_text("".join(json.dumps(event) + "\n" for event in (*first, *events)))

        self.jobs.work = work


@pytest.fixture
def there(tmp_path: Path) -> There:
    """A desk with nothing on it."""
    folder = tmp_path / "there"
    folder.mkdir()
    jobs = FakeJobs()
    typed: Any = jobs
    assert isinstance(typed, FakeJobs | RayJobs)
    made = There(Desk(folder, typed), jobs)
    made.does({"ended": 0})
    return made


@pytest.fixture
def head(there: There) -> FakeHead:
    """The head, as it is reached from here."""
    return FakeHead(there.desk)


@pytest.fixture
def filled(store: Store) -> Store:
    """A store with what tuning needs; nobody here looks inside."""
    store.root.mkdir()
    for path in (store.repositories, store.features, store.leaderboard):
        path.write_text(path.name)
    return store
