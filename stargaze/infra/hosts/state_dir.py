"""The state directory of a cluster: ssh key, pinned host keys, list of machines, inventory, logs."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from stargaze.config import InfraSection
from stargaze.errors import CredentialsError, ExternalError
from stargaze.store import Store
from stargaze.system import ssh_keys
from stargaze.system.files import atomic_write, private_folder, write_json
from stargaze.system.process import require_program


class StateDir:
    """The paths in the state directory of one cluster."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.key = root / "id_ed25519"
        """The generated private ssh key."""
        self.known_hosts = root / "known_hosts"
        """The trusted host keys by machine name, in ssh's format."""
        self.pins = root / "pins.json"
        """The host keys of each server with its id: a server that was created again may have others."""
        self.hosts = root / "hosts.json"
        """The machines that were created last, with their addresses."""
        self.inventory = root / "inventory.yml"
        self.ray_token = root / "ray_token"
        """The token that Ray requires from every client."""
        self.configured = root / "configured"
        """The digest of the last complete configuration."""
        self.runs = root / "runs"
        """The logs of the playbooks, one folder per run."""


def open_state_dir(section: InfraSection, store: Store) -> StateDir:
    """Return the state directory of a cluster; create it if needed, accessible only by its owner."""
    state_dir = StateDir((store.infra / section.name).resolve())
    private_folder(store.infra)
    private_folder(state_dir.root)
    return state_dir


def ensure_private_key(section: InfraSection, state_dir: StateDir) -> Path:
    """Return the ssh key of the machines: the configured one, or a generated one."""
    if section.key_file:
        return ssh_keys.configured_key(section.key_file, "infra.key_file")
    if not state_dir.key.is_file():
        ssh_keys.create_key(state_dir.key, f"stargaze {section.name}")
    return state_dir.key


def derive_public_key(key: Path) -> str:
    """Return type and value of the public key of a private key without a passphrase."""
    require_program("ssh-keygen")
    try:
        fields = ssh_keys.public_key(key).split()
    except ExternalError as error:
        raise CredentialsError(error.message, hint="use a key without a passphrase") from error
    return " ".join(fields[:2])


def read_pins(state_dir: StateDir) -> dict[str, dict[str, Any]]:
    """Return the pinned host keys by machine name: server ``id`` and ``keys``."""
    try:
        pins: dict[str, dict[str, Any]] = json.loads(state_dir.pins.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ExternalError(
            f"{state_dir.pins}: not valid JSON", hint=f"rm {state_dir.pins}; stargaze infra up reads the keys again"
        ) from error
    return pins


def machines_with_known_keys(state_dir: StateDir) -> set[str]:
    """Return the names of the machines whose host key is trusted, pinned or seen on the first connection."""
    return {line.partition(" ")[0] for line in _read_known_hosts(state_dir) if line.strip()}


def pin_host_keys(
    state_dir: StateDir, pins: Mapping[str, tuple[str, Sequence[str]]], keep: Collection[str] = ()
) -> None:
    """Trust only these host keys: server id and keys by machine name.

    The existing lines of known_hosts stay for the machines in ``keep``.
    """
    lines = [line for line in _read_known_hosts(state_dir) if line.partition(" ")[0] in keep]
    lines += [f"{machine} {key}" for machine, (_, keys) in sorted(pins.items()) for key in keys]
    with atomic_write(state_dir.known_hosts) as temporary:
        temporary.write_text("".join(f"{line}\n" for line in dict.fromkeys(lines)), encoding="utf-8")
    write_json(
        state_dir.pins, {name: {"id": server_id, "keys": list(keys)} for name, (server_id, keys) in pins.items()}
    )


def _read_known_hosts(state_dir: StateDir) -> list[str]:
    path = state_dir.known_hosts
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
