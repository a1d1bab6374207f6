"""The local record of deploys in ``delivery/``: sent stacks, and which stack and releases are verified, so can be restored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from stargaze.serve.stack.compose import encode_stack, stack_digest
from stargaze.serve.swarm.docker import Swarm
from stargaze.store import Store
from stargaze.system.files import atomic_write, private_folder


def send_stack(store: Store, swarm: Swarm, stack: dict[str, Any]) -> None:
    """Deploy a stack to the Swarm and store a copy under its digest."""
    with atomic_write(private_folder(store.delivery) / f"stack-{stack_digest(stack)}.yml") as temporary:
        temporary.write_bytes(encode_stack(stack))
    swarm.deploy_stack(stack)


def sent_stacks(store: Store) -> list[Path]:
    """Return the copies of all stacks that were sent, newest first."""
    return sorted(store.delivery.glob("stack-*.yml"), key=lambda path: path.stat().st_mtime_ns, reverse=True)


def save_verified_stack(store: Store, stack: dict[str, Any]) -> None:
    """Record a stack whose services all run as the one to restore."""
    with atomic_write(private_folder(store.delivery) / "stack.yml") as temporary:
        temporary.write_bytes(encode_stack(stack))


def load_verified_stack(store: Store) -> dict[str, Any] | None:
    """Return the last verified stack; None before the first."""
    path = store.delivery / "stack.yml"
    if not path.is_file():
        return None
    stack: dict[str, Any] = json.loads(path.read_bytes())
    return stack


def unverified_releases(store: Store) -> list[str]:
    """Return the commits of the releases that were sent but not verified."""
    path = store.delivery / "unverified"
    return path.read_text(encoding="ascii").split() if path.is_file() else []


def mark_unverified(store: Store, commit: str) -> None:
    """Record that a release is being delivered; until it is verified it is not a rollback target."""
    commits = unverified_releases(store)
    if commit not in commits:
        with atomic_write(private_folder(store.delivery) / "unverified") as temporary:
            temporary.write_text("\n".join([*commits, commit]), encoding="ascii")


def clear_unverified(store: Store) -> None:
    """Record that every machine serves the newest release."""
    (store.delivery / "unverified").unlink(missing_ok=True)
