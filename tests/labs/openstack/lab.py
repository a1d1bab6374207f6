"""An OpenStack control plane on loopback: install, start, look at and end it, all below one folder."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import socket
import sqlite3
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

import openstack
import yaml

from tests.labs.openstack import configuration, processes, seed
from tests.labs.openstack.configuration import HOSTS, SERVICES, Layout

HERE = Path(__file__).parent
PROJECT = HERE.parent.parent.parent
FOLDER = Path(os.environ.get("STARGAZE_OPENSTACK_LAB", PROJECT / ".openstack"))
LOCK = HERE / "requirements.lock"
DATABASES = ("keystone", "placement", "glance", "neutron", "nova", "nova_api", "nova_cell0")
START = 300.0
"""What a busy machine may take to start one service [s]."""
PAUSE = 0.1


@dataclass
class Lab:
    """One control plane; ``venv``, ``cache`` (databases) and ``run`` (all else) in its folder."""

    folder: Path = FOLDER
    say: Callable[[str], None] = lambda _line: None
    _programs: list[processes.Program] = field(default_factory=list)

    @property
    def run(self) -> Path:
        """What this run wrote: logs, databases, ``clouds.yaml``."""
        return self.folder / "run"

    @property
    def clouds(self) -> Path:
        """The logins: ``lab``, a plain member of one project, and ``lab-admin``."""
        return self.run / "clouds.yaml"

    @property
    def hypervisor(self) -> Path:
        """Where the driver of the servers reads orders and tells what it did."""
        return self.run / "hypervisor"

    def install(self) -> None:
        """Make the services' own environment as the lock file says, unless it is made."""
        mark = self.folder / "venv" / ".installed"
        wanted = _digest(LOCK)
        if mark.exists() and mark.read_text(encoding="ascii") == wanted:
            return
        shutil.rmtree(self.folder / "venv", ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", self.folder / "venv"], check=True)
        uv = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--compile-bytecode", "--require-hashes"]
        subprocess.run([*uv, "--python", self._bin("python"), "--requirement", LOCK], check=True)
        mark.write_text(wanted, encoding="ascii")

    def up(self) -> None:
        """Start all and return when they answer; they end with this process."""
        if not (self.folder / "venv" / ".installed").exists():
            raise RuntimeError("the lab is not installed: python -m tests.labs.openstack install")
        with self._alone():
            if self.programs():
                raise RuntimeError(f"a lab is up in {self.folder}: python -m tests.labs.openstack down")
            shutil.rmtree(self.run, ignore_errors=True)
            try:
                self._up()
            except BaseException:
                processes.end(self._programs)
                raise

    def down(self) -> None:
        """End what was started, and nothing else."""
        with self._alone():
            processes.end(self.programs())
            (self.run / "lab.json").unlink(missing_ok=True)

    def programs(self) -> list[processes.Program]:
        """Return what runs."""
        facts = self.facts()
        return [one for one in (processes.Program(**row) for row in facts.get("programs", [])) if one.runs]

    def facts(self) -> dict[str, Any]:
        """Return ports and programs of the lab that is up, or nothing."""
        with contextlib.suppress(FileNotFoundError):
            return dict(json.loads((self.run / "lab.json").read_text(encoding="utf-8")))
        return {}

    def _up(self) -> None:
        cache = self.folder / "cache" / self._key()
        made = json.loads((cache / "made.json").read_text(encoding="utf-8")) if (cache / "made.json").exists() else {}
        passwords = made.get("passwords") or {one: secrets.token_urlsafe(12) for one in ("admin", "services", "member")}
        ports = _ports(made.get("ports", {}))
        layout = Layout(self.folder / "venv", self.run, ports, passwords["admin"], passwords["services"])
        self._write(layout, passwords)
        if made:
            _restore(cache, layout, made["ports"])
            self.say("databases of an earlier run")
        else:
            self._make_databases(layout)
            self.say("databases made")
        self._start_services(layout, seeded=bool(made))
        if not made:
            seed.offer(self._admin(), passwords["member"])
            self.say("flavors, images, external network")
            _keep(cache, layout, {"ports": ports, "passwords": passwords})
        facts = {"ports": ports, "programs": [asdict(one) for one in self._programs]}
        (self.run / "lab.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")

    def _write(self, layout: Layout, passwords: Mapping[str, str]) -> None:
        below = ("databases", "images", "keys/tokens", "keys/credentials", "log", "hypervisor/events")
        for name in (*below, "hypervisor/orders", "hypervisor/consoles", *(f"state/{one}" for one in SERVICES)):
            (self.run / name).mkdir(parents=True)
        self.run.chmod(0o700)
        for path, text in configuration.files(layout).items():
            path.parent.mkdir(parents=True)
            path.write_text(text, encoding="utf-8")
        # Nova refuses to start where a known host has lost its identity
        (self.run / "state" / "nova" / "compute_id").write_text(
            str(uuid.uuid5(uuid.NAMESPACE_URL, "lab")), encoding="ascii"
        )
        logins = {
            "lab": seed.login(layout, seed.MEMBER, passwords["member"], seed.PROJECT),
            "lab-admin": seed.login(layout, "admin", passwords["admin"], "admin"),
        }
        self.clouds.touch(mode=0o600)
        self.clouds.write_text(yaml.safe_dump({"clouds": logins}), encoding="utf-8")

    def _make_databases(self, layout: Layout) -> None:
        """Run each service's own steps, in two rows: there are rarely more cores, and each step begins with long imports."""
        keystone = [self._bin("keystone-manage"), "--config-file", layout.conf("keystone")]
        user = ["--keystone-user", str(os.getuid()), "--keystone-group", str(os.getgid())]
        place = [f"--bootstrap-{one}-url={layout.url('keystone')}" for one in ("public", "internal", "admin")]
        region = [f"--bootstrap-region-id={configuration.REGION}", f"--bootstrap-password={layout.admin_password}"]
        rows = [
            [
                [*keystone, "db_sync"],
                [*keystone, "fernet_setup", *user],
                [*keystone, "bootstrap", *region, *place],
                [self._bin("placement-manage"), "--config-file", layout.conf("placement"), "db", "sync"],
                [self._bin("glance-manage"), "--config-file", layout.conf("glance"), "db_sync"],
            ],
            [
                self._own("nova_schema", layout.conf("nova"), *map(layout.database, ("nova_cell0", "nova"))),
                self._own("neutron_schema", layout.conf("neutron"), layout.database("neutron")),
            ],
        ]
        for name in DATABASES:
            with contextlib.closing(sqlite3.connect(self.run / "databases" / f"{name}.db")) as database:
                database.execute("PRAGMA journal_mode = WAL")  # readers and the writer do not wait for one another
        log = self.run / "log" / "databases.out"
        with contextlib.ExitStack() as stack:
            waiting = [_Row(row, self._environment(), log) for row in rows]
            for row in waiting:
                stack.callback(row.end)
            while any([row.goes_on() for row in waiting]):  # noqa: C419 - each is to be asked
                time.sleep(PAUSE)

    def _start_services(self, layout: Layout, *, seeded: bool) -> None:
        for service in ("keystone", "placement", "glance", "neutron"):
            self._start(service, self._own("serve", f"{service}.wsgi.api", layout.ports[service]))
        self._wait(layout, "keystone")
        if not seeded:
            seed.catalogue(self._admin(), layout)
            self.say("catalogue")
        nova = self._own("nova_services", layout.conf("nova"), layout.paste("nova"), layout.ports["nova"], HOSTS)
        self._start("nova", [*nova, layout.ports["placement"]])
        for service in ("placement", "glance", "neutron", "nova"):
            self._wait(layout, service)

    def _start(self, service: str, command: list[object]) -> None:
        log = self.run / "log" / f"{service}.out"
        self._programs.append(processes.start(service, command, self._environment(), log))

    def _wait(self, layout: Layout, service: str) -> None:
        program = next(one for one in self._programs if one.name == service)
        limit = time.monotonic() + START
        while not _answers(layout.ports[service]):
            if not program.runs or time.monotonic() > limit:
                said = (self.run / "log" / f"{service}.out").read_text(encoding="utf-8", errors="replace")
                raise RuntimeError(f"{service} did not start:\n{said[-3000:]}")
            time.sleep(PAUSE)
        self.say(f"{service} answers")

    def _environment(self) -> dict[str, str]:
        conf = self.run / "conf"
        return {
            "PATH": f"{self.folder / 'venv' / 'bin'}:{os.environ.get('PATH', os.defpath)}",
            "PYTHONPATH": f"{HERE / 'inside'}:{PROJECT}",
            "LANG": "C.UTF-8",
            "HOME": str(self.run),
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
            "OS_NOVA_DISABLE_EVENTLET_PATCHING": "1",
            "LAB_HYPERVISOR": str(self.hypervisor),
            "OS_KEYSTONE_CONFIG_DIR": str(conf / "keystone"),
            "OS_PLACEMENT_CONFIG_DIR": str(conf / "placement"),
            "OS_GLANCE_CONFIG_DIR": str(conf / "glance"),
            "OS_NEUTRON_CONFIG_DIR": str(conf / "neutron"),
            "OS_NEUTRON_CONFIG_FILES": str(conf / "neutron" / "neutron.conf"),
        }

    def _own(self, script: str, *words: object) -> list[object]:
        return [self._bin("python"), HERE / "inside" / f"{script}.py", *words]

    def _bin(self, name: str) -> Path:
        return self.folder / "venv" / "bin" / name

    def _admin(self) -> Any:
        config = openstack.config.OpenStackConfig(config_files=[str(self.clouds)], vendor_files=[], secure_files=[])
        return openstack.connection.Connection(config=config.get_one("lab-admin"))

    def _key(self) -> str:
        """Return a name for what the databases depend on."""
        sources = [LOCK, HERE / "seed.py", HERE / "configuration.py", *sorted((HERE / "inside").glob("*.py"))]
        return _digest(*sources, more=str(self.folder))[:12]

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Let no other process start or end a lab in this folder meanwhile."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


class _Row:
    """Commands that run one after the other, beside other rows."""

    def __init__(self, commands: list[list[Any]], environment: Mapping[str, str], log: Path) -> None:
        self.left, self.environment, self.log = list(commands), environment, log
        self.process: subprocess.Popen[bytes] | None = None

    def goes_on(self) -> bool:
        """Begin the next if one ended."""
        if self.process and self.process.poll() is None:
            return True
        if self.process and self.process.returncode:
            said = self.log.read_text(encoding="utf-8", errors="replace")
            raise RuntimeError(f"{self.process.args!r} failed:\n{said[-3000:]}")
        if not self.left:
            return False
        with self.log.open("ab") as file:
            self.process = subprocess.Popen(
                [str(word) for word in self.left.pop(0)], env=dict(self.environment), stdout=file, stderr=file
            )
        return True

    def end(self) -> None:
        """End the one that runs."""
        if self.process:
            self.process.kill()
            self.process.wait()


def _ports(wanted: Mapping[str, int]) -> dict[str, int]:
    """Return a free port for each service, those of the last time if they are free."""
    with contextlib.ExitStack() as held:
        return {service: _free(held, wanted.get(service, 0)) for service in SERVICES}


def _free(held: contextlib.ExitStack, wanted: int) -> int:
    for port in (wanted, 0):
        with contextlib.suppress(OSError):
            return int(held.enter_context(socket.create_server(("127.0.0.1", port))).getsockname()[1])
    raise RuntimeError("no port is free")


def _answers(port: int) -> bool:
    with contextlib.suppress(urllib.error.HTTPError):
        try:
            urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"http://127.0.0.1:{port}/", timeout=5)
        except OSError as error:
            return isinstance(error, urllib.error.HTTPError)
    return True


