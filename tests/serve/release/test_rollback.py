"""Rollback through the real git, ssh-keygen and hooks; a killed one is completed when it is repeated."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from stargaze.errors import DifferenceFoundError, MissingInputError
from stargaze.pipeline.status import list_artifacts
from stargaze.serve.release.publish import (
    apply_release,
    installed_release,
    list_releases,
    open_release_repository,
    publish_release,
)
from stargaze.serve.release.record import encode_release, parse_release, rolled_back
from stargaze.serve.release.release_folder import release_name, verify_release
from stargaze.serve.release.rollback import begin_rollback, plan_rollback, rollback_release

if TYPE_CHECKING:
    from stargaze.serve.release.record import Release
    from tests.serve.conftest import ReleaseStore

pytestmark = pytest.mark.real
KILLER = Path(__file__).parents[2] / "kill_at.py"
MOMENTS = int(os.environ.get("STARGAZE_KILL_ROUNDS", "3"))
"""At how many moments a command is killed; a large number kills it before each of its operations."""


def roll_back(release_store: ReleaseStore, **options: Any) -> Release:
    """Roll back and return the release."""
    return rollback_release(release_store.section, release_store.store, now=release_store.now, **options)


def test_a_rollback_is_a_new_release_of_the_previous_bundle(release_store: ReleaseStore) -> None:
    first = release_store.deploy("good 1")
    second = release_store.deploy("good 2")

    rollback = roll_back(release_store, author="a tester")

    assert (rollback.digest, rollback.kind, rollback.previous) == (first.digest, "rollback", second.commit)
    assert installed_release(release_store.store) == first.digest
    assert [line.kind for line in list_releases(release_store.store)] == ["rollback", "deploy", "deploy"]


def test_two_rollbacks_go_back_two_releases(release_store: ReleaseStore) -> None:
    """And not forward again to the release that the first rollback left."""
    first = release_store.deploy("good 1")
    for model in ("good 2", "good 3"):
        release_store.deploy(model)
    for _ in range(2):
        roll_back(release_store)

    assert installed_release(release_store.store) == first.digest


def test_a_rollback_needs_no_copy_of_the_bundle_in_the_store(release_store: ReleaseStore) -> None:
    """The release repository has every file; a pruned store can still roll back."""
    first = release_store.deploy("good 1")
    release_store.deploy("good 2")
    shutil.rmtree(release_store.store.bundles)
    shutil.rmtree(release_store.store.serving / "bundles" / first.digest)

    roll_back(release_store)

    assert (release_store.store.current / "model.txt").read_text() == "good 1"


def test_a_rollback_can_name_any_release(release_store: ReleaseStore) -> None:
    first = release_store.deploy("good 1")
    for model in ("good 2", "good 3"):
        release_store.deploy(model)

    rollback = roll_back(release_store, to=first.digest[:10])

    assert installed_release(release_store.store) == rollback.digest == first.digest


def test_a_rollback_to_the_current_bundle_changes_nothing(release_store: ReleaseStore) -> None:
    completed = release_store.deploy("good")

    assert not roll_back(release_store, to=completed.digest).changed


def test_a_rollback_without_an_earlier_release_is_an_error(release_store: ReleaseStore) -> None:
    release_store.deploy("good")

    with pytest.raises(MissingInputError, match="there is no earlier release than"):
        roll_back(release_store)


def test_a_rollback_before_the_first_release_is_an_error(release_store: ReleaseStore) -> None:
    with pytest.raises(MissingInputError, match="there is no release to roll back to"):
        roll_back(release_store)


def test_a_rollback_to_an_unknown_bundle_is_an_error(release_store: ReleaseStore) -> None:
    release_store.deploy("good")

    with pytest.raises(MissingInputError, match="no release has bundle '0123'"):
        roll_back(release_store, to="0123")


# ---- killed and repeated ------------------------------------------------------------------------------------------


def command(release_store: ReleaseStore, *argv: str, kill_at: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own, which is killed before its n-th change of a file or start of a program."""
    return subprocess.run(
        [sys.executable, "-P", str(KILLER), str(kill_at), *argv, "--store", str(release_store.store.root)],
        cwd=release_store.store.root.parent,
        env={**os.environ, "XDG_CONFIG_HOME": str(release_store.store.root)},
        capture_output=True,
        text=True,
        check=False,
    )


