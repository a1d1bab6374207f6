"""The ssh key that signs releases, and the list of allowed signers that the hook checks."""

from __future__ import annotations

from pathlib import Path

from stargaze.config import DeploySection
from stargaze.errors import CredentialsError
from stargaze.store import Store
from stargaze.system.files import atomic_write
from stargaze.system.ssh_keys import configured_key, create_key, public_key

PRINCIPAL = "stargaze"


def signing_key(section: DeploySection, store: Store) -> Path:
    """Return the path of the signing key: the configured one, or one that is created in the store."""
    if section.signing_key:
        return configured_key(section.signing_key, "deploy.signing_key", public=True)
    key = store.keys / "release"
    if not key.is_file():
        create_key(key, "stargaze releases")
    return key


def allowed_signers_file(store: Store) -> Path:
    """Return the path of the list of allowed signers."""
    return store.keys / "allowed_signers"


def allow_signer(key: Path, store: Store) -> None:
    """Add the key to the store's allowed signers; existing lines stay."""
    path = allowed_signers_file(store)
    line = signer_line(key)
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    if line not in lines:
        with atomic_write(path) as temporary:
            temporary.write_text("\n".join([*lines, line]) + "\n", encoding="utf-8")


def signer_line(key: Path) -> str:
    """Return the key's line for ssh's allowed signers file."""
    public = key if key.suffix == ".pub" else key.with_name(f"{key.name}.pub")
    # The public file suffices for a key with a passphrase.
    text = public.read_text(encoding="utf-8") if public.is_file() else public_key(key)
    words = text.split()
    if len(words) < 2:
        raise CredentialsError(f"{public}: is not an ssh public key", hint=f"ssh-keygen -y -f {key} > {public}")
    return f'{PRINCIPAL} namespaces="git" {words[0]} {words[1]}'
