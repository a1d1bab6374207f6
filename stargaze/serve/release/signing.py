"""Who may release: the key that signs, and the list of signers that the hook believes."""

from __future__ import annotations

from pathlib import Path

from stargaze.config import DeploySection
from stargaze.errors import CredentialsError
from stargaze.store import Store
from stargaze.system import ssh_keys as sshkeys
from stargaze.system.files import atomic_write

PRINCIPAL = "stargaze"


def signing_key(section: DeploySection, store: Store) -> Path:
    """Return the path of the key that signs releases: the configured one, or one that is made below the store."""
    if section.signing_key:
        return sshkeys.configured(section.signing_key, "deploy.signing_key", public=True)
    key = store.keys / "release"
    if not key.is_file():
        sshkeys.make(key, "stargaze releases")
    return key


def allowed_signers(store: Store) -> Path:
    """Return the path of the list of signers that the hook believes."""
    return store.keys / "allowed_signers"


def allow(key: Path, store: Store) -> None:
    """Put the key on the list of allowed signers; lines that are there already stay, also those of others."""
    path = allowed_signers(store)
    line = line_of(key)
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    if line not in lines:
        with atomic_write(path) as temporary:
            temporary.write_text("\n".join([*lines, line]) + "\n", encoding="utf-8")


def line_of(key: Path) -> str:
    """Return how a key stands on the list."""
    return f'{PRINCIPAL} namespaces="git" {_public(key)}'


def _public(key: Path) -> str:
    """Return type and key, without the comment."""
    public = key if key.suffix == ".pub" else key.with_name(f"{key.name}.pub")
    # of a key with a passphrase the public half beside it is enough
    text = public.read_text(encoding="utf-8") if public.is_file() else sshkeys.derived(key)
    words = text.split()
    if len(words) < 2:
        raise CredentialsError(f"{public}: is not an ssh public key", hint=f"ssh-keygen -y -f {key} > {public}")
    return f"{words[0]} {words[1]}"
