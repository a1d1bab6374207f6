"""The stacks that were sent: each is kept under its digest, and the last that was seen to be well is the one to return to.

So with releases: one that was sent and never seen to serve, because its delivery was ended, is not.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from stargaze.serve.stack.compose import mark_of, written
from stargaze.serve.swarm.docker import Swarm
from stargaze.store import Store
from stargaze.system.files import atomic_write


def apply(store: Store, swarm: Swarm, whole: dict[str, Any]) -> None:
    """Hand the stack to Swarm, and keep a copy under its digest."""
    with atomic_write(folder_of(store) / f"stack-{mark_of(whole)}.yml") as temporary:
        temporary.write_bytes(written(whole))
    swarm.keep_configs(whole["x-configs"])
    swarm.deploy(written(whole))


def sent(store: Store) -> list[Path]:
    """Return the copies of the stacks that were sent, newest first."""
    found = folder_of(store).glob("stack-*.yml")
    return sorted(found, key=lambda path: path.stat().st_mtime_ns, reverse=True)


def folder_of(store: Store) -> Path:
    """Return where the stacks are kept that were sent."""
    return store.root / "delivery"


def keep(store: Store, whole: dict[str, Any]) -> None:
    """Remember the stack that is well as the one to return to."""
    with atomic_write(folder_of(store) / "stack.yml") as temporary:
        temporary.write_bytes(written(whole))


def kept(store: Store) -> dict[str, Any] | None:
    """Return the stack that was well last; None before the first."""
    path = folder_of(store) / "stack.yml"
    if not path.is_file():
        return None
    found: dict[str, Any] = json.loads(path.read_bytes())
    return found


def underway(store: Store) -> list[str]:
    """Return the commits of the releases that were sent and not seen to serve."""
    path = folder_of(store) / "underway"
    return path.read_text(encoding="ascii").split() if path.is_file() else []


def begin(store: Store, commit: str) -> None:
    """Note that a release is on its way: until it is seen to serve it is none to return to."""
    known = underway(store)
    if commit not in known:
        with atomic_write(folder_of(store) / "underway") as temporary:
            temporary.write_text("\n".join([*known, commit]), encoding="ascii")


def arrived(store: Store) -> None:
    """Note that the newest release was seen to serve on every machine."""
    (folder_of(store) / "underway").unlink(missing_ok=True)
