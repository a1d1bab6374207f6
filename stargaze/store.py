"""The store: the path of every artifact, the command that creates it, and the lock of a store."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stargaze.errors import MissingInputError, UsageError
from stargaze.system.locks import TEMPORARY_NAME, file_lock, remove_stale


@dataclass(frozen=True)
class Artifact:
    """An attribute of a store: the path of an artifact, and the command that creates it.

    ``irreplaceable`` ones cannot be created again: they are kept by ``make clean`` and copied by ``stargaze backup``.
    """

    name: str
    description: str
    command: str = ""
    irreplaceable: bool = False

    def __get__(self, store: Store, owner: type[Store]) -> Path:
        return store.root / self.name


@dataclass(frozen=True)
class Store:
    """The folder of all artifacts; each attribute is the path of one."""

    root: Path

    repositories = Artifact("repositories.parquet", "One row per repository, with the fields of GitHub.", "fetch")
    star_history = Artifact("star_history.parquet", "One row per repository and week: stars.", "fetch")
    github_cache = Artifact("github.sqlite", "Responses of GitHub (SQLite).")
    features = Artifact("features.json", "Selected features per policy, split and folds.", "select-features")
    selection = Artifact(
        "selection.csv", "One line per feature: importance, or the reason for its removal.", "select-features"
    )
    selection_plot = Artifact("selection.svg", "The plot of the selection.")
    leaderboard = Artifact("leaderboard.csv", "One line per model family: score, spread, time.", "screen")
    trials = Artifact("trials.parquet", "One row per trial.", "tune")
    held_out = Artifact(
        "held_out.parquet", "One row per repository: its predictions by models not fitted on it.", "tune"
    )
    journal = Artifact("trials.jsonl", "Finished trials of an unfinished tuning, one JSON object per line.")
    bundles = Artifact("bundles", "One folder per bundle, named by its digest.", "tune")
    latest = Artifact("bundles/latest", "Digest of the newest bundle.")
    latest_growth = Artifact("bundles/latest-growth", "Digest of the newest growth bundle.")
    job = Artifact(
        "job.json", "The job on the cluster, from its submission until its results are downloaded.", irreplaceable=True
    )
    report = Artifact("report.html", "HTML page about the newest bundle.", "report")
    releases = Artifact("releases.git", "Bare git repository of the releases.", "deploy", irreplaceable=True)
    rollback = Artifact("rollback.json", "The rollback that has begun: from which commit to which bundle.")
    serving = Artifact("serving", "Installed bundles, and the link ``current``.", "deploy")
    current = Artifact("serving/current", "Link to the bundle in production.")
    keys = Artifact("keys", "Signing keys and allowed signers of ``deploy``.", irreplaceable=True)
    infra = Artifact(
        "infra", "The clusters: ssh key, pinned host keys, Ray token, list of machines.", irreplaceable=True
    )
    delivery = Artifact("delivery", "The stacks sent to the Swarm, and the one to restore.", irreplaceable=True)
    settings = Artifact("settings", "Keys, inputs and checksums of each stage, one JSON file per stage.")
    queue = Artifact("queue", "Messages between page and workers, one file each.")
    results = Artifact("results.sqlite", "Results of the workers (SQLite).")
    request_counts = Artifact("request_counts.sqlite", "Counted requests of the page's visitors (SQLite).")
    github_lookups = Artifact("github_lookups.sqlite", "Replies of GitHub to the page (SQLite).")
    logs = Artifact("logs", "Logs of the page and of the post-commit hook.")
    predictions = Artifact("predictions.sqlite", "Track record of the predictions (SQLite).", irreplaceable=True)

    def history(self, configured: str) -> Path:
        """Return the history table that the config names, by default the one of ``fetch``."""
        return Path(configured) if configured else self.star_history

    def require(self, path: Path) -> Path:
        """Return the path if it exists; otherwise raise MissingInputError with the command that creates it."""
        if not path.exists():
            command = COMMANDS[path.relative_to(self.root).parts[0]]
            raise MissingInputError(f"{path} does not exist yet", hint=f"stargaze {command}")
        return path

    def check_output(self, path: Path) -> None:
        """Raise UsageError if a path is that of an artifact or below one: what the user names must not replace it."""
        place, root = path.resolve(), self.root.resolve()
        if place == root or (place.is_relative_to(root) and place.relative_to(root).parts[0] in ARTIFACTS):
            raise UsageError(
                f"{path} belongs to the store, whose artifacts other commands write", hint="name another file"
            )


ARTIFACTS = frozenset(Path(item.name).parts[0] for item in vars(Store).values() if isinstance(item, Artifact))
"""The names of all artifacts in the folder of the store."""
COMMANDS = {item.name: item.command for item in vars(Store).values() if isinstance(item, Artifact) and item.command}
"""The command that creates each artifact."""
IRREPLACEABLE = {
    item.name: item.description for item in vars(Store).values() if isinstance(item, Artifact) and item.irreplaceable
}
"""The artifacts that cannot be created again, with their descriptions."""


@contextlib.contextmanager
def lock_store(store: Store) -> Iterator[None]:
    """Let no other command create artifacts in this store, else BusyError; delete stale temporary files first."""
    path = store.root / "work.lock"
    busy = f"{store.root}: another command is using this store"
    with file_lock(path, busy=busy, hint="wait for it, or stargaze status"):
        for folder in (store.root, store.bundles, store.settings):
            remove_stale(folder, TEMPORARY_NAME, now=path.stat().st_mtime)
        yield
