"""A worker serves the star bundle and the growth bundle of one release, or none of both."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from stargaze.bundle.manifest import BadBundleError
from stargaze.config import ServeSection
from stargaze.serve.prediction.batch import PredictionContext
from stargaze.serve.queue.worker import create_context_loader
from stargaze.serve.release.release_folder import release_name, verify_release
from stargaze.serve.runtime.hot_reload import HotReloaded
from stargaze.serve.runtime.settings import Sources
from stargaze.store import Store
from tests.growth_bundles import write_growth_bundle

pytestmark = pytest.mark.thorough

Load = Callable[[Path], PredictionContext]


@pytest.fixture
def load(store: Store) -> Load:
    section = ServeSection(github_lookup=False, track_record=False)
    return create_context_loader(section, Sources(), store, {})


def _install(store: Store, bundle: Path, growth: Path | None, name: str = "") -> Path:
    """Copy two bundles to the folder of a release, as an installation would."""
    folder = store.serving / "bundles" / (name or release_name(bundle.name, growth.name if growth else None))
    shutil.copytree(bundle, folder)
    if growth:
        shutil.copytree(growth, folder / "growth")
    return folder


def test_both_bundles_of_a_release_are_loaded(
    load: Load, store: Store, bundle_folder: Path, growth_bundle_folder: Path
) -> None:
    folder = _install(store, bundle_folder, growth_bundle_folder)

    context = load(folder)

    assert verify_release(folder) == folder.name
    assert context.growth
    assert (context.bundle.digest, context.growth.digest) == (bundle_folder.name, growth_bundle_folder.name)


def test_a_release_without_growth_bundle_has_no_forecasts(load: Load, store: Store, bundle_folder: Path) -> None:
    """Also if the store has a growth bundle that is newer."""
    write_growth_bundle(store)

    assert load(_install(store, bundle_folder, None)).growth is None


def test_a_release_switches_both_bundles_at_once(
    load: Load, store: Store, tmp_path: Path, bundle_folder: Path, growth_bundle_folder: Path
) -> None:
    other = write_growth_bundle(Store(tmp_path / "other"), seed=1)
    releases = [_install(store, bundle_folder, growth) for growth in (growth_bundle_folder, other, None)]
    context = HotReloaded(store.current, load)
    served = []
    for folder in releases:
        store.current.unlink(missing_ok=True)
        store.current.symlink_to(folder)
        growth = context.get().growth
        served.append(growth.digest if growth else None)

    assert served == [growth_bundle_folder.name, other.name, None]


def _delete_growth(folder: Path) -> None:
    shutil.rmtree(folder / "growth")


def _change_growth(folder: Path) -> None:
    (folder / "growth" / "growth-30.txt").write_bytes(b"tree\n")


def _link_growth(folder: Path) -> None:
    (folder / "growth").rename(folder.with_name("elsewhere"))
    (folder / "growth").symlink_to(folder.with_name("elsewhere"))


@pytest.mark.parametrize("damage", [_delete_growth, _change_growth, _link_growth])
def test_a_release_with_a_damaged_growth_bundle_is_not_served(
    load: Load, store: Store, bundle_folder: Path, growth_bundle_folder: Path, damage: Callable[[Path], None]
) -> None:
    folder = _install(store, bundle_folder, growth_bundle_folder)
    damage(folder)

    with pytest.raises(BadBundleError):
        load(folder)


def test_bundles_of_two_releases_are_not_mixed(
    load: Load, store: Store, bundle_folder: Path, growth_bundle_folder: Path
) -> None:
    other = _install(store, bundle_folder, growth_bundle_folder, release_name(bundle_folder.name, "0" * 64))
    added = _install(store, bundle_folder, growth_bundle_folder, bundle_folder.name)

    for folder in (other, added):
        with pytest.raises(BadBundleError, match=r"contains other bundles|has a growth bundle that its name lacks"):
            load(folder)
