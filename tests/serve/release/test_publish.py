"""Deploy, rollback and their history, through the real git, ssh-keygen and hooks."""

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
from stargaze.errors import (
    BadDataError,
    CredentialsError,
    DifferenceFoundError,
    ExternalError,
    MissingInputError,
    UsageError,
)
from stargaze.serve.release import git
from stargaze.serve.release.publish import installed_release, list_releases, publish_release
from stargaze.serve.release.repository import RefusedError, allowed_signers_file, signing_key
from stargaze.serve.release.rollback import rollback_release
from stargaze.store import Store
from stargaze.system.locks import file_lock

if TYPE_CHECKING:
    from stargaze.serve.release.record import Release
    from tests.serve.conftest import ReleaseStore

pytestmark = pytest.mark.real


def test_a_deployed_bundle_is_installed(release_store: ReleaseStore) -> None:
    """The link's target has the same bytes as the bundle."""
    completed = release_store.deploy("good")

    assert completed.changed
    assert installed_release(release_store.store) == completed.digest
    assert (release_store.store.current / "model.txt").read_text() == "good"


def test_the_newest_bundle_is_deployed_by_default(release_store: ReleaseStore) -> None:
    release_store.add_bundle("good 1")
    newest = release_store.add_bundle("good 2")

    assert publish_release(release_store.section, release_store.store, now=release_store.now).digest == newest


def test_a_prefix_of_the_digest_is_enough(release_store: ReleaseStore) -> None:
    older = release_store.add_bundle("good 1")
    release_store.add_bundle("good 2")

    assert (
        publish_release(release_store.section, release_store.store, now=release_store.now, digest=older[:12]).digest
        == older
    )


def test_the_record_has_author_bundle_and_time(release_store: ReleaseStore) -> None:
    """It is read from git's log, not from what deploy returned."""
    first = release_store.deploy("good 1")
    second = release_store.deploy("good 2")

    assert list_releases(release_store.store) == [second, first]
    assert (second.author, second.created_at, second.kind) == ("a tester", "2026-03-01T12:00:00+00:00", "deploy")
    assert (first.previous, second.previous) == (None, first.commit)
    assert second.scores == {"all": {"rmsle": 0.5, "rho": None}}


def test_installed_json_names_the_release(release_store: ReleaseStore) -> None:
    completed = release_store.deploy("good")
    installed = json.loads((release_store.store.serving / "installed.json").read_text())

    assert (installed["commit"], installed["digest"], installed["author"]) == (
        completed.commit,
        completed.digest,
        "a tester",
    )


