"""A release on its way to the Swarm: what is done in which order, what is believed only when it was seen, and the way back.

Image and secrets come first, then the signed release, then the services; a step that fails puts back all that was changed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from stargaze.artifacts import Store, replacing
from stargaze.config import DeploySection, ServeSection
from stargaze.errors import MissingInputError, OutsideError, StargazeError
from stargaze.remote import Remote
from stargaze.serve import release, vault
from stargaze.serve.image import Engine, Recipe, Say, bring, ensured, suits
from stargaze.serve.judgement import is_as_sent
from stargaze.serve.parts import Wanted
from stargaze.serve.record import Release
from stargaze.serve.sending import introduce, send
from stargaze.serve.settings import Sources
from stargaze.serve.stack import mark_of, stack, written
from stargaze.serve.swarm import Surveyed, Swarm, on_each, survey
from stargaze.serve.watching import await_serving, await_well

Gate = Callable[[Path], None]
"""Looks at the bundle that is to be delivered, before anything is changed; raises a StargazeError to keep it out."""


@dataclass(frozen=True)
class Site:
    """Where to deliver to, and what the services are made from beside the section of ``deploy``."""

    production: tuple[Remote, ...]
    engine: Engine
    recipe: Recipe
    serve: ServeSection
    sources: Sources
    port: int
    """The page's, outside."""


@dataclass(frozen=True)
class Delivered:
    """What serves now, on which machines; ``changed`` is False where all of it did already."""

    release: Release
    image: str
    machines: tuple[str, ...]
    changed: bool
    seconds: float


def open_gate(_bundle: Path) -> None:
    """Let every bundle pass whose sums are right."""


def deploy(
    section: DeploySection,
    store: Store,
    site: Site,
    *,
    now: datetime,
    say: Say,
    digest: str | None = None,
    gate: Gate = open_gate,
) -> Delivered:
    """Have a bundle serve on every production machine, with the services that the config asks for.

    Raises
    ------
    StargazeError
        If it does not serve; what served before serves again, or the message says why that failed too.
    """
    began = time.monotonic()
    folder = release.chosen(store, digest)
    gate(folder)
    machines, swarm = surveyed(site)
    introduce(section, store, machines, say)
    whole, image = _prepared(section, site, machines, swarm, folder, say)
    made = release.deploy(section, store, now=now, digest=folder.name)
    try:
        changed = made.changed | _carry_out(section, store, machines, swarm, whole, made, say)
        await_serving(section, site.production, image, site.port, made.digest)
    except StargazeError as error:
        raise _put_back(section, store, site, swarm, made, error, now, say) from error
    keep(store, whole)
    return Delivered(made, image, tuple(one.remote.name for one in machines), changed, time.monotonic() - began)


def rollback(
    section: DeploySection, store: Store, site: Site, *, now: datetime, say: Say, to: str | None = None
) -> Delivered:
    """Return to the release before, or to a named one, on every production machine.

    The services stay as they are, unless they lack what that release wants.
    """
    began = time.monotonic()
    machines, swarm = surveyed(site)
    image = image_in_use(swarm)
    made = release.rollback(section, store, now=now, to=to)
    bundle = store.current.resolve()
    try:
        if suits(image, bundle):
            changed = made.changed | send(section, store, machines, made.digest)
        else:
            whole, image = _prepared(section, site, machines, swarm, bundle, say)
            changed = made.changed | _carry_out(section, store, machines, swarm, whole, made, say)
            keep(store, whole)
        await_serving(section, site.production, image, site.port, made.digest)
    except StargazeError as error:
        raise _put_back(section, store, site, swarm, made, error, now, say) from error
    return Delivered(made, image, tuple(one.remote.name for one in machines), changed, time.monotonic() - began)


def surveyed(site: Site) -> tuple[list[Surveyed], Swarm]:
    """Return the production machines as they stand, and the Swarm behind the first that manages it.

    Raises
    ------
    OutsideError
        If one does not answer, or none manages.
    """
    machines = on_each(site.production, survey)
    managers = [one.remote for one in machines if one.manages]
    if not managers:
        raise OutsideError("no production machine manages the Swarm", hint="stargaze infra configure --tags swarm")
    return machines, Swarm(managers[0])


def image_in_use(swarm: Swarm) -> str:
    """Return the image of the pages that run.

    Raises
    ------
    MissingInputError
        If there are none.
    """
    for service in swarm.services()[0]:
        if service["Spec"]["Name"].endswith("_web"):
            return str(service["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"])
    raise MissingInputError("nothing was deployed to the Swarm yet", hint="stargaze deploy")


