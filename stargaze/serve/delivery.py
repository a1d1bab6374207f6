"""A release on its way to the Swarm: what is done in which order, what is believed only when it was seen, and the way back.

Image and secrets come first, then the signed release, then the services; a step that fails puts back all that was changed.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime

from stargaze.artifacts import Store
from stargaze.config import DeploySection
from stargaze.errors import OutsideError, StargazeError
from stargaze.serve import release
from stargaze.serve.image import Say, suits
from stargaze.serve.judgement import is_as_sent
from stargaze.serve.record import Release, printable
from stargaze.serve.sending import introduce, send
from stargaze.serve.site import Prepared, Site, image_in_use, prepared, surveyed
from stargaze.serve.stacks import apply, keep, kept
from stargaze.serve.swarm import Surveyed, Swarm
from stargaze.serve.watching import await_serving, await_well


@dataclass(frozen=True)
class Delivered:
    """What serves now, on which machines; ``changed`` is False where all of it did already."""

    release: Release
    image: str
    machines: tuple[str, ...]
    changed: bool
    seconds: float


def deploy(
    section: DeploySection,
    store: Store,
    site: Site,
    *,
    now: datetime,
    say: Say,
    digest: str | None = None,
    gate: release.Gate | None = None,
    forced: str = "",
) -> Delivered:
    """Have a bundle serve on every production machine, with the services that the config asks for.

    One that the ``gate`` would not let through goes with ``forced``, the reason.

    Raises
    ------
    StargazeError
        If it does not serve; what served before serves again, or the message says why that failed too.
    """
    began = time.monotonic()
    folder = release.chosen(store, digest)
    if gate and not printable(forced):
        release.weigh(section, store, folder, gate)
    machines, swarm = surveyed(site)
    introduce(section, store, machines, say)
    ready = prepared(section, site, machines, swarm, folder, say)
    stood = release.releases(store)[:1]
    made = release.deploy(section, store, now=now, digest=folder.name, forced=forced)
    try:
        changed = made.changed | _carry_out(section, store, machines, swarm, ready, made, say)
        await_serving(section, site.production, ready.image, site.port, made.digest)
    except StargazeError as error:
        raise _put_back(section, store, site, swarm, made, stood, error, now, say) from error
    keep(store, ready.whole)
    return Delivered(made, ready.image, tuple(one.remote.name for one in machines), changed, time.monotonic() - began)


def rollback(
    section: DeploySection, store: Store, site: Site, *, now: datetime, say: Say, to: str | None = None
) -> Delivered:
    """Return to the release before, or to a named one, on every production machine.

    The services stay as they are, unless they lack what that release wants.
    """
    began = time.monotonic()
    machines, swarm = surveyed(site)
    image = image_in_use(swarm.state().services)
    stood = release.releases(store)[:1]
    made = release.rollback(section, store, now=now, to=to)
    bundle = store.current.resolve()
    try:
        if suits(image, bundle):
            changed = made.changed | send(section, store, machines, made.digest)
        else:
            ready = prepared(section, site, machines, swarm, bundle, say)
            changed = made.changed | _carry_out(section, store, machines, swarm, ready, made, say)
            keep(store, ready.whole)
            image = ready.image
        await_serving(section, site.production, image, site.port, made.digest)
    except StargazeError as error:
        raise _put_back(section, store, site, swarm, made, stood, error, now, say) from error
    return Delivered(made, image, tuple(one.remote.name for one in machines), changed, time.monotonic() - began)


def _carry_out(
    section: DeploySection,
    store: Store,
    machines: list[Surveyed],
    swarm: Swarm,
    ready: Prepared,
    made: Release,
    say: Say,
) -> bool:
    """Send what is not there yet, release first, and wait until the services are well; say whether anything was sent."""
    changed = send(section, store, machines, made.digest)
    if changed:
        say(f"release {made.digest[:12]} is on every machine")
    if not is_as_sent(ready.services, ready.whole):
        say("sending the services")
        apply(store, swarm, ready.whole)
        changed = True
    await_well(section, swarm, ready.whole, say)
    return changed


def _put_back(
    section: DeploySection,
    store: Store,
    site: Site,
    swarm: Swarm,
    made: Release,
    stood: list[Release],
    error: StargazeError,
    now: datetime,
    say: Say,
) -> OutsideError:
    """Return to services and release (``stood``) as they were; return the error that says what failed and what serves now."""
    failed = f"release {made.digest[:12]} does not serve: {error.message}"
    before = kept(store)
    if before is None:
        return OutsideError(f"{failed}; nothing served before it", hint=error.hint or "stargaze status")
    say(f"{error.message}; putting back what was before")
    try:
        if stood and made.commit != stood[0].commit:
            made = release.rollback(section, store, now=now, to=stood[0].digest)
        machines, _ = surveyed(site)
        send(section, store, machines, made.digest)
        if not is_as_sent(swarm.state().services, before):
            apply(store, swarm, before)
        await_well(section, swarm, before, say)
        image = before["services"]["web"]["image"]
        await_serving(section, site.production, image, site.port, made.digest)
    except StargazeError as second:
        return OutsideError(f"{failed}; putting it back failed too: {second.message}", hint="stargaze status")
    return OutsideError(f"{failed}; release {made.digest[:12]} serves as before", hint=error.hint or "stargaze status")
