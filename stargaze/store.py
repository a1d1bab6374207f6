"""The nouns: where each lies below the store, who makes it, and how it is written without ever being half there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stargaze.errors import MissingInputError
from stargaze.system.locks import TEMPORARY, locked, sweep

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
def lock_store(store: Store) -> Iterator[None]:
    """Make artefacts inside the block, alone in this store; what was left half made an hour ago or more goes first.

    Raises
    ------
    ExternalError
        If another command makes artefacts there now.
    """
    path = store.root / "work.lock"
    busy = f"{store.root}: another command is at work on this store"
    with locked(path, busy=busy, hint="wait for it, or stargaze status"):
        for folder in (store.root, store.bundles, store.root / "settings"):
            sweep(folder, TEMPORARY, now=path.stat().st_mtime)
        yield
