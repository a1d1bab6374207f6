"""The office: what is at hand before the first question."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from stargaze.bundle.star_bundle import Bundle
from stargaze.errors import ExternalError
from stargaze.serve.prediction.context import BundledRepositories, PredictionContext, as_error

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def bundle(bundle_folder: Path) -> Bundle:
    return Bundle.load(bundle_folder)


def test_the_known_are_found_whatever_the_case(bundle: Bundle) -> None:
    name = str(bundle.known["full_name"].iloc[5])

    found = BundledRepositories(bundle).find([name.upper(), name], NOW)

    assert found.rows == {name.lower(): 0}
    assert found.source == {name.lower(): "known"}
    assert found.frame["full_name"].tolist() == [name]
    assert found.errors == {}


def test_each_unknown_name_has_an_error_of_its_own(bundle: Bundle) -> None:
    name = str(bundle.known["full_name"].iloc[5])

    found = BundledRepositories(bundle).find(["No/Such-one", name, "zzz/none"], NOW)

    assert set(found.rows) == {name.lower()}
    assert found.errors["no/such-one"]["message"] == "No/Such-one: not among the 2,000 known repositories"
    assert set(found.errors) == {"no/such-one", "zzz/none"}


def test_a_prepared_office_has_everything_at_hand(bundle: Bundle) -> None:
    office = PredictionContext(bundle, BundledRepositories(bundle))

    office.prepare()

    assert office.ranges is office.ranges
    assert office.leaves is office.leaves


def test_an_error_travels_as_message_and_hint() -> None:
    assert as_error(ExternalError("no disk", hint="df -h")) == {"message": "no disk", "hint": "df -h"}
