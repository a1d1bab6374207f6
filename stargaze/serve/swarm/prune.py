"""What deliveries leave behind: images of code that is no more, configs of Swarm, and stacks that were sent; the old ones go."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stargaze.errors import StargazeError
from stargaze.serve.stack.backing_services import CONFIG
from stargaze.serve.swarm.delivery_state import kept, sent
from stargaze.serve.swarm.docker import Swarm
from stargaze.serve.swarm.image import Engine, is_ours
from stargaze.serve.swarm.production import ProductionTarget
from stargaze.store import Store
from stargaze.system.parallel import map_in_threads
from stargaze.system.process import checked_output
from stargaze.system.progress import Notify

KEPT = 3
"""Stacks that stay, and images: the one that runs, the one before it, and one more."""


@dataclass(frozen=True)
class Needs:
    """What a stack cannot do without."""

    image: str
    configs: frozenset[str]


def stale_stacks(newest_first: Sequence[Path]) -> Sequence[Path]:
    """Return the stacks that go."""
    return newest_first[KEPT:]


def stale_configs(held: Collection[str], stacks: Sequence[Needs]) -> list[str]:
    """Return the configs of ours that no stack needs which stays; the first of ``stacks`` runs, the others were before it."""
    needed = frozenset[str]().union(*(one.configs for one in stacks[: KEPT + 1]))
    return sorted(name for name in held if CONFIG.fullmatch(name) and name not in needed)


def stale_images(held: Collection[str], in_use: Collection[str], stacks: Sequence[Needs]) -> list[str]:
    """Return the images of ours that go from an engine: no container is of them, and no stack of late was.

    Three different ones stay, however many stacks were of one: the release before may want another than all of these.
    """
    needed = {*in_use, *list(dict.fromkeys(one.image for one in stacks))[:KEPT]}
    return sorted(name for name in held if is_ours(name) and name not in needed)


def sweep(store: Store, site: ProductionTarget, swarm: Swarm, say: Notify) -> None:
    """Remove what no delivery returns to, after one that succeeded; what cannot be removed is told, and is no error."""
    files = sent(store)
    stacks = [_needs(whole) for whole in (kept(store), *map(_read, files)) if whole]
    if not stacks:
        return
    builder = site.engine.remote.name if site.engine.remote else "this machine"
    engines = {builder: site.engine} | {remote.name: Engine(remote) for remote in site.production}
    map_in_threads(
        lambda name: _or_note(f"old images on {name}", lambda: _images(engines[name], stacks), say), list(engines)
    )
    _or_note("old configs", lambda: swarm.forget_configs(stale_configs(swarm.configs(), stacks)), say)
    for path in stale_stacks(files):
        _or_note(str(path), path.unlink, say)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None  # a file that nobody can return to
    return found if isinstance(found, dict) else None


def _needs(whole: dict[str, Any]) -> Needs:
    services = whole["services"]
    return Needs(str(services["web"]["image"]), frozenset(whole["configs"]))


def _images(engine: Engine, stacks: Sequence[Needs]) -> None:
    # A container that has ended counts too: Swarm keeps a few, and Docker removes no image under one.
    in_use = checked_output("docker ps", engine.ask(["ps", "--all", "--format", "{{.Image}}"])).decode().split()
    held = (
        checked_output("docker image ls", engine.ask(["image", "ls", "--format", "{{.Repository}}:{{.Tag}}"]))
        .decode()
        .split()
    )
    if stale := stale_images(held, in_use, stacks):
        checked_output("docker image rm", engine.ask(["image", "rm", *stale]))


def _or_note(what: str, remove: Callable[[], None], say: Notify) -> None:
    try:
        remove()
    except (StargazeError, OSError) as error:
        said = error.message if isinstance(error, StargazeError) else str(error)
        say(f"note: {what} cannot be removed: {said}")
