"""Run each family as a Ray task; the data are in Ray's object store, so the task may run on another machine."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stargaze.system.files import write_json
from stargaze.system.text import last_line
from stargaze.tuning.cross_validation import Arrays
from stargaze.tuning.executors.executor import Executor, FamilyJob
from stargaze.tuning.executors.run_family import score_family
from stargaze.tuning.families import FAMILIES
from stargaze.tuning.search.cluster_nodes import check_software, describe_software
from stargaze.tuning.search.ray_runtime import connect_ray, ray, restore_process


class FamilyTask:
    """A family as a Ray task, which returns each row when it is finished."""

    def __init__(self, job: FamilyJob, data: dict[str, Any]) -> None:
        self._job = job
        software = describe_software()
        policies = tuple(reversed(job.policies))
        self._rows: Any = _score_policies.remote(
            job.family, job.seed, software, policies, *(data[policy] for policy in policies)
        )
        self._failure_reason = ""
        self._has_ended = False

    def has_ended(self) -> bool:
        """Write the finished rows and return whether there are no more."""
        while not self._has_ended and ray.wait([self._rows], timeout=0)[0]:
            self._write_row()
        return self._has_ended

    def kill(self) -> None:
        """Have Ray end the worker process of the task."""
        if not self.has_ended():
            ray.cancel(self._rows, force=True)
            self._has_ended = True

    def failure_reason(self) -> str:
        """Return the last line of Ray's error."""
        return self._failure_reason

    def _write_row(self) -> None:
        try:
            policy, row = ray.get(next(self._rows))
        except StopIteration:
            self._has_ended = True
        except ray.exceptions.RayError as error:  # also wraps an exception of the task
            self._failure_reason = last_line(str(error))
            self._has_ended = True
        else:
            write_json(self._job.result_path(policy), row)


class _RayExecutor:
    def __init__(self, folder: Path, max_concurrent: int) -> None:
        self.max_concurrent = max_concurrent
        self._data = {path.stem: ray.put(Arrays.load(path)) for path in sorted(folder.glob("*.npz"))}

    def start(self, job: FamilyJob) -> FamilyTask:
        return FamilyTask(job, self._data)


@contextlib.contextmanager
def ray_executor(folder: Path, max_concurrent: int = 0) -> Iterator[Executor]:
    """Run families with one core each, on a local Ray that ends with this block, or within a job of the cluster."""
    with restore_process(), connect_ray(max_concurrent) as cores:
        yield _RayExecutor(folder, cores)


@ray.remote(num_cpus=1, max_retries=0)
def _score_policies(
    name: str, seed: int, software: str, policies: tuple[str, ...], *data: Arrays
) -> Iterator[tuple[str, dict[str, float]]]:
    check_software(software)
    for policy, arrays in zip(policies, data, strict=True):
        yield policy, score_family(FAMILIES[name], arrays, seed)
