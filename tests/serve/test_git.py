"""What git is asked, where the answer of the real git depends on how."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from stargaze.serve import git, signing

if TYPE_CHECKING:
    from tests.serve.conftest import Workshop

pytestmark = pytest.mark.real

BELIEVER = """#!/bin/sh
printf '\\n[GNUPG:] GOODSIG 0123456789ABCDEF me\\n[GNUPG:] VALIDSIG 0 0 0 0 0 0 0 0 0 0\\n[GNUPG:] TRUST_ULTIMATE 0\\n'
"""
"""A gpg whose keyring trusts whoever signed."""


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
