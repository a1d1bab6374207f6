"""Events of the services for the tests: one JSON file per event, whose names sort by time."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Events:
    """Writes events; each file appears complete."""

    folder: Path

    @classmethod
    def from_environment(cls) -> Events:
        """Use the folder that the environment names."""
        return cls(Path(os.environ["LAB_HYPERVISOR"]) / "events")

    def write(self, event: str, facts: Mapping[str, Any]) -> None:
        """Write one event."""
        name = f"{time.time_ns():020d}-{event}-{facts['id']}"
        draft = self.folder / f".{name}"
        draft.write_text(json.dumps({"event": event, **facts}, indent=1), encoding="utf-8")
        draft.rename(self.folder / f"{name}.json")
