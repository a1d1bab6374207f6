"""The files beside the list of allowed signers: revoked signers, and the releases that one of them had signed before.

A revoked signer is refused whatever date a commit has. The releases of the history stay accepted by their commit ids, so that a
new machine can receive it.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from stargaze.errors import UsageError
from stargaze.system.files import atomic_write

REVOKED_FILE = "revoked_signers"
ACCEPTED_FILE = "accepted_releases"
KEY_TYPES = ("ssh-", "ecdsa-", "sk-")


@dataclass(frozen=True)
class PublicKey:
    """An ssh public key without its comment."""

    kind: str
    blob: str

    def __str__(self) -> str:
        return f"{self.kind} {self.blob}"

    @property
    def fingerprint(self) -> str:
        """The fingerprint as ssh-keygen prints it."""
        digest = hashlib.sha256(base64.b64decode(self.blob)).digest()
        return f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"


def parse_public_key(line: str) -> PublicKey | None:
    """Return the key in a line of a public key file, of allowed signers or of authorized keys; None if there is none."""
    words = line.split()
    for kind, blob in pairwise(words):
        if kind.startswith(KEY_TYPES):
            try:
                decoded = base64.b64decode(blob, validate=True)
            except ValueError:
                continue
            if decoded[4:].startswith(kind.encode()):
                return PublicKey(kind, blob)
    return None


def read_public_key(path: Path) -> PublicKey:
    """Return the key of a public key file."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path}: cannot be read", hint="name the file of an ssh public key, as id_ed25519.pub"
        ) from error
    key = parse_public_key(text) if "PRIVATE" not in text else None
    if key is None:
        raise UsageError(f"{path}: is not an ssh public key", hint="name the file that ends with .pub")
    return key


def read_keys(path: Path) -> list[PublicKey]:
    """Return the keys in a file of lines."""
    return [key for line in read_lines(path) if (key := parse_public_key(line))]


def read_lines(path: Path) -> list[str]:
    """Return the lines of a file; none if it does not exist."""
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


def is_accepted(commit: str, allowed_signers: Path) -> bool:
    """Return whether a commit belongs to the history that was accepted before its signer was revoked."""
    return commit in read_lines(allowed_signers.with_name(ACCEPTED_FILE))


def accept_history(allowed_signers: Path, commits: Iterable[str]) -> None:
    """Keep accepting these commits after their signer is revoked."""
    add_lines(allowed_signers.with_name(ACCEPTED_FILE), commits)


def revoke_signer(key: PublicKey, allowed_signers: Path) -> None:
    """Refuse everything that a key signs from now on."""
    add_lines(allowed_signers.with_name(REVOKED_FILE), [str(key)])
    lines = read_lines(allowed_signers)
    remaining = [line for line in lines if parse_public_key(line) != key]
    if remaining != lines:
        _write_lines(allowed_signers, remaining)


def add_lines(path: Path, lines: Iterable[str]) -> None:
    """Add the lines that a file lacks, each once; existing lines stay."""
    before = read_lines(path)
    present = set(before)
    if missing := [line for line in dict.fromkeys(lines) if line not in present]:
        _write_lines(path, [*before, *missing])


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
