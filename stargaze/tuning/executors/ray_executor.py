"""A Ray task a family; the data go through Ray's object store, so that the task may be on another machine."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stargaze.config import POLICIES
from stargaze.system.files import write_json
from stargaze.system.text import last_line
from stargaze.tuning.cross_validation import Arrays
from stargaze.tuning.executors.executor import Executor, Job
from stargaze.tuning.executors.run_family import judge
from stargaze.tuning.families import FAMILIES
from stargaze.tuning.search.ray_runtime import connect_ray, ray, restore_process


class Task:
    """A family in a Ray task, which hands a row over as soon as it is there."""

    def __init__(self, job: Job, data: dict[str, Any]) -> None:
        self._job = job
        self._policies = list(reversed(POLICIES))
        self._rows: Any = _judged.remote(job.family, job.seed, *(data[policy] for policy in self._policies))
        self._why = ""
        self._over = False

    def ended(self) -> bool:
        """Write the rows that are there, and tell whether there will be no more."""
        while not self._over and ray.wait([self._rows], timeout=0)[0]:
            self._take()
        return self._over

    def kill(self) -> None:
        """Let Ray end the worker that runs it."""
        if not self.ended():
            ray.cancel(self._rows, force=True)
            self._over = True

    def complaint(self) -> str:
        """Return the last line of what Ray says of the failure."""
        return self._why

    def _take(self) -> None:
        try:
            policy, row = ray.get(next(self._rows))
        except StopIteration:
            self._over = True
        except ray.exceptions.RayError as error:  # a task's own exception is one too
            self._why = last_line(str(error))
            self._over = True
        else:
            write_json(self._job.result(policy), row)


class _Tasks:
    def __init__(self, folder: Path, at_once: int) -> None:
        self.at_once = at_once
        self._data = {policy: ray.put(Arrays.load(folder / f"{policy}.npz")) for policy in POLICIES}

    def start(self, job: Job) -> Task:
        return Task(job, self._data)


@contextlib.contextmanager
def tasks(folder: Path, at_once: int = 0) -> Iterator[Executor]:
    """Run families with a core each: on a Ray that is started in place and ended with its workers, or as a job of a cluster."""
    with restore_process(), connect_ray(at_once) as cores:
        yield _Tasks(folder, cores)


@ray.remote(num_cpus=1, max_retries=0)
def _judged(name: str, seed: int, *data: Arrays) -> Iterator[tuple[str, dict[str, float]]]:
    for policy, arrays in zip(reversed(POLICIES), data, strict=True):
        yield policy, judge(FAMILIES[name], arrays, seed)
