"""List the artifacts of a store for ``stargaze status``."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stargaze.errors import StargazeError
from stargaze.store import Store
from stargaze.system.files import sha256

ARTIFACT_COLUMNS = ["artifact", "contents", "created", "path"]


def list_artifacts(store: Store) -> list[dict[str, Any]]:
    """Return one row per artifact: its contents, when it was created, and its path."""
    rows = [
        _row("repositories", store.repositories, "fetch", lambda: _describe_repositories(store)),
        _row("feature set", store.features, "select-features", lambda: _describe_features(store)),
        _row("leaderboard", store.leaderboard, "screen", lambda: _describe_leaderboard(store)),
        _row("trials", store.trials, "tune", lambda: f"{_count_rows(store.trials):,} trials"),
        _row("held-out predictions", store.held_out, "tune", lambda: _describe_held_out(store)),
        _row("bundle", store.latest, "tune", lambda: _describe_bundle(store, store.latest)),
        _row("release", store.releases, "deploy", lambda: _describe_releases(store)),
    ]
    if store.latest_growth.exists():  # optional: not listed as missing
        rows.append(
            _row("growth bundle", store.latest_growth, "tune", lambda: _describe_bundle(store, store.latest_growth))
        )
    return [*rows, _row("report", store.report, "report", lambda: _describe_report(store))]


def _row(name: str, path: Path, stage: str, describe: Callable[[], str]) -> dict[str, Any]:
    if not path.exists():
        return {"artifact": name, "contents": f"missing: stargaze {stage}", "created": "", "path": str(path)}
    created = datetime.fromtimestamp(path.stat().st_mtime, tz=UTC).isoformat(timespec="minutes")
    try:
        contents = describe()
    except StargazeError as error:
        contents = f"{error.message} ({error.hint})" if error.hint else error.message
    except (OSError, ValueError, LookupError) as error:
        contents = " ".join(f"cannot be read: {error}".split())
    return {"artifact": name, "contents": contents, "created": created, "path": str(path)}


def _count_rows(path: Path) -> int:
    import pyarrow.parquet

    rows: int = pyarrow.parquet.read_metadata(path).num_rows
    return rows


def _describe_repositories(store: Store) -> str:
    return f"{_count_rows(store.repositories):,} repositories"


def _describe_features(store: Store) -> str:
    from stargaze.features.dataset import read_feature_set

    feature_set = read_feature_set(store)
    counts = ", ".join(f"{policy} {len(feature_set.selected[policy])}" for policy in feature_set.policies)
    is_current = feature_set.fingerprint == sha256(store.repositories)
    return f"{counts} features{'' if is_current else ' (of other repositories: stargaze select-features)'}"


def _describe_leaderboard(store: Store) -> str:
    from stargaze.features.dataset import read_feature_set
    from stargaze.tuning.screen import read_leaderboard

    best = read_leaderboard(store, read_feature_set(store)).iloc[0]
    return f"{best['family']} leads: RMSLE {best['rmsle']:.3f}"


def _describe_bundle(store: Store, latest: Path) -> str:
    folder = store.bundles / latest.read_text(encoding="utf-8").strip()
    exists = folder.parent == store.bundles and folder.is_dir()
    return f"{folder.name[:12]}{_describe_families(folder)}" if exists else "names a missing bundle: stargaze tune"


def _describe_families(folder: Path) -> str:
    """Return the families of the estimate of a star bundle; nothing for another bundle."""
    from stargaze.bundle.ensemble_families import family_weights, format_families

    meta = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    try:
        return f", policy {meta['estimate_policy']}: {format_families(family_weights(meta)[meta['estimate_policy']])}"
    except (LookupError, TypeError, AttributeError, ValueError):
        return ""


def _describe_held_out(store: Store) -> str:
    from stargaze.tuning.training.held_out import read_bundle_digest

    newest = store.latest.read_text(encoding="utf-8").strip() if store.latest.exists() else ""
    is_current = read_bundle_digest(store.held_out) == newest
    note = "" if is_current else " (not of the newest bundle: stargaze tune)"
    return f"{_count_rows(store.held_out):,} repositories{note}"


def _describe_releases(store: Store) -> str:
    from stargaze.serve.release.publish import installed_release, list_releases
    from stargaze.serve.release.record import rolled_back, rolled_back_growth
    from stargaze.serve.release.release_folder import short_name

    installed, releases = installed_release(store), list_releases(store)
    number = f"{len(releases):,} release{'' if len(releases) == 1 else 's'}"
    text = f"{number}, {short_name(installed)} is installed" if installed else f"{number}, none is installed"
    if releases and releases[0].force_reason:
        text += f" (forced: {releases[0].force_reason})"
    star_digests = {release.digest for release in releases}
    stars = {digest: rollback for digest, rollback in rolled_back(releases).items() if digest in star_digests}
    held = [
        f"{kind} bundle {digest[:12]} was rolled back at {rollback.created_at}"
        for kind, bundles in (("star", stars), ("growth", rolled_back_growth(releases)))
        for digest, rollback in bundles.items()
    ]
    return "; ".join(
        [text, *held, *(["a rollback was interrupted: stargaze rollback"] if store.rollback.exists() else [])]
    )


def _describe_report(store: Store) -> str:
    from stargaze.report.write import read_report_bundle

    digest = read_report_bundle(store.report)
    newest = store.latest.read_text(encoding="utf-8").strip() if store.latest.exists() else ""
    return f"of bundle {digest[:12]}{'' if digest == newest else ' (not the newest: stargaze report)'}"
