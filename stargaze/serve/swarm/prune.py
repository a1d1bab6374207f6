"""Delete old images, Swarm configs and stack files; the newest three are kept, and whatever is in use."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stargaze.errors import StargazeError
from stargaze.serve.stack.backing_services import CONFIG_NAME
from stargaze.serve.swarm.delivery_state import load_verified_stack, sent_stacks
from stargaze.serve.swarm.docker import Swarm
from stargaze.serve.swarm.image import is_serve_image
from stargaze.serve.swarm.production import ProductionTarget
from stargaze.store import Store
from stargaze.system.docker import DockerEngine
from stargaze.system.parallel import map_in_threads
from stargaze.system.progress import Notify

KEEP = 3
"""Stacks and images that stay: the current one, the previous one, and one more."""


@dataclass(frozen=True)
class StackReferences:
    """The image and the configs that a stack refers to."""

    image: str
    configs: frozenset[str]


def stale_configs(names: Collection[str], stacks: Sequence[StackReferences]) -> list[str]:
    """Return our configs to delete; the first of ``stacks`` runs, the others are earlier ones, newest first."""
    referenced = frozenset[str]().union(*(stack.configs for stack in stacks[: KEEP + 1]))
    return sorted(name for name in names if CONFIG_NAME.fullmatch(name) and name not in referenced)


def stale_images(names: Collection[str], in_use: Collection[str], stacks: Sequence[StackReferences]) -> list[str]:
    """Return our images to delete from an engine: neither used by a container nor one of the three newest different ones."""
    needed = {*in_use, *list(dict.fromkeys(stack.image for stack in stacks))[:KEEP]}
    return sorted(name for name in names if is_serve_image(name) and name not in needed)


def prune_deployments(store: Store, target: ProductionTarget, swarm: Swarm, notify: Notify) -> None:
    """Delete what no deploy returns to, after a successful one; a failure is reported and is no error."""
    files = sent_stacks(store)
    stacks = [_references(stack) for stack in (load_verified_stack(store), *map(_read, files)) if stack]
    if not stacks:
        return
    builder = target.engine.host.name if target.engine.host else ""
    engines = {builder: target.engine} | {host.name: DockerEngine(host) for host in target.hosts}
    map_in_threads(
        lambda engine: _try_delete("old images", lambda: _delete_images(engine, stacks), notify), list(engines.values())
    )
    _try_delete("old configs", lambda: swarm.remove_configs(stale_configs(swarm.list_configs(), stacks)), notify)
    for path in files[KEEP:]:
        _try_delete(str(path), path.unlink, notify)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        stack = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None  # an unreadable file cannot be restored either
    return stack if isinstance(stack, dict) else None


def _references(stack: dict[str, Any]) -> StackReferences:
    return StackReferences(str(stack["services"]["web"]["image"]), frozenset(stack["configs"]))


def _delete_images(engine: DockerEngine, stacks: Sequence[StackReferences]) -> None:
    # Ended containers count too: Swarm keeps a few, and Docker does not remove their images.
    in_use = engine.run(["ps", "--all", "--format", "{{.Image}}"]).decode().split()
    names = engine.run(["image", "ls", "--format", "{{.Repository}}:{{.Tag}}"]).decode().split()
    if stale := stale_images(names, in_use, stacks):
        engine.run(["image", "rm", *stale])


def _try_delete(description: str, delete: Callable[[], None], notify: Notify) -> None:
    try:
        delete()
    except (StargazeError, OSError) as error:
        reason = error.message if isinstance(error, StargazeError) else str(error)
        notify(f"note: {description} cannot be deleted: {reason}")
