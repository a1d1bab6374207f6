"""The trial journal: one JSON line for each finished trial, flushed to disk; a stopped tuning resumes from it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from stargaze.errors import MissingInputError
from stargaze.system.files import atomic_write, convert_disk_errors
from stargaze.tuning.search.racing import DONE


@dataclass(frozen=True)
class Journal:
    """The journal file: the first line identifies the tuning, each further line is a finished trial."""

    path: Path

    def begin(self, header: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Start a new journal, which has no trials; the previous one is kept until the next start."""
        if self.path.exists():
            self.path.replace(self.path.with_suffix(".before.jsonl"))
        self.add(header)
        return []

    def add(self, trial: Mapping[str, Any]) -> None:
        """Append a finished trial and flush it to disk."""
        with convert_disk_errors(self.path), self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(trial, sort_keys=True) + "\n")
            stream.flush()
            os.fsync(stream.fileno())

    def resume(self, header: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the finished trials of the same tuning.

        Raise MissingInputError if there is no journal, or it belongs to another feature set, finalists, policy
        or seed.
        """
        if not self.path.exists():
            raise MissingInputError("there is no stopped tuning to resume", hint="stargaze tune")
        lines, length = self._read_lines()
        if not lines or lines[0] != dict(header):
            raise MissingInputError(
                f"{self.path} belongs to another feature set, finalists or seed and cannot be resumed",
                hint="stargaze tune",
            )
        with convert_disk_errors(self.path):
            os.truncate(self.path, length)  # remove an incomplete last line
        return lines[1:]

    def _read_lines(self) -> tuple[list[dict[str, Any]], int]:
        """Return the complete lines and their length [byte]; a killed process may leave an incomplete last line."""
        lines, length = [], 0
        for line in self.path.read_bytes().splitlines(keepends=True):
            try:
                lines.append(json.loads(line))
            except ValueError:
                break
            if not line.endswith(b"\n"):
                return lines[:-1], length
            length += len(line)
        return lines, length


def write_trials(path: Path, trials: list[dict[str, Any]]) -> None:
    """Write all trials as one Parquet table, best first."""
    rows = [
        {
            "family": trial["family"],
            "parameters": json.dumps(trial["parameters"], sort_keys=True),
            "rmsle": trial["rmsle"],
            **{f"fold_{number}": value for number, value in enumerate(trial["folds"])},
            "seconds": trial["seconds"],
            "at": trial.get("at"),
            "stopped": trial["stopped"],
        }
        for trial in trials
    ]
    with atomic_write(path) as temporary:
        table = pd.DataFrame(rows).sort_values("rmsle", kind="stable")
        # Stopped trials come last, because their scores are extrapolated.
        table = table.sort_values("stopped", key=lambda reason: reason != DONE, kind="stable")
        table.to_parquet(temporary, compression="zstd", index=False)
