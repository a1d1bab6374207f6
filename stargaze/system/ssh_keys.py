"""ssh keys: made whole or not at all, read without a question, refused where others may read them."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from stargaze.errors import CredentialsError
from stargaze.system.files import convert_disk_errors
from stargaze.system.process import answer, good


def make(key: Path, comment: str) -> None:
    """Make a key without a passphrase, and its public half beside it, in a folder for its owner alone."""
    with convert_disk_errors(key):
        key.parent.mkdir(parents=True, exist_ok=True)
        key.parent.chmod(0o700)
        # Beside it and renamed: after a crash there is no key without its public half.
        with tempfile.TemporaryDirectory(dir=key.parent) as folder:
            made = Path(folder, key.name)
            keygen("-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(made))
            shutil.move(made.with_suffix(".pub"), key.with_suffix(".pub"))
            made.rename(key)


def configured(text: str, name: str, *, public: bool = False) -> Path:
    """Return the path of a key that the config names; ``public`` says whether a public half is enough.

    Raises
    ------
    CredentialsError
        If it is not there, or others may read it.
    """
    key = Path(text).expanduser()
    if not key.is_file():
        raise CredentialsError(f"{name}: {key} is not there", hint=f"leave {name} empty and one is made")
    if not (public and key.suffix == ".pub") and key.stat().st_mode & 0o077:
        raise CredentialsError(f"{name}: others may read {key}", hint=f"chmod 600 {key}")
    return key.resolve()


def derived(key: Path) -> str:
    """Return the public half of a private key; one with a passphrase fails here instead of asking."""
    return keygen("-y", "-P", "", "-f", str(key))


def keygen(*arguments: str) -> str:
    """Call ssh-keygen and return what it prints."""
    environment = {**os.environ, "LC_ALL": "C", "SSH_ASKPASS_REQUIRE": "never"}
    return good("ssh-keygen", answer("ssh-keygen", *arguments, environment=environment)).decode().strip()
