"""From machines that answer to machines that are configured: inventory, what is carried there, and the playbooks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stargaze.config.sections import InfraSection
from stargaze.errors import UsageError, did_you_mean
from stargaze.infra.ansible.build_wheel import build_wheel
from stargaze.infra.ansible.runner import TAGS, configure, folder
from stargaze.infra.hosts.host_keys import check_known
from stargaze.infra.hosts.inventory import Files
from stargaze.infra.hosts.state_dir import StateDir, pins
from stargaze.infra.provision import hosts_of, ray_token, write_inventory
from stargaze.live_table import board
from stargaze.store import Store
from stargaze.system.files import atomic_write
from stargaze.system.source_package import recipe


def configured(
    section: InfraSection, room: StateDir, store: Store, *, tags: Sequence[str] = (), check: bool = False
) -> list[dict[str, Any]]:
    """Run the playbooks; return how many tasks changed something, a row a machine.

    Raises
    ------
    UsageError
        If a tag is none.
    ExternalError
        If a task failed: host, task, reason and hint.
    """
    for tag in tags:
        if tag not in TAGS:
            raise UsageError(f"{tag}: no such tag", hint=did_you_mean(tag, TAGS, f"There are: {', '.join(TAGS)}"))
    check_known(section, room)
    inventory, files = _inventory(section, room, store)
    if not check:
        room.configured.unlink(missing_ok=True)  # whatever stops the run, the machines are no longer what they were
    with board("infra configure") as shown:
        run = configure(inventory, room.runs, shown.say, tags=tags, check=check)
    if not tags and not check:
        with atomic_write(room.configured) as temporary:
            temporary.write_text(_digest(room, inventory, files), encoding="ascii")
    return [
        {"machine": host.machine.name, "changed": run.changed.get(host.machine.name, 0)}
        for host in hosts_of(section, room)
    ]


def is_configured(section: InfraSection, room: StateDir, store: Store) -> bool:
    """Notify whether these very machines were configured with the same before: package, playbooks, and what is carried there."""
    if not room.configured.is_file():
        return False
    return room.configured.read_text(encoding="ascii") == _digest(room, *_inventory(section, room, store))


def _inventory(section: InfraSection, room: StateDir, store: Store) -> tuple[Path, Files]:
    signers = store.keys / "allowed_signers"
    files = Files(
        str(build_wheel(room.root / "wheels")),
        str(recipe("requirements.lock")),
        str(signers.resolve()) if signers.is_file() else "",
        str(ray_token(room)),
    )
    return write_inventory(section, room, hosts_of(section, room), files), files


def _digest(room: StateDir, inventory: Path, files: Files) -> str:
    """Sum up what a run depends on; the name of the wheel says what it holds, a server that was made anew has another id."""
    servers = {name: one["id"] for name, one in pins(room).items()}
    whole = hashlib.sha256(inventory.read_bytes() + json.dumps(servers, sort_keys=True).encode())
    carried = [Path(one) for one in (files.lock, files.allowed_signers, files.ray_token) if one]
    for path in (*carried, *sorted(folder().rglob("*"))):
        if path.is_file():
            whole.update(path.read_bytes())
    return whole.hexdigest()
