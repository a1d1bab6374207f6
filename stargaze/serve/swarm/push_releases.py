"""The signed releases on their way: from the record here to the repository of every production machine."""

from __future__ import annotations

from collections.abc import Sequence

from stargaze.config import DeploySection
from stargaze.errors import ExternalError, StargazeError
from stargaze.serve.release import git, signing
from stargaze.serve.release.push_error import explain_push_failure
from stargaze.serve.swarm.docker import HOME, NodeInfo
from stargaze.store import Store
from stargaze.system.parallel import map_in_threads
from stargaze.system.progress import Notify
from stargaze.system.ssh import SshHost

USER = "git"
"""The account on each machine that can do nothing but receive releases."""
TRUST = f"""
file={HOME}/keys/allowed_signers
test -z "$(tail -c 1 "$file" 2>/dev/null)" || echo >>"$file"
cat >>"$file"
"""
"""Adds a line of its own: a file that somebody edited may lack its last newline, and two keys on one line are none."""
HEAL = ("/opt/stargaze/bin/python", "-P", "-m", "stargaze.serve.release.git_hooks", "install", f"{HOME}/releases.git")


def send(section: DeploySection, store: Store, machines: Sequence[NodeInfo], digest: str) -> bool:
    """Bring the newest release to every machine, and say whether there was anything to do.

    A machine that has the release but not its bundle, after a crash, installs it again.

    Raises
    ------
    ExternalError
        If one refused it, or could not be reached; the others may have it already.
    """
    repository = git.Repository(store.releases.resolve())
    tip = git.branch_tip(repository)
    if tip is None:
        raise ExternalError(f"{store.releases}: holds no release", hint="stargaze deploy")
    behind = [machine for machine in machines if machine.tip != tip]
    failures = [
        failure for failure in map_in_threads(lambda one: _push(section, repository, tip, one), behind) if failure
    ]
    if failures:
        raise ExternalError("; ".join(failures), hint="what served before serves on")
    ill = [one.remote for one in machines if one not in behind and one.installed != digest]
    map_in_threads(_heal, ill)
    return bool(behind or ill)


def trust_signing_key(section: DeploySection, store: Store, machines: Sequence[NodeInfo], say: Notify) -> None:
    """Have every machine believe the key that signs here: whoever may configure a machine may say so."""
    key = signing.signing_key(section, store)
    line = signing.signer_line(key)
    for machine in machines:
        if line not in machine.signers:
            say(f"{machine.remote.name} believes our signing key from now on")
            machine.remote.run("sh", "-c", TRUST, stdin=f"{line}\n".encode(), root=True)


def _push(section: DeploySection, repository: git.Repository, tip: str, machine: NodeInfo) -> str:
    """Push to one machine; return why that failed, empty if it did not."""
    remote = machine.remote
    try:
        ssh = ("ssh", *remote.options)
        pushed = git.push(repository, tip, f"ssh://{USER}@{remote.address}{HOME}/releases.git", ssh=ssh)
    except StargazeError as error:
        return f"{remote.name}: {error.message}"
    return "" if pushed.accepted else f"{remote.name}: {explain_push_failure(pushed.output, section).message}"


def _heal(remote: SshHost) -> None:
    remote.run("runuser", "-u", USER, "--", *HEAL, root=True)
