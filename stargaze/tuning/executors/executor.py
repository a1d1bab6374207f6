"""What screening asks of whoever runs its families, and which of them the config names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""Sums in another order differ in the last digit: one thread everywhere makes one leaderboard of all executors."""


@dataclass(frozen=True)
class Job:
    """One family: the folder that holds each policy's data (``<policy>.npz``) and takes its results."""

    family: str
    folder: Path
    rows: int
    seed: int

    def result(self, policy: str) -> Path:
        """Return the file of a policy's row."""
        return self.folder / f"{self.family}-{policy}.json"


class Started(Protocol):
    """A family at work. Every verb may be repeated."""

    def ended(self) -> bool:
        """Tell whether it is over, without waiting; by then the rows that it made lie in the job's folder."""

    def kill(self) -> None:
        """End it if it is not over; the rows that it made before lie in the job's folder after that."""

    def complaint(self) -> str:
        """Notify in a line why a family that is over made no row, or not all."""


class Executor(Protocol):
    """A place where families run, each apart from the others. Leaving it ends all of them and leaves nothing behind."""

    @property
    def at_once(self) -> int:
        """How many families it has room for at the same time."""

    def start(self, job: Job) -> Started:
        """Begin a family; it computes with one thread, sees its data and the seed, and nothing of the others."""
