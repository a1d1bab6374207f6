"""Who may sign releases, on the machines that receive them; root on a machine may decide that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stargaze.errors import CredentialsError
from stargaze.serve.release.signers import (
    ACCEPTED_FILE,
    REVOKED_FILE,
    PublicKey,
    accept_history,
    parse_public_key,
    read_lines,
)
from stargaze.serve.swarm.docker import RELEASE_HOME
from stargaze.system.parallel import map_in_threads
from stargaze.system.ssh import SshHost

RECEIVERS = ("production", "development")
"""The roles of machines with a release repository."""
IS_REVOKED = 45
"""Exit code of a machine that has revoked the key."""
LIST_SCRIPT = f"""
cd {RELEASE_HOME}/keys || exit 0
sed 's/^/allowed /' allowed_signers 2>/dev/null
sed 's/^/revoked /' {REVOKED_FILE} 2>/dev/null
git --git-dir={RELEASE_HOME}/releases.git rev-list refs/heads/main 2>/dev/null | sed 's/^/commit /'
:
"""
TRUST_SCRIPT = f"""
set -eu
cd {RELEASE_HOME}/keys
line=$(cat)
if grep -qsF -- "$1" {REVOKED_FILE}; then exit {IS_REVOKED}; fi
if grep -qsF -- "$1" allowed_signers; then exit 0; fi
{{ cat allowed_signers 2>/dev/null || :; echo; echo "$line"; }} | grep . >allowed_signers.new
chmod 644 allowed_signers.new
mv allowed_signers.new allowed_signers
"""
"""Adds a line in one rename, also after the missing newline of an edited file: two keys on one line are not read."""
REVOKE_SCRIPT = f"""
set -eu
umask 022
cd {RELEASE_HOME}/keys
lines=$(cat)
add() {{
    {{ cat "$1" 2>/dev/null || :; echo "$lines" | sed -n "s/^$2 //p"; }} | grep . | sort -u >"$1.new"
    mv "$1.new" "$1"
}}
if echo "$lines" | grep -q '^accept '; then add {ACCEPTED_FILE} accept; fi
add {REVOKED_FILE} revoke
grep -vFf {REVOKED_FILE} allowed_signers >allowed_signers.new || test $? = 1
mv allowed_signers.new allowed_signers
sync
"""
"""The releases that stay accepted come first: a kill in between refuses none of the history."""


@dataclass(frozen=True)
class NodeSigners:
    """The signers of one machine, and the releases that it has."""

    host: SshHost
    allowed: frozenset[PublicKey]
    revoked: frozenset[PublicKey]
    commits: tuple[str, ...]


def list_node_signers(hosts: Sequence[SshHost]) -> list[NodeSigners]:
    """Read the signers of each machine; ExternalError if one does not answer."""
    return map_in_threads(_list_signers, hosts)


def trust_on_nodes(line: str, hosts: Sequence[SshHost]) -> None:
    """Have every machine accept releases of the signer in this line; CredentialsError if one has revoked it."""
    key = parse_public_key(line)
    if key is None:
        raise CredentialsError(f"this is not an ssh public key: {line}", hint="stargaze keys list")

    def trust(host: SshHost) -> bool:
        argv = ("sh", "-c", TRUST_SCRIPT, "sh", str(key))
        completed = host.try_run(*argv, stdin=f"{line}\n".encode(), root=True)
        if completed.returncode not in (0, IS_REVOKED):
            host.run(*argv, stdin=f"{line}\n".encode(), root=True)  # raises its error
        return completed.returncode == IS_REVOKED

    refusing = [host.name for host, refused in zip(hosts, map_in_threads(trust, hosts), strict=True) if refused]
    if refusing:
        raise CredentialsError(
            f"the signing key {key.fingerprint} was revoked on {', '.join(refusing)}",
            hint="stargaze keys rotate signer",
        )


def revoke_on_nodes(allowed_signers: Path, hosts: Sequence[SshHost]) -> None:
    """Have every machine refuse the revoked signers of this store, and accept the same history as it."""
    revoked = read_lines(allowed_signers.with_name(REVOKED_FILE))
    accepted = read_lines(allowed_signers.with_name(ACCEPTED_FILE))
    lines = [*(f"accept {commit}" for commit in accepted), *(f"revoke {key}" for key in revoked)]
    if revoked:
        text = "".join(f"{line}\n" for line in lines).encode()
        map_in_threads(lambda host: host.run("sh", "-c", REVOKE_SCRIPT, stdin=text, root=True), hosts)


def accept_node_history(allowed_signers: Path, nodes: Sequence[NodeSigners]) -> None:
    """Keep accepting here the releases that the machines have."""
    accept_history(allowed_signers, [commit for node in nodes for commit in node.commits])


def _list_signers(host: SshHost) -> NodeSigners:
    found: Mapping[str, list[str]] = {"allowed": [], "revoked": [], "commit": []}
    for line in host.run("sh", "-c", LIST_SCRIPT, root=True).decode().splitlines():
        kind, _, text = line.partition(" ")
        found[kind].append(text)
    allowed, revoked = (
        [key for line in found[kind] if (key := parse_public_key(line))] for kind in ("allowed", "revoked")
    )
    return NodeSigners(host, frozenset(allowed), frozenset(revoked), tuple(found["commit"]))
