"""Whole rows of the simulated GitHub, as a crawl with all details would write them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import pandas as pd

from stargaze.features import schema
from stargaze.features.github.api import graphql as queries
from stargaze.features.ingest import derive
from stargaze.features.ingest.field_mapping import map_record
from stargaze.features.ingest.validate import validate_columns
from tests.simulated import graphql
from tests.simulated.population import Population, node_id


def full_rows(population: Population, rows: Sequence[int], at: datetime) -> pd.DataFrame:
    """Return the records of these rows with counts, commits, subscribers and contributors, in their order."""
    details = [
        graphql.execute(population, kind.text, {"ids": [node_id(int(population.id[row])) for row in rows]})[0]["nodes"]
        for kind in queries.KINDS
    ]
    records = []
    for row, *nodes in zip(rows, *details, strict=True):
        counts = {
            "subscribers_count": int(population.subscribers[row]),
            "contributors_count": int(population.contributors[row]),
        }
        record = map_record({**population.record(row), **counts, "_collected_at": at.astimezone(UTC).isoformat()})
        for node in nodes:
            record |= queries.parse_fields(node)
        records.append(record)
    frame = pd.DataFrame(records, dtype="object")
    frame["has_homepage"] = derive.detect_homepages(frame["has_homepage"], frame["full_name"])
    valid, invalid = validate_columns(frame, at, required=("full_name", "stars"))
    assert not list(invalid)
    return schema.conform(derive.derive_fields(valid)).reset_index(drop=True)
