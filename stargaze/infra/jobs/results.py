"""Download the results of a job, verify them and move them into place; nothing else of the store is overwritten."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from stargaze.bundle.growth_bundle import GrowthBundle
from stargaze.bundle.manifest import BadBundleError, verify_files
from stargaze.bundle.star_bundle import Bundle
from stargaze.errors import ExternalError, StargazeError
from stargaze.infra.jobs.spec import LATEST_BUNDLE
from stargaze.infra.jobs.ssh_client import JobService
from stargaze.store import Store
from stargaze.system.files import convert_disk_errors, scratch_folder
from stargaze.system.journal import Journal

BUNDLE_FILE = re.compile(r"bundles/([0-9a-f]{64})/[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

UseBundle = Callable[[Path], object]
"""Uses a bundle where that can do no harm; raises if that fails."""


def download_results(
    service: JobService, store: Store, job: str, names: Sequence[str], required: str = "", use: UseBundle = bool
) -> list[str]:
    """Download files of a job, verify them and move them into place; return their names.

    ExternalError if another file arrives, or the ``required`` one does not. An existing bundle and the trials of an existing
    journal are kept. ``use`` is called with the folder of a bundle that predicts stars, which is stored if it returns.
    """
    bundles = set(names) & set(LATEST_BUNDLE.values())

    def is_accepted(name: str) -> bool:
        return name in names or bool(bundles and BUNDLE_FILE.fullmatch(name))

    with scratch_folder(store.root) as scratch:
        arrived = service.download(job, names, scratch, is_accepted)
        if required and required not in arrived:
            raise ExternalError(f"{service.name} has not returned {required} of job {job}", hint=_hint(store))
        named = {_verify_bundle(scratch, store, name, use) for name in bundles & set(arrived)}
        unnamed = {match[1] for name in arrived if (match := BUNDLE_FILE.fullmatch(name))} - named
        if unnamed:
            raise ExternalError(f"{service.name} has returned a bundle that no result names: {unnamed.pop()[:12]}")
        for digest in named:
            _place_bundle(scratch / "bundles" / digest, store.bundles / digest)
        for name in names:  # bundles first, the file that names one last
            if name in arrived and name == store.journal.name:
                _adopt_journal(service, scratch / name, store)
            elif name in arrived:
                _place_file(scratch / name, store.root / name)
    return arrived


def _hint(store: Store) -> str:
    return f"stargaze jobs; remove {store.job} to start another job"


def _verify_bundle(scratch: Path, store: Store, latest: str, use: UseBundle) -> str:
    """Return the digest that ``latest`` names, after a check of that bundle."""
    digest = (scratch / latest).read_text(encoding="ascii", errors="replace").strip()
    folder = scratch / "bundles" / digest
    if not re.fullmatch("[0-9a-f]{64}", digest) or not folder.is_dir() or verify_files(folder) != digest:
        raise BadBundleError("the downloaded bundle is not the one that was created", hint=_hint(store))
    if latest == store.latest_growth.relative_to(store.root).as_posix():
        GrowthBundle.load(folder)
    else:
        Bundle.load(folder)
        try:
            use(folder)
        except StargazeError as error:
            raise BadBundleError(error.message, hint=_hint(store)) from error
    return digest


def _place_bundle(new: Path, target: Path) -> None:
    if target.exists() or target.is_symlink():
        if verify_files(target) != target.name:
            raise BadBundleError(f"{target}: is damaged and in the way of the same bundle", hint=f"remove {target}")
        return
    with convert_disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        new.rename(target)
        target.chmod(0o755)


def _place_file(new: Path, target: Path) -> None:
    with convert_disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        new.chmod(0o644)
        new.replace(target)


def _adopt_journal(service: JobService, new: Path, store: Store) -> None:
    new.chmod(0o644)
    try:
        Journal(store.journal).adopt(new)
    except (ValueError, TypeError, AttributeError) as error:
        raise ExternalError(f"{service.name} has returned a trial journal that cannot be read: {error}") from error
