"""The databases of the services: created by their own migrations, stored after the seed, restored at the next start."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.labs.openstack.configuration import REGION, Layout, environment

NAMES = ("keystone", "placement", "glance", "neutron", "nova", "nova_api", "nova_cell0")
FOLDERS = ("keys", "images")
"""Folders whose content belongs to that of the databases."""
PAUSE = 0.1


def create(layout: Layout) -> None:
    """Run the migrations of the services in two sequences at the same time: each starts with long imports."""
    keystone = [layout.bin("keystone-manage"), "--config-file", layout.conf("keystone")]
    user = ["--keystone-user", os.getuid(), "--keystone-group", os.getgid()]
    place = [f"--bootstrap-{kind}-url={layout.url('keystone')}" for kind in ("public", "internal", "admin")]
    region = [f"--bootstrap-region-id={REGION}", f"--bootstrap-password={layout.admin_password}"]
    sequences: list[list[list[object]]] = [
        [
            [*keystone, "db_sync"],
            [*keystone, "fernet_setup", *user],
            [*keystone, "bootstrap", *region, *place],
            [layout.bin("placement-manage"), "--config-file", layout.conf("placement"), "db", "sync"],
            [layout.bin("glance-manage"), "--config-file", layout.conf("glance"), "db_sync"],
        ],
        [
            layout.script_command(
                "nova_schema", layout.conf("nova"), layout.database("nova_cell0"), layout.database("nova")
            ),
            layout.script_command("neutron_schema", layout.conf("neutron"), layout.database("neutron")),
        ],
    ]
    for name in NAMES:
        with contextlib.closing(sqlite3.connect(_file(layout.folder / "databases", name))) as database:
            database.execute("PRAGMA journal_mode = WAL")  # readers and the writer do not wait for one another
    with contextlib.ExitStack() as stack:
        started = [_Sequence(row, environment(layout), layout.folder / "log" / "databases.out") for row in sequences]
        for row in started:
            stack.callback(row.end)
        while any([row.advance() for row in started]):  # noqa: C419 - all of them have to advance
            time.sleep(PAUSE)


def store(cache: Path, layout: Layout, facts: Mapping[str, Any]) -> None:
    """Store the databases of a seeded lab for the next start, in place of those of other versions."""
    shutil.rmtree(cache.parent, ignore_errors=True)
    draft = cache.with_name("draft")
    draft.mkdir(parents=True, mode=0o700)
    for name in NAMES:
        with contextlib.ExitStack() as stack:
            read = stack.enter_context(contextlib.closing(sqlite3.connect(_file(layout.folder / "databases", name))))
            written = stack.enter_context(contextlib.closing(sqlite3.connect(_file(draft, name))))
            read.backup(written)  # consistent, although the services are running
    for folder in FOLDERS:
        shutil.copytree(layout.folder / folder, draft / folder)
    (draft / "facts.json").write_text(json.dumps(facts), encoding="utf-8")
    draft.rename(cache)


def stored_facts(cache: Path) -> dict[str, Any]:
    """Return the facts that were stored with the databases; empty if there are none."""
    with contextlib.suppress(FileNotFoundError):
        return dict(json.loads((cache / "facts.json").read_text(encoding="utf-8")))
    return {}


def restore(cache: Path, layout: Layout, ports: Mapping[str, int]) -> None:
    """Restore the stored databases, and set the ports of this start in the catalog."""
    for name in NAMES:
        shutil.copy(_file(cache, name), layout.folder / "databases")
    for folder in FOLDERS:
        shutil.copytree(cache / folder, layout.folder / folder, dirs_exist_ok=True)
    with contextlib.closing(sqlite3.connect(_file(layout.folder / "databases", "keystone"))) as keystone, keystone:
        for service, port in ports.items():
            changed = (f":{port}", f":{layout.ports[service]}")
            keystone.execute("UPDATE endpoint SET url = replace(url, ?, ?)", changed)


class _Sequence:
    """Commands that run one after the other."""

    def __init__(self, commands: Sequence[list[object]], environment: Mapping[str, str], log: Path) -> None:
        self.left, self.environment, self.log = list(commands), dict(environment), log
        self.process: subprocess.Popen[bytes] | None = None

    def advance(self) -> bool:
        """Start the next command if one has ended; return whether commands remain."""
        if self.process and self.process.poll() is None:
            return True
        if self.process and self.process.returncode:
            output = self.log.read_text(encoding="utf-8", errors="replace")
            raise RuntimeError(f"{self.process.args!r} failed:\n{output[-3000:]}")
        if not self.left:
            return False
        argv = [str(word) for word in self.left.pop(0)]
        with self.log.open("ab") as file:
            self.process = subprocess.Popen(argv, env=self.environment, stdout=file, stderr=file)
        return True

    def end(self) -> None:
        """Kill the running command."""
        if self.process:
            self.process.kill()
            self.process.wait()


def _file(folder: Path, name: str) -> Path:
    return folder / f"{name}.db"
