"""The state directory of a cluster: ssh key, pinned host keys, list of machines, inventory, logs."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stargaze.config import InfraSection
from stargaze.errors import CredentialsError, ExternalError
from stargaze.store import Store
from stargaze.system import ssh_keys
from stargaze.system.files import atomic_write, convert_disk_errors, write_json
from stargaze.system.process import need


@dataclass(frozen=True)
class StateDir:
    """The paths in the state directory of one cluster."""

    root: Path

    @property
    def key(self) -> Path:
        """The generated private ssh key, readable only by its owner."""
        return self.root / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        """The trusted host keys by machine name, in ssh's format."""
        return self.root / "known_hosts"

    @property
    def pins(self) -> Path:
        """The host keys of each server by its id: a server that was created again may have others."""
        return self.root / "pins.json"

    @property
    def hosts(self) -> Path:
        """The machines that were created last, with their addresses."""
        return self.root / "hosts.json"

    @property
    def inventory(self) -> Path:
        """Ansible's inventory."""
        return self.root / "inventory.yml"

    @property
    def ray_token(self) -> Path:
        """The token that Ray requires from every client."""
        return self.root / "ray_token"

    @property
    def configured(self) -> Path:
        """The digest of the last complete configuration."""
        return self.root / "configured"

    @property
    def runs(self) -> Path:
        """The logs of the playbooks, one folder per run."""
        return self.root / "runs"


def open_state_dir(section: InfraSection, store: Store) -> StateDir:
    """Return the state directory of a cluster; create it if needed, accessible only by its owner."""
    state_dir = StateDir((store.root / "infra" / section.name).resolve())
    with convert_disk_errors(state_dir.root):
        state_dir.root.mkdir(parents=True, exist_ok=True, mode=0o700)
    return state_dir


def ensure_private_key(section: InfraSection, state_dir: StateDir) -> Path:
    """Return the ssh key of the machines: the configured one, or a generated one.

    Raises
    ------
    CredentialsError
        If the configured key does not exist, or others may read it.
    """
    if section.key_file:
        return ssh_keys.configured(section.key_file, "infra.key_file")
    if not state_dir.key.is_file():
        ssh_keys.make(state_dir.key, f"stargaze {section.name}")
    return state_dir.key


def derive_public_key(key: Path) -> str:
    """Return type and value of the public key that belongs to a private key.

    Raises
    ------
    CredentialsError
        If the file has a passphrase, or is not a key.
    """
    need("ssh-keygen")
    try:
        fields = ssh_keys.derived(key).split()
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
    """Trust these host keys only.

    Parameters
    ----------
    pins : mapping
        Server id and keys by machine name.
    keep : collection of str
        Machines whose existing lines in known_hosts stay.
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
