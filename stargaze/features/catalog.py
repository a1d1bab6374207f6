"""Every feature, in one order that does not depend on which module is imported first."""

from __future__ import annotations

from stargaze.features.encoding.encoder import LEARNED
from stargaze.features.extract import COMPUTED
from stargaze.features.registry import Feature

CATALOG: dict[str, Feature] = {**COMPUTED, **LEARNED}
"""First what is computed from a record alone, then what is learned from other rows: the selection depends on this order."""


def allowed_features(policy: str) -> list[Feature]:
    """Return the features a policy may use; each policy includes the one before."""
    order = ("static", "activity", "all")
    reach = order.index(policy)
    return [item for item in CATALOG.values() if order.index(item.policy) <= reach]
