"""Who may release: the key that signs, and the list of signers that the hook believes."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from stargaze.artifacts import Store, outside_disk, replacing
from stargaze.config import DeploySection
from stargaze.errors import CredentialsError
from stargaze.serve import git

PRINCIPAL = "stargaze"


def signing_key(section: DeploySection, store: Store) -> Path:
    """Return the path of the key that signs releases: the configured one, or one that is made below the store."""
    if section.signing_key:
        return _configured(Path(section.signing_key).expanduser())
    key = store.keys / "release"
    if not key.is_file():
        _make(key)
    return key


def allowed_signers(store: Store) -> Path:
    """Return the path of the list of signers that the hook believes."""
    return store.keys / "allowed_signers"


def allow(key: Path, store: Store) -> None:
    """Put the key on the list of allowed signers; lines that are there already stay, also those of others."""
    path = allowed_signers(store)
    line = f'{PRINCIPAL} namespaces="git" {_public(key)}'
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    if line not in lines:
        with replacing(path) as temporary:
            temporary.write_text("\n".join([*lines, line]) + "\n", encoding="utf-8")


def _configured(key: Path) -> Path:
    if not key.is_file():
        raise CredentialsError(
            f"deploy.signing_key: {key} is not there", hint="leave deploy.signing_key empty and one is made"
        )
    if key.suffix != ".pub" and key.stat().st_mode & 0o077:
        raise CredentialsError(f"deploy.signing_key: others may read {key}", hint=f"chmod 600 {key}")
    return key.resolve()


def _make(key: Path) -> None:
    with outside_disk(key):
        key.parent.mkdir(parents=True, exist_ok=True)
        key.parent.chmod(0o700)
        # Beside it and renamed: after a crash there is no key without its public half.
        with tempfile.TemporaryDirectory(dir=key.parent) as folder:
            made = Path(folder, key.name)
            git.keygen("-q", "-t", "ed25519", "-N", "", "-C", "stargaze releases", "-f", str(made))
            shutil.move(made.with_suffix(".pub"), key.with_suffix(".pub"))
            made.rename(key)


def _public(key: Path) -> str:
    """Return type and key, without the comment."""
    public = key if key.suffix == ".pub" else key.with_name(f"{key.name}.pub")
    # -P "": a key with a passphrase fails here instead of asking; its public half beside it is enough.
    text = public.read_text(encoding="utf-8") if public.is_file() else git.keygen("-y", "-P", "", "-f", str(key))
    words = text.split()
    if len(words) < 2:
        raise CredentialsError(f"{public}: is not an ssh public key", hint=f"ssh-keygen -y -f {key} > {public}")
    return f"{words[0]} {words[1]}"
