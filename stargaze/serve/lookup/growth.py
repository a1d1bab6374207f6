"""The growth bundle that forecasts: that of a release, or the newest of a store."""

from __future__ import annotations

from pathlib import Path

from stargaze.bundle.growth_bundle import GrowthBundle
from stargaze.bundle.manifest import GROWTH_HINT
from stargaze.errors import MissingInputError
from stargaze.serve.release.release_folder import growth_folder
from stargaze.store import Store


def load_release_growth(folder: Path) -> GrowthBundle | None:
    """Load the growth bundle of an installed release; None if the release has none."""
    growth = growth_folder(folder)
    return GrowthBundle.load(growth) if growth else None


def load_answering_growth(store: Store) -> GrowthBundle | None:
    """Load the growth bundle that an answer uses: that of the installed release, or the newest if none is installed."""
    if store.current.is_dir():
        return load_release_growth(store.current.resolve())
    return _load_newest(store) if store.latest_growth.is_file() else None


def load_growth_bundle(store: Store) -> GrowthBundle:
    """Load the growth bundle of the installed release, or the newest of the store if that release has none.

    Raise MissingInputError if there is neither.
    """
    if store.current.is_dir() and (released := load_release_growth(store.current.resolve())):
        return released
    if not store.latest_growth.is_file():
        raise MissingInputError(
            f"there is no growth bundle below {store.root} yet", hint=GROWTH_HINT.partition(" for ")[0]
        )
    return _load_newest(store)


def _load_newest(store: Store) -> GrowthBundle:
    return GrowthBundle.load(store.bundles / store.latest_growth.read_text(encoding="utf-8").strip())
