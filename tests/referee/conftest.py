"""Fixtures of the referee tests."""

from __future__ import annotations

import pytest

from tests.features.github.conftest import FakeClock
from tests.referee.recorded import REFEREE


@pytest.fixture(autouse=True)
def _installed() -> None:
    assert (REFEREE / "stamp").exists(), "sh tools/referee.sh installs the data of these tests"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()
