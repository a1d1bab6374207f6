"""A store whose releases go through the real git, ssh-keygen and hooks; only the model is a fake."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from stargaze.bundle.manifest import GROWTH_FORMAT, write_manifest
from stargaze.config import DeploySection
from stargaze.serve.release import git
from stargaze.serve.release.publish import installed_release, publish_release
from stargaze.serve.release.record import Release, encode_release
from stargaze.serve.release.repository import POLICY_FILE, HookPolicy, allow_signer, prepare_repository, signing_key
from stargaze.store import Store

LOADER = """
import os, pathlib, signal, sys
model = pathlib.Path(sys.argv[1], "model.txt").read_text()
if model == "crash": os.kill(os.getpid(), signal.SIGSEGV)
if model == "hang": signal.pause()
if model == "swell": bytes(10**10)
if model == "shout": sys.stderr.write("x" * 10**8)
if model == "escape": sys.exit("\\x1b[2J\\x07 gone")
if not model.startswith("good"): sys.exit("the model predicts 3.0 for the prototype row, not 4.0")
growth = pathlib.Path(sys.argv[1], "growth")
if growth.is_dir() and not (growth / "model.txt").read_text().startswith("good"):
    sys.exit("growth bundle: the 30-day forecast of the prototype differs from the stored one")
"""


@dataclass(frozen=True)
class ReleaseStore:
    """A store, with methods to add bundles, deploy them and push invalid releases."""

    store: Store
    section: DeploySection
    key: Path
    clone: git.Repository
    """The test's own repository, which shares the objects of the release repository."""
    now: datetime = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)

    @property
    def repository(self) -> git.Repository:
        """Return the bare release repository."""
        return git.Repository(self.store.releases.resolve())

    def add_bundle(self, model: str, **files: str) -> str:
        """Create a bundle whose only model is this text; return its digest."""
        folder = self.store.bundles / "making"
        folder.mkdir(parents=True)
        (folder / "model.txt").write_text(model)
        (folder / "bundle.json").write_text(json.dumps({"scores": {"all": {"rmsle": 0.5, "rho": None}}}))
        for name, text in files.items():
            (folder / name).write_text(text)
        digest = write_manifest(folder)
        if (self.store.bundles / digest).exists():
            shutil.rmtree(folder)
        else:
            folder.rename(self.store.bundles / digest)
        self.store.latest.write_text(digest + "\n")
        return digest

    def add_growth(self, model: str, *, version: int = GROWTH_FORMAT) -> str:
        """Create a growth bundle whose only model is this text, the newest of the store; return its digest."""
        folder = self.store.bundles / "making"
        folder.mkdir(parents=True)
        (folder / "model.txt").write_text(model)
        (folder / "bundle.json").write_text(json.dumps({"kind": "growth", "format": version}))
        digest = write_manifest(folder)
        folder.rename(self.store.bundles / digest)
        self.store.latest_growth.write_text(digest + "\n")
        return digest

    def deploy(self, model: str, **options: Any) -> Release:
        """Create a star bundle and deploy it with the newest growth bundle, or as the options say."""
        return self.publish(digest=self.add_bundle(model), **options)

    def publish(self, **options: Any) -> Release:
        """Deploy the newest bundles, or as the options say."""
        return publish_release(self.section, self.store, now=self.now, author="a tester", **options)

    def release_files(self, digest: str, growth: str | None = None) -> dict[str, bytes]:
        """Return the files of a valid release commit of these bundles: path → content."""
        tip = git.branch_tip(self.repository)
        draft = Release("", digest, "deploy", "a tester", "2026-03-01T12:00:00+00:00", tip, {}, growth_digest=growth)
        folders = {"bundle": digest} | ({"growth": growth} if growth else {})
        files = {
            f"{name}/{path.name}": path.read_bytes()
            for name, own in folders.items()
            for path in (self.store.bundles / own).iterdir()
        }
        return files | {"release.json": encode_release(draft)}

    def commit(self, files: Mapping[str, bytes], *, key: Path | None = None, parent: str | None = "tip") -> str:
        """Commit the files in the clone, signed by the store's key or another; return the commit."""
        (self.clone.path / "index").unlink(missing_ok=True)
        blobs = {path: git.add_file(self.clone, content) for path, content in files.items()}
        return self.commit_tree(git.add_tree(self.clone, blobs), key=key, parent=parent)

    def commit_tree(self, tree: str, *, key: Path | None = None, parent: str | None = "tip") -> str:
        """Commit an existing tree."""
        parent = git.branch_tip(self.repository) if parent == "tip" else parent
        return git.add_commit(
            self.clone, tree, parent, "a test\n", author="a tester", now=self.now, key=key or self.key
        )

    def raw_git(self, *arguments: str, stdin: bytes = b"") -> str:
        """Call git in the clone as a user would, without our environment."""
        argv = ["git", f"--git-dir={self.clone.path}", *arguments]
        return subprocess.run(argv, input=stdin, capture_output=True, check=True).stdout.decode().strip()

    def push(self, commit: str, *refs: str, force: bool = False) -> list[str]:
        """Push as a user would and return the hook's output, line by line."""
        refspecs = [f"{'+' if force else ''}{commit}:{ref}" for ref in refs or (git.BRANCH,)]
        argv = ["git", f"--git-dir={self.clone.path}", "push", str(self.repository.path), *refspecs]
        completed = subprocess.run(argv, capture_output=True, text=True, check=False)
        return [
            line.removeprefix("remote:").strip() for line in completed.stderr.splitlines() if line.startswith("remote:")
        ]

    def set_policy(self, **values: object) -> None:
        """Change the policy of the hooks."""
        path = self.store.releases / POLICY_FILE
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    def state(self) -> tuple[str | None, str | None]:
        """Return the branch's tip and the installed bundle, which a refused push must not change."""
        return git.branch_tip(self.repository), installed_release(self.store)


@pytest.fixture
def release_store(tmp_path: Path) -> ReleaseStore:
    """A store whose release repository accepts every model that begins with "good"."""
    return create_release_store(tmp_path)


@pytest.fixture(scope="module")
def shared_store(tmp_path_factory: pytest.TempPathFactory) -> ReleaseStore:
    """A store with one release, shared by all tests whose pushes are refused."""
    release_store = create_release_store(tmp_path_factory.mktemp("released"))
    release_store.deploy("good")
    return release_store


def create_release_store(folder: Path) -> ReleaseStore:
    """Create one in a folder, with its own key."""
    store, section = Store(folder / "store"), DeploySection(max_release_size=1.0)
    key = signing_key(section, store)
    allow_signer(key, store)
    repository = prepare_repository(store.releases, HookPolicy.for_store(store, section.max_release_size))
    release_store = ReleaseStore(store, section, key, git.with_alternates(repository, store.root / "clone.git"))
    release_store.set_policy(verify_command=[sys.executable, "-S", "-c", LOADER], load_timeout=20.0)
    return release_store
