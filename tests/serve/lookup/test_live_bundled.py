"""The lookup among the repositories of a bundle."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from stargaze.bundle.star_bundle import Bundle
from stargaze.serve.lookup.live import BundledRepositories

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def bundle(bundle_folder: Path) -> Bundle:
    return Bundle.load(bundle_folder)


def test_names_are_not_case_sensitive(bundle: Bundle) -> None:
    name = str(bundle.known["full_name"].iloc[5])

    result = BundledRepositories(bundle).find([name.upper(), name], NOW)

    assert result.rows == {name.lower(): 0}
    assert result.source == {name.lower(): "bundle"}
    assert result.frame["full_name"].tolist() == [name]
    assert result.errors == {}


def test_each_unknown_name_has_its_own_error(bundle: Bundle) -> None:
    name = str(bundle.known["full_name"].iloc[5])

    result = BundledRepositories(bundle).find(["No/Such-one", name, "zzz/none"], NOW)

    assert set(result.rows) == {name.lower()}
    assert result.errors["no/such-one"]["message"] == "No/Such-one: not among the 2,000 known repositories"
    assert set(result.errors) == {"no/such-one", "zzz/none"}
