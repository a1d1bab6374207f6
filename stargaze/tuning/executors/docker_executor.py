"""Run each family in a Docker container with resource limits, a read-only root and no network.

Nothing is mounted from this machine, because the engine may be on another one: the data are copied once into a volume, and
the rows are copied back.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import platform
import signal
import subprocess
import tarfile
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import stargaze
from stargaze.config import ScreeningSection
from stargaze.errors import UsageError
from stargaze.system.docker import LONG_TIME_LIMIT, DockerEngine, EngineCapacity, ImageRecipe, error_line
from stargaze.system.progress import Notify
from stargaze.system.source_package import build_context, digest_files, pack_tar
from stargaze.tuning.executors.executor import ONE_THREAD, Executor, FamilyJob
from stargaze.tuning.families import FAMILIES

CONTAINER_USER = "10001:10001"
"""The owner of ``/results`` in the image."""
MAX_ROW_SIZE = 100_000
"""Maximum size of a result file [byte]; a row has a few hundred, and larger files are ignored."""
SIGKILL_EXIT_CODE = 137
"""128 + SIGKILL: the exit code after the kernel's out-of-memory killer."""


@dataclass(frozen=True)
class ContainerSpec:
    """The properties of all containers of one screening: image, limits, and the id of the store in names and label."""

    image: str
    store_id: str
    cpus: float
    memory: float
    time_limit: float

    @property
    def label(self) -> str:
        """The label of every container and volume of this store."""
        return f"stargaze.store={self.store_id}"

    @property
    def data(self) -> str:
        """The name of the data volume, and of the never started container through which it is filled."""
        return f"stargaze-{self.store_id}-data"

    def container_name(self, family: str) -> str:
        """Return the name of a family's container."""
        return f"stargaze-{self.store_id}-{family}"


class FamilyContainer:
    """A family in a container, and the docker command that is attached to it."""

    def __init__(self, engine: DockerEngine, spec: ContainerSpec, job: FamilyJob) -> None:
        self._engine = engine
        self._spec = spec
        self._job = job
        self._name = spec.container_name(job.family)
        self._log = job.folder / f"{job.family}.log"
        self._is_collected = False
        self._out_of_memory = False
        with self._log.open("wb") as stream:
            self._command: subprocess.Popen[bytes] = engine.start(run_arguments(spec, job), stream)

    def has_ended(self) -> bool:
        """Return whether the container has ended; its rows are fetched then, and it is removed."""
        if not self._is_collected and self._command.poll() is not None:
            self._collect()
        return self._is_collected

    def kill(self) -> None:
        """Kill the container, fetch its finished rows and remove it."""
        if not self._is_collected:
            self._engine.try_run(["kill", self._name])
            self._collect()

    def failure_reason(self) -> str:
        """Return the last line of its stderr, or what ended it."""
        if self._out_of_memory:
            return f"out of memory (limit {self._spec.memory:g} GB)"
        stderr = self._log.read_bytes()
        return error_line(stderr) if stderr.strip() else f"exit code {self._command.returncode}"

    def detach(self) -> None:
        """Kill the docker command, which may not have created its container yet; the container itself may go on."""
        if self._command.poll() is None:
            # It leads a session that contains ssh if the engine is on another machine.
            os.killpg(self._command.pid, signal.SIGKILL)
            self._command.wait()

    def _collect(self) -> None:
        inspected = self._engine.try_run(["inspect", "--format={{json .State}}", self._name])
        if inspected.returncode == 0:
            state = json.loads(inspected.stdout)
            self._out_of_memory = state["OOMKilled"] and state["ExitCode"] == SIGKILL_EXIT_CODE
            copied = self._engine.try_run(["cp", f"{self._name}:/results", "-"], seconds=LONG_TIME_LIMIT)
            if copied.returncode == 0:  # otherwise the tar may be incomplete
                paths = [self._job.result_path(policy) for policy in self._job.policies]
                extract_files(copied.stdout, {f"results/{path.name}": path for path in paths})
        self._engine.try_run(["rm", "--force", "--volumes", self._name])
        self.detach()
        self._is_collected = True


class _DockerExecutor:
    def __init__(self, engine: DockerEngine, spec: ContainerSpec, max_concurrent: int) -> None:
        self._engine = engine
        self._spec = spec
        self.max_concurrent = max_concurrent
        self.started: list[FamilyContainer] = []

    def start(self, job: FamilyJob) -> FamilyContainer:
        self.started.append(FamilyContainer(self._engine, self._spec, job))
        return self.started[-1]


@contextlib.contextmanager
def docker_executor(
    section: ScreeningSection, folder: Path, families: Sequence[str], notify: Notify, engine: DockerEngine | None = None
) -> Iterator[Executor]:
    """Run families in containers; what earlier screenings of this store left on the engine is removed, and at the end all."""
    engine = engine or DockerEngine(alternative="stargaze screen --executor process")
    max_concurrent = containers_that_fit(engine.capacity(), section)
    image = ensure_screening_image(engine, section, notify, optional=any(FAMILIES[name].extra for name in families))
    spec = ContainerSpec(image, store_id(folder.parent), section.cpus, section.memory, section.time_limit)
    remove_labeled(engine, spec.label)  # a killed screening; a store has one at a time
    executor = _DockerExecutor(engine, spec, max_concurrent)
    try:
        engine.run(data_container_arguments(spec))
        data = {path.name: path.read_bytes() for path in sorted(folder.glob("*.npz"))}
        engine.run(["cp", "-", f"{spec.data}:/data"], pack_tar(data), LONG_TIME_LIMIT)
        yield executor
    finally:
        for container in executor.started:
            container.detach()
        remove_labeled(engine, spec.label)