def _keep(cache: Path, layout: Layout, made: Mapping[str, Any]) -> None:
    """Keep what a seeded lab has written, for the next start; of one state only."""
    shutil.rmtree(cache.parent, ignore_errors=True)
    cache.mkdir(parents=True, mode=0o700)
    for name in DATABASES:
        _copy(layout.folder / "databases" / f"{name}.db", cache / f"{name}.db")
    shutil.copytree(layout.folder / "keys", cache / "keys")
    shutil.copytree(layout.folder / "images", cache / "images")
    (cache / "made.json").write_text(json.dumps(made), encoding="utf-8")


def _restore(cache: Path, layout: Layout, before: Mapping[str, int]) -> None:
    for name in DATABASES:
        shutil.copy(cache / f"{name}.db", layout.folder / "databases" / f"{name}.db")
    shutil.copytree(cache / "keys", layout.folder / "keys", dirs_exist_ok=True)
    shutil.copytree(cache / "images", layout.folder / "images", dirs_exist_ok=True)
    with contextlib.closing(sqlite3.connect(layout.folder / "databases" / "keystone.db")) as keystone, keystone:
        for service, port in before.items():
            changed = (f":{port}", f":{layout.ports[service]}")
            keystone.execute("UPDATE endpoint SET url = replace(url, ?, ?)", changed)


def _copy(source: Path, target: Path) -> None:
    with contextlib.closing(sqlite3.connect(source)) as read, contextlib.closing(sqlite3.connect(target)) as written:
        read.backup(written)


def _digest(*files: Path, more: str = "") -> str:
    return hashlib.sha256(b"".join(file.read_bytes() for file in files) + more.encode()).hexdigest()
