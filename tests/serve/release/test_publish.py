"""Deploy, rollback and their record, through the real git, ssh-keygen and hooks."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from stargaze.bundle.manifest import BadBundleError, write_manifest
from stargaze.config import DeploySection
from stargaze.errors import CredentialsError, DifferenceFoundError, ExternalError, MissingInputError, UsageError
from stargaze.serve.release import git, signing
from stargaze.serve.release import publish as release
from stargaze.serve.release.commit_tree import RefusedError
from stargaze.store import Store
from stargaze.system.locks import locked

if TYPE_CHECKING:
    from stargaze.serve.release.record import Release
    from tests.serve.conftest import Workshop

pytestmark = pytest.mark.real


def test_a_deployed_bundle_serves(workshop: Workshop) -> None:
    """The folder behind the link holds the very bytes of the bundle."""
    done = workshop.deploy("good")

    assert done.changed
    assert release.installed(workshop.store) == done.digest
    assert (workshop.store.current / "model.txt").read_text() == "good"


def test_the_newest_bundle_is_deployed_where_none_is_named(workshop: Workshop) -> None:
    workshop.bundle("good 1")
    newest = workshop.bundle("good 2")

    assert release.deploy(workshop.section, workshop.store, now=workshop.now).digest == newest


def test_the_beginning_of_a_digest_is_enough(workshop: Workshop) -> None:
    older = workshop.bundle("good 1")
    workshop.bundle("good 2")

    assert release.deploy(workshop.section, workshop.store, now=workshop.now, digest=older[:12]).digest == older


def test_the_record_says_who_what_and_when(workshop: Workshop) -> None:
    """It is read back from git's log, not from what deploy returned."""
    first = workshop.deploy("good 1")
    second = workshop.deploy("good 2")

    assert release.releases(workshop.store) == [second, first]
    assert (second.who, second.when, second.kind) == ("a tester", "2026-03-01T12:00:00+00:00", "deploy")
    assert (first.before, second.before) == (None, first.commit)
    assert second.scores == {"all": {"rmsle": 0.5, "rho": None}}


def test_the_installed_record_names_the_release(workshop: Workshop) -> None:
    done = workshop.deploy("good")
    written = json.loads((workshop.store.serving / "installed.json").read_text())

    assert (written["commit"], written["digest"], written["who"]) == (done.commit, done.digest, "a tester")


