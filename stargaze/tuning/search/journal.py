"""Finished trials, one JSON a line, on disk before the next begins: what a stopped tuning goes on from."""

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
    """The file of a tuning: its first line says of what, each further line is a finished trial."""

    path: Path

    def begin(self, header: Mapping[str, Any]) -> None:
        """Start anew; an older journal stays beside it until the next start."""
        if self.path.exists():
            self.path.replace(self.path.with_suffix(".before.jsonl"))
        self._append(header)

    def add(self, trial: Mapping[str, Any]) -> None:
        """Append a finished trial and wait until it is on disk."""
        self._append(trial)

    def resume(self, header: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the finished trials of the same tuning.

        Raises
        ------
        MissingInputError
            If there is no journal, or it belongs to other features, finalists or another policy.
        """
        if not self.path.exists():
            raise MissingInputError("there is no stopped tuning to go on with", hint="stargaze tune")
        lines, whole = self._lines()
        if not lines or lines[0] != dict(header):
            raise MissingInputError(
                f"{self.path} belongs to other features, finalists or another seed: it cannot be gone on with",
                hint="stargaze tune",
            )
        with convert_disk_errors(self.path):
            os.truncate(self.path, whole)  # or the next trial would be glued to a line that was left half written
        return lines[1:]

    def _append(self, value: Mapping[str, Any]) -> None:
        with convert_disk_errors(self.path), self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(value, sort_keys=True) + "\n")
            stream.flush()
            os.fsync(stream.fileno())

    def _lines(self) -> tuple[list[dict[str, Any]], int]:
        """Read whole lines and say where they end [byte]; the last may be half written by a process that was killed."""
        lines, whole = [], 0
        for line in self.path.read_bytes().splitlines(keepends=True):
            try:
                lines.append(json.loads(line))
            except ValueError:
                break
            if not line.endswith(b"\n"):
                return lines[:-1], whole
            whole += len(line)
        return lines, whole


def write_trials(path: Path, trials: list[dict[str, Any]]) -> None:
    """Write all trials as one Parquet table, best first."""
    rows = [
        {
            "family": trial["family"],
            "parameters": json.dumps(trial["parameters"], sort_keys=True),
            "rmsle": trial["rmsle"],
            **{f"fold_{place}": value for place, value in enumerate(trial["folds"])},
            "seconds": trial["seconds"],
            "at": trial.get("at"),
            "stopped": trial["stopped"],
        }
        for trial in trials
    ]
    with atomic_write(path) as temporary:
        table = pd.DataFrame(rows).sort_values("rmsle", kind="stable")
        table = table.sort_values(
            "stopped", key=lambda why: why != DONE, kind="stable"
        )  # what was ended early has a guess
        table.to_parquet(temporary, compression="zstd", index=False)
