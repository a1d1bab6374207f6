"""The keys of the people who operate a cluster: list, trust, rotate and revoke them, here and on every machine.

Every step may be repeated: a command that was interrupted continues where it stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stargaze.config import Config
from stargaze.errors import MissingInputError, UsageError
from stargaze.infra.hosts.host_list import read_ssh_hosts
from stargaze.infra.hosts.ssh_key import remove_ssh_key
from stargaze.infra.hosts.state_dir import derive_public_key, ensure_private_key, open_state_dir
from stargaze.serve.release import git
from stargaze.serve.release.repository import (
    PRINCIPAL,
    add_allowed_signer,
    allow_signer,
    allowed_signers_file,
    signer_line,
    signing_key,
)
from stargaze.serve.release.signers import (
    REVOKED_FILE,
    PublicKey,
    accept_history,
    parse_public_key,
    read_keys,
    read_public_key,
    revoke_signer,
)
from stargaze.serve.swarm.node_signers import (
    RECEIVERS,
    accept_node_history,
    list_node_signers,
    revoke_on_nodes,
    trust_on_nodes,
)
from stargaze.store import Store
from stargaze.system.progress import Notify
from stargaze.system.ssh import SshHost
from stargaze.system.ssh_keys import create_key

HERE = "here"
"""This store, in the list of places."""


def list_keys(config: Config, store: Store) -> list[dict[str, str]]:
    """Return one row per key: its use, its fingerprint, its state, and the places that say so."""
    allowed = allowed_signers_file(store)
    nodes = list_node_signers(_receivers(config, store))
    states: dict[tuple[str, str], list[str]] = {}
    places = [(HERE, read_keys(allowed), read_keys(allowed.with_name(REVOKED_FILE)))]
    places += [(node.host.name, sorted(node.allowed, key=str), sorted(node.revoked, key=str)) for node in nodes]
    for place, trusted, revoked in places:
        for state, keys in (("trusted", [key for key in trusted if key not in revoked]), ("revoked", revoked)):
            for key in keys:
                states.setdefault((key.fingerprint, state), []).append(place)
    own = _own_signer(config, store)
    own_fingerprint = own.fingerprint if own else ""
    rows = [
        _row("signer of releases", key + (" (this store's)" if key == own_fingerprint else ""), state, names)
        for (key, state), names in states.items()
    ]
    hosts = _machines(config, store)
    if hosts and (ssh := _own_ssh_key(config, store)):
        rows.append(_row("ssh", f"{ssh.fingerprint} (this store's)", "trusted", [host.name for host in hosts]))
    return rows


def trust_signer(config: Config, store: Store, path: Path, notify: Notify) -> PublicKey:
    """Accept releases that this key signs, here and on every machine."""
    key, allowed = read_public_key(path), allowed_signers_file(store)
    if key in read_keys(allowed.with_name(REVOKED_FILE)):
        raise UsageError(f"{key.fingerprint} was revoked", hint="use another key")
    hosts = _receivers(config, store)
    add_allowed_signer(_signer_line(key), store)
    notify(f"trusting {key.fingerprint} on {_names(hosts)}")
    trust_on_nodes(_signer_line(key), hosts)
    return key


def revoke_key(config: Config, store: Store, name: str, notify: Notify) -> tuple[PublicKey, list[str]]:
    """Refuse a key as signer and for ssh, here and on every machine; return it, and the files that accepted its logins.

    ``name`` is the file of the public key, or the fingerprint of a signer.
    """
    key = _find_key(config, store, name)
    if key == _own_signer(config, store):
        raise UsageError("this is the signing key of this store", hint="stargaze keys rotate signer")
    machines = _machines(config, store)
    if machines and key == _own_ssh_key(config, store):
        raise UsageError("this store logs in with this key", hint="stargaze keys rotate ssh")
    _revoke_signer(config, store, key, notify)
    notify(f"removing its logins from {_names(machines)}")
    return key, remove_ssh_key(str(key), machines)


def rotate_signer(config: Config, store: Store, notify: Notify) -> PublicKey:
    """Replace the signing key of this store and return the new one; the old one is revoked once the new one is trusted."""
    if config.deploy.signing_key:
        raise UsageError(
            f"deploy.signing_key is your own key, {config.deploy.signing_key}",
            hint="set it to another key, then: stargaze deploy; stargaze keys revoke OLD.pub",
        )
    current = signing_key(config.deploy, store)
    new, old = (current.with_name(f"{current.name}_{name}") for name in ("new", "old"))
    hosts = _receivers(config, store)
    if not Path(f"{old}.pub").is_file():
        if not new.is_file():
            create_key(new, "stargaze releases")
        allow_signer(new, store)
        notify(f"trusting the new key on {_names(hosts)}")
        trust_on_nodes(signer_line(new), hosts)
        # The public part of the old key, which marks the next step, is complete at once.
        Path(f"{old}.pub.draft").write_text(str(_require_key(signer_line(current))) + "\n", encoding="utf-8")
        Path(f"{old}.pub.draft").rename(f"{old}.pub")
    for suffix in (".pub", ""):
        if Path(f"{new}{suffix}").is_file():
            Path(f"{new}{suffix}").replace(f"{current}{suffix}")
    _revoke_signer(config, store, read_public_key(Path(f"{old}.pub")), notify)
    Path(f"{old}.pub").unlink()
    return _require_key(signer_line(current))


def _revoke_signer(config: Config, store: Store, key: PublicKey, notify: Notify) -> None:
    """Keep the history that the key may have signed, then revoke it here and on every machine."""
    allowed, hosts = allowed_signers_file(store), _receivers(config, store)
    if store.releases.is_dir():
        repository = git.Repository(store.releases.resolve())
        tip = git.branch_tip(repository)
        accept_history(allowed, [commit for commit, _ in git.list_commits(repository, tip, None)] if tip else [])
    accept_node_history(allowed, list_node_signers(hosts))
    revoke_signer(key, allowed)
    notify(f"revoking {key.fingerprint} on {_names(hosts)}")
    revoke_on_nodes(allowed, hosts)


def _find_key(config: Config, store: Store, name: str) -> PublicKey:
    if not name.startswith("SHA256:"):
        return read_public_key(Path(name))
    allowed = allowed_signers_file(store)
    known = {*read_keys(allowed), *read_keys(allowed.with_name(REVOKED_FILE))}
    for node in list_node_signers(_receivers(config, store)):
        known |= node.allowed | node.revoked
    for key in known:
        if key.fingerprint == name:
            return key
    raise UsageError(f"{name}: no signer has this fingerprint", hint="stargaze keys list")


def _own_signer(config: Config, store: Store) -> PublicKey | None:
    if not config.deploy.signing_key and not (store.keys / "release").is_file():
        return None
    return parse_public_key(signer_line(signing_key(config.deploy, store)))


def _own_ssh_key(config: Config, store: Store) -> PublicKey | None:
    state_dir = open_state_dir(config.infra, store)
    return parse_public_key(derive_public_key(ensure_private_key(config.infra, state_dir)))


def _machines(config: Config, store: Store) -> tuple[SshHost, ...]:
    """Return all machines of the cluster; none if there is no cluster."""
    try:
        return read_ssh_hosts(config.infra, open_state_dir(config.infra, store))
    except MissingInputError:
        return ()


def _receivers(config: Config, store: Store) -> list[SshHost]:
    return [host for host in _machines(config, store) if host.role in RECEIVERS]


def _require_key(line: str) -> PublicKey:
    key = parse_public_key(line)
    if key is None:
        raise UsageError(f"this is not an ssh public key: {line}", hint="stargaze keys list")
    return key


def _signer_line(key: PublicKey) -> str:
    return f'{PRINCIPAL} namespaces="git" {key}'


def _row(use: str, key: str, state: str, places: Sequence[str]) -> dict[str, str]:
    return {"use": use, "key": key, "state": state, "where": ", ".join(places)}


def _names(hosts: Sequence[SshHost]) -> str:
    return ", ".join(host.name for host in hosts) or "this machine"
