"""The release repository: a bare git repository, its hooks and their policy, the signing keys, and the files of a release."""

from __future__ import annotations

import json
import re
import shlex
import sys
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from stargaze.bundle import manifest
from stargaze.config import DeploySection
from stargaze.errors import CredentialsError, ExternalError
from stargaze.serve.release import git
from stargaze.serve.release.sandbox import clean_environment
from stargaze.serve.release.signers import add_lines
from stargaze.store import Store
from stargaze.system.files import atomic_write, convert_disk_errors, restrict_mode, write_json
from stargaze.system.locks import TEMPORARY_NAME, remove_stale
from stargaze.system.ssh_keys import configured_key, create_key, public_key

POLICY_FILE = "stargaze.json"
QUARANTINE_FOLDER = re.compile(r"tmp_objdir-.+|incoming-.+")
"""The folder in which git stores the objects of a push until the hook accepts it; a killed git does not remove it."""
HOOKS = ("pre-receive", "post-receive")
PROGRAM_MODE = 0o755
HOOK_PROGRAM = (sys.executable, "-P", "-m", "stargaze.serve.release.git_hooks")
VERIFY_PROGRAM = (sys.executable, "-P", "-m", "stargaze.serve.web.verify_bundle")
"""Uses a bundle as page and worker will; a program of a higher layer, named and not imported."""
SUDO = "/usr/bin/sudo"
PRINCIPAL = "stargaze"
BUNDLE_FOLDER = "bundle"


@dataclass(frozen=True)
class HookPolicy:
    """The rules that the hooks of one repository enforce; a pusher cannot change them."""

    serving: Path
    allowed_signers: Path
    max_bytes: int = 200_000_000
    max_files: int = manifest.MAX_FILES + 1  # in a bundle, including its manifest; a real one has six to twenty
    max_releases: int = 100  # in one push
    max_installed: int = 5  # bundles that stay installed, for a rollback without a copy
    load_timeout: float = 60.0  # [s] for loading the model; a real one takes about 3
    load_megabytes: int = 4096  # [MB] of address space for loading; the libraries alone reserve about 1800
    verify_command: tuple[str, ...] = VERIFY_PROGRAM

    @classmethod
    def for_store(cls, store: Store, max_size: float, verify_with: Path | None = None) -> HookPolicy:
        """Return the policy of a store's repository, for releases of up to ``max_size`` [MB].

        ``verify_with`` is a program that sudo may run and that verifies a bundle under another account.
        """
        policy = cls(store.serving, allowed_signers_file(store), max_bytes=int(max_size * 1e6))
        return replace(policy, verify_command=(SUDO, "-n", str(verify_with))) if verify_with else policy


def prepare_repository(path: Path, policy: HookPolicy) -> git.Repository:
    """Create or update the repository at ``path`` so that its hooks enforce the policy.

    Only serving folder, allowed signers and size are overwritten in ``stargaze.json``: an operator may set other keys.
    """
    with convert_disk_errors(path):
        path.mkdir(parents=True, exist_ok=True)
        # Only deploy writes the config, one process at a time: a killed one left this lock.
        (path / "config.lock").unlink(missing_ok=True)
        repository = git.init_bare(path, _git_config(policy))
        _check_hooks(path / "hooks")
        for folder in (path, path / "hooks"):  # an earlier version created them with the user's umask
            folder.mkdir(exist_ok=True)
            restrict_mode(folder, PROGRAM_MODE)
        for name in HOOKS:
            _write_program(path / "hooks" / name, _hook_script(name))
        paths = {name: str(getattr(policy, name).resolve()) for name in ("serving", "allowed_signers")}
        values: dict[str, Any] = {**paths, "max_bytes": policy.max_bytes}
        if policy.verify_command != HookPolicy.verify_command:
            values["verify_command"] = list(policy.verify_command)
        write_json(path / POLICY_FILE, _read_object(path / POLICY_FILE) | values)
        now = (path / POLICY_FILE).stat().st_mtime
        remove_stale(path / "objects", QUARANTINE_FOLDER, now=now)
        remove_stale(policy.serving, TEMPORARY_NAME, now=now)
    return repository


