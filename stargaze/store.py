"""The store: the path of every artifact, the command that creates it, and the lock of a store."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stargaze.errors import MissingInputError
from stargaze.system.locks import TEMPORARY_NAME, file_lock, remove_stale

COMMANDS = {
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
"""The command that creates each artifact."""


@dataclass(frozen=True)
class Store:
    """The folder of all artifacts; each property is the path of one."""

    root: Path

    @property
    def repositories(self) -> Path:
        """One row per repository, with the fields of GitHub."""
        return self.root / "repositories.parquet"

    @property
    def star_history(self) -> Path:
        """One row per repository and week: stars."""
        return self.root / "star_history.parquet"

    def history(self, configured: str) -> Path:
        """Return the history table that the config names, by default the one of ``fetch``."""
        return Path(configured) if configured else self.star_history

    @property
    def github_cache(self) -> Path:
        """Responses of GitHub (SQLite)."""
        return self.root / "github.sqlite"

    @property
    def features(self) -> Path:
        """Selected features per policy, split and folds."""
        return self.root / "features.json"

    @property
    def selection(self) -> Path:
        """One line per feature: importance, or the reason for its removal."""
        return self.root / "selection.csv"

    @property
    def selection_plot(self) -> Path:
        """The plot of the selection."""
        return self.root / "selection.svg"

    @property
    def leaderboard(self) -> Path:
        """One line per model family: score, spread, time."""
        return self.root / "leaderboard.csv"

    @property
    def trials(self) -> Path:
        """One row per trial."""
        return self.root / "trials.parquet"

    @property
    def journal(self) -> Path:
        """Finished trials of an unfinished tuning, one JSON object per line."""
        return self.root / "trials.jsonl"

    @property
    def bundles(self) -> Path:
        """One folder per bundle, named by its digest."""
        return self.root / "bundles"

    @property
    def latest(self) -> Path:
        """Digest of the newest bundle."""
        return self.bundles / "latest"

    @property
    def latest_growth(self) -> Path:
        """Digest of the newest growth bundle."""
        return self.bundles / "latest-growth"

    @property
    def report(self) -> Path:
        """HTML page about the newest bundle."""
        return self.root / "report.html"

    @property
    def releases(self) -> Path:
        """Bare git repository of the releases."""
        return self.root / "releases.git"

    @property
    def serving(self) -> Path:
        """Installed bundles, and the link ``current``."""
        return self.root / "serving"

    @property
    def current(self) -> Path:
        """Link to the bundle in production."""
        return self.serving / "current"

    @property
    def keys(self) -> Path:
        """Signing keys and allowed signers of ``deploy``."""
        return self.root / "keys"

    @property
    def settings(self) -> Path:
        """Settings with which ``run`` created each artifact, one JSON file per stage."""
        return self.root / "settings"

    @property
    def queue(self) -> Path:
        """Messages between page and workers (kombu's filesystem transport)."""
        return self.root / "queue"

    @property
    def results(self) -> Path:
        """Results of the workers (SQLite)."""
        return self.root / "results.sqlite"

    @property
    def predictions(self) -> Path:
        """Track record of the predictions (SQLite)."""
        return self.root / "predictions.sqlite"

    def require(self, path: Path) -> Path:
        """Return the path if it exists; otherwise raise MissingInputError with the command that creates it."""
        if not path.exists():
            command = COMMANDS[path.relative_to(self.root).parts[0]]
            raise MissingInputError(f"{path} does not exist yet", hint=f"stargaze {command}")
        return path


@contextlib.contextmanager
def lock_store(store: Store) -> Iterator[None]:
    """Let no other command create artifacts in this store, else BusyError; delete stale temporary files first."""
    path = store.root / "work.lock"
    busy = f"{store.root}: another command is using this store"
    with file_lock(path, busy=busy, hint="wait for it, or stargaze status"):
        for folder in (store.root, store.bundles, store.settings):
            remove_stale(folder, TEMPORARY_NAME, now=path.stat().st_mtime)
        yield
