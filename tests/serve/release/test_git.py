"""Calls of the real git whose result depends on how git is called, and the cleanup after signals."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from stargaze.serve.release import git
from stargaze.serve.release.repository import allowed_signers_file
from stargaze.system.locks import STALE_AFTER
from tests.waiting import wait_for

if TYPE_CHECKING:
    from tests.serve.conftest import ReleaseStore

pytestmark = pytest.mark.real

TRUSTING_GPG = """#!/bin/sh
cat > /dev/null
printf '\\n[GNUPG:] GOODSIG 0123456789ABCDEF me\\n[GNUPG:] VALIDSIG 0 0 0 0 0 0 0 0 0 0\\n[GNUPG:] TRUST_ULTIMATE 0\\n'
"""
"""A gpg whose keyring trusts every signer."""

DEPLOY = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from stargaze.store import Store
from stargaze.config import DeploySection
from stargaze.serve.release.publish import publish_release
publish_release(DeploySection(max_release_size=1.0), Store(Path(sys.argv[1])), now=datetime(2026, 3, 1, tzinfo=UTC))
"""


@pytest.mark.parametrize(("program", "kind"), [("gpg", "PGP SIGNATURE"), ("gpgsm", "SIGNED MESSAGE")])
def test_only_ssh_signatures_are_verified(
    release_store: ReleaseStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, kind: str
) -> None:
    """The signature selects git's verifier; a key that this user's keyring trusts is not an allowed signer."""
    program_path = tmp_path / "programs" / program
    program_path.parent.mkdir()
    program_path.write_text(TRUSTING_GPG)
    program_path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program_path.parent}:{os.environ['PATH']}")
    signed = release_store.raw_git(
        "cat-file", "commit", release_store.commit(release_store.release_files(release_store.add_bundle("good")))
    )
    end = signed.index("-----END SSH SIGNATURE-----") + 27
    header = f"gpgsig -----BEGIN {kind}-----\n \n AAAA\n -----END {kind}-----"
    raw = signed[: signed.index("gpgsig")] + header + signed[end:] + "\n"
    commit = release_store.raw_git("hash-object", "-t", "commit", "-w", "--stdin", stdin=raw.encode())

    release_store.raw_git("verify-commit", commit)  # git alone accepts it
    assert not git.is_signed(release_store.clone, commit, allowed_signers_file(release_store.store))


def test_ctrl_c_while_the_hook_loads_the_model_leaves_nothing_behind(release_store: ReleaseStore) -> None:
    """No process, no objects of the push, no folder of the bundle; the next deploy is accepted."""
    with start_deploy(release_store) as process:
        process.send_signal(signal.SIGINT)

        assert process.wait(30) == -signal.SIGINT
        assert loader_pids(release_store) == []
    assert list(release_store.store.releases.glob("objects/tmp_objdir-*")) == []
    assert list(release_store.store.root.rglob(".partial-*")) == []
    assert release_store.deploy("good").changed


def test_the_loader_ends_when_its_hook_is_killed(release_store: ReleaseStore) -> None:
    with start_deploy(release_store) as process:
        (loader,) = loader_pids(release_store)
        hook = int(Path(f"/proc/{loader}/stat").read_text().rpartition(")")[2].split()[1])

        os.kill(hook, signal.SIGKILL)

        assert process.wait(30) == 1
        wait_for(lambda: loader_pids(release_store) == [])


@pytest.mark.parametrize(("age", "remains"), [(STALE_AFTER + 60.0, False), (0.0, True)])
def test_a_later_deploy_removes_what_a_killed_push_left(release_store: ReleaseStore, age: float, remains: bool) -> None:
    """Not at once: another push may still be running."""
    stale = [
        release_store.store.releases / "objects" / "tmp_objdir-incoming-abc",
        release_store.store.serving / ".partial-abcdefg1",
    ]
    for folder in stale:
        (folder / "inside").mkdir(parents=True)
        os.utime(folder, (time.time() - age,) * 2)

    release_store.deploy("good")

    assert [folder.exists() for folder in stale] == [remains, remains]


@contextlib.contextmanager
def start_deploy(release_store: ReleaseStore) -> Iterator[subprocess.Popen[bytes]]:
    """Start to deploy a model whose loading hangs, and wait until the hook loads it."""
    release_store.add_bundle("hang")
    command = [sys.executable, "-c", DEPLOY, str(release_store.store.root)]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        try:
            wait_for(lambda: loader_pids(release_store) != [])
            yield process
        finally:
            process.kill()


def loader_pids(release_store: ReleaseStore) -> list[int]:
    """Return the pids of the processes that load a bundle for the hooks of this store."""
    pids = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (folder / "cmdline").read_text()
            if f"{release_store.store.serving.resolve()}/.partial-" in command and "release.sandbox" not in command:
                pids.append(int(folder.name))  # the sandbox executes it, and has no command line at that moment
    return pids


@pytest.mark.parametrize("name", ["new\nline", os.fsdecode(b"no\xffutf"), 'quo"te\\', "#a: b"])
def test_objects_are_shared_whatever_the_path_of_the_repository(tmp_path: Path, name: str) -> None:
    for folder in (name, "scratch"):
        (tmp_path / folder).mkdir()
    repository = git.init_bare(tmp_path / name / "releases.git", {})
    blob = git.add_file(repository, b"content")

    scratch = git.with_alternates(repository, tmp_path / "scratch")

    assert git.read_objects(scratch, [blob]) == [b"content"]


@pytest.mark.parametrize("name", ["missing", "file"])
def test_a_release_is_signed_without_the_folder_that_tmpdir_names(
    release_store: ReleaseStore, tmp_path: Path, name: str
) -> None:
    release_store.add_bundle("good")
    (tmp_path / "file").touch()
    command = [sys.executable, "-c", DEPLOY, str(release_store.store.root)]

    subprocess.run(command, env={**os.environ, "TMPDIR": str(tmp_path / name)}, check=True)