def moments(last: int) -> list[int]:
    """Return numbers of operations, spread from the first to the last."""
    return sorted({1 + round(step * (last - 1) / (MOMENTS - 1)) for step in range(MOMENTS)})


def test_a_rollback_that_was_killed_at_any_moment_is_completed_when_it_is_repeated(release_store: ReleaseStore) -> None:
    """And does not go back two releases; star and growth bundle are always those of one release."""
    names = []
    for number in range(4):
        release_store.add_growth(f"good {number}")
        names.append(release_store.deploy(f"good {number}").name)
    shutil.copytree(release_store.store.root, release_store.store.root.with_name("before"), symlinks=True)
    last = count_operations(command(release_store, "rollback"))
    assert installed_release(release_store.store) == names[2]
    for moment in moments(last):
        restore(release_store)
        killed = command(release_store, "rollback", kill_at=moment)
        assert killed.returncode == -signal.SIGKILL, (moment, killed.stderr)
        assert verify_release(release_store.store.current.resolve()) in names[2:], moment

        repeated = command(release_store, "rollback")

        assert repeated.returncode == 0, (moment, repeated.stderr)
        assert installed_release(release_store.store) == names[2], (moment, killed, repeated)
        assert [release.kind for release in list_releases(release_store.store)].count("rollback") == 1
        assert not release_store.store.rollback.exists()
    assert command(release_store, "rollback").returncode == 0
    assert installed_release(release_store.store) == names[1]  # a second one goes back a second release


def test_a_deploy_that_was_killed_at_any_moment_is_completed_when_it_is_repeated(release_store: ReleaseStore) -> None:
    release_store.add_growth("good 1")
    old = release_store.deploy("good 1").name
    growth = release_store.add_growth("good 2")
    new = release_name(release_store.add_bundle("good 2"), growth)
    shutil.copytree(release_store.store.root, release_store.store.root.with_name("before"), symlinks=True)
    last = count_operations(command(release_store, "deploy", "--force", "why"))
    for moment in moments(last):
        restore(release_store)
        killed = command(release_store, "deploy", "--force", "why", kill_at=moment)
        assert killed.returncode == -signal.SIGKILL, (moment, killed.stderr)
        assert verify_release(release_store.store.current.resolve()) in (old, new), moment

        repeated = command(release_store, "deploy", "--force", "why")

        assert repeated.returncode == 0, (moment, repeated.stderr)
        assert installed_release(release_store.store) == new
        assert [release.force_reason for release in list_releases(release_store.store)] == ["why", ""]


def count_operations(done: subprocess.CompletedProcess[str]) -> int:
    """Return how many operations a command had that was not killed."""
    assert done.returncode == 0, done.stderr
    return int(done.stderr.splitlines()[-1].removeprefix("operations: "))


def restore(release_store: ReleaseStore) -> None:
    """Restore the store as it was before the rollback."""
    shutil.rmtree(release_store.store.root)
    shutil.copytree(release_store.store.root.with_name("before"), release_store.store.root, symlinks=True)


def interrupted(release_store: ReleaseStore, to: str | None = None) -> Release:
    """Roll back, but do not announce the result."""
    with open_release_repository(release_store.section, release_store.store) as repository:
        plan = begin_rollback(repository, now=release_store.now, to=to, notify=lambda _line: None)
        return apply_release(repository, plan, now=release_store.now)


def test_completing_a_rollback_is_announced(release_store: ReleaseStore) -> None:
    first, second = release_store.deploy("good 1"), release_store.deploy("good 2")
    interrupted(release_store)
    lines: list[str] = []

    completed = roll_back(release_store, notify=lines.append)

    assert (completed.digest, completed.changed) == (first.digest, False)
    expected = f"completing the interrupted rollback from release {second.digest[:12]} to {first.digest[:12]}"
    assert lines == [expected]


def test_another_target_than_that_of_the_interrupted_rollback_is_taken(release_store: ReleaseStore) -> None:
    first, second, _ = (release_store.deploy(f"good {number}") for number in range(3))
    interrupted(release_store)
    assert installed_release(release_store.store) == second.digest

    assert roll_back(release_store, to=first.digest).digest == first.digest


