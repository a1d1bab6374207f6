"""What ``infra`` keeps below the store: the ssh key, the pinned host keys, the inventory, the logs."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stargaze.config import InfraSection
from stargaze.errors import CredentialsError, ExternalError
from stargaze.store import Store
from stargaze.system import ssh_keys as sshkeys
from stargaze.system.files import atomic_write, convert_disk_errors, write_json
from stargaze.system.process import need


@dataclass(frozen=True)
class StateDir:
    """The folder of one cluster."""

    root: Path

    @property
    def key(self) -> Path:
        """The private ssh key that was made, readable by its owner alone."""
        return self.root / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        """The host keys that are believed, by the machines' names."""
        return self.root / "known_hosts"

    @property
    def pins(self) -> Path:
        """Which keys belong to which server: a machine that was made anew may have others."""
        return self.root / "pins.json"

    @property
    def hosts(self) -> Path:
        """The machines that were brought up last, and where they are reached."""
        return self.root / "hosts.json"

    @property
    def inventory(self) -> Path:
        """Ansible's."""
        return self.root / "inventory.yml"

    @property
    def ray_token(self) -> Path:
        """What whoever sends work to Ray must know."""
        return self.root / "ray_token"

    @property
    def configured(self) -> Path:
        """What the machines were configured with last, as a digest."""
        return self.root / "configured"

    @property
    def runs(self) -> Path:
        """A folder for each run of the playbooks, with its whole log."""
        return self.root / "runs"


def open_state_dir(section: InfraSection, store: Store) -> StateDir:
    """Return the folder of a cluster, made for its owner alone."""
    state_dir = StateDir((store.root / "infra" / section.name).resolve())
    with convert_disk_errors(state_dir.root):
        state_dir.root.mkdir(parents=True, exist_ok=True, mode=0o700)
    return state_dir


def ensure_private_key(section: InfraSection, state_dir: StateDir) -> Path:
    """Return the key that opens the machines: the configured one, or one that is made.

    Raises
    ------
    CredentialsError
        If it is not there, or others may read it.
    """
    if section.key_file:
        return sshkeys.configured(section.key_file, "infra.key_file")
    if not state_dir.key.is_file():
        sshkeys.make(state_dir.key, f"stargaze {section.name}")
    return state_dir.key


def derive_public_key(key: Path) -> str:
    """Return type and key of a private key's public half.

    Raises
    ------
    CredentialsError
        If it has a passphrase, or is no key.
    """
    need("ssh-keygen")
    try:
        words = sshkeys.derived(key).split()
    except ExternalError as error:
        raise CredentialsError(error.message, hint="use a key without a passphrase") from error
    return " ".join(words[:2])


def read_pins(state_dir: StateDir) -> dict[str, dict[str, Any]]:
    """Read which keys belong to which server: by machine, ``id`` and ``keys``."""
    try:
        found: dict[str, dict[str, Any]] = json.loads(state_dir.pins.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ExternalError(
            f"{state_dir.pins}: is not JSON", hint=f"rm {state_dir.pins}, and stargaze infra up learns anew"
        ) from error
    return found


def known_hosts_names(state_dir: StateDir) -> set[str]:
    """Return the machines of which a host key is believed, however it was learnt."""
    return {line.partition(" ")[0] for line in _known(state_dir) if line.strip()}


def pin_host_keys(
    state_dir: StateDir, learnt: Mapping[str, tuple[str, Sequence[str]]], keep: Collection[str] = ()
) -> None:
    """Believe these keys: by machine, the server's id and its keys; of those to ``keep``, also what was met before."""
    known = {machine: {"id": server, "keys": list(keys)} for machine, (server, keys) in learnt.items()}
    lines = [line for line in _known(state_dir) if line.partition(" ")[0] in keep]
    lines += [f"{machine} {key}" for machine, (_, keys) in sorted(learnt.items()) for key in keys]
    with atomic_write(state_dir.known_hosts) as temporary:
        temporary.write_text("".join(f"{line}\n" for line in dict.fromkeys(lines)), encoding="utf-8")
    write_json(state_dir.pins, known)


def _known(state_dir: StateDir) -> list[str]:
    return state_dir.known_hosts.read_text(encoding="utf-8").splitlines() if state_dir.known_hosts.is_file() else []
