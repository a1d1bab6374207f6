"""The place that releases are pushed to: a bare repository, its two hooks, and the rules that the hooks go by."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import stargaze
from stargaze.bundle import manifest
from stargaze.errors import ExternalError
from stargaze.serve.release import git
from stargaze.system.files import atomic_write, convert_disk_errors, write_json
from stargaze.system.locks import TEMPORARY, sweep

FILE = "stargaze.json"
QUARANTINE = re.compile(r"tmp_objdir-.+|incoming-.+")
"""Where git keeps the objects of a push until the hook has let it in; a killed git leaves it."""
HOOKS = ("pre-receive", "post-receive")
PACKAGE_ROOT = Path(stargaze.__file__).resolve().parent.parent


@dataclass(frozen=True)
class HookPolicy:
    """What the hook of one repository goes by; the pusher has no say in it."""

    serving: Path
    allowed_signers: Path
    max_bytes: int = 200_000_000
    max_files: int = manifest.MOST_FILES + 1  # in a bundle, its manifest among them; a real one has six to twenty
    max_releases: int = 100  # in one push
    keep: int = 5  # bundles that stay installed, for a rollback without a copy
    seconds: float = 60.0  # for loading the model; a real one takes about 3
    megabytes: int = 4096  # of address space for the same; the libraries alone reserve about 1800
    verify: tuple[str, ...] = (sys.executable, "-P", "-m", "stargaze.serve.release.git_hooks", "verify")


def prepare(path: Path, rules: HookPolicy) -> git.Repository:
    """Return the repository at ``path``, made or brought up to date so that pushes to it obey these rules.

    What an operator added to its ``stargaze.json`` stays: only the serving folder, the signers and the size are ours.
    """
    with convert_disk_errors(path):
        path.mkdir(parents=True, exist_ok=True)
        # Only deploy writes the config, one at a time: a lock on it is what a killed one left.
        (path / "config.lock").unlink(missing_ok=True)
        repository = git.make(path, _config(rules))
        for name in HOOKS:
            _write_program(path / "hooks" / name, _hook(name))
        ours = {name: str(getattr(rules, name).resolve()) for name in ("serving", "allowed_signers")}
        write_json(path / FILE, _read(path / FILE) | ours | {"max_bytes": rules.max_bytes})
        now = (path / FILE).stat().st_mtime
        sweep(path / "objects", QUARANTINE, now=now)
        sweep(rules.serving, TEMPORARY, now=now)
    return repository


def read_rules(path: Path) -> HookPolicy:
    """Read the rules of the repository at ``path``."""
    values = _read(path / FILE)
    try:
        for name, kind in {"serving": Path, "allowed_signers": Path, "verify": tuple}.items():
            if name in values or name != "verify":
                values[name] = kind(values[name])
        return HookPolicy(**values)
    except (KeyError, TypeError) as error:
        raise ExternalError(
            f"{path / FILE}: is not complete: {error}", hint="stargaze deploy writes it anew"
        ) from error


def command_environment() -> dict[str, str]:
    """Return the whole environment of a process that the hook starts: nothing of whoever pushes."""
    return {"PATH": os.environ.get("PATH", os.defpath), "PYTHONPATH": str(PACKAGE_ROOT)}


def _config(rules: HookPolicy) -> dict[str, str]:
    return {
        # A user's own core.hooksPath would switch our hooks off.
        "core.hooksPath": "hooks",
        "core.compression": "1",
        "core.fsync": "committed,reference",
        # Larger blobs are streamed, so a file that unpacks to gigabytes does not fill the memory.
        "core.bigFileThreshold": "16m",
        # Roughly, and before anything is unpacked; the hook then counts exactly and says it better.
        "receive.maxInputSize": str(2 * rules.max_bytes),
        "receive.fsckObjects": "true",
        "receive.denyDeletes": "true",
        "receive.denyNonFastForwards": "true",
    }


def _hook(name: str) -> str:
    fixed = [f"{key}={shlex.quote(value)}" for key, value in command_environment().items()]
    passed = [f'{key}="${key}"' for key in git.QUARANTINE]
    program = [shlex.quote(sys.executable), "-P", "-m", "stargaze.serve.release.git_hooks", name]
    return "\n".join(
        [
            "#!/bin/sh",
            "# Written by `stargaze deploy`. Only git's word on where this push lies comes from outside.",
            " ".join(["exec", "env", "-i", *fixed, *passed, *program]),
            "",
        ]
    )


def _write_program(path: Path, text: str) -> None:
    """Write an executable in one rename: a hook that is missing or not executable for a moment lets anything in."""
    if path.is_file() and os.access(path, os.X_OK) and path.read_text(encoding="utf-8") == text:
        return
    with atomic_write(path, 0o755) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ExternalError(
            f"{path}: cannot be read: {error}", hint=f"rm {path}; stargaze deploy writes it anew"
        ) from error
    return value if isinstance(value, dict) else {}
