"""Replace the ssh key of the machines, and remove a key from all of their accounts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stargaze.config import InfraSection
from stargaze.errors import ExternalError, UsageError
from stargaze.infra.hosts.host_list import SshAccess, read_hosts, ssh_access, to_ssh_hosts
from stargaze.infra.hosts.state_dir import StateDir, derive_public_key
from stargaze.system.parallel import map_in_threads
from stargaze.system.progress import Notify
from stargaze.system.ssh import SshHost
from stargaze.system.ssh_keys import create_key, run_ssh_keygen

LOGIN_TIMEOUT = 20.0  # [s]
FILES = """
files() {
    getent passwd | cut -d : -f 6 | sort -u | while read -r home; do
        for file in "$home/.ssh/authorized_keys" "$home/.ssh/authorized_keys2"; do
            if test -f "$file"; then echo "$file"; fi
        done
    done
    if test -f /etc/stargaze/git_authorized_keys; then echo /etc/stargaze/git_authorized_keys; fi
}
"""
ADD_SCRIPT = f"""{FILES}
set -eu
files | while read -r file; do
    line=$(grep -F -- "$1" "$file" | head -n 1) || continue
    if grep -qF -- "$2" "$file"; then continue; fi
    cp -p "$file" "$file.new"
    added=$(echo "$line" | awk -v old="$1" -v new="$2" '{{i = index($0, old); print substr($0, 1, i - 1) new}}')
    {{ cat "$file"; echo; echo "$added"; }} |
        grep . >"$file.new"
    mv "$file.new" "$file"
done
sync
"""
"""Adds the new key beside the old one, with the same options, in every account that accepts the old one."""
REMOVE_SCRIPT = f"""{FILES}
set -eu
files | while read -r file; do
    if grep -qF -- "$1" "$file"; then
        cp -p "$file" "$file.new"
        grep -vF -- "$1" "$file" >"$file.new" || test $? = 1
        mv "$file.new" "$file"
        echo "$file"
    fi
done
sync
"""


def rotate_ssh_key(section: InfraSection, state_dir: StateDir, notify: Notify) -> str:
    """Replace the generated key on all machines and return the new fingerprint; a repeat continues an interrupted rotation.

    The old key is removed only after every machine has accepted the new one. ExternalError if a machine does not answer.
    """
    if section.key_file:
        raise UsageError(
            f"infra.key_file is your own key, {section.key_file}",
            hint="change it on the machines, set infra.key_file, then: stargaze keys revoke OLD.pub",
        )
    new, old = (state_dir.key.with_name(f"{state_dir.key.name}_{name}") for name in ("new", "old"))
    if not old.is_file():
        if not new.is_file():
            create_key(new, f"stargaze {section.name}")
        hosts = _hosts(section, state_dir, state_dir.key)
        keys = derive_public_key(state_dir.key), derive_public_key(new)
        notify(f"adding the new key to {_names(hosts)}")
        map_in_threads(lambda host: host.run("sh", "-c", ADD_SCRIPT, "sh", *keys, root=True), hosts)
        _require_logins(_hosts(section, state_dir, new))
        _copy(state_dir.key, old)
    for suffix in (".pub", ""):
        if Path(f"{new}{suffix}").is_file():
            Path(f"{new}{suffix}").replace(f"{state_dir.key}{suffix}")
    hosts, key = _hosts(section, state_dir, state_dir.key), derive_public_key(old)
    _require_logins(hosts)
    notify(f"removing the old key from {_names(hosts)}")
    remove_ssh_key(key, hosts)
    accepting = [
        host.name for host in _hosts(section, state_dir, old) if not host.connection_error(seconds=LOGIN_TIMEOUT)
    ]
    if accepting:
        message = f"{', '.join(accepting)}: still accepts the old key"
        raise ExternalError(message, hint="look for it in the ssh server's configuration")
    for suffix in ("", ".pub"):
        Path(f"{old}{suffix}").unlink(missing_ok=True)
    return run_ssh_keygen("-l", "-f", f"{state_dir.key}.pub").split()[1]


def remove_ssh_key(key: str, hosts: Sequence[SshHost]) -> list[str]:
    """Remove a public key from every account of the machines; return which files of which machines had it."""
    outputs = map_in_threads(lambda host: host.run("sh", "-c", REMOVE_SCRIPT, "sh", key, root=True), hosts)
    return [
        f"{host.name}:{file}" for host, files in zip(hosts, outputs, strict=True) for file in files.decode().split()
    ]


def _hosts(section: InfraSection, state_dir: StateDir, key: Path) -> tuple[SshHost, ...]:
    access = ssh_access(section, state_dir)
    return to_ssh_hosts(read_hosts(section, state_dir), SshAccess(key, access.known_hosts, access.trusts_first_use))


def _require_logins(hosts: Sequence[SshHost]) -> None:
    reasons = map_in_threads(lambda host: host.connection_error(seconds=LOGIN_TIMEOUT), hosts)
    failed = [f"{host.name}: {reason}" for host, reason in zip(hosts, reasons, strict=True) if reason]
    if failed:
        raise ExternalError(f"the new key does not log in: {'; '.join(failed)}", hint="repeat stargaze keys rotate ssh")


def _copy(source: Path, target: Path) -> None:
    """Copy a key pair; the private key, which marks the next step, is the last and complete at once."""
    for suffix in (".pub", ""):
        draft = Path(f"{target}.draft{suffix}")
        draft.unlink(missing_ok=True)
        draft.touch(0o600)
        draft.write_bytes(Path(f"{source}{suffix}").read_bytes())
        draft.rename(f"{target}{suffix}")


def _names(hosts: Sequence[SshHost]) -> str:
    return ", ".join(host.name for host in hosts)
