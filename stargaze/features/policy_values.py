"""Feature policies without a value of their own in a table: their models would predict like those of the narrower policy."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from stargaze.features.extract import extract
from stargaze.features.matrix import Catalog, catalog_with
from stargaze.features.own_columns import OwnColumn

_NARROWER = {"activity": "static", "all": "activity"}
_EXAMPLES = {
    "activity": "size_kb, commits, contributors, open_issues or releases",
    "all": "forks, subscribers, dependents or downloads",
}
"""Fields from which the features of a policy are computed, the usual ones."""
_NEVER_SELECTED = frozenset({"watchers"})
"""Equal to the stars."""


def warn_of_empty_policies(repositories: pd.DataFrame, own_columns: Sequence[OwnColumn] = ()) -> list[str]:
    """Return a warning for each policy of which no feature has a value, given all columns of the schema and own columns.

    Examples
    --------
    >>> from stargaze.features import schema
    >>> repositories = schema.conform(pd.DataFrame({"full_name": ["a/b"], "stars": [1], "commits": [7]}))
    >>> [warning.split(":")[0] for warning in warn_of_empty_policies(repositories)]
    ['the policy all has no feature of its own']
    """
    catalog = catalog_with(tuple(own_columns))
    filled = frozenset(name for name in repositories.columns if repositories[name].notna().any())
    return [
        f"the policy {policy} has no feature of its own: no record has {_EXAMPLES[policy]}; "
        f"its models would predict like those of {narrower}"
        for policy, narrower in _NARROWER.items()
        if not _has_value(policy, repositories, filled, catalog)
    ]


def _has_value(policy: str, repositories: pd.DataFrame, filled: frozenset[str], catalog: Catalog) -> bool:
    own = [item for item in catalog.values() if item.policy == policy and item.name not in _NEVER_SELECTED]
    if any(filled.issuperset(item.source) for item in own):
        return True
    names = [item.name for item in own if not item.learned and filled.intersection(item.source)]
    return bool(names) and bool(extract(repositories, names, catalog).notna().any(axis=None))
