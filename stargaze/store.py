"""The nouns: where each lies below the store, who makes it, and how it is written without ever being half there."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stargaze.errors import ExternalError, MissingInputError

MAKERS = {
    "repositories.parquet": "fetch",
    "star_history.parquet": "fetch",
    "features.json": "select-features",
    "selection.csv": "select-features",
    "leaderboard.csv": "screen",
    "trials.parquet": "tune",
    "bundles": "tune",
    "releases.git": "deploy",
    "serving": "deploy",
    "report.html": "report",
}


FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NOT_OURS = (errno.EACCES, errno.EPERM, errno.EROFS)
NO_PLACE = (
    *(errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY, errno.ENOENT),
    *(errno.ENAMETOOLONG, errno.EILSEQ, errno.ELOOP, errno.EIO, errno.EBUSY, errno.ESTALE, errno.EMFILE),
)
"""A file where a folder should be or the reverse, a name that the disk does not take, a disk that fails."""


@dataclass(frozen=True)
class Store:
    """The folder of all artefacts; each property is the path of one noun."""

    root: Path

    @property
    def repositories(self) -> Path:
        """n_repositories × GitHub's fields, one row a repository."""
        return self.root / "repositories.parquet"

    @property
    def star_history(self) -> Path:
        """n_weeks × stars gained, of chosen repositories."""
        return self.root / "star_history.parquet"

    def history(self, named: str) -> Path:
        """Return the table of histories that the config names, or ``fetch``'s where it names none."""
        return Path(named) if named else self.star_history

    @property
    def spool(self) -> Path:
        """GitHub's answers (SQLite), so that nothing is asked twice."""
        return self.root / "github.sqlite"

    @property
    def features(self) -> Path:
        """Kept columns per policy, reasons, split and folds."""
        return self.root / "features.json"

    @property
    def selection(self) -> Path:
        """One line a feature: kept or the reason why not."""
        return self.root / "selection.csv"

    @property
    def selection_plot(self) -> Path:
        """The same as a picture."""
        return self.root / "selection.svg"

    @property
    def leaderboard(self) -> Path:
        """One line a family: score, spread, time."""
        return self.root / "leaderboard.csv"

    @property
    def trials(self) -> Path:
        """One row a trial."""
        return self.root / "trials.parquet"

    @property
    def journal(self) -> Path:
        """Finished trials of a tuning that may still run, one JSON a line."""
        return self.root / "trials.jsonl"

    @property
    def bundles(self) -> Path:
        """One folder a bundle, named by its digest."""
        return self.root / "bundles"

    @property
    def latest(self) -> Path:
        """The digest of the bundle that was made last."""
        return self.bundles / "latest"

    @property
    def latest_growth(self) -> Path:
        """The digest of the growth bundle that was made last."""
        return self.bundles / "latest-growth"

    @property
    def report(self) -> Path:
        """One page with all figures of the newest bundle."""
        return self.root / "report.html"

    @property
    def releases(self) -> Path:
        """The bare repository that releases are pushed to."""
        return self.root / "releases.git"

    @property
    def serving(self) -> Path:
        """What the hook installed: bundles/<digest>/ and the link ``current``."""
        return self.root / "serving"

    @property
    def current(self) -> Path:
        """The link to the bundle that serves."""
        return self.serving / "current"

    @property
    def keys(self) -> Path:
        """Signing keys and allowed signers made by ``deploy``."""
        return self.root / "keys"

    @property
    def settings(self) -> Path:
        """What ``run`` made each artefact from, one JSON a stage."""
        return self.root / "settings"

    @property
    def queue(self) -> Path:
        """Messages between the page and its workers (kombu's filesystem transport)."""
        return self.root / "queue"

    @property
    def results(self) -> Path:
        """Answers of the workers (SQLite)."""
        return self.root / "results.sqlite"

    @property
    def predictions(self) -> Path:
        """What was predicted of real repositories, and what became true (SQLite)."""
        return self.root / "predictions.sqlite"

    def need(self, path: Path) -> Path:
        """Return the path if it exists, else say which command makes it."""
        if not path.exists():
            maker = MAKERS[path.relative_to(self.root).parts[0]]
            raise MissingInputError(f"{path} is not there yet", hint=f"stargaze {maker}")
        return path


@contextlib.contextmanager
def replacing(path: Path, mode: int = 0o644) -> Iterator[Path]:
    """Give a temporary path beside ``path``; rename it into place if the block ends well, else remove it.

    Raises
    ------
    ExternalError
        If the disk is full or the folder cannot be written; the file that was there stays.
    """
    with outside_disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        os.close(handle)
    temporary = Path(name)
    try:
        with outside_disk(path):
            yield temporary
            temporary.chmod(mode)
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """Give a temporary folder inside ``parent``, to be filled and renamed; what is left of it goes at the end."""
    with outside_disk(parent):
        parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".making-", dir=parent))
        temporary.chmod(0o755)
    try:
        with outside_disk(parent):
            yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def outside_disk(path: Path) -> Iterator[None]:
    """Turn a full, closed or unusable disk into one clear line."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise ExternalError(
                f"{path}: the disk is full; what was there before is unchanged",
                hint=f"free some space, or point store.path elsewhere; df -h {path.parent}",
            ) from error
        if error.errno in NOT_OURS:
            raise ExternalError(
                f"{path}: cannot be written: {error.strerror}", hint="point store.path to a folder that you own"
            ) from error
        if error.errno in NO_PLACE:
            raise ExternalError(
                f"{path}: cannot be written: {error.strerror}",
                hint="point store.path to a folder that can be made there",
            ) from error
        raise


def write_json(path: Path, value: Any) -> None:
    """Write JSON in one rename, readable and in a fixed order."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: Path, maker: str) -> Any:
    """Read JSON that stargaze wrote; a broken file names the command that makes it anew."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MissingInputError(f"{path} is not there yet", hint=f"stargaze {maker}") from error
    except (ValueError, RecursionError, OSError) as error:
        raise ExternalError(f"{path}: cannot be read: {error}", hint=f"stargaze {maker} makes it anew") from error


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
