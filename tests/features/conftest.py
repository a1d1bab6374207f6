"""Made-up repositories that look like real ones, for tests that need many and know why each is as it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import settings

from stargaze.features import schema

settings.register_profile("busy", deadline=None)  # other programs on the machine are no fault of the code
settings.load_profile("busy")

Plausible = Callable[..., pd.DataFrame]
COLLECTED = pd.Timestamp("2025-06-01", tz="UTC")


@pytest.fixture(scope="session")
def plausible() -> Plausible:
    """Make n repositories by a seed; keyword arguments replace columns."""
    return _plausible


def _plausible(n: int = 300, seed: int = 0, **columns: Any) -> pd.DataFrame:
    """Let what people do follow a popularity that nobody sees, each with noise of its own."""
    random = np.random.default_rng(seed)
    fame = random.normal(2.0, 1.5, n)

    def count(share: float, noise: float = 0.7) -> np.ndarray:
        return np.floor(np.exp(np.clip(fame * share + random.normal(0.0, noise, n), -1.0, 12.0)))

    age = random.integers(100, 4000, n)
    idle = (age * random.random(n) ** 3).astype(int)
    frame = {
        "id": random.permutation(10 * n)[:n] + 1,
        "full_name": [f"owner{random.integers(n) ** 2 % n}-x/{_word(random)}-{row}" for row in range(n)],
        "fetched_at": COLLECTED,
        "stars": count(1.0, 0.3),
        "owner_type": random.choice(["User", "Organization"], n),
        "language": random.choice(["Python", "C", "Rust", None], n, p=[0.5, 0.2, 0.2, 0.1]),
        "license": random.choice(["mit", "gpl-3.0", None], n),
        "created_at": COLLECTED - pd.to_timedelta(age, unit="D"),
        "pushed_at": COLLECTED - pd.to_timedelta(idle, unit="D"),
        "has_wiki": random.integers(0, 2, n),
        "description_length": np.where(random.random(n) < 0.1, np.nan, random.integers(5, 200, n)),
        "size_kb": np.floor(np.exp(random.normal(6.0, 2.0, n))),
        "contributors": 1.0 + count(0.4),
        "open_issues": count(0.5) - 0.0,
        "closed_issues": count(0.6),
        "forks": count(0.7, 0.5),
        "subscribers": count(0.5, 0.5),
    }
    return schema.conform(pd.DataFrame({**frame, **columns}))


def _word(random: np.random.Generator) -> str:
    return "".join(random.choice(list("abcdefghij"), random.integers(3, 12)))
