"""From machines that answer to machines that are configured: inventory, what is carried there, and the playbooks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stargaze.config import InfraSection
from stargaze.errors import UsageError, did_you_mean
from stargaze.infra.ansible.build_wheel import build_wheel
from stargaze.infra.ansible.runner import TAGS, playbook_folder, run_playbook
from stargaze.infra.hosts.host_keys import check_host_keys
from stargaze.infra.hosts.inventory import PlaybookFiles
from stargaze.infra.hosts.state_dir import StateDir, read_pins
from stargaze.infra.provision import ensure_ray_token, read_hosts, write_inventory
from stargaze.live_table import board
from stargaze.store import Store
from stargaze.system.files import atomic_write
from stargaze.system.source_package import recipe


def configure_hosts(
    section: InfraSection, state_dir: StateDir, store: Store, *, tags: Sequence[str] = (), check: bool = False
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
    check_host_keys(section, state_dir)
    inventory, files = prepare_inventory(section, state_dir, store)
    if not check:
        state_dir.configured.unlink(
            missing_ok=True
        )  # whatever stops the run, the machines are no longer what they were
    with board("infra configure") as shown:
        run = run_playbook(inventory, state_dir.runs, shown.say, tags=tags, check=check)
    if not tags and not check:
        with atomic_write(state_dir.configured) as temporary:
            temporary.write_text(_digest(state_dir, inventory, files), encoding="ascii")
    return [
        {"machine": host.machine.name, "changed": run.changed.get(host.machine.name, 0)}
        for host in read_hosts(section, state_dir)
    ]


def is_up_to_date(section: InfraSection, state_dir: StateDir, store: Store) -> bool:
    """Say whether these very machines were configured with the same before: package, playbooks, and what is carried there."""
    if not state_dir.configured.is_file():
        return False
    return state_dir.configured.read_text(encoding="ascii") == _digest(
        state_dir, *prepare_inventory(section, state_dir, store)
    )


def prepare_inventory(section: InfraSection, state_dir: StateDir, store: Store) -> tuple[Path, PlaybookFiles]:
    """Write the inventory and return it with the files that the playbooks copy."""
    signers = store.keys / "allowed_signers"
    files = PlaybookFiles(
        str(build_wheel(state_dir.root / "wheels")),
        str(recipe("requirements.lock")),
        str(signers.resolve()) if signers.is_file() else "",
        str(ensure_ray_token(state_dir)),
    )
    return write_inventory(section, state_dir, read_hosts(section, state_dir), files), files


def _digest(state_dir: StateDir, inventory: Path, files: PlaybookFiles) -> str:
    """Sum up what a run depends on; the name of the wheel says what it holds, a server that was made anew has another id."""
    servers = {name: one["id"] for name, one in read_pins(state_dir).items()}
    whole = hashlib.sha256(inventory.read_bytes() + json.dumps(servers, sort_keys=True).encode())
    carried = [Path(one) for one in (files.lock, files.allowed_signers, files.ray_token) if one]
    for path in (*carried, *sorted(playbook_folder().rglob("*"))):
        if path.is_file():
            whole.update(path.read_bytes())
    return whole.hexdigest()