def test_who_is_the_git_user_and_the_account(
    workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "gitconfig"
    config.write_text("[user]\n\tname = Jane Doe\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    monkeypatch.chdir(tmp_path)  # the checkout may have a user of its own, who goes before
    workshop.bundle("good")

    assert release.deploy(workshop.section, workshop.store, now=workshop.now).who.startswith("Jane Doe / ")


def test_deploying_what_is_in_force_changes_nothing(workshop: Workshop) -> None:
    done = workshop.deploy("good")
    before = workshop.state()

    again = release.deploy(workshop.section, workshop.store, now=workshop.now, digest=done.digest)

    assert not again.changed
    assert workshop.state() == before


def test_a_rollback_is_a_new_release_of_the_bundle_before(workshop: Workshop) -> None:
    first = workshop.deploy("good 1")
    second = workshop.deploy("good 2")

    back = release.rollback(workshop.section, workshop.store, now=workshop.now, who="a tester")

    assert (back.digest, back.kind, back.before) == (first.digest, "rollback", second.commit)
    assert release.installed(workshop.store) == first.digest
    assert [line.kind for line in release.releases(workshop.store)] == ["rollback", "deploy", "deploy"]


def test_rolling_back_twice_goes_back_two(workshop: Workshop) -> None:
    """And not forth again to what the first rollback left."""
    first = workshop.deploy("good 1")
    for model in ("good 2", "good 3"):
        workshop.deploy(model)
    for _ in range(2):
        release.rollback(workshop.section, workshop.store, now=workshop.now)

    assert release.installed(workshop.store) == first.digest


def test_a_rollback_needs_no_copy_of_the_bundle_in_the_store(workshop: Workshop) -> None:
    """The record holds every file; a store that was tidied can still go back."""
    first = workshop.deploy("good 1")
    workshop.deploy("good 2")
    shutil.rmtree(workshop.store.bundles)
    shutil.rmtree(workshop.store.serving / "bundles" / first.digest)

    release.rollback(workshop.section, workshop.store, now=workshop.now)

    assert (workshop.store.current / "model.txt").read_text() == "good 1"


def test_a_rollback_goes_to_any_release_that_is_named(workshop: Workshop) -> None:
    first = workshop.deploy("good 1")
    for model in ("good 2", "good 3"):
        workshop.deploy(model)

    back = release.rollback(workshop.section, workshop.store, now=workshop.now, to=first.digest[:10])

    assert release.installed(workshop.store) == back.digest == first.digest


def test_a_rollback_to_what_is_in_force_changes_nothing(workshop: Workshop) -> None:
    done = workshop.deploy("good")

    assert not release.rollback(workshop.section, workshop.store, now=workshop.now, to=done.digest).changed


def test_a_rollback_with_nothing_before_says_so(workshop: Workshop) -> None:
    workshop.deploy("good")

    with pytest.raises(MissingInputError, match="nothing stands before"):
        release.rollback(workshop.section, workshop.store, now=workshop.now)


def test_a_rollback_before_the_first_release_says_so(workshop: Workshop) -> None:
    with pytest.raises(MissingInputError, match="nothing was released yet"):
        release.rollback(workshop.section, workshop.store, now=workshop.now)


def test_a_rollback_to_an_unknown_bundle_says_so(workshop: Workshop) -> None:
    workshop.deploy("good")

    with pytest.raises(MissingInputError, match="no release has bundle '0123'"):
        release.rollback(workshop.section, workshop.store, now=workshop.now, to="0123")


def test_the_record_is_empty_before_the_first_release(tmp_path: Path) -> None:
    store = Store(tmp_path)

    assert release.releases(store) == []
    assert release.installed(store) is None


def test_deploy_before_tune_names_the_command(workshop: Workshop, tmp_path: Path) -> None:
    with pytest.raises(MissingInputError) as caught:
        release.deploy(DeploySection(), Store(tmp_path / "new"), now=workshop.now)

    assert caught.value.hint == "stargaze tune"


@pytest.mark.parametrize("digest", ["feed", "../../etc", "", "*"])
def test_a_digest_that_no_bundle_has_is_refused(workshop: Workshop, digest: str) -> None:
    workshop.bundle("good")

    with pytest.raises(MissingInputError, match="there is no bundle"):
        release.deploy(workshop.section, workshop.store, now=workshop.now, digest=digest)


def test_a_beginning_that_two_bundles_share_is_refused(workshop: Workshop) -> None:
    """Sixteen first digits, seventeen bundles: two begin alike."""
    digests = [workshop.bundle(f"good {number}") for number in range(17)]
    first = [digest[0] for digest in digests]
    shared = next(letter for letter in first if first.count(letter) > 1)

    with pytest.raises(UsageError, match="is the beginning of"):
        release.deploy(workshop.section, workshop.store, now=workshop.now, digest=shared)


def test_a_bundle_that_was_changed_after_tuning_is_not_even_sent(workshop: Workshop) -> None:
    digest = workshop.bundle("good")
    (workshop.store.bundles / digest / "model.txt").write_text("evil")

    with pytest.raises(BadBundleError):
        release.deploy(workshop.section, workshop.store, now=workshop.now, digest=digest)
    assert workshop.state() == (None, None)


def test_a_bundle_without_a_description_is_not_even_sent(workshop: Workshop) -> None:
    """Its sums are right, but nobody could say how good it is."""
    making = workshop.store.bundles / "making"
    making.mkdir(parents=True)
    (making / "bundle.json").write_text("[")
    making.rename(workshop.store.bundles / (digest := write_manifest(making)))

    with pytest.raises(BadBundleError, match=r"bundle\.json: cannot be read"):
        release.deploy(workshop.section, workshop.store, now=workshop.now, digest=digest)
    assert workshop.state() == (None, None)


def test_a_bundle_of_growth_is_not_even_sent(workshop: Workshop) -> None:
    folder = workshop.store.bundles / workshop.bundle("good")
    (folder / "bundle.json").write_text('{"kind": "growth", "scores": [{"days": 30}]}')
    named = folder.rename(folder.parent / write_manifest(folder))

    with pytest.raises(BadBundleError, match="is a bundle of kind 'growth', and one of kind 'stars' is needed"):
        release.deploy(workshop.section, workshop.store, now=workshop.now, digest=named.name)
    assert release.releases(workshop.store) == []


def test_a_refused_deploy_says_why_and_leaves_the_old_release(workshop: Workshop) -> None:
    """Promise 3: a bad model never reaches production."""
    workshop.deploy("good")
    before = workshop.state()

    with pytest.raises(RefusedError, match=r"predicts 3\.0 for the prototype row, not 4\.0"):
        workshop.deploy("bad")
    assert workshop.state() == before


def test_a_release_after_a_refused_one_goes_in(workshop: Workshop) -> None:
    with pytest.raises(RefusedError):
        workshop.deploy("bad")

    assert workshop.deploy("good").before is None


@pytest.mark.parametrize("megabytes", [1.5, 3.0])
def test_a_bundle_above_the_limit_is_refused(workshop: Workshop, megabytes: float) -> None:
    """By the hook that counts the files, and, far above, by git before it unpacks anything."""
    noise = os.urandom(int(megabytes * 500_000)).hex()

    with pytest.raises(RefusedError, match=r"at most 1 MB are allowed|larger than deploy.max_size = 1 MB"):
        workshop.deploy(f"good {noise}")
    assert workshop.state() == (None, None)


@pytest.mark.parametrize(
    "lost",
    ["current", "installed.json", "bundles", "bundles/{digest}/model.txt"],
    ids=["the link", "the record", "all bundles", "a file"],
)
def test_deploying_again_heals_what_a_crash_left(workshop: Workshop, lost: str) -> None:
    """The branch has moved, the installation ended somewhere on its way."""
    done = workshop.deploy("good")
    path = workshop.store.serving / lost.format(digest=done.digest)
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()

    again = release.deploy(workshop.section, workshop.store, now=workshop.now, digest=done.digest)

    assert again.changed
    assert release.installed(workshop.store) == done.digest
    assert (workshop.store.current / "model.txt").read_text() == "good"
    assert (workshop.store.serving / "installed.json").exists()


def test_a_release_that_went_in_but_does_not_serve_is_an_error(workshop: Workshop) -> None:
    """Promise 1: deploy compares what serves with what it sent."""
    workshop.store.current.mkdir(parents=True)

    with pytest.raises(ExternalError, match=r"is recorded but does not serve: .*is a folder, not the link"):
        workshop.deploy("good")


def test_a_store_that_was_moved_goes_on(workshop: Workshop) -> None:
    first = workshop.deploy("good 1")
    moved = Store(workshop.store.root.rename(workshop.store.root.with_name("moved")))
    key = signing.signing_key(workshop.section, moved)
    second = dataclasses.replace(workshop, store=moved, key=key).deploy("good 2")

    assert release.installed(moved) == second.digest
    assert second.before == first.commit


def test_a_second_deploy_at_the_same_time_is_told_so(workshop: Workshop) -> None:
    with (
        locked(workshop.store.root / "releases.lock"),
        pytest.raises(ExternalError, match="another deploy or rollback"),
    ):
        workshop.deploy("good")


def test_a_release_that_overtakes_a_deploy_wins_and_the_other_is_told_so(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From another machine: the lock does not hold it back, git's branch does."""
    first = workshop.deploy("good 1")
    other = workshop.commit(workshop.files(workshop.bundle("good other")))
    send = git.push

    def push(repository: git.Repository, commit: str, to: str) -> git.Pushed:
        workshop.push(other)
        return send(repository, commit, to)

    monkeypatch.setattr(git, "push", push)
    with pytest.raises(ExternalError, match="another release arrived at the same time"):
        workshop.deploy("good 2")

    assert [line.commit for line in release.releases(workshop.store)] == [other, first.commit]


def test_a_lock_that_a_killed_deploy_left_on_the_config_does_no_harm(workshop: Workshop) -> None:
    (workshop.store.releases / "config.lock").touch()

    assert workshop.deploy("good").changed


def test_a_lock_that_a_killed_push_left_on_the_branch_is_named(workshop: Workshop) -> None:
    """It might be another push that runs, so it is the user who removes it."""
    workshop.deploy("good 1")
    lock = workshop.store.releases / "refs" / "heads" / "main.lock"
    lock.touch()

    with pytest.raises(ExternalError) as caught:
        workshop.deploy("good 2")
    assert str(lock) in caught.value.message
    assert f"rm {lock}" in caught.value.hint


def test_a_key_is_made_once_and_for_its_owner_only(workshop: Workshop) -> None:
    workshop.deploy("good")
    key = signing.signing_key(workshop.section, workshop.store)

    assert key == workshop.key
    assert key.stat().st_mode & 0o777 == 0o600
    assert key.parent.stat().st_mode & 0o777 == 0o700
    assert len(signing.allowed_signers(workshop.store).read_text().splitlines()) == 1


def test_a_configured_key_signs(workshop: Workshop, tmp_path: Path) -> None:
    key = tmp_path / "own"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    digest = workshop.bundle("good")

    release.deploy(DeploySection(signing_key=str(key)), workshop.store, now=workshop.now, digest=digest)

    assert release.installed(workshop.store) == digest


def test_a_configured_key_that_is_missing_is_named(workshop: Workshop, tmp_path: Path) -> None:
    workshop.bundle("good")

    with pytest.raises(CredentialsError, match=r"signing_key: .*/none is not there"):
        release.deploy(DeploySection(signing_key=str(tmp_path / "none")), workshop.store, now=workshop.now)


def test_a_key_that_others_may_read_is_refused(workshop: Workshop) -> None:
    workshop.bundle("good")
    workshop.key.chmod(0o644)

    with pytest.raises(CredentialsError) as caught:
        release.deploy(DeploySection(signing_key=str(workshop.key)), workshop.store, now=workshop.now)
    assert caught.value.hint == f"chmod 600 {workshop.key}"


def test_a_key_with_a_passphrase_fails_instead_of_asking(workshop: Workshop, tmp_path: Path) -> None:
    key = tmp_path / "locked"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "a secret", "-f", str(key)], check=True)
    workshop.bundle("good")

    with pytest.raises(ExternalError, match=r"passphrase|sign"):
        release.deploy(DeploySection(signing_key=str(key)), workshop.store, now=workshop.now)
    assert workshop.state() == (None, None)


@pytest.mark.parametrize("missing", ["git", "ssh-keygen"])
def test_a_program_that_is_not_installed_is_named(
    workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in {"git", "ssh-keygen"} - {missing}:
        (programs / name).symlink_to(str(shutil.which(name)))
    workshop.bundle("good")
    monkeypatch.setenv("PATH", str(programs))

    with pytest.raises(ExternalError, match=f"{missing} is not installed") as caught:
        release.deploy(workshop.section, workshop.store, now=workshop.now)
    assert caught.value.hint == "apt install git openssh-client"


def test_the_users_own_git_settings_change_nothing(
    workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A global config that switches hooks off and rewrites line ends, and variables of a git that called us."""
    config = tmp_path / "gitconfig"
    config.write_text("[core]\n\thooksPath = /nowhere\n\tautocrlf = true\n[gpg]\n\tformat = openpgp\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    done = workshop.deploy("good\r\n")

    assert (workshop.store.current / "model.txt").read_bytes() == b"good\r\n"
    assert release.installed(workshop.store) == done.digest


def test_the_key_never_stands_in_a_command_line(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    class Watched(subprocess.Popen[bytes]):
        def __init__(self, argv: list[str], **options: object) -> None:
            seen.extend(argv)
            super().__init__(argv, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(subprocess, "Popen", Watched)
    workshop.deploy("good")

    secret = workshop.key.read_text().splitlines()[1]
    assert seen
    assert not any(secret in word for word in seen)


def test_only_the_last_five_bundles_stay_installed(workshop: Workshop) -> None:
    done = [workshop.deploy(f"good {number}").digest for number in range(6)]

    assert {path.name for path in (workshop.store.serving / "bundles").iterdir()} == set(done[1:])


def test_importing_the_hook_imports_no_model_library() -> None:
    """It runs at every push and starts quickly; only the process that loads the model needs them."""
    heavy = {"pandas", "numpy", "sklearn", "lightgbm", "pyarrow", "stargaze.bundle.star_bundle"}
    code = "import sys, stargaze.serve.release.git_hooks; print(*sys.modules, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert heavy & set(done.stdout.split()) == set()


# ---- the gate -----------------------------------------------------------------------------------------------------


def test_the_gate_sees_the_new_bundle_and_the_one_in_production(workshop: Workshop) -> None:
    first, second = workshop.deploy("good 1"), workshop.bundle("good 2")
    seen: list[tuple[str, str]] = []

    def gate(challenger: Path, champion: Path) -> None:
        seen.append(((challenger / "model.txt").read_text(), (champion / "model.txt").read_text()))

    release.deploy(workshop.section, workshop.store, now=workshop.now, digest=second, gate=gate)
    shutil.rmtree(workshop.store.serving / "bundles" / second)  # only git's record has it now
    release.deploy(workshop.section, workshop.store, now=workshop.now, digest=first.digest, gate=gate)

    assert seen == [("good 2", "good 1"), ("good 1", "good 2")]


def test_what_the_gate_keeps_back_is_not_sent_but_with_a_reason_that_is_kept(workshop: Workshop) -> None:
    workshop.deploy("good 1")
    before, second = workshop.state(), workshop.bundle("good 2")

    def gate(_: Path, champion: Path) -> None:
        raise DifferenceFoundError(f"worse than {champion.name[:12]}")

    def go(forced: str) -> Release:
        return release.deploy(
            workshop.section, workshop.store, now=workshop.now, digest=second, gate=gate, forced=forced
        )

    for none in ("", " \n"):
        with pytest.raises(DifferenceFoundError):
            go(none)
    assert workshop.state() == before
    assert go("a new target\x1b").forced == "a new target"
    assert release.releases(workshop.store)[0].forced == "a new target"
    assert "forced: a new target" in workshop.raw_git("log", "-1", "--format=%B", f"{git.tip(workshop.repository)}")
