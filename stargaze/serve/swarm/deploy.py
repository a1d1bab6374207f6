"""A release on its way to the Swarm: what is done in which order, what is believed only when it was seen, and the way back.

Image and secrets come first, then the signed release, then the services; a step that fails puts back all that was changed.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime

from stargaze.config import DeploySection
from stargaze.errors import ExternalError, StargazeError
from stargaze.serve.release.publish import (
    QualityGate,
    apply_release,
    open_release_repository,
    plan_deploy,
    plan_rollback,
    verified_bundle_folder,
)
from stargaze.serve.release.record import Release
from stargaze.serve.swarm.delivery_state import apply, arrived, begin, keep
from stargaze.serve.swarm.docker import NodeInfo, Swarm
from stargaze.serve.swarm.image import suits
from stargaze.serve.swarm.import_releases import catch_up
from stargaze.serve.swarm.production import Prepared, ProductionTarget, image_in_use, prepare_stack, reached, survey_all
from stargaze.serve.swarm.prune import sweep
from stargaze.serve.swarm.push_releases import send, trust_signing_key
from stargaze.serve.swarm.restore import restore, standing
from stargaze.serve.swarm.service_status import is_as_sent
from stargaze.serve.swarm.wait import await_serving, await_well
from stargaze.store import Store
from stargaze.system.progress import Notify


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
    site: ProductionTarget,
    *,
    now: datetime,
    say: Notify,
    digest: str | None = None,
    gate: QualityGate | None = None,
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
    bundle = verified_bundle_folder(store, digest)
    machines, swarm = survey_all(site)
    with open_release_repository(section, store) as repository:
        catch_up(repository, machines, say)
        plan = plan_deploy(repository, bundle, now=now, gate=gate, force_reason=forced)
        trust_signing_key(section, store, machines, say)
        ready = prepare_stack(section, site, machines, swarm, bundle, say)
        before = standing(store, ready.services)
        made = apply_release(repository, plan, now=now)
        begin(store, made.commit)
        try:
            changed = made.changed | _carry_out(section, store, machines, swarm, ready, made, say)
            await_serving(section, site.production, ready.image, site.port, made.digest)
        except StargazeError as error:
            raise restore(repository, site, before, made, error, now, say) from error
    keep(store, ready.whole)
    arrived(store)
    sweep(store, site, swarm, say)
    return Delivered(made, ready.image, tuple(one.remote.name for one in machines), changed, time.monotonic() - began)


def rollback(
    section: DeploySection, store: Store, site: ProductionTarget, *, now: datetime, say: Notify, to: str | None = None
) -> Delivered:
    """Return to the release before, or to a named one, on every production machine.

    The services stay as they are, unless they lack what that release wants. A machine that does not answer keeps the others from
    nothing.

    Raises
    ------
    StargazeError
        If it does not serve, as with `deploy`; or if it serves and a machine did not answer, which is told.
    """
    began = time.monotonic()
    found = reached(site.production)
    machines, swarm = found.machines, found.swarm
    with open_release_repository(section, store) as repository:
        catch_up(repository, machines, say)
        services = swarm.state().services
        image = image_in_use(services)
        before = standing(store, services)
        made = apply_release(repository, plan_rollback(repository, now=now, to=to), now=now)
        begin(store, made.commit)
        bundle = store.current.resolve()
        ready = None
        try:
            if suits(image, bundle):
                changed = made.changed | send(section, store, machines, made.digest)
            elif found.away:
                raise ExternalError(f"that release wants another image; {'; '.join(found.away)}")
            else:
                ready = prepare_stack(section, site, machines, swarm, bundle, say)
                changed = made.changed | _carry_out(section, store, machines, swarm, ready, made, say)
                image = ready.image
            await_serving(section, [one.remote for one in machines], image, site.port, made.digest)
        except StargazeError as error:
            raise restore(repository, site, before, made, error, now, say) from error
    if ready:
        keep(store, ready.whole)
    names = tuple(one.remote.name for one in machines)
    if found.away:
        raise ExternalError(
            f"release {made.digest[:12]} serves again on {', '.join(names)}; {'; '.join(found.away)}",
            hint=f"once it is back: stargaze deploy {made.digest[:12]}",
        )
    arrived(store)
    return Delivered(made, image, names, changed, time.monotonic() - began)


def _carry_out(
    section: DeploySection,
    store: Store,
    machines: list[NodeInfo],
    swarm: Swarm,
    ready: Prepared,
    made: Release,
    say: Notify,
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
