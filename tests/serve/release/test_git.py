"""What git is asked, where the answer of the real git depends on how."""

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

from stargaze.serve.release import git, signing
from stargaze.system.locks import STALE
from tests.waiting import wait_for

if TYPE_CHECKING:
    from tests.serve.conftest import Workshop

pytestmark = pytest.mark.real

BELIEVER = """#!/bin/sh
cat > /dev/null
printf '\\n[GNUPG:] GOODSIG 0123456789ABCDEF me\\n[GNUPG:] VALIDSIG 0 0 0 0 0 0 0 0 0 0\\n[GNUPG:] TRUST_ULTIMATE 0\\n'
"""
"""A gpg whose keyring trusts whoever signed."""

DEPLOY = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from stargaze.store import Store
from stargaze.config import DeploySection
from stargaze.serve.release import publish as release
from tests.waiting import wait_for
release.deploy(DeploySection(max_size=1.0), Store(Path(sys.argv[1])), now=datetime(2026, 3, 1, tzinfo=UTC))
"""


@pytest.mark.parametrize(("program", "kind"), [("gpg", "PGP SIGNATURE"), ("gpgsm", "SIGNED MESSAGE")])
def test_only_an_ssh_signature_is_looked_at(
    workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, kind: str
) -> None:
    """Git takes the verifier that the signature asks for; what this user's keyring trusts is no allowed signer."""
    believer = tmp_path / "programs" / program
    believer.parent.mkdir()
    believer.write_text(BELIEVER)
    believer.chmod(0o755)
    monkeypatch.setenv("PATH", f"{believer.parent}:{os.environ['PATH']}")
    signed = workshop.raw_git("cat-file", "commit", workshop.commit(workshop.files(workshop.bundle("good"))))
    end = signed.index("-----END SSH SIGNATURE-----") + 27
    header = f"gpgsig -----BEGIN {kind}-----\n \n AAAA\n -----END {kind}-----"
    raw = signed[: signed.index("gpgsig")] + header + signed[end:] + "\n"
    commit = workshop.raw_git("hash-object", "-t", "commit", "-w", "--stdin", stdin=raw.encode())

    workshop.raw_git("verify-commit", commit)  # git alone believes it
    assert not git.is_signed(workshop.clone, commit, signing.allowed_signers(workshop.store))


def test_ctrl_c_while_the_hook_loads_the_model_leaves_nothing_behind(workshop: Workshop) -> None:
    """No process, no objects of the push, no folder of the bundle; the next deploy goes in."""
    with deploying(workshop) as process:
        process.send_signal(signal.SIGINT)

        assert process.wait(30) == -signal.SIGINT
        assert loaders(workshop) == []
    assert list(workshop.store.releases.glob("objects/tmp_objdir-*")) == []
    assert list(workshop.store.root.rglob(".making-*")) == []
    assert workshop.deploy("good").changed


def test_a_hook_that_is_killed_takes_the_loader_with_it(workshop: Workshop) -> None:
    with deploying(workshop) as process:
        (loader,) = loaders(workshop)
        hook = int(Path(f"/proc/{loader}/stat").read_text().rpartition(")")[2].split()[1])

        os.kill(hook, signal.SIGKILL)

        assert process.wait(30) == 1
        wait_for(lambda: loaders(workshop) == [])


@pytest.mark.parametrize(("age", "stays"), [(STALE + 60.0, False), (0.0, True)])
def test_what_a_killed_push_left_goes_at_a_later_deploy(workshop: Workshop, age: float, stays: bool) -> None:
    """Not at once: another push may still be under way."""
    left = [
        workshop.store.releases / "objects" / "tmp_objdir-incoming-abc",
        workshop.store.serving / ".making-abcdefg1",
    ]
    for folder in left:
        (folder / "inside").mkdir(parents=True)
        os.utime(folder, (time.time() - age,) * 2)

    workshop.deploy("good")

    assert [folder.exists() for folder in left] == [stays, stays]


@contextlib.contextmanager
def deploying(workshop: Workshop) -> Iterator[subprocess.Popen[bytes]]:
    """Begin to deploy a model that never loads, up to the moment at which the hook tries to."""
    workshop.bundle("hang")
    command = [sys.executable, "-c", DEPLOY, str(workshop.store.root)]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        try:
            wait_for(lambda: loaders(workshop) != [])
            yield process
        finally:
            process.kill()


def loaders(workshop: Workshop) -> list[int]:
    """Return the processes that load a bundle for the hooks of this workshop."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"{workshop.store.serving.resolve()}/.making-" in (folder / "cmdline").read_text():
                found.append(int(folder.name))
    return found
