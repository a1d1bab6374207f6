"""Choose the bundles of the next release: the newest of the store, or named ones, verified and not rolled back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stargaze.bundle import manifest
from stargaze.bundle.manifest import GROWTH_FOLDER
from stargaze.errors import DifferenceFoundError, MissingInputError, UsageError
from stargaze.serve.release import git
from stargaze.serve.release.commit_tree import list_growth_files
from stargaze.serve.release.record import (
    DIGEST,
    Release,
    is_score,
    printable,
    read_history,
    rolled_back,
    rolled_back_growth,
)
from stargaze.serve.release.release_folder import release_name, short_name
from stargaze.store import Store
from stargaze.system.progress import Notify

TUNE_HINT = "stargaze tune creates a bundle"
AGAIN_HINT = 'to deliver it again: stargaze deploy --force "the reason"; stargaze serve serves the present release'
NO_GROWTH = "none"
"""Names no growth bundle instead of the newest."""


@dataclass(frozen=True)
class ChosenBundles:
    """The folders of a star bundle and of a growth bundle, if the release is to have one.

    ``growth_is_named`` says whether the user named the growth bundle, or named none. ``released_growth`` are the first characters
    of the digest of one that the store lacks and a release may have.
    """

    stars: Path
    growth: Path | None = None
    growth_is_named: bool = False
    released_growth: str | None = None


def choose_bundles(store: Store, digest: str | None = None, growth: str | None = None) -> ChosenBundles:
    """Return the newest bundles, or those whose digests start with ``digest`` and ``growth``.

    A store without growth bundle, or ``growth`` "none", gives a release without one. BadBundleError if a file was changed, or the
    growth bundle is of another kind or version.
    """
    stars = verified_bundle_folder(store, digest)
    if growth == NO_GROWTH or (growth is None and not store.latest_growth.is_file()):
        return ChosenBundles(stars, None, growth is not None)
    if growth is not None and match_digest(growth, _digests(store)) is None:
        return ChosenBundles(stars, None, growth_is_named=True, released_growth=growth)
    folder = find_bundle(store, growth, store.latest_growth, manifest.GROWTH_HINT.partition(" for ")[0])
    hint = f"{manifest.GROWTH_HINT}; stargaze deploy --growth {NO_GROWTH} releases the star bundle alone"
    actual, _, _ = manifest.read_description(folder, "growth", manifest.GROWTH_FORMAT, hint)
    _check_digest(folder, actual, hint)
    return ChosenBundles(stars, folder, growth is not None)


def verified_bundle_folder(store: Store, digest: str | None) -> Path:
    """Return the verified folder of the newest star bundle, or of the one whose digest starts with ``digest``."""
    folder = find_bundle(store, digest, store.latest, TUNE_HINT)
    _check_digest(folder, manifest.verify_files(folder), TUNE_HINT)
    return folder


def find_bundle(store: Store, digest: str | None, newest: Path, hint: str) -> Path:
    """Return the folder of the bundle that ``newest`` names, or of the one whose digest starts with ``digest``."""
    if digest is None:
        digest = newest.read_text(encoding="utf-8").strip() if newest.is_file() else ""
        if not digest:
            raise MissingInputError(f"{store.bundles}: there is no bundle yet", hint="stargaze tune")
    digests = _digests(store)
    match = match_digest(digest, digests)
    if match is None:
        hint += "".join(f"; available: {name[:12]}" for name in digests[:5])
        raise MissingInputError(f"{store.bundles}: there is no bundle {printable(digest, 64)!r}", hint=hint)
    return store.bundles / match


def _digests(store: Store) -> list[str]:
    return sorted(path.name for path in store.bundles.glob("*") if DIGEST.fullmatch(path.name))


def match_digest(prefix: str, digests: Iterable[str]) -> str | None:
    """Return the only digest that starts with a prefix, None if there is none; UsageError if there are several."""
    matching = {digest for digest in digests if prefix and digest.startswith(prefix)}
    if len(matching) > 1:
        raise UsageError(f"{printable(prefix, 64)!r} matches {len(matching)} bundles", hint="give more of the digest")
    return next(iter(matching), None)


def deploy_command(release: Release) -> str:
    """Return the command that deploys the same two bundles."""
    return f"stargaze deploy {release.digest[:12]} --growth {(release.growth_digest or NO_GROWTH)[:12]}"


def read_scores(bundle: Path) -> Mapping[str, Any]:
    """Return the scores in the description of a verified star bundle."""
    path = bundle / manifest.DESCRIPTION
    try:
        meta = manifest.parse_json(path.read_bytes())
        manifest.check_kind(meta, "stars", bundle)  # otherwise the hook reports it, after a commit and a push
        return {
            policy: {name: score for name, score in scores.items() if is_score(score)}
            for policy, scores in meta.get("scores", {}).items()
        }
    except (OSError, *manifest.MALFORMED) as error:
        raise manifest.BadBundleError(f"{path}: cannot be read: {error}", hint=TUNE_HINT) from error


@dataclass(frozen=True)
class GrowthPlan:
    """The growth bundle of the next release, None if it has none, and its files by their path in the commit."""

    digest: str | None
    files: Mapping[str, Path | str]


def plan_growth(
    bare: git.Repository,
    history: Sequence[Release],
    chosen: ChosenBundles,
    *,
    force: bool,
    notify: Notify = lambda _line: None,
) -> GrowthPlan:
    """Return the chosen growth bundle, or that of the present release if the newest was rolled back.

    So the next star bundle is delivered although the newest growth bundle must not be. Raise DifferenceFoundError if the user
    named one that was rolled back, MissingInputError if neither the store nor a release has it. ``notify`` says which bundle is
    kept, or that the release drops the present one.
    """
    present = history[0].growth_digest if history else None
    if chosen.released_growth is not None:
        digest = match_digest(chosen.released_growth, (release.growth_digest or "" for release in history))
        if digest is None:
            message = f"neither the store nor a release has growth bundle {printable(chosen.released_growth, 64)!r}"
            raise MissingInputError(message, hint="stargaze releases; stargaze status")
    else:
        digest = chosen.growth.name if chosen.growth else None
    rollback = "" if digest is None or force else _describe_rollback(rolled_back_growth(history), digest)
    if rollback and chosen.growth_is_named:
        raise DifferenceFoundError(f"growth {rollback}; {_stays(history)}", hint=AGAIN_HINT)
    if rollback:
        notify(f"growth {rollback}; " + (f"the release keeps {present[:12]}" if present else "the release has none"))
        return _released_growth(bare, history, present)
    if present and digest is None:
        keep = f"stargaze deploy --growth {present[:12]} keeps it"
        notify(f"the release has no growth bundle, so the page no longer forecasts; {keep}")
    if digest and chosen.growth:
        return GrowthPlan(digest, {f"{GROWTH_FOLDER}/{path.name}": path for path in chosen.growth.iterdir()})
    return _released_growth(bare, history, digest)


def next_release_name(store: Store) -> str:
    """Return the name of the release that the next deploy of the newest bundles leads to, as :func:`plan_growth` chooses them."""
    digest, growth = (
        path.read_text(encoding="utf-8").strip() if path.is_file() else ""
        for path in (store.latest, store.latest_growth)
    )
    bare = git.Repository(store.releases)
    history = read_history(bare) if growth and store.releases.is_dir() else []
    if history and _describe_rollback(rolled_back_growth(history), growth):
        return release_name(digest, history[0].growth_digest)
    return release_name(digest, growth or None)


def _released_growth(bare: git.Repository, history: Sequence[Release], digest: str | None) -> GrowthPlan:
    """Return the growth bundle of a release, or none."""
    commit = next((release.commit for release in history if digest and release.growth_digest == digest), None)
    return GrowthPlan(digest, list_growth_files(bare, commit) if commit else {})


def check_not_rolled_back(history: Sequence[Release], bundle: Path) -> None:
    """Raise DifferenceFoundError for a star bundle that was rolled back."""
    if rollback := _describe_rollback(rolled_back(history), bundle.name):
        raise DifferenceFoundError(f"{rollback}; {_stays(history)}", hint=AGAIN_HINT)


def _stays(history: Sequence[Release]) -> str:
    return f"release {short_name(history[0].name)} stays in production"


def _describe_rollback(held: Mapping[str, Release], digest: str) -> str:
    """Return when and by whom a bundle was rolled back; empty if it was not. ``held`` are rollbacks by digest."""
    if rollback := held.get(digest):
        return f"bundle {digest[:12]} was rolled back at {rollback.created_at} by {rollback.author}"
    return ""


def _check_digest(folder: Path, actual: str, hint: str) -> None:
    if actual != folder.name:
        raise manifest.BadBundleError(f"{folder}: the manifest belongs to bundle {actual[:12]}", hint=hint)
