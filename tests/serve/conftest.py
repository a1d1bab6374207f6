"""A store with bundles that the real git, the real ssh-keygen and the real hooks carry; only the model is a fake."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from stargaze.bundle.manifest import write_manifest
from stargaze.config import DeploySection
from stargaze.serve.release import git, record, signing
from stargaze.serve.release import publish as release
from stargaze.serve.release import repository as target
from stargaze.serve.release.record import Release
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
"""


@dataclass(frozen=True)
class Workshop:
    """A store, and what a tester does to it: make bundles, deploy them, push what no one should."""

    store: Store
    section: DeploySection
    key: Path
    clone: git.Repository
    """The tester's own repository, which knows every object of the one that takes releases."""
    now: datetime = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)

    @property
    def repository(self) -> git.Repository:
        """Return the bare repository of releases."""
        return git.Repository(self.store.releases.resolve())

    def bundle(self, model: str, **others: str) -> str:
        """Make a bundle whose only model is this text; return its digest."""
        making = self.store.bundles / "making"
        making.mkdir(parents=True)
        (making / "model.txt").write_text(model)
        (making / "bundle.json").write_text(json.dumps({"scores": {"all": {"rmsle": 0.5, "rho": None}}}))
        for name, text in others.items():
            (making / name).write_text(text)
        digest = write_manifest(making)
        if (self.store.bundles / digest).exists():
            shutil.rmtree(making)
        else:
            making.rename(self.store.bundles / digest)
        self.store.latest.write_text(digest + "\n")
        return digest

    def deploy(self, model: str) -> Release:
        """Make a bundle and deploy it."""
        return release.deploy(self.section, self.store, now=self.now, digest=self.bundle(model), who="a tester")

    def files(self, digest: str) -> dict[str, bytes]:
        """Return what a right commit of this bundle holds: path → content."""
        folder = self.store.bundles / digest
        parent = git.tip(self.repository)
        draft = Release("", digest, "deploy", "a tester", "2026-03-01T12:00:00+00:00", parent, {})
        files = {f"bundle/{path.name}": path.read_bytes() for path in folder.iterdir()}
        return files | {"release.json": record.written(draft)}

    def commit(self, files: Mapping[str, bytes], *, key: Path | None = None, parent: str | None = "tip") -> str:
        """Commit the files in the workshop's clone, signed by the workshop's key or another; return the commit."""
        (self.clone.path / "index").unlink(missing_ok=True)
        blobs = {path: git.add_file(self.clone, content) for path, content in files.items()}
        return self.commit_tree(git.add_tree(self.clone, blobs), key=key, parent=parent)

    def commit_tree(self, tree: str, *, key: Path | None = None, parent: str | None = "tip") -> str:
        """Commit a tree that is there already."""
        before = git.tip(self.repository) if parent == "tip" else parent
        return git.add_commit(
            self.clone, tree, before, "a test\n", author="a tester", now=self.now, key=key or self.key
        )

    def raw_git(self, *arguments: str, stdin: bytes = b"") -> str:
        """Call git in the clone as a person would, with nothing of ours around it."""
        argv = ["git", f"--git-dir={self.clone.path}", *arguments]
        return subprocess.run(argv, input=stdin, capture_output=True, check=True).stdout.decode().strip()

    def push(self, commit: str, *refs: str, force: bool = False) -> list[str]:
        """Push as a person would and return what the hook said, line by line."""
        refspecs = [f"{'+' if force else ''}{commit}:{ref}" for ref in refs or (git.BRANCH,)]
        argv = ["git", f"--git-dir={self.clone.path}", "push", str(self.repository.path), *refspecs]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        return [line.removeprefix("remote:").strip() for line in done.stderr.splitlines() if line.startswith("remote:")]

    def rules(self, **values: object) -> None:
        """Change what the hooks go by."""
        path = self.store.releases / target.FILE
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    def state(self) -> tuple[str | None, str | None]:
        """Return what a refused push must leave alone: the tip of the branch and the bundle that serves."""
        return git.tip(self.repository), release.installed(self.store)


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    """Give a store whose repository of releases is ready and takes every model that begins with "good"."""
    return open_workshop(tmp_path)


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """Give one workshop to all that only try to get in what is refused: the release that stands is never changed."""
    made = open_workshop(tmp_path_factory.mktemp("standing"))
    made.deploy("good")
    return made


def open_workshop(folder: Path) -> Workshop:
    """Make one in a folder, with a key of its own."""
    store, section = Store(folder / "store"), DeploySection(max_size=1.0)
    key = signing.signing_key(section, store)
    signing.allow(key, store)
    repository = target.prepare(
        store.releases, target.HookPolicy(store.serving, signing.allowed_signers(store), max_bytes=1_000_000)
    )
    made = Workshop(store, section, key, git.with_alternates(repository, store.root / "clone.git"))
    made.rules(verify=[sys.executable, "-S", "-c", LOADER], seconds=20.0)
    return made
