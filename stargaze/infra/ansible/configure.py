"""Configure the machines with the playbooks, and detect whether anything has changed since the last configuration."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stargaze.config import InfraSection
from stargaze.errors import ExternalError, MissingInputError, UsageError, did_you_mean
from stargaze.infra.ansible.build_wheel import build_wheel
from stargaze.infra.ansible.inventory import PlaybookFiles, write_inventory
from stargaze.infra.ansible.page_tls import check_page_tls
from stargaze.infra.ansible.runner import TAGS, playbook_folder, run_playbook
from stargaze.infra.hosts.host_keys import check_host_keys
from stargaze.infra.hosts.host_list import read_hosts
from stargaze.infra.hosts.state_dir import StateDir, read_pins
from stargaze.store import Store
from stargaze.system.files import atomic_write
from stargaze.system.progress import SetRow
from stargaze.system.source_package import find_recipe


def configure_hosts(
    section: InfraSection,
    state_dir: StateDir,
    store: Store,
    set_row: SetRow,
    *,
    tags: Sequence[str] = (),
    check: bool = False,
) -> list[dict[str, Any]]:
    """Run the playbooks; return a row per machine with the number of changed tasks."""
    for tag in tags:
        if tag not in TAGS:
            raise UsageError(f"{tag}: no such tag", hint=did_you_mean(tag, TAGS, f"tags: {', '.join(TAGS)}"))
    check_host_keys(section, state_dir)
    inventory, files = prepare_inventory(section, state_dir, store)
    if not check:
        state_dir.configured.unlink(missing_ok=True)  # an interrupted run leaves the machines in an unknown state
    run = run_playbook(inventory, state_dir.runs, set_row, tags=tags, check=check)
    if not tags and not check:
        with atomic_write(state_dir.configured) as temporary:
            temporary.write_text(_digest(state_dir, inventory, files), encoding="ascii")
    names = [host.machine.name for host in read_hosts(section, state_dir)]
    return [{"machine": name, "changed": run.changed.get(name, 0)} for name in names]


def is_up_to_date(section: InfraSection, state_dir: StateDir, store: Store) -> bool:
    """Return whether these servers were configured with the same package, playbooks and files before."""
    if not state_dir.configured.is_file():
        return False
    digest = _digest(state_dir, *prepare_inventory(section, state_dir, store))
    return state_dir.configured.read_text(encoding="ascii") == digest


def prepare_inventory(section: InfraSection, state_dir: StateDir, store: Store) -> tuple[Path, PlaybookFiles]:
    """Write the inventory; return it with the files that the playbooks copy."""
    signers = store.keys / "allowed_signers"
    files = PlaybookFiles(
        str(build_wheel(state_dir.root / "wheels")),
        str(find_recipe(lock_file(store))),
        str(signers.resolve()) if signers.is_file() else "",
        str(ensure_ray_token(state_dir)),
        check_page_tls(section),
    )
    return write_inventory(section, state_dir, read_hosts(section, state_dir), files), files


def lock_file(store: Store) -> str:
    """Return the name of the lock file of the machines: with the extras if the selected features need embeddings."""
    from stargaze.features.dataset import read_feature_set

    try:
        needs_extra = read_feature_set(store).has_embeddings
    except (MissingInputError, ExternalError):  # not selected yet, or by another version
        needs_extra = False
    return "requirements-optional.lock" if needs_extra else "requirements.lock"


def ensure_ray_token(state_dir: StateDir) -> Path:
    """Return the file with Ray's token; create it if needed, readable only by its owner."""
    if not state_dir.ray_token.is_file():
        with atomic_write(state_dir.ray_token, 0o600) as temporary:
            temporary.write_text(secrets.token_hex(32), encoding="ascii")
    return state_dir.ray_token


def _digest(state_dir: StateDir, inventory: Path, files: PlaybookFiles) -> str:
    """Return the SHA-256 of everything that a run depends on; the wheel's name contains the digest of the package."""
    server_ids = {name: pin["id"] for name, pin in read_pins(state_dir).items()}
    digest = hashlib.sha256(inventory.read_bytes() + json.dumps(server_ids, sort_keys=True).encode())
    tls = files.tls
    texts = (files.lock, files.allowed_signers, files.ray_token, tls.certificate, tls.key, tls.ca)
    copied = [Path(path) for path in texts if path]
    for path in (*copied, *sorted(playbook_folder().rglob("*"))):
        if path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()
