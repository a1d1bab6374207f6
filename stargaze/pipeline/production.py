"""The production target of the config: the machines of ``infra``, the image and the settings of ``serve``."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from stargaze.infra.hosts.host_list import find_ssh_hosts, read_hosts
from stargaze.infra.hosts.state_dir import open_state_dir
from stargaze.serve.runtime.settings import Sources
from stargaze.serve.swarm.production import ProductionTarget
from stargaze.system.docker import DockerEngine, ImageRecipe
from stargaze.system.locks import file_lock

if TYPE_CHECKING:
    from stargaze.config import Config
    from stargaze.store import Store


def lock_production(store: Store) -> AbstractContextManager[None]:
    """Let no other command of this store change production while the block runs, else BusyError."""
    busy = f"{store.root}: another command is changing production"
    return file_lock(store.root / "production.lock", busy=busy, hint="wait for it, or stargaze status")


def production_target(config: Config, store: Store) -> ProductionTarget:
    """Return the machines of production and how its image is built."""
    state_dir = open_state_dir(config.infra, store)
    builds_remotely = config.deploy.build_on == "development"
    builder = find_ssh_hosts(config.infra, state_dir, "development")[0] if builds_remotely else None
    return ProductionTarget(
        hosts=find_ssh_hosts(config.infra, state_dir, "production"),
        engine=DockerEngine(builder, alternative='deploy.build_on = "development" builds on the cluster'),
        recipe=ImageRecipe(config.screening.base_image, tuple(config.screening.build_options)),
        serve=config.serve,
        sources=Sources(config.github.api_url),
        port=config.infra.page_port,
    )


def page_addresses(config: Config, store: Store, target: ProductionTarget) -> list[str]:
    """Return the addresses of the page: that of the orchestration machine, else those of the production machines."""
    hosts = read_hosts(config.infra, open_state_dir(config.infra, store))
    proxies = [host.address for host in hosts if host.machine.role == "orchestration"]
    return [f"{address}:{target.port}" for address in proxies or [host.address for host in target.hosts]]
