"""The protocol of executors, which run the model families of a screening."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""With one thread all executors add numbers in the same order and produce the same leaderboard."""


@dataclass(frozen=True)
class FamilyJob:
    """One family and the folder with each policy's data (``<policy>.npz``), which also receives the results."""

    family: str
    folder: Path
    rows: int
    seed: int
    policies: tuple[str, ...]
    """The narrowest first."""

    @property
    def options(self) -> tuple[str, ...]:
        """The last arguments of the family's program: the seed, and the policies, the widest first."""
        return (str(self.seed), *reversed(self.policies))

    def result_path(self, policy: str) -> Path:
        """Return the file of a policy's row."""
        return self.folder / f"{self.family}-{policy}.json"


class StartedFamily(Protocol):
    """A family that an executor started. Every method may be repeated."""

    def has_ended(self) -> bool:
        """Return without waiting whether it has ended; its rows are in the job's folder by then."""

    def kill(self) -> None:
        """Kill it if it still runs; rows that it finished before are in the job's folder afterwards."""

    def failure_reason(self) -> str:
        """Return in one line why an ended family did not finish all rows."""


class Executor(Protocol):
    """Runs families isolated from each other. Closing it kills them and leaves nothing behind."""

    @property
    def max_concurrent(self) -> int:
        """The number of families that fit at the same time."""

    def start(self, job: FamilyJob) -> StartedFamily:
        """Start a family with one thread; it has access to its data and the seed only."""
