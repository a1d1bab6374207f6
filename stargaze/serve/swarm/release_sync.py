"""Exchange signed releases with the production machines: import those of other stores, push the newest one."""

from __future__ import annotations

from collections.abc import Sequence

from stargaze.config import DeploySection
from stargaze.errors import CredentialsError, ExternalError, StargazeError
from stargaze.serve.release import git
from stargaze.serve.release.publish import ReleaseRepository, explain_push_failure
from stargaze.serve.release.repository import allowed_signers_file, signer_line, signing_key
from stargaze.serve.swarm.docker import RELEASE_HOME, NodeInfo
from stargaze.serve.swarm.node_signers import revoke_on_nodes, trust_on_nodes
from stargaze.store import Store
from stargaze.system.files import scratch_folder
from stargaze.system.parallel import map_in_threads
from stargaze.system.progress import Notify
from stargaze.system.ssh import SshHost

GIT_USER = "git"
"""The account of a machine that can only receive releases."""
NO_COMMIT = "0" * 40
EXPORT_SCRIPT = f"""
repository=--git-dir={RELEASE_HOME}/releases.git
git $repository cat-file -e "$1^{{commit}}" 2>/dev/null && exclude="^$1"
git $repository bundle create --quiet - refs/heads/main $exclude
"""
"""Prints a git bundle of the commits after ``$1``, or of all if the machine does not have that commit."""
REINSTALL_ARGV = (
    "/opt/stargaze/bin/python", "-P", "-m", "stargaze.serve.release.git_hooks", "install", f"{RELEASE_HOME}/releases.git"
)  # fmt: skip


def import_missing_releases(repository: ReleaseRepository, nodes: Sequence[NodeInfo], notify: Notify) -> None:
    """Import releases that other stores deployed; releases of this store that production lacks are archived.

    They are pushed to the release repository here, whose hook checks signature, content and the newest model. A signer who is
    not allowed here is a CredentialsError; another refusal, or machines with different releases, an ExternalError.
    """
    for node in nodes:
        if node.release_commit and git.object_info(repository.bare, node.release_commit) is None:
            notify(f"importing the releases of {node.host.name} that another store deployed")
            _import(repository, node, nodes, notify)


def push_release(section: DeploySection, store: Store, nodes: Sequence[NodeInfo], name: str) -> bool:
    """Push the newest release to every machine that lacks it; return whether there was one.

    A machine that has the release but not its bundles, after a crash, installs it again. ExternalError if a machine refused the
    release or did not answer; others may have it already.
    """
    repository = git.Repository(store.releases.resolve())
    commit = git.branch_tip(repository)
    if commit is None:
        raise ExternalError(f"{store.releases}: there is no release", hint="stargaze deploy")
    missing = [node for node in nodes if node.release_commit != commit]
    errors = map_in_threads(lambda node: _push(section, repository, commit, node.host), missing)
    if any(errors):
        raise ExternalError("; ".join(filter(None, errors)), hint="the previous release still serves")
    incomplete = [node.host for node in nodes if node not in missing and node.installed_release != name]
    map_in_threads(_reinstall, incomplete)
    return bool(missing or incomplete)


def trust_signing_key(section: DeploySection, store: Store, nodes: Sequence[NodeInfo], notify: Notify) -> None:
    """Have every machine accept releases that are signed here, and refuse the signers that were revoked here."""
    key = signing_key(section, store)
    hosts = [node.host for node in nodes]
    revoke_on_nodes(allowed_signers_file(store), hosts)
    line = signer_line(key)
    missing = [node.host for node in nodes if line not in node.allowed_signers]
    if missing:
        notify(f"adding our signing key to {', '.join(host.name for host in missing)}")
        trust_on_nodes(line, missing)


def _import(repository: ReleaseRepository, node: NodeInfo, nodes: Sequence[NodeInfo], notify: Notify) -> None:
    tip = git.branch_tip(repository.bare)
    with scratch_folder(repository.store.root.resolve()) as folder:
        scratch = git.with_alternates(repository.bare, folder)
        export = ("sh", "-c", EXPORT_SCRIPT, "sh", tip or NO_COMMIT)
        git.unbundle(scratch, node.host.run(*export, root=True, seconds=git.PUSH_TIMEOUT))
        if tip and not git.is_ancestor(scratch, tip, node.release_commit):
            if any(other.release_commit == tip for other in nodes):
                raise ExternalError(f"{node.host.name} has another release than the others", hint="stargaze status")
            archive = git.archive_branch(repository.bare, tip)
            notify(f"releases of this store that production lacks are archived as {archive}")
            tip = None
        for commit in _push_steps(scratch, tip, node.release_commit, repository.policy.max_releases):
            pushed = git.push(scratch, commit, str(repository.bare.path))
            if not pushed.accepted:
                raise _import_error(pushed.output, repository, node)


def _push_steps(scratch: git.Repository, old: str | None, new: str, max_releases: int) -> list[str]:
    """Return the commits to push one after the other, so that no push has more releases than the hook accepts."""
    commits = [commit for commit, _ in reversed(git.list_commits(scratch, new, old))]
    return [*commits[max_releases - 1 : -1 : max_releases], new]


def _import_error(output: str, repository: ReleaseRepository, node: NodeInfo) -> ExternalError | CredentialsError:
    name = node.host.name
    if "not signed by an allowed signer" in output:
        remote, local = f"{RELEASE_HOME}/keys/allowed_signers", repository.policy.allowed_signers
        return CredentialsError(
            f"{name} has a release whose signer is not trusted by this store",
            hint=f"to trust the signers of {name}: stargaze infra ssh {name} -- sudo cat {remote} >>{local}",
        )
    refused = explain_push_failure(output, repository.section)
    return ExternalError(f"{name}: {refused.message}", hint=refused.hint)


def _push(section: DeploySection, repository: git.Repository, commit: str, host: SshHost) -> str:
    """Push to one machine; return the reason of a failure, empty on success."""
    url = f"ssh://{GIT_USER}@{host.address}{RELEASE_HOME}/releases.git"
    try:
        pushed = git.push(repository, commit, url, ssh=("ssh", *host.options))
    except StargazeError as error:
        return f"{host.name}: {error.message}"
    return "" if pushed.accepted else f"{host.name}: {explain_push_failure(pushed.output, section).message}"


def _reinstall(host: SshHost) -> None:
    host.run("runuser", "-u", GIT_USER, "--", *REINSTALL_ARGV, root=True)