def _check_hooks(folder: Path) -> None:
    """Raise ExternalError if the repository has other hooks than those of stargaze: git would run them."""
    present = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    foreign = sorted(name for name in present - set(HOOKS) if "." not in name)
    if foreign:
        raise ExternalError(f"{folder / foreign[0]} is not a hook of stargaze", hint=f"rm {folder / foreign[0]}")


def read_policy(path: Path) -> HookPolicy:
    """Read the policy of the repository at ``path``."""
    values = _read_object(path / POLICY_FILE)
    unknown = sorted(set(values) - {field.name for field in fields(HookPolicy)})
    if unknown:
        raise ExternalError(f"{path / POLICY_FILE}: unknown keys: {', '.join(unknown)}", hint="remove them")
    types = {"serving": Path, "allowed_signers": Path, "verify_command": tuple}
    try:
        return HookPolicy(**{name: types[name](value) if name in types else value for name, value in values.items()})
    except TypeError as error:
        message = f"{path / POLICY_FILE}: is incomplete: {error}"
        raise ExternalError(message, hint="stargaze deploy writes it again") from error


def _git_config(policy: HookPolicy) -> dict[str, str]:
    return {
        # A user's own core.hooksPath would disable our hooks.
        "core.hooksPath": "hooks",
        "core.compression": "1",
        "core.sharedRepository": git.SHARED_MODE,
        "core.fsync": "committed,reference",
        # Larger blobs are streamed, so a file that unpacks to gigabytes does not fill the memory.
        "core.bigFileThreshold": "16m",
        # An approximate limit before anything is unpacked; the hook counts exactly and reports it better.
        "receive.maxInputSize": str(2 * policy.max_bytes),
        "receive.fsckObjects": "true",
        "receive.denyDeletes": "true",
        "receive.denyNonFastForwards": "true",
    }


def _hook_script(name: str) -> str:
    fixed = [f"{key}={shlex.quote(value)}" for key, value in clean_environment().items()]
    passed = [f'{key}="${key}"' for key in git.QUARANTINE_VARIABLES]
    command = " ".join(["exec", "env", "-i", *fixed, *passed, shlex.join([*HOOK_PROGRAM, name])])
    comment = "# Written by `stargaze deploy`. Only git's quarantine variables are taken from the environment."
    return f"#!/bin/sh\n{comment}\n{command}\n"


def _write_program(path: Path, text: str) -> None:
    """Write an executable in one rename: a hook that is missing or not executable for a moment accepts any push."""
    if path.is_file() and path.stat().st_mode & 0o777 == PROGRAM_MODE and path.read_text(encoding="utf-8") == text:
        return
    with atomic_write(path, PROGRAM_MODE) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _read_object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        message = f"{path}: cannot be read: {error}"
        raise ExternalError(message, hint=f"rm {path}; stargaze deploy writes it again") from error
    return value if isinstance(value, dict) else {}


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
    add_allowed_signer(signer_line(key), store)


def add_allowed_signer(line: str, store: Store) -> None:
    """Add a line to the store's allowed signers; existing lines stay."""
    add_lines(allowed_signers_file(store), [line])


def signer_line(key: Path) -> str:
    """Return the key's line for ssh's allowed signers file."""
    public = key if key.suffix == ".pub" else key.with_name(f"{key.name}.pub")
    # The public file suffices for a key with a passphrase.
    text = public.read_text(encoding="utf-8") if public.is_file() else public_key(key)
    parts = text.split()
    if len(parts) < 2:
        raise CredentialsError(f"{public}: is not an ssh public key", hint=f"ssh-keygen -y -f {key} > {public}")
    return f'{PRINCIPAL} namespaces="git" {parts[0]} {parts[1]}'


class RefusedError(ExternalError):
    """The hook refused a release; the previous one stays in production."""

    code = "release_refused"
