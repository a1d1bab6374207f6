"""Releases that production holds and the record here does not: somebody else sent them, from another store.

They are taken in as a push is, by the hook that decides here: signed by whom this store believes, whole, and their newest model
loaded once. Only then is anything held against what serves, or put on top of it.
"""

from __future__ import annotations

from collections.abc import Sequence

from stargaze.config import DeploySection
from stargaze.errors import CredentialsError, ExternalError
from stargaze.serve.release import git, record
from stargaze.serve.release import publish as release
from stargaze.serve.release.repository import read_rules
from stargaze.serve.swarm.docker import HOME, NodeInfo
from stargaze.store import Store
from stargaze.system.files import scratch_folder
from stargaze.system.progress import Notify

NONE = "0" * 40
"""No commit."""
GIVE = f"""
repository=--git-dir={HOME}/releases.git
git $repository cat-file -e "$1^{{commit}}" 2>/dev/null && without="^$1"
git $repository bundle create --quiet - refs/heads/main $without
"""
"""What a machine has that is not before a commit; all of it if it does not know that one."""


def catch_up(section: DeploySection, store: Store, machines: Sequence[NodeInfo], say: Notify) -> None:
    """Take in what the machines hold and the record here lacks; releases from here that none of them holds step aside.

    Raises
    ------
    CredentialsError
        If one is signed by somebody whom this store does not believe.
    ExternalError
        If one is refused for another reason, or the machines hold different ones.
    """
    for machine in machines:
        if machine.tip and not _knows(store, machine.tip):
            say(f"taking in the releases of {machine.remote.name} that were not sent from here")
            with release.locked_release_repository(section, store) as repository:
                _take_in(section, store, repository, machine, machines, say)


def _take_in(
    section: DeploySection,
    store: Store,
    repository: git.Repository,
    machine: NodeInfo,
    machines: Sequence[NodeInfo],
    say: Notify,
) -> None:
    mine = git.tip(repository)
    with scratch_folder(store.root.resolve()) as folder:
        scratch = git.with_alternates(repository, folder)
        given = machine.remote.run("sh", "-c", GIVE, "sh", mine or NONE, root=True, seconds=git.PUSH_LIMIT)
        git.unbundle(scratch, given)
        if mine and not git.is_before(scratch, mine, machine.tip):
            if any(other.tip == mine for other in machines):
                raise ExternalError(
                    f"{machine.remote.name} holds another release than the others", hint="stargaze status"
                )
            say(
                f"releases of this store that never came to production are kept as {git.archive_branch(repository, mine)}"
            )
            mine = None
        for commit in _steps(scratch, mine, machine.tip, read_rules(repository.path).max_releases):
            pushed = git.push(scratch, commit, str(repository.path))
            if not pushed.accepted:
                raise _refusal(pushed.said, section, store, machine)


def _steps(scratch: git.Repository, old: str | None, new: str, most: int) -> list[str]:
    """Return what to push one after the other, so that no push holds more releases than a hook takes."""
    commits = [commit for commit, _ in reversed(git.chain(scratch, new, old, record.ALL))]
    return [*commits[most - 1 : -1 : most], new]


def _knows(store: Store, commit: str) -> bool:
    return store.releases.is_dir() and git.described(git.Repository(store.releases.resolve()), commit) is not None


def _refusal(said: str, section: DeploySection, store: Store, machine: NodeInfo) -> ExternalError | CredentialsError:
    refused = release.refusal(said, section)
    if "not signed by an allowed signer" in said:
        theirs, ours = f"{HOME}/keys/allowed_signers", store.keys / "allowed_signers"
        return CredentialsError(
            f"{machine.remote.name} holds a release by somebody whom this store does not believe",
            hint=f"if you do: stargaze infra ssh {machine.remote.name} -- sudo cat {theirs} >>{ours}",
        )
    return ExternalError(f"{machine.remote.name}: {refused.message}", hint=refused.hint)
