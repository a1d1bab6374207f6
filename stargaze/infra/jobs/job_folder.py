"""The folder of one job on the head node: its record, its events, its store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stargaze.system.files import write_json

MAX_READ = 1 << 20
"""Part of the events that is read at once [byte]."""
MAX_EVENT = 1 << 25
"""Largest event [byte]; a longer line is skipped."""


@dataclass(frozen=True)
class JobFolder:
    """The files of one job."""

    root: Path

    @property
    def store(self) -> Path:
        """The store of the job."""
        return self.root / "store"

    @property
    def events(self) -> Path:
        """Events of the job, one JSON object per line."""
        return self.root / "events.jsonl"

    @property
    def secrets(self) -> Path:
        """A named pipe for the secrets of the job: they are neither written to a file nor sent to Ray."""
        return self.root / "secrets"

    @property
    def record(self) -> Path:
        """The job as its client began it."""
        return self.root / "job.json"

    def read(self) -> dict[str, Any] | None:
        """Return the record; None if there is none, or if it was abandoned before it began."""
        try:
            record: dict[str, Any] = json.loads(self.record.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None
        return None if record.get("abandoned") else record

    def write(self, **record: Any) -> None:
        """Write the record, with these values changed."""
        write_json(self.record, {**(self.read() or {}), **record})

    def read_events(self, offset: int) -> Iterator[tuple[dict[str, Any], int]]:
        """Yield the events of a growing file from an offset [byte], at most 1 MB, each with the offset of the next one."""
        try:
            stream = self.events.open("rb")
        except FileNotFoundError:
            return
        with stream:
            stream.seek(offset)
            end = offset + MAX_READ
            while offset < end and (line := stream.readline(MAX_EVENT)).endswith(b"\n"):
                offset += len(line)
                yield _parse_event(line), offset

    def end_event(self) -> dict[str, Any]:
        """Return the last event if it has an exit code, else nothing."""
        try:
            with self.events.open("rb") as stream:
                stream.seek(max(0, self.events.stat().st_size - 10_000))
                event = _parse_event(stream.read().splitlines()[-1])
        except (FileNotFoundError, IndexError):
            return {}
        return event if "exit_code" in event else {}


def _parse_event(line: bytes) -> dict[str, Any]:
    """Return the object of a line, an empty one for anything else: two programs write to the file."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return event if isinstance(event, dict) else {}
