"""An OpenStack control plane on loopback: install, start, inspect and stop it. All of its files are in one folder."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.labs.openstack import configuration, databases, processes, seed
from tests.labs.openstack.configuration import HERE, HOSTS, INSIDE, PROJECT, SERVICES, Layout
from tests.labs.openstack.logins import by_password, connect

FOLDER = Path(os.environ.get("STARGAZE_OPENSTACK_LAB", PROJECT / ".openstack"))
LOCK = HERE / "requirements.lock"
USERS = ("admin", "services", "member")
START = 300.0
"""Time for a busy machine to start one service [s]."""
PAUSE = 0.1


@dataclass
class Lab:
    """One control plane; its folder has ``venv``, ``cache`` (databases) and ``run`` (all else)."""

    folder: Path = FOLDER
    log: Callable[[str], None] = lambda _line: None
    _programs: list[processes.Program] = field(default_factory=list)

    @property
    def run(self) -> Path:
        """Files of this run: logs, databases, ``clouds.yaml``."""
        return self.folder / "run"

    @property
    def clouds(self) -> Path:
        """The logins: ``lab``, a plain member of one project, and ``lab-admin``."""
        return self.run / "clouds.yaml"

    @property
    def hypervisor(self) -> Path:
        """Folder in which the driver of the servers reads its behavior and writes events."""
        return self.run / "hypervisor"

    def install(self) -> None:
        """Create the environment of the services from the lock file, unless it exists."""
        mark = self.folder / "venv" / ".installed"
        version = _digest(LOCK)
        if mark.exists() and mark.read_text(encoding="ascii") == version:
            return
        shutil.rmtree(self.folder / "venv", ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", self.folder / "venv"], check=True)
        uv = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--compile-bytecode", "--require-hashes"]
        subprocess.run([*uv, "--python", self.folder / "venv" / "bin" / "python", "--requirement", LOCK], check=True)
        mark.write_text(version, encoding="ascii")

    def up(self) -> None:
        """Start all services and wait until they respond; they end with this process."""
        if not (self.folder / "venv" / ".installed").exists():
            raise RuntimeError("the lab is not installed: python -m tests.labs.openstack install")
        with self._exclusive():
            if self.programs():
                raise RuntimeError(f"a lab is up in {self.folder}: python -m tests.labs.openstack down")
            shutil.rmtree(self.run, ignore_errors=True)
            try:
                self._up()
            except BaseException:
                processes.stop_programs(self._programs)
                raise

    def down(self) -> None:
        """Stop the services that this object started, or else those that run in the folder."""
        with self._exclusive():
            programs = self._programs or self.programs()
            processes.stop_programs(programs)
            if not self.programs():  # another process may have started a lab since
                (self.run / "lab.json").unlink(missing_ok=True)

    def programs(self) -> list[processes.Program]:
        """Return the running programs."""
        facts = self.facts()
        return [
            program for program in (processes.Program(**row) for row in facts.get("programs", [])) if program.is_running
        ]

    def facts(self) -> dict[str, Any]:
        """Return ports and programs of the running lab; empty if there is none."""
        with contextlib.suppress(FileNotFoundError):
            return dict(json.loads((self.run / "lab.json").read_text(encoding="utf-8")))
        return {}

    def _up(self) -> None:
        cache = self.folder / "cache" / self._key()
        before = databases.stored_facts(cache)
        passwords = before.get("passwords") or {name: secrets.token_urlsafe(12) for name in USERS}
        ports = _ports(before.get("ports", {}))
        layout = Layout(self.folder / "venv", self.run, ports, passwords["admin"], passwords["services"])
        self._write(layout, passwords)
        if before:
            databases.restore(cache, layout, before["ports"])
        else:
            databases.create(layout)
        self.log("databases of an earlier start" if before else "databases made")
        self._start_services(layout, seeded=bool(before))
        with self._admin() as admin:
            # Neutron loads its policy at the first request; a second one at that moment gets no external network.
            list(admin.network.networks())
            if not before:
                seed.create_offers(admin, passwords["member"])
        if not before:
            databases.store(cache, layout, {"ports": ports, "passwords": passwords})
            self.log("flavors, images, external network")
        facts = {"ports": ports, "programs": [asdict(name) for name in self._programs]}
        (self.run / "lab.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")

    def _write(self, layout: Layout, passwords: Mapping[str, str]) -> None:
        below = ("databases", "images", "keys/tokens", "keys/credentials", "log", "hypervisor/events")
        for name in (*below, "hypervisor/orders", "hypervisor/consoles", *(f"state/{service}" for service in SERVICES)):
            (self.run / name).mkdir(parents=True)
        self.run.chmod(0o700)
        for path, text in configuration.files(layout).items():
            path.parent.mkdir(parents=True)
            path.write_text(text, encoding="utf-8")
        # Nova refuses to start if a known host has lost its id
        (self.run / "state" / "nova" / "compute_id").write_text(
            str(uuid.uuid5(uuid.NAMESPACE_URL, "lab")), encoding="ascii"
        )
        keystone = layout.url("keystone")
        clouds = {
            "lab": by_password(keystone, seed.MEMBER, passwords["member"], seed.PROJECT),
            "lab-admin": by_password(keystone, "admin", passwords["admin"], "admin"),
        }
        self.clouds.touch(mode=0o600)
        self.clouds.write_text(yaml.safe_dump({"clouds": clouds}), encoding="utf-8")

    def _start_services(self, layout: Layout, *, seeded: bool) -> None:
        for service in ("keystone", "placement", "glance", "neutron"):
            self._start(layout, service, layout.script_command("serve", f"{service}.wsgi.api", layout.ports[service]))
        self._wait(layout, "keystone")
        if not seeded:
            with self._admin() as admin:
                seed.create_catalog(admin, layout)
            self.log("catalog")
        files, ports = (layout.conf("nova"), layout.paste("nova")), layout.ports
        nova = layout.script_command("nova_services", *files, ports["nova"], HOSTS, ports["placement"])
        self._start(layout, "nova", nova)
        for service in ("placement", "glance", "neutron", "nova"):
            self._wait(layout, service)

    def _start(self, layout: Layout, service: str, command: list[object]) -> None:
        log = self.run / "log" / f"{service}.out"
        self._programs.append(processes.start_program(service, command, configuration.environment(layout), log))

    def _wait(self, layout: Layout, service: str) -> None:
        program = next(program for program in self._programs if program.name == service)
        limit = time.monotonic() + START
        while not _answers(layout.ports[service]):
            if not program.is_running or time.monotonic() > limit:
                output = (self.run / "log" / f"{service}.out").read_text(encoding="utf-8", errors="replace")
                raise RuntimeError(f"{service} did not start:\n{output[-3000:]}")
            time.sleep(PAUSE)
        self.log(f"{service} answers")

    def _admin(self) -> contextlib.AbstractContextManager[Any]:
        return connect(yaml.safe_load(self.clouds.read_text(encoding="utf-8"))["clouds"]["lab-admin"])

    def _key(self) -> str:
        """Return a digest of all files that the databases depend on."""
        sources = [LOCK, HERE / "seed.py", HERE / "configuration.py", *sorted(INSIDE.glob("*_schema.py"))]
        return _digest(*sources, more=str(self.folder))[:12]

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Keep other processes from starting or stopping a lab in this folder."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _ports(preferred: Mapping[str, int]) -> dict[str, int]:
    """Return a free port for each service, the previous one if it is free."""
    with contextlib.ExitStack() as stack:
        return {service: _free(stack, preferred.get(service, 0)) for service in SERVICES}


def _free(stack: contextlib.ExitStack, preferred: int) -> int:
    for port in (preferred, 0):
        with contextlib.suppress(OSError):
            return int(stack.enter_context(socket.create_server(("127.0.0.1", port))).getsockname()[1])
    raise RuntimeError("no port is free")


def _answers(port: int) -> bool:
    with contextlib.suppress(urllib.error.HTTPError):
        try:
            urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"http://127.0.0.1:{port}/", timeout=5)
        except OSError as error:
            return isinstance(error, urllib.error.HTTPError)
    return True


def _digest(*files: Path, more: str = "") -> str:
    return hashlib.sha256(b"".join(file.read_bytes() for file in files) + more.encode()).hexdigest()