def containers_that_fit(capacity: EngineCapacity, section: ScreeningSection) -> int:
    """Return how many containers of the configured size fit on the engine's machine at the same time.

    Raise UsageError if not even one fits.

    Examples
    --------
    >>> containers_that_fit(EngineCapacity(cores=8, memory=16_000_000_000), ScreeningSection(cpus=1.5, memory=4.0))
    4
    """
    if section.cpus > capacity.cores:
        raise UsageError(
            f"screening.cpus is {section.cpus:g}: the engine has {capacity.cores}",
            hint=f"stargaze screen --cpus {capacity.cores}",
        )
    if section.memory * 1e9 > capacity.memory:
        raise UsageError(
            f"screening.memory is {section.memory:g} GB: the engine has {capacity.memory / 1e9:.1f}",
            hint=f"stargaze screen --memory {capacity.memory / 2e9:.1f}",
        )
    return max(1, min(int(capacity.cores // section.cpus), int(capacity.memory // (section.memory * 1e9))))


def ensure_screening_image(engine: DockerEngine, section: ScreeningSection, notify: Notify, *, optional: bool) -> str:
    """Return the name of the image, which is built if the engine lacks it; ``optional`` adds the extras' packages."""
    files = build_context("requirements-optional.lock" if optional else "requirements.lock")
    recipe = ImageRecipe(section.base_image, tuple(section.build_options))
    image = f"stargaze:{stargaze.__version__}-{digest_files(files, recipe.base, *recipe.options)}"
    if engine.try_run(["image", "inspect", image]).returncode:
        notify(f"building the image {image}, once per engine; this takes minutes")
        engine.build(image, files, recipe)
    return image


def store_id(store: Path) -> str:
    """Return a short id that differs for every store of every machine and user."""
    identity = f"{platform.node()} {uuid.getnode()} {os.getuid()} {store.resolve()}"
    return hashlib.sha256(identity.encode()).hexdigest()[:12]


def data_container_arguments(spec: ContainerSpec) -> list[str]:
    """Return the docker arguments that create the data volume with the container through which it is filled."""
    mount = f"--mount=type=volume,source={spec.data},destination=/data,volume-label={spec.label},volume-nocopy"
    names = [f"--name={spec.data}", f"--label={spec.label}"]
    return ["create", "--pull=never", "--network=none", *names, mount, spec.image]


def run_arguments(spec: ContainerSpec, job: FamilyJob) -> list[str]:
    """Return the docker arguments that run a family with limits, its data and nothing else."""
    memory = f"{int(spec.memory * 1e9)}b"
    # If this machine fails, the kernel still enforces a limit [s of CPU time].
    cpu_time = int((spec.time_limit + 60) * max(spec.cpus, 1))
    return [
        "run",
        "--pull=never",
        "--sig-proxy=false",
        f"--name={spec.container_name(job.family)}",
        f"--label={spec.label}",
        "--network=none",
        "--read-only",
        f"--user={CONTAINER_USER}",
        "--cap-drop=ALL",
        "--security-opt=no-new-privileges",
        f"--cpus={spec.cpus:g}",
        f"--memory={memory}",
        f"--memory-swap={memory}",
        "--pids-limit=128",
        f"--ulimit=cpu={cpu_time}",
        "--log-driver=none",
        "--tmpfs=/tmp:rw,noexec,nosuid,nodev,size=64m",
        f"--mount=type=volume,source={spec.data},destination=/data,readonly,volume-nocopy",
        f"--mount=type=volume,destination=/results,volume-label={spec.label}",
        *(f"--env={name}={value}" for name, value in ONE_THREAD.items()),
        "--entrypoint=python",
        spec.image,
        *("-m", "stargaze.tuning.executors.run_family", job.family, "/data", "/results", *job.options),
    ]


def remove_labeled(engine: DockerEngine, label: str) -> None:
    """Remove all containers, running or not, and all volumes with a label."""
    for list_arguments, remove_arguments in (
        (["ps", "--all", "--quiet", "--no-trunc"], ["rm", "--force", "--volumes"]),
        (["volume", "ls", "--quiet"], ["volume", "rm", "--force"]),
    ):
        ids = engine.run([*list_arguments, f"--filter=label={label}"]).decode().split()
        if ids:
            engine.run([*remove_arguments, *ids])


def extract_files(archive: bytes, paths: dict[str, Path]) -> None:
    """Write the regular files of a tar that have a path, up to `MAX_ROW_SIZE`; ignore all other members."""
    if not archive:
        return
    with tarfile.open(fileobj=io.BytesIO(archive)) as members:
        for member in members:
            if member.name in paths and member.isfile() and member.size <= MAX_ROW_SIZE:
                content = members.extractfile(member)
                paths[member.name].write_bytes(content.read() if content else b"")