def wanted_stack(
    section: DeploySection, site: Site, machines: list[Surveyed], image: str, secrets: int, behind: int
) -> dict[str, Any]:
    """Return the stack that the config asks for."""
    nodes = tuple(one.as_node() for one in machines)
    return stack(Wanted(section, site.serve, site.sources, image, site.port, secrets, behind, nodes))


def _prepared(
    section: DeploySection, site: Site, machines: list[Surveyed], swarm: Swarm, bundle: Path, say: Say
) -> tuple[dict[str, Any], str]:
    """Have image and secrets be there, which changes nothing that serves; return the stack and the image's name."""
    image = ensured(section, site.recipe, site.engine, machines, bundle, say)
    others = [section.broker_image, section.results_image]
    others += [section.flower_image] * section.flower + [section.prometheus_image] * section.prometheus
    for other in others:
        bring(other, site.engine, machines, say)
    secrets, behind = _secrets(swarm, say)
    if len(machines) >= 3 and vault.COOKIE not in swarm.secrets():
        swarm.keep_secret(vault.COOKIE, vault.cookie())
    return wanted_stack(section, site, machines, image, secrets, behind), image


def _secrets(swarm: Swarm, say: Say) -> tuple[int, int]:
    """Return the versions of the secrets in use, by page and workers and behind them; they are made before the first deploy."""
    services, _ = swarm.services()
    used = vault.in_use(services)
    if used:
        return used
    held = swarm.secrets()
    whole = vault.versions(held)
    if not whole:
        say("making secrets")
        whole = [vault.next_version(held)]
        for name, content in vault.made(whole[0]).items():
            swarm.keep_secret(name, content)
    return whole[-1], whole[-1]


def _carry_out(
    section: DeploySection,
    store: Store,
    machines: list[Surveyed],
    swarm: Swarm,
    whole: dict[str, Any],
    made: Release,
    say: Say,
) -> bool:
    """Send what is not there yet, release first, and wait until the services are well; say whether anything was sent."""
    changed = send(section, store, machines, made.digest)
    if changed:
        say(f"release {made.digest[:12]} is on every machine")
    if not is_as_sent(swarm.services()[0], whole):
        say("sending the services")
        apply(store, swarm, whole)
        changed = True
    await_well(section, swarm, whole, say)
    return changed


def apply(store: Store, swarm: Swarm, whole: dict[str, Any]) -> None:
    """Hand the stack to Swarm, and keep a copy under its digest."""
    with replacing(folder_of(store) / f"stack-{mark_of(whole)}.yml") as temporary:
        temporary.write_bytes(written(whole))
    swarm.keep_configs(whole["x-configs"])
    swarm.deploy(written(whole))


def folder_of(store: Store) -> Path:
    """Return where the stacks are kept that were sent."""
    return store.root / "delivery"


def keep(store: Store, whole: dict[str, Any]) -> None:
    """Remember the stack that is well as the one to return to."""
    with replacing(folder_of(store) / "stack.yml") as temporary:
        temporary.write_bytes(written(whole))


def kept(store: Store) -> dict[str, Any] | None:
    """Return the stack that was well last; None before the first."""
    path = folder_of(store) / "stack.yml"
    if not path.is_file():
        return None
    found: dict[str, Any] = json.loads(path.read_bytes())
    return found


def _put_back(
    section: DeploySection,
    store: Store,
    site: Site,
    swarm: Swarm,
    made: Release,
    error: StargazeError,
    now: datetime,
    say: Say,
) -> OutsideError:
    """Return to release and services as they were; return the error that says what failed and what serves now."""
    failed = f"release {made.digest[:12]} does not serve: {error.message}"
    before = kept(store)
    if before is None:
        return OutsideError(f"{failed}; nothing served before it", hint=error.hint or "stargaze status")
    say(f"{error.message}; putting back what was before")
    try:
        record = release.releases(store)
        if made.changed and len(record) > 1:
            made = release.rollback(section, store, now=now, to=record[1].digest)
        machines, _ = surveyed(site)
        send(section, store, machines, made.digest)
        if not is_as_sent(swarm.services()[0], before):
            apply(store, swarm, before)
        await_well(section, swarm, before, say)
        image = before["services"]["web"]["image"]
        await_serving(section, site.production, image, site.port, made.digest)
    except StargazeError as second:
        return OutsideError(f"{failed}; putting it back failed too: {second.message}", hint="stargaze status")
    return OutsideError(f"{failed}; release {made.digest[:12]} serves as before", hint=error.hint or "stargaze status")
