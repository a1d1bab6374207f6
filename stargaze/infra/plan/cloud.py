"""The way to a cloud: what ``infra`` needs of it, and no more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from stargaze.infra.plan.offers import Offers
from stargaze.infra.plan.resources import ActualResource, DesiredResource


class Cloud(Protocol):
    """Where machines live. Every verb may be repeated safely; each raises ExternalError, or CredentialsError, in words.

    A call that the cloud refuses for the moment (429, 500, 503, a connection that drops) is tried again for a while; a thing
    that may have been made although the answer was lost is looked for before it is made again.
    """

    @property
    def server(self) -> str:
        """Name the host that answers for the cloud."""

    def offers(self) -> Offers:
        """Report what can be had, and how much of it is left."""

    def found(self) -> tuple[ActualResource, ...]:
        """List all that carries our mark, and what stands under a name that must be ours alone."""

    def make(self, resource: DesiredResource, ids: Mapping[str, str]) -> ActualResource:
        """Make a thing, or return the one that is there; ``ids`` are of what it needs, by key."""

    def mend(self, resource: DesiredResource, found: ActualResource, ids: Mapping[str, str]) -> ActualResource:
        """Change a thing that stands so that it is as wanted."""

    def remove(self, found: ActualResource) -> None:
        """Delete a thing and wait until it is gone; one that is gone already is no error."""

    def servers(self) -> tuple[ActualResource, ...]:
        """List our servers as they are now."""

    def console(self, server_id: str) -> str:
        """Return what a server wrote to its console; empty while it wrote nothing."""
