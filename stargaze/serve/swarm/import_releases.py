"""Releases that production holds and the record here does not: somebody else sent them, from another store.

They are taken in as a push is, by the hook that decides here: signed by whom this store believes, whole, and their newest model
loaded once. Only then is anything held against what serves, or put on top of it.
"""

from __future__ import annotations

from collections.abc import Sequence

from stargaze.errors import CredentialsError, ExternalError
from stargaze.serve.release import git
from stargaze.serve.release.publish import ReleaseRepository
from stargaze.serve.release.push_error import explain_push_failure
from stargaze.serve.swarm.docker import HOME, NodeInfo
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


def catch_up(repository: ReleaseRepository, machines: Sequence[NodeInfo], say: Notify) -> None:
    """Take in what the machines hold and the record here lacks; releases from here that none of them holds step aside.

    Raises
    ------
    CredentialsError
        If one is signed by somebody whom this store does not believe.
    ExternalError
        If one is refused for another reason, or the machines hold different ones.
    """
    for machine in machines:
        if machine.tip and git.object_info(repository.bare, machine.tip) is None:
            say(f"taking in the releases of {machine.remote.name} that were not sent from here")
            _take_in(repository, machine, machines, say)


def _take_in(repository: ReleaseRepository, machine: NodeInfo, machines: Sequence[NodeInfo], say: Notify) -> None:
    mine = git.branch_tip(repository.bare)
    with scratch_folder(repository.store.root.resolve()) as folder:
        scratch = git.with_alternates(repository.bare, folder)
        given = machine.remote.run("sh", "-c", GIVE, "sh", mine or NONE, root=True, seconds=git.PUSH_TIMEOUT)
        git.unbundle(scratch, given)
        if mine and not git.is_ancestor(scratch, mine, machine.tip):
            if any(other.tip == mine for other in machines):
                raise ExternalError(
                    f"{machine.remote.name} holds another release than the others", hint="stargaze status"
                )
            say(
                f"releases of this store that never came to production are kept as {git.archive_branch(repository.bare, mine)}"
            )
            mine = None
        for commit in _steps(scratch, mine, machine.tip, repository.policy.max_releases):
            pushed = git.push(scratch, commit, str(repository.bare.path))
            if not pushed.accepted:
                raise _refusal(pushed.output, repository, machine)


def _steps(scratch: git.Repository, old: str | None, new: str, most: int) -> list[str]:
    """Return what to push one after the other, so that no push holds more releases than a hook takes."""
    commits = [commit for commit, _ in reversed(git.list_commits(scratch, new, old))]
    return [*commits[most - 1 : -1 : most], new]


def _refusal(said: str, repository: ReleaseRepository, machine: NodeInfo) -> ExternalError | CredentialsError:
    refused = explain_push_failure(said, repository.section)
    if "not signed by an allowed signer" in said:
        theirs, ours = f"{HOME}/keys/allowed_signers", repository.policy.allowed_signers
        return CredentialsError(
            f"{machine.remote.name} holds a release by somebody whom this store does not believe",
            hint=f"if you do: stargaze infra ssh {machine.remote.name} -- sudo cat {theirs} >>{ours}",
        )
    return ExternalError(f"{machine.remote.name}: {refused.message}", hint=refused.hint)
