"""The growth bundle of a release is used in the sandbox before it is installed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from stargaze.bundle.manifest import BadBundleError, write_manifest
from stargaze.config import DeploySection
from stargaze.serve.release.publish import list_releases, publish_release
from stargaze.serve.release.release_folder import release_name
from stargaze.serve.release.repository import RefusedError
from stargaze.serve.web.verify_bundle import verify_bundle
from stargaze.store import Store

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def release(tmp_path: Path, bundle_folder: Path, growth_bundle_folder: Path) -> Path:
    """The folder of a release with both bundles, which a test may damage."""
    folder = Path(shutil.copytree(bundle_folder, tmp_path / "release"))
    shutil.copytree(growth_bundle_folder, folder / "growth")
    return folder


def _change(growth: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the description of a growth bundle so that its manifest fits."""
    meta = json.loads((growth / "bundle.json").read_text())
    change(meta)
    (growth / "bundle.json").write_text(json.dumps(meta))
    write_manifest(growth)


@pytest.mark.thorough
def test_a_release_with_both_bundles_is_accepted(release: Path) -> None:
    verify_bundle(release)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda meta: meta.update(format=1), "another version wrote this bundle"),
        (lambda meta: meta["prototype"]["growth"][0].__setitem__(0, 5.0), "forecast of the prototype differs"),
        (lambda meta: meta["horizons"][0].update(milestone_offsets=[2.0, 1.0]), "milestone_offsets of 30 days do not"),
        (lambda meta: meta.update(languages=[*meta["languages"], meta["languages"][0]]), "languages"),
    ],
)
def test_a_growth_bundle_that_does_not_forecast_is_refused(
    release: Path, change: Callable[[dict[str, Any]], object], reason: str
) -> None:
    _change(release / "growth", change)

    with pytest.raises(BadBundleError, match=f"growth bundle: .*{reason}"):
        verify_bundle(release)


@pytest.mark.thorough
def test_a_release_whose_name_belongs_to_other_bundles_is_refused(release: Path, bundle_folder: Path) -> None:
    with pytest.raises(BadBundleError, match="contains other bundles"):
        verify_bundle(release.rename(release.with_name(release_name(bundle_folder.name, "0" * 64))))


@pytest.mark.real
def test_the_hook_refuses_a_growth_bundle_that_does_not_forecast(
    tmp_path: Path, bundle_folder: Path, growth_bundle_folder: Path
) -> None:
    """The real loader in the real sandbox; the bundles of an earlier push stay installed."""
    store = Store(tmp_path / "store")
    shutil.copytree(bundle_folder, store.bundles / bundle_folder.name)
    for growth in (growth_bundle_folder, _wrong_copy(growth_bundle_folder, tmp_path)):
        shutil.copytree(growth, store.bundles / growth.name)
        store.latest_growth.write_text(growth.name)
        store.latest.write_text(bundle_folder.name)
        if growth == growth_bundle_folder:
            publish_release(DeploySection(), store, now=NOW)

    with pytest.raises(RefusedError, match=r"growth bundle: .*the 30-day forecast of the prototype differs"):
        publish_release(DeploySection(), store, now=NOW)

    assert [release.growth_digest for release in list_releases(store)] == [growth_bundle_folder.name]
    assert store.current.resolve().name == release_name(bundle_folder.name, growth_bundle_folder.name)


def _wrong_copy(growth: Path, parent: Path) -> Path:
    copy = Path(shutil.copytree(growth, parent / "copy"))
    _change(copy, lambda meta: meta["prototype"]["growth"][0].__setitem__(0, 5.0))
    return copy.rename(parent / write_manifest(copy))
