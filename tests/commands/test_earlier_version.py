"""A config or a store from before the renames gives one clear error that names the new key or the stage to run again."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stargaze.bundle.manifest import write_manifest
from stargaze.cli import EXAMPLES
from stargaze.commands import hook, infra
from stargaze.store import Store
from tests.conftest import Ended

Run = Callable[..., Ended]
CONFIG = """
[fetch]
files = []
since = ""

[github]
query = ""
number = 1000
rich = true
deep = false
history = []
url = "https://api.github.com"

[features]
seed = 0
test = 0.15
validation = 0.15
"""
ARGUMENTS = {
    "predict": ["a/b"],
    "forecast": ["a/b"],
    "backup": ["backup.tar.gz"],
    "logs": ["web"],
    "scale": ["worker=2"],
    "drill": ["stargaze"],
    "infra ssh": ["production1"],
    "infra forget": ["production1"],
}
READERS = sorted({*EXAMPLES, *infra.EXAMPLES, *hook.EXAMPLES} - {"init", "hook remove"})
"""The commands that read the config."""
SPLIT = {"seed": 0, "test": 0.15, "validation": 0.15, "folds": 5, "split_by": "owner"}
SPLIT |= {"max_missing": 0.98, "redundant": 0.99, "leak": 0.97, "repeats": 2}
FEATURES = {
    "fingerprint": "b51d9b50c1b2ce5649474e0408b9c048cc0a13a3f5ccbee9a92560a29a8536fe",
    "kept": {"static": ["owner_type"], "activity": ["owner_type"], "all": ["owner_type"]},
    "scores": {"static": {"owner_type": 0.02}, "activity": {}, "all": {}},
    "split": SPLIT,
    "vocabularies": {"owner_type": ["User", "Organization"]},
}
LEADERBOARD = """policy,family,status,rmsle,spread,r2,mdape,rho,fit_time,size_mb,rows,note,feature_set
all,ridge,ok,0.64937,0.03497,0.68682,0.7339,0.64261,0.48215,0.28548,9535,,9cfea43c25a11108
"""
BUNDLE = {
    "format": 2,
    "asked": 2,
    "blend": {"all": {"error": 0.0}},
    "coverage": 0.9,
    "estimate": "all",
    "explain": "activity",
    "made_at": "2026-11-29T04:18:27+00:00",
    "models": {"all": ["model-all-1.skops"]},
    "split": SPLIT,
    "version": "0.1.0",
}
RELEASE = {"before": None, "digest": "f" * 64, "format": 1, "kind": "deploy", "scores": {}}
RELEASE |= {"when": "2026-11-29T04:19:30+00:00", "who": "A Maintainer"}
COMMIT = {"began": "2026-11-29T04:19:30+00:00", "ended": "2026-11-29T04:20:30+00:00", "well": True, "said": "released"}
HOSTS = {"production1": {"address": "192.0.2.7", "inside": "10.20.0.21", "user": "debian"}}
CACHE = """
CREATE TABLE pages (gather TEXT, ask TEXT, at INTEGER, etag TEXT, body BLOB, PRIMARY KEY (gather, ask)) WITHOUT ROWID;
CREATE TABLE gathers (digest TEXT, generation INTEGER, began INTEGER, done INTEGER, PRIMARY KEY (digest, generation));
PRAGMA user_version = 2;
"""
FETCH, SELECT, TUNE = ("stargaze fetch", "stargaze select-features", "stargaze tune")
RELEASES = "stargaze deploy creates both again"


@pytest.fixture
def store(run: Run, make_repositories: Callable[..., pd.DataFrame]) -> Store:
    """A store as the last version before the renames wrote it."""
    store = Store(Path("store"))
    store.settings.mkdir(parents=True)
    make_repositories(200).rename(columns={"has_custom_image": "has_own_image"}).to_parquet(store.repositories)
    _write_json(store.features, FEATURES)
    store.selection.write_text("feature,policy,static,importance_static\nowner_type,static,kept,0.02\n")
    store.leaderboard.write_text(LEADERBOARD)
    digest = _write_bundle(store.root / "new")
    for folder, latest in ((store.bundles, store.latest), (store.serving / "bundles", None)):
        folder.mkdir(parents=True)
        _write_bundle(folder / digest)
        if latest:
            latest.write_text(digest)
            store.latest_growth.write_text(digest)
    store.current.symlink_to(f"bundles/{digest}")
    _write_json(store.serving / "installed.json", {**RELEASE, "commit": "c" * 40, "digest": digest})
    _write_release(store.releases, {**RELEASE, "digest": digest})
    _write_json(store.root / "commit.json", COMMIT)
    _write_json(store.root / "errand.json", {"id": "stargaze-1", "stage": "tune", "began": "", "sent": [], "keeps": []})
    _write_json(store.root / "infra" / "stargaze" / "hosts.json", HOSTS)
    with sqlite3.connect(store.github_cache) as connection:
        connection.executescript(CACHE)
    return store


def _write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def _write_bundle(folder: Path) -> str:
    """Write a bundle with the keys of format 2; return its digest."""
    _write_json(folder / "bundle.json", BUNDLE)
    return write_manifest(folder)


def _write_release(repository: Path, record: dict[str, Any]) -> None:
    """Create a release repository with one release."""

    def git(*arguments: str, stdin: str = "") -> str:
        argv = ["git", "-C", str(repository), "-c", "user.name=A", "-c", "user.email=a@b", *arguments]
        return subprocess.run(argv, input=stdin, check=True, capture_output=True, text=True).stdout.strip()

    subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", str(repository)], check=True)
    blob = git("hash-object", "-w", "--stdin", stdin=json.dumps(record))
    tree = git("mktree", stdin=f"100644 blob {blob}\trelease.json\n")
    git("update-ref", "HEAD", git("commit-tree", tree, "-m", "deploy"))


def assert_one_error(ended: Ended, code: int, message: str, hint: str) -> None:
    """Assert that the command printed one message of one line and a hint, and no traceback."""
    assert "Traceback" not in ended.err
    error, last = ended.err.splitlines()[-2:]
    assert ended.err.count("error:") == 1
    assert ended.code == code
    assert error.startswith("error: ")
    assert message in error
    assert last.startswith("hint: ")
    assert hint in last


@pytest.mark.parametrize("command", READERS)
def test_every_command_names_the_new_key_of_an_earlier_config(run: Run, command: str) -> None:
    Path("stargaze.toml").write_text(CONFIG)

    ended = run(*command.split(), *ARGUMENTS.get(command, []))

    assert_one_error(ended, 2, "stargaze.toml: github.number was renamed to github.limit", "write github.limit")


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("argv", "message", "hint"),
    [
        (["features"], "store/selection.csv: was written by another version", SELECT),
        (["select-features"], "store/repositories.parquet: was written by another version", FETCH),
        (["screen"], "store/features.json: was written by another version", SELECT),
        (["tune"], "store/features.json: was written by another version", SELECT),
        (["tune", "--resume"], "store/features.json: was written by another version", SELECT),
        (["report"], "store/features.json: was written by another version", SELECT),
        (["predict", "a/b"], "another version wrote this bundle", TUNE),
        (["forecast", "a/b"], "is a bundle of kind 'stars'", TUNE),
        (["serve"], "another version wrote this bundle", TUNE),
        (["run", "--once"], "store/repositories.parquet: it is not recorded where they come from", FETCH),
        (["deploy"], "is a bundle of kind 'stars', but one of kind 'growth' is needed", TUNE),
        (["deploy", "--growth", "none"], "another version", ""),
        (["rollback"], "was written by another version of stargaze", RELEASES),
        (["releases"], "was written by another version of stargaze", RELEASES),
        (["hook", "status"], "store/commit.json was written by an older version", "stargaze hook start"),
        (["infra", "status"], "hosts.json is damaged or was written by an older version", "stargaze infra up"),
        (
            ["infra", "ssh", "production1"],
            "hosts.json is damaged or was written by an older version",
            "stargaze infra up",
        ),
        (["fetch", "--language", "c"], "github.sqlite has schema version 2, created by an older stargaze", "mv store/"),
        (["tune", "--attach"], "this store has no tune job on the cluster", "stargaze tune --on cluster"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_every_command_names_the_stage_that_replaces_an_earlier_artifact(
    run: Run, store: Store, argv: list[str], message: str, hint: str
) -> None:
    ended = run(*argv)

    assert_one_error(ended, ended.code, message, hint)
    assert ended.code in (2, 3, 5)


def test_status_lists_the_artifacts_of_an_earlier_store_with_the_stages_to_run(run: Run, store: Store) -> None:
    ended = run("status", "--json")

    contents = {row["artifact"]: row["contents"] for row in json.loads(ended.out)}
    assert ended.code == 0
    assert "stargaze select-features" in contents["feature set"]
    assert "stargaze deploy" in contents["release"]
