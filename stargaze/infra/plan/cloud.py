"""The protocol of a cloud: the operations that ``infra`` needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from stargaze.infra.plan.offers import Offers
from stargaze.infra.plan.resources import ActualResource, DesiredResource


class Cloud(Protocol):
    """A cloud that hosts the machines. Every method is safe to repeat and raises ExternalError or CredentialsError.

    A call that fails temporarily (429, 5xx, a dropped connection) is retried. A resource whose creation was not confirmed is
    looked up before it is created again.
    """

    @property
    def auth_host(self) -> str:
        """The host name of the cloud's identity service."""

    def offers(self) -> Offers:
        """Return the images, flavors, networks and quotas of the project."""

    def resources(self) -> tuple[ActualResource, ...]:
        """List all resources with the cluster's tag, and those that occupy a name it needs."""

    def create(self, resource: DesiredResource, ids: Mapping[str, str]) -> ActualResource:
        """Create a resource, or return the existing one; ``ids`` are those of its dependencies, by key."""

    def update(self, resource: DesiredResource, actual: ActualResource, ids: Mapping[str, str]) -> ActualResource:
        """Update a resource in place to match its spec."""

    def delete(self, resource: ActualResource) -> None:
        """Delete a resource and wait until it is gone; do nothing if it does not exist."""

    def servers(self) -> tuple[ActualResource, ...]:
        """List the cluster's servers."""

    def console_output(self, server_id: str) -> str:
        """Return the console output of a server; empty if there is none yet."""
