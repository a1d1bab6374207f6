"""Looking up repositories by name: the protocol, and the lookup among the repositories of a bundle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

import pandas as pd

from stargaze.bundle.star_bundle import Bundle
from stargaze.features.ingest.user_input import unknown_repositories
from stargaze.serve.prediction_request import ErrorDetails, error_details

Source = Literal["github", "known", "typed"]


@dataclass(frozen=True)
class LookupResult:
    """The rows that were found, and an error for each other name; names are in lower case.

    ``frame`` has the columns of the schema; ``rows`` maps names to its rows. ``source`` is "known" only for rows of the bundle,
    whose features are precomputed. ``notes`` are remarks for the visitor.
    """

    frame: pd.DataFrame
    rows: Mapping[str, int] = field(default_factory=dict)
    source: Mapping[str, Source] = field(default_factory=dict)
    notes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    errors: Mapping[str, ErrorDetails] = field(default_factory=dict)


class RepositoryLookup(Protocol):
    """Where the figures of a repository come from."""

    def find(self, names: Sequence[str], now: datetime) -> LookupResult:
        """Look all names up at once; a name that fails has an error in the result and raises nothing."""


@dataclass(frozen=True)
class BundledRepositories:
    """The repositories that a bundle contains, and no others."""

    bundle: Bundle

    def find(self, names: Sequence[str], now: datetime) -> LookupResult:
        """Look names up; the error of an unknown name suggests similar names."""
        spellings = {name.lower(): name for name in names}
        places = self.bundle.row_by_name
        found = [name for name in spellings if name in places]
        return LookupResult(
            self.bundle.known.iloc[[places[name] for name in found]],
            {name: row for row, name in enumerate(found)},
            dict.fromkeys(found, "known"),
            errors={
                name: error_details(unknown_repositories([spelling], self.bundle.known))
                for name, spelling in spellings.items()
                if name not in places
            },
        )