@pytest.mark.parametrize("content", ["", "{", "[]", "7", '{"from": 1}', '{"from": "x", "to": "y"}'])
def test_a_damaged_or_outdated_intent_is_ignored(release_store: ReleaseStore, content: str) -> None:
    first = release_store.deploy("good 1")
    release_store.deploy("good 2")
    release_store.store.rollback.write_text(content)

    assert roll_back(release_store).digest == first.digest


def test_a_deploy_after_an_interrupted_rollback_ends_it(release_store: ReleaseStore) -> None:
    """The next rollback is a new one."""
    first, second = release_store.deploy("good 1"), release_store.deploy("good 2")
    release_store.deploy("good 3")
    interrupted(release_store)
    release_store.deploy("good 2")  # repeats the delivery of the rollback's release
    assert installed_release(release_store.store) == second.digest

    assert roll_back(release_store).digest == first.digest


# ---- a rollback holds ---------------------------------------------------------------------------------------------


def test_a_bundle_that_was_rolled_back_is_delivered_again_only_with_a_reason(release_store: ReleaseStore) -> None:
    first, second = release_store.deploy("good 1"), release_store.deploy("good 2")
    rollback = roll_back(release_store, author="an operator")
    before = release_store.state()

    for digest in (second.digest, None):  # by name, or as the newest bundle
        with pytest.raises(DifferenceFoundError, match=r"was rolled back at .* by an operator") as refused:
            publish_release(release_store.section, release_store.store, now=release_store.now, digest=digest)
    assert first.digest[:12] in refused.value.message
    assert "--force" in refused.value.hint
    assert release_store.state() == before
    assert rolled_back(list_releases(release_store.store)) == {second.digest: rollback}
    forced = publish_release(
        release_store.section, release_store.store, now=release_store.now, force_reason="it was the network"
    )

    assert (forced.digest, forced.force_reason) == (second.digest, "it was the network")
    row = next(row for row in list_artifacts(release_store.store) if row["artifact"] == "release")
    assert "(forced: it was the network)" in row["contents"]


def test_another_bundle_ends_the_rollback(release_store: ReleaseStore) -> None:
    release_store.deploy("good 1")
    second = release_store.deploy("good 2")
    roll_back(release_store)

    release_store.deploy("good 3")

    assert rolled_back(list_releases(release_store.store)) == {}
    assert release_store.deploy("good 2").digest == second.digest


def test_every_bundle_that_a_rollback_skips_is_held(release_store: ReleaseStore) -> None:
    digests = [release_store.deploy(f"good {number}").digest for number in range(3)]
    roll_back(release_store, to=digests[0])
    assert set(rolled_back(list_releases(release_store.store))) == set(digests[1:])

    roll_back(release_store, to=digests[2])

    assert digests[2] not in rolled_back(list_releases(release_store.store))
    assert digests[0] in rolled_back(list_releases(release_store.store))


def test_a_release_that_deploy_restored_by_itself_holds_nothing(release_store: ReleaseStore) -> None:
    """The network of production failed, not the bundle."""
    first, second = release_store.deploy("good 1"), release_store.deploy("good 2")
    with open_release_repository(release_store.section, release_store.store) as repository:
        plan = plan_rollback(repository, now=release_store.now, to=first.digest, reason="does not serve")
        apply_release(repository, plan, now=release_store.now)

    assert list_releases(release_store.store)[0].force_reason == "does not serve"
    assert rolled_back(list_releases(release_store.store)) == {}
    assert release_store.deploy("good 2").digest == second.digest


def test_a_release_that_does_not_load_is_skipped(release_store: ReleaseStore) -> None:
    """Of several releases in one push only the newest is loaded, so an earlier one of them may be invalid."""
    first = release_store.deploy("good 1")
    middle = release_store.commit(release_store.release_files(release_store.add_bundle("garbage")))
    files = release_store.release_files(release_store.add_bundle("good 3"))
    files["release.json"] = encode_release(replace(parse_release("", files["release.json"]), previous=middle))
    assert release_store.push(release_store.commit(files, parent=middle)) == []
    lines: list[str] = []

    rollback = roll_back(release_store, notify=lines.append)

    assert rollback.digest == first.digest == installed_release(release_store.store)
    assert len(lines) == 1
    assert "is skipped: the bundle does not load: the model predicts 3.0" in lines[0]
    with pytest.raises(MissingInputError, match="there is no earlier release"):
        roll_back(release_store)
