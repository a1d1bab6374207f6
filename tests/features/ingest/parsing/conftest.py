"""A file that is fetched with the command."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stargaze.features import schema
from tests.conftest import Ended


@dataclass(frozen=True)
class Fetched:
    """What the command printed, and the stored repositories in the order of their names."""

    ended: Ended
    table: pd.DataFrame

    def values(self, field: str) -> list[Any]:
        """Return the values of a field; None if unknown."""
        column = self.table[field].tolist()
        return [list(value) if hasattr(value, "tolist") else None if _is_missing(value) else value for value in column]


def _is_missing(value: Any) -> bool:
    return not isinstance(value, list) and bool(pd.isna(value))


@pytest.fixture
def fetch(run: Callable[..., Ended], tmp_path: Path) -> Callable[..., Fetched]:
    """Return a function that writes a file, fetches it with a mapping, and returns the result."""

    def fetch(name: str, content: str | bytes | pd.DataFrame, columns: str = "") -> Fetched:
        path = tmp_path / name
        if isinstance(content, pd.DataFrame):
            content.to_parquet(path)
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        (tmp_path / "stargaze.toml").write_text(f"[fetch.columns]\n{columns}\n" if columns else "")
        ended = run("fetch", "--from", path)
        stored = tmp_path / "store" / "repositories.parquet"
        table = pd.read_parquet(stored) if stored.exists() else pd.DataFrame()
        return Fetched(ended, schema.conform(table))

    return fetch
