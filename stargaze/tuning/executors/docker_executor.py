"""A container a family, on a Docker engine here or elsewhere: bounded, read-only, without a network.

Nothing is mounted from this machine, which the engine may not be on: the data travel once into a volume, the rows come
back as files.
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

from stargaze.config import POLICIES, ScreeningSection
from stargaze.errors import UsageError
from stargaze.system.progress import Notify
from stargaze.system.source_package import pack_tar
from stargaze.tuning.executors.docker_cli import Client, Engine, Room, end_of, room
from stargaze.tuning.executors.docker_image import ensured
from stargaze.tuning.executors.executor import ONE_THREAD, Executor, Job
from stargaze.tuning.families import FAMILIES

USER = "10001:10001"
"""Whom the image makes the folder of results for."""
LONGEST_ROW = 100_000
"""A file of results that is larger is none [byte]; a row is a few hundred."""
OUT_OF_MEMORY = 137
"""128 + SIGKILL, which is how the kernel ends who wants more memory than the limit."""


@dataclass(frozen=True)
class Place:
    """What all containers of one screening share: the image, their limits, and the label by which they are found."""

    image: str
    owner: str
    cpus: float
    memory: float
    time_limit: float

    @property
    def label(self) -> str:
        """Mark what belongs to this store."""
        return f"stargaze.store={self.owner}"

    @property
    def data(self) -> str:
        """Name the volume of the data, and the container that never runs and only carries it."""
        return f"stargaze-{self.owner}-data"

    def name(self, family: str) -> str:
        """Name the container of a family."""
        return f"stargaze-{self.owner}-{family}"


class Container:
    """A family in a container, and the docker command that is attached to it."""

    def __init__(self, engine: Engine, place: Place, job: Job) -> None:
        self._engine = engine
        self._place = place
        self._job = job
        self._log = job.folder / f"{job.family}.log"
        self._collected = False
        self._out_of_memory = False
        with self._log.open("wb") as stream:
            self._attached: subprocess.Popen[bytes] = engine.attach(run_words(place, job), stream)

    def ended(self) -> bool:
        """Tell whether the container is over; when it is, its rows are fetched and it is removed."""
        if not self._collected and self._attached.poll() is not None:
            self._collect()
        return self._collected

    def kill(self) -> None:
        """End the container, fetch the rows that it made, and remove it."""
        if not self._collected:
            self._engine.ask(["kill", self._place.name(self._job.family)])
            self._collect()

    def complaint(self) -> str:
        """Return its last line, or what ended it."""
        if self._out_of_memory:
            return f"out of memory (limit {self._place.memory:g} GB)"
        said = self._log.read_bytes()
        return end_of(said) if said.strip() else f"ended with {self._attached.returncode}"

    def let_go(self) -> None:
        """End the docker command, which may be about to make its container still; the container itself may live on."""
        if self._attached.poll() is None:
            os.killpg(
                self._attached.pid, signal.SIGKILL
            )  # it leads a session, with ssh in it where the engine is elsewhere
            self._attached.wait()

    def _collect(self) -> None:
        name = self._place.name(self._job.family)
        state = self._engine.ask(["inspect", "--format={{json .State}}", name])
        if state.returncode == 0:
            told = json.loads(state.stdout)
            self._out_of_memory = told["OOMKilled"] and told["ExitCode"] == OUT_OF_MEMORY
            rows = self._engine.ask(["cp", f"{name}:/results", "-"])
            whole = rows.stdout if rows.returncode == 0 else b""  # a connection that broke leaves half a tar
            unpack(whole, {f"results/{self._job.result(policy).name}": self._job.result(policy) for policy in POLICIES})
        self._engine.ask(["rm", "--force", "--volumes", name])
        self.let_go()
        self._collected = True


class _Containers:
    def __init__(self, engine: Engine, place: Place, at_once: int) -> None:
        self._engine = engine
        self._place = place
        self.at_once = at_once
        self.started: list[Container] = []

    def start(self, job: Job) -> Container:
        self.started.append(Container(self._engine, self._place, job))
        return self.started[-1]


@contextlib.contextmanager
def containers(
    section: ScreeningSection, folder: Path, families: Sequence[str], say: Notify, engine: Engine | None = None
) -> Iterator[Executor]:
    """Run families in containers; at the end, and before the beginning, nothing of this store is left on the engine."""
    engine = engine or Client()
    at_once = fitting(room(engine), section)
    owner = owner_of(folder.parent)
    image = ensured(engine, section, say, optional=any(FAMILIES[name].extra for name in families))
    place = Place(image, owner, section.cpus, section.memory, section.time_limit)
    sweep(engine, place.label)  # what a screening that was killed has left; one store has one screening at a time
    there = _Containers(engine, place, at_once)
    try:
        engine.must(carrier_words(place))
        data = {f"{policy}.npz": (folder / f"{policy}.npz").read_bytes() for policy in POLICIES}
        engine.must(["cp", "-", f"{place.data}:/data"], pack_tar(data))
        yield there
    finally:
        for one in there.started:
            one.let_go()
        sweep(engine, place.label)


def fitting(has: Room, section: ScreeningSection) -> int:
    """Return how many containers of the configured size fit on the engine's machine at once.

    Raises
    ------
    UsageError
        If not even one does.

    Examples
    --------
    >>> fitting(Room(cores=8, memory=16_000_000_000), ScreeningSection(cpus=1.5, memory=4.0))
    4
    """
    if section.cpus > has.cores:
        raise UsageError(
            f"screening.cpus is {section.cpus:g}: the engine has {has.cores}", hint="stargaze screen --cpus 1"
        )
    if section.memory * 1e9 > has.memory:
        raise UsageError(
            f"screening.memory is {section.memory:g} GB: the engine has {has.memory / 1e9:.1f}",
            hint="stargaze screen --memory 2",
        )
    return max(1, min(int(has.cores // section.cpus), int(has.memory // (section.memory * 1e9))))


def owner_of(store: Path) -> str:
    """Return a short name of a store that no other store of any machine is likely to have."""
    told = f"{platform.node()} {uuid.getnode()} {os.getuid()} {store.resolve()}"
    return hashlib.sha256(told.encode()).hexdigest()[:12]


def carrier_words(place: Place) -> list[str]:
    """Return the words that make the volume of the data, with a container that never runs and only carries it."""
    mount = f"--mount=type=volume,source={place.data},destination=/data,volume-label={place.label},volume-nocopy"
    return [
        "create",
        "--pull=never",
        "--network=none",
        f"--name={place.data}",
        f"--label={place.label}",
        mount,
        place.image,
    ]


def run_words(place: Place, job: Job) -> list[str]:
    """Return the words that run a family: what it may use, see and write, and nothing else."""
    memory = f"{int(place.memory * 1e9)}b"
    # Were this machine switched off, nobody would look at the clock: then the kernel does [s of CPU time].
    last_resort = int((place.time_limit + 60) * max(place.cpus, 1))
    return [
        "run",
        "--pull=never",
        "--sig-proxy=false",
        f"--name={place.name(job.family)}",
        f"--label={place.label}",
        "--network=none",
        "--read-only",
        f"--user={USER}",
        "--cap-drop=ALL",
        "--security-opt=no-new-privileges",
        f"--cpus={place.cpus:g}",
        f"--memory={memory}",
        f"--memory-swap={memory}",
        "--pids-limit=128",
        f"--ulimit=cpu={last_resort}",
        "--log-driver=none",
        "--tmpfs=/tmp:rw,noexec,nosuid,nodev,size=64m",
        f"--mount=type=volume,source={place.data},destination=/data,readonly,volume-nocopy",
        f"--mount=type=volume,destination=/results,volume-label={place.label}",
        *(f"--env={name}={value}" for name, value in ONE_THREAD.items()),
        "--entrypoint=python",
        place.image,
        *("-m", "stargaze.tuning.executors.run_family", job.family, "/data", "/results", str(job.seed)),
    ]


def sweep(engine: Engine, label: str) -> None:
    """Remove all containers, running or not, and all volumes that carry a label."""
    for listing, removal in (
        (["ps", "--all", "--quiet", "--no-trunc"], ["rm", "--force", "--volumes"]),
        (["volume", "ls", "--quiet"], ["volume", "rm", "--force"]),
    ):
        found = engine.must([*listing, f"--filter=label={label}"]).decode().split()
        if found:
            engine.must([*removal, *found])


def unpack(archive: bytes, wanted: dict[str, Path]) -> None:
    """Write the members of a tar that are wanted where they are wanted; what else it holds is not looked at."""
    if not archive:
        return
    with tarfile.open(fileobj=io.BytesIO(archive)) as members:
        for member in members:
            if member.name in wanted and member.isfile() and member.size <= LONGEST_ROW:
                content = members.extractfile(member)
                wanted[member.name].write_bytes(content.read() if content else b"")
