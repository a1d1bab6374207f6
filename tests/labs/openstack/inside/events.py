"""What the services tell the tests: a folder with one JSON file per event, whose names sort by time."""

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
    """The writing side; each file appears whole."""

    folder: Path

    @classmethod
    def of_environment(cls) -> Events:
        """Find the folder where the starter said."""
        return cls(Path(os.environ["LAB_HYPERVISOR"]) / "events")

    def tell(self, event: str, facts: Mapping[str, Any]) -> None:
        """Write one event."""
        name = f"{time.time_ns():020d}-{event}-{facts['id']}"
        draft = self.folder / f".{name}"
        draft.write_text(json.dumps({"event": event, **facts}, indent=1), encoding="utf-8")
        draft.rename(self.folder / f"{name}.json")
