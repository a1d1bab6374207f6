"""Production as the config names it: its machines are those of ``infra``, what is brought there is ``serve``'s."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from stargaze.infra.hosts.host_list import find_ssh_hosts, read_hosts
from stargaze.infra.hosts.state_dir import open_state_dir
from stargaze.serve.runtime.settings import Sources
from stargaze.serve.swarm.image import Engine, Recipe
from stargaze.serve.swarm.production import ProductionTarget
from stargaze.system.locks import locked

if TYPE_CHECKING:
    from stargaze.config import Config
    from stargaze.store import Store


def alone(store: Store) -> AbstractContextManager[None]:
    """Change production inside the block, alone among the commands of this store: none takes back what another has just brought.

    Raises
    ------
    BusyError
        If another command changes it now.
    """
    busy = f"{store.root}: another command is changing production"
    return locked(store.root / "production.lock", busy=busy, hint="wait for it, or stargaze status")


def site_of(settings: Config, store: Store) -> ProductionTarget:
    """Return where production is and what it is built with, as the config says."""
    state_dir = open_state_dir(settings.infra, store)
    builder = None
    if settings.deploy.build_on == "development":
        builder = find_ssh_hosts(settings.infra, state_dir, "development")[0]
    return ProductionTarget(
        production=find_ssh_hosts(settings.infra, state_dir, "production"),
        engine=Engine(builder),
        recipe=Recipe(settings.screening.base_image, tuple(settings.screening.build_options)),
        serve=settings.serve,
        sources=Sources(settings.github.api_url),
        port=settings.infra.page_port,
    )


def pages_of(settings: Config, store: Store, site: ProductionTarget) -> list[str]:
    """Return where visitors find the page: at the machine that faces outside, where there is one."""
    state_dir = open_state_dir(settings.infra, store)
    outside = [one for one in read_hosts(settings.infra, state_dir) if one.machine.role == "orchestration"]
    addresses = [one.address for one in outside] or [one.address for one in site.production]
    return [f"{address}:{site.port}" for address in addresses]