def test_the_default_author_is_the_git_user_and_the_account(
    release_store: ReleaseStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "gitconfig"
    config.write_text("[user]\n\tname = Jane Doe\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    monkeypatch.chdir(tmp_path)  # the checkout may have its own user.name, which takes precedence
    release_store.add_bundle("good")

    assert publish_release(release_store.section, release_store.store, now=release_store.now).author.startswith(
        "Jane Doe / "
    )


def test_deploying_the_current_bundle_changes_nothing(release_store: ReleaseStore) -> None:
    completed = release_store.deploy("good")
    before = release_store.state()

    again = publish_release(release_store.section, release_store.store, now=release_store.now, digest=completed.digest)

    assert not again.changed
    assert release_store.state() == before


def test_the_record_is_empty_before_the_first_release(tmp_path: Path) -> None:
    store = Store(tmp_path)

    assert list_releases(store) == []
    assert installed_release(store) is None


def test_a_repository_of_another_version_is_an_error_that_says_what_to_remove(release_store: ReleaseStore) -> None:
    files = release_store.release_files(release_store.add_bundle("good"))
    commit = release_store.commit(files | {"release.json": b'{"format": 1, "who": "a tester"}'})
    git.push(release_store.clone, commit, str(release_store.repository.path))  # refused by today's hook
    release_store.raw_git(f"--git-dir={release_store.repository.path}", "fetch", str(release_store.clone.path), commit)
    release_store.raw_git(f"--git-dir={release_store.repository.path}", "update-ref", git.BRANCH, commit)

    for call in (publish_release, rollback_release):
        with pytest.raises(BadDataError, match=f"release {commit[:12]} was written by another version") as excinfo:
            call(release_store.section, release_store.store, now=release_store.now)
        assert "remove releases.git" in excinfo.value.hint


def test_deploy_before_tune_names_the_command(release_store: ReleaseStore, tmp_path: Path) -> None:
    with pytest.raises(MissingInputError) as excinfo:
        publish_release(DeploySection(), Store(tmp_path / "new"), now=release_store.now)

    assert excinfo.value.hint == "stargaze tune"


@pytest.mark.parametrize("digest", ["feed", "../../etc", "", "*"])
def test_an_unknown_digest_is_an_error(release_store: ReleaseStore, digest: str) -> None:
    release_store.add_bundle("good")

    with pytest.raises(MissingInputError, match="there is no bundle"):
        publish_release(release_store.section, release_store.store, now=release_store.now, digest=digest)


def test_an_ambiguous_prefix_is_an_error(release_store: ReleaseStore) -> None:
    """Sixteen first digits, seventeen bundles: two share the first."""
    digests = [release_store.add_bundle(f"good {number}") for number in range(17)]
    first = [digest[0] for digest in digests]
    shared = next(letter for letter in first if first.count(letter) > 1)

    with pytest.raises(UsageError, match=r"matches \d+ bundles"):
        publish_release(release_store.section, release_store.store, now=release_store.now, digest=shared)


def test_a_bundle_that_was_changed_after_tuning_is_not_pushed(release_store: ReleaseStore) -> None:
    digest = release_store.add_bundle("good")
    (release_store.store.bundles / digest / "model.txt").write_text("evil")

    with pytest.raises(BadBundleError):
        publish_release(release_store.section, release_store.store, now=release_store.now, digest=digest)
    assert release_store.state() == (None, None)


def test_a_bundle_without_a_description_is_not_pushed(release_store: ReleaseStore) -> None:
    """Its checksums are valid, but its scores are unknown."""
    folder = release_store.store.bundles / "making"
    folder.mkdir(parents=True)
    (folder / "bundle.json").write_text("[")
    folder.rename(release_store.store.bundles / (digest := write_manifest(folder)))

    with pytest.raises(BadBundleError, match=r"bundle\.json: cannot be read"):
        publish_release(release_store.section, release_store.store, now=release_store.now, digest=digest)
    assert release_store.state() == (None, None)


def test_a_growth_bundle_is_not_pushed(release_store: ReleaseStore) -> None:
    folder = release_store.store.bundles / release_store.add_bundle("good")
    (folder / "bundle.json").write_text('{"kind": "growth", "scores": [{"days": 30}]}')
    named = folder.rename(folder.parent / write_manifest(folder))

    with pytest.raises(BadBundleError, match="is a bundle of kind 'growth', but one of kind 'stars' is needed"):
        publish_release(release_store.section, release_store.store, now=release_store.now, digest=named.name)
    assert list_releases(release_store.store) == []


def test_a_refused_deploy_reports_the_reason_and_changes_nothing(release_store: ReleaseStore) -> None:
    """A bad model never reaches production."""
    release_store.deploy("good")
    before = release_store.state()

    with pytest.raises(RefusedError, match=r"predicts 3\.0 for the prototype row, not 4\.0") as excinfo:
        release_store.deploy("bad")
    assert "--force skips the quality gate only" in excinfo.value.hint
    assert release_store.state() == before


def test_a_deploy_after_a_refused_one_is_accepted(release_store: ReleaseStore) -> None:
    with pytest.raises(RefusedError):
        release_store.deploy("bad")

    assert release_store.deploy("good").previous is None


@pytest.mark.parametrize("megabytes", [1.5, 3.0])
def test_a_bundle_above_the_size_limit_is_refused(release_store: ReleaseStore, megabytes: float) -> None:
    """By the hook, which measures the files, or, far above the limit, by git before it unpacks anything."""
    noise = os.urandom(int(megabytes * 500_000)).hex()

    with pytest.raises(RefusedError, match=r"at most 1 MB are allowed|larger than deploy.max_release_size = 1 MB"):
        release_store.deploy(f"good {noise}")
    assert release_store.state() == (None, None)


@pytest.mark.parametrize(
    "lost",
    ["current", "installed.json", "bundles", "bundles/{digest}/model.txt"],
    ids=["the link", "the record", "all bundles", "a file"],
)
def test_deploying_again_repairs_the_installation_after_a_crash(release_store: ReleaseStore, lost: str) -> None:
    """The branch was updated, but the installation was interrupted."""
    completed = release_store.deploy("good")
    path = release_store.store.serving / lost.format(digest=completed.digest)
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()

    again = publish_release(release_store.section, release_store.store, now=release_store.now, digest=completed.digest)

    assert again.changed
    assert installed_release(release_store.store) == completed.digest
    assert (release_store.store.current / "model.txt").read_text() == "good"
    assert (release_store.store.serving / "installed.json").exists()


def test_a_recorded_release_that_is_not_installed_is_an_error(release_store: ReleaseStore) -> None:
    """Deploy compares the installed bundle with the one that it pushed."""
    release_store.store.current.mkdir(parents=True)

    with pytest.raises(ExternalError, match=r"is recorded but not installed: .*is a folder, not the link"):
        release_store.deploy("good")


def test_a_moved_store_can_deploy(release_store: ReleaseStore) -> None:
    first = release_store.deploy("good 1")
    moved = Store(release_store.store.root.rename(release_store.store.root.with_name("moved")))
    key = signing_key(release_store.section, moved)
    second = dataclasses.replace(release_store, store=moved, key=key).deploy("good 2")

    assert installed_release(moved) == second.digest
    assert second.previous == first.commit


def test_a_concurrent_deploy_is_an_error(release_store: ReleaseStore) -> None:
    with (
        file_lock(release_store.store.root / "releases.lock"),
        pytest.raises(ExternalError, match="another deploy or rollback"),
    ):
        release_store.deploy("good")


def test_a_release_that_arrives_during_a_deploy_wins(
    release_store: ReleaseStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From another machine: the lock does not exclude it, but the branch of the repository changes."""
    first = release_store.deploy("good 1")
    other = release_store.commit(release_store.release_files(release_store.add_bundle("good other")))
    real_push = git.push

    def push(repository: git.Repository, commit: str, to: str) -> git.PushResult:
        release_store.push(other)
        return real_push(repository, commit, to)

    monkeypatch.setattr(git, "push", push)
    with pytest.raises(ExternalError, match="another release arrived at the same time"):
        release_store.deploy("good 2")

    assert [line.commit for line in list_releases(release_store.store)] == [other, first.commit]


def test_a_config_lock_of_a_killed_deploy_is_removed(release_store: ReleaseStore) -> None:
    (release_store.store.releases / "config.lock").touch()

    assert release_store.deploy("good").changed


def test_a_branch_lock_of_a_killed_push_is_named(release_store: ReleaseStore) -> None:
    """Another push may be running, so the user has to remove it."""
    release_store.deploy("good 1")
    lock = release_store.store.releases / "refs" / "heads" / "main.lock"
    lock.touch()

    with pytest.raises(ExternalError) as excinfo:
        release_store.deploy("good 2")
    assert str(lock) in excinfo.value.message
    assert f"rm {lock}" in excinfo.value.hint


def test_the_key_is_created_once_and_readable_by_its_owner_only(release_store: ReleaseStore) -> None:
    release_store.deploy("good")
    key = signing_key(release_store.section, release_store.store)

    assert key == release_store.key
    assert key.stat().st_mode & 0o777 == 0o600
    assert key.parent.stat().st_mode & 0o777 == 0o700
    assert len(allowed_signers_file(release_store.store).read_text().splitlines()) == 1


def test_a_configured_key_signs(release_store: ReleaseStore, tmp_path: Path) -> None:
    key = tmp_path / "own"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    digest = release_store.add_bundle("good")

    publish_release(DeploySection(signing_key=str(key)), release_store.store, now=release_store.now, digest=digest)

    assert installed_release(release_store.store) == digest


def test_a_missing_configured_key_is_named(release_store: ReleaseStore, tmp_path: Path) -> None:
    release_store.add_bundle("good")

    with pytest.raises(CredentialsError, match=r"signing_key: .*/none does not exist"):
        publish_release(DeploySection(signing_key=str(tmp_path / "none")), release_store.store, now=release_store.now)


def test_a_key_that_others_can_read_is_an_error(release_store: ReleaseStore) -> None:
    release_store.add_bundle("good")
    release_store.key.chmod(0o644)

    with pytest.raises(CredentialsError) as excinfo:
        publish_release(DeploySection(signing_key=str(release_store.key)), release_store.store, now=release_store.now)
    assert excinfo.value.hint == f"chmod 600 {release_store.key}"


def test_a_key_with_a_passphrase_fails_without_a_prompt(release_store: ReleaseStore, tmp_path: Path) -> None:
    key = tmp_path / "locked"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "a secret", "-f", str(key)], check=True)
    release_store.add_bundle("good")

    with pytest.raises(ExternalError, match=r"passphrase|sign"):
        publish_release(DeploySection(signing_key=str(key)), release_store.store, now=release_store.now)
    assert release_store.state() == (None, None)


@pytest.mark.parametrize("missing", ["git", "ssh-keygen"])
def test_a_missing_program_is_named(
    release_store: ReleaseStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in {"git", "ssh-keygen"} - {missing}:
        (programs / name).symlink_to(str(shutil.which(name)))
    release_store.add_bundle("good")
    monkeypatch.setenv("PATH", str(programs))

    with pytest.raises(ExternalError, match=f"{missing} is not installed") as excinfo:
        publish_release(release_store.section, release_store.store, now=release_store.now)
    assert excinfo.value.hint == "apt install git openssh-client"


def test_the_users_git_config_changes_nothing(
    release_store: ReleaseStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A global config that disables hooks and converts line endings, and variables of a calling git."""
    config = tmp_path / "gitconfig"
    config.write_text("[core]\n\thooksPath = /nowhere\n\tautocrlf = true\n[gpg]\n\tformat = openpgp\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    completed = release_store.deploy("good\r\n")

    assert (release_store.store.current / "model.txt").read_bytes() == b"good\r\n"
    assert installed_release(release_store.store) == completed.digest


def test_the_key_is_never_in_a_command_line(release_store: ReleaseStore) -> None:
    argvs: list[str] = []

    class RecordingPopen(subprocess.Popen[bytes]):
        def __init__(self, argv: list[str], **options: object) -> None:
            argvs.extend(argv)
            super().__init__(argv, **options)  # type: ignore[call-overload]

    with pytest.MonkeyPatch.context() as patch:  # for the whole process: whichever module starts the program
        patch.setattr(subprocess, "Popen", RecordingPopen)
        release_store.deploy("good")

    secret = release_store.key.read_text().splitlines()[1]
    assert argvs
    assert not any(secret in word for word in argvs)


def test_only_the_newest_five_bundles_stay_installed(release_store: ReleaseStore) -> None:
    digests = [release_store.deploy(f"good {number}").digest for number in range(6)]

    assert {path.name for path in (release_store.store.serving / "bundles").iterdir()} == set(digests[1:])


def test_importing_the_hook_imports_no_model_library() -> None:
    """It runs at every push and must start quickly; only the process that loads the model needs them."""
    heavy = {"pandas", "numpy", "sklearn", "lightgbm", "pyarrow", "stargaze.bundle.star_bundle"}
    code = "import sys, stargaze.serve.release.git_hooks; print(*sys.modules, sep='\\n')"
    completed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert heavy & set(completed.stdout.split()) == set()


# ---- the quality gate -----------------------------------------------------------------------------------------------------


def test_the_gate_gets_the_new_bundle_and_the_one_in_production(release_store: ReleaseStore) -> None:
    first, second = release_store.deploy("good 1"), release_store.add_bundle("good 2")
    compared: list[tuple[str, str]] = []

    def gate(challenger: Path, champion: Path) -> None:
        compared.append(((challenger / "model.txt").read_text(), (champion / "model.txt").read_text()))

    publish_release(release_store.section, release_store.store, now=release_store.now, digest=second, gate=gate)
    shutil.rmtree(release_store.store.serving / "bundles" / second)  # only the release repository has it now
    publish_release(release_store.section, release_store.store, now=release_store.now, digest=first.digest, gate=gate)

    assert compared == [("good 2", "good 1"), ("good 1", "good 2")]


def test_a_bundle_that_the_gate_refuses_needs_a_reason_which_is_recorded(release_store: ReleaseStore) -> None:
    release_store.deploy("good 1")
    before, second = release_store.state(), release_store.add_bundle("good 2")

    def gate(_: Path, champion: Path) -> None:
        raise DifferenceFoundError(f"worse than {champion.name[:12]}")

    def deploy_with(reason: str) -> Release:
        return publish_release(
            release_store.section,
            release_store.store,
            now=release_store.now,
            digest=second,
            gate=gate,
            force_reason=reason,
        )

    for empty in ("", " \n"):
        with pytest.raises(DifferenceFoundError):
            deploy_with(empty)
    assert release_store.state() == before
    assert deploy_with("a new target\x1b").force_reason == "a new target"
    assert list_releases(release_store.store)[0].force_reason == "a new target"
    assert "forced: a new target" in release_store.raw_git(
        "log", "-1", "--format=%B", f"{git.branch_tip(release_store.repository)}"
    )
