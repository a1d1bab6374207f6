"""ssh keys: create them atomically, refuse those that others can read, derive public keys without a prompt."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from stargaze.errors import CredentialsError
from stargaze.system.files import convert_disk_errors
from stargaze.system.process import checked_output, run_program


def create_key(key: Path, comment: str) -> None:
    """Create a key pair without a passphrase in a folder that only its owner can read."""
    with convert_disk_errors(key):
        key.parent.mkdir(parents=True, exist_ok=True)
        key.parent.chmod(0o700)
        # The public key is moved first: a crash leaves no private key without it.
        with tempfile.TemporaryDirectory(dir=key.parent) as folder:
            temporary = Path(folder, key.name)
            run_ssh_keygen("-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(temporary))
            shutil.move(temporary.with_suffix(".pub"), key.with_suffix(".pub"))
            temporary.rename(key)


def configured_key(text: str, name: str, *, public: bool = False) -> Path:
    """Return the path of a key in the config if only its owner can read it; ``public`` allows a public key."""
    key = Path(text).expanduser()
    if not key.is_file():
        raise CredentialsError(f"{name}: {key} does not exist", hint=f"leave {name} empty to create one")
    if not (public and key.suffix == ".pub") and key.stat().st_mode & 0o077:
        raise CredentialsError(f"{name}: others can read {key}", hint=f"chmod 600 {key}")
    return key.resolve()


def public_key(key: Path) -> str:
    """Return the public key of a private key; a key with a passphrase fails instead of prompting."""
    return run_ssh_keygen("-y", "-P", "", "-f", str(key))


def run_ssh_keygen(*arguments: str) -> str:
    """Run ssh-keygen and return its output."""
    environment = {**os.environ, "LC_ALL": "C", "SSH_ASKPASS_REQUIRE": "never"}
    return checked_output("ssh-keygen", run_program("ssh-keygen", *arguments, environment=environment)).decode().strip()
