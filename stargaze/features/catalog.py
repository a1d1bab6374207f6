"""Every feature, in one order that does not depend on which module is imported first."""

from __future__ import annotations

from stargaze.features.encoding.encoder import LEARNED
from stargaze.features.extract import COMPUTED
from stargaze.features.registry import Feature

CATALOG: dict[str, Feature] = {**COMPUTED, **LEARNED}
"""Features computed from one record, then learned features. The result of the selection depends on this order."""


def allowed_features(policy: str) -> list[Feature]:
    """Return the features that a policy may use; each policy includes the one before."""
    order = ("static", "activity", "all")
    rank = order.index(policy)
    return [feature for feature in CATALOG.values() if order.index(feature.policy) <= rank]
