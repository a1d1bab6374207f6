"""Pushing releases to machines: real git with real hooks; a fake program ``ssh`` replaces the network."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from pathlib import Path

import pytest

from stargaze.errors import ExternalError
from stargaze.serve.release import git
from stargaze.serve.release.publish import installed_release
from stargaze.serve.release.repository import (
    POLICY_FILE,
    HookPolicy,
    allow_signer,
    allowed_signers_file,
    prepare_repository,
)
from stargaze.serve.swarm import release_sync
from stargaze.serve.swarm.docker import NodeInfo
from stargaze.store import Store
from stargaze.system.ssh import SshHost
from tests.serve.conftest import LOADER, ReleaseStore

pytestmark = pytest.mark.real
OTHER = 'other namespaces="git" ssh-ed25519 AAAA\n'
SSH = """#!/bin/sh
# Each machine's address names a folder, which replaces the home of releases.
for last; do :; done
for word; do case $word in *@*) machine=${word#*@} ;; esac; done
test -d "$FAKE/$machine" || { echo "ssh: connect to host $machine: No route to host" >&2; exit 255; }
exec sh -c "$(echo "$last" | sed "s|/srv/stargaze|$FAKE/$machine|g")"
"""


@pytest.fixture
def machines(release_store: ReleaseStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[NodeInfo]:
    """Two machines that accept releases of the store."""
    program = tmp_path / "bin" / "ssh"
    program.parent.mkdir()
    program.write_text(SSH)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FAKE", str(tmp_path))
    result = []
    for name in ("one", "two"):
        store = Store(tmp_path / name)
        allow_signer(release_store.key, store)
        prepare_repository(store.releases, HookPolicy(store.serving, allowed_signers_file(store), max_bytes=1_000_000))
        rules = store.releases / POLICY_FILE
        verify = [sys.executable, "-S", "-c", LOADER]
        rules.write_text(json.dumps(json.loads(rules.read_text()) | {"verify_command": verify, "load_timeout": 20.0}))
        result.append(surveyed_node(name, tmp_path))
    return result


def surveyed_node(name: str, folder: Path) -> NodeInfo:
    store = Store(folder / name)
    remote = SshHost(name, "production", name, name, "root", ())
    tip = git.branch_tip(git.Repository(store.releases)) or ""
    signers = tuple(allowed_signers_file(store).read_text().splitlines())
    return NodeInfo(remote, name, name, True, frozenset(), tip, installed_release(store) or "", signers)


def installed(folder: Path) -> list[str | None]:
    return [installed_release(Store(folder / name)) for name in ("one", "two")]


def test_a_release_is_installed_on_every_machine_and_pushed_once(
    release_store: ReleaseStore, machines: list[NodeInfo], tmp_path: Path
) -> None:
    result = release_store.deploy("good")

    assert release_sync.push_release(release_store.section, release_store.store, machines, result.digest)
    assert installed(tmp_path) == [result.digest] * 2
    again = [surveyed_node(name, tmp_path) for name in ("one", "two")]
    assert not release_sync.push_release(release_store.section, release_store.store, again, result.digest)


def test_both_bundles_of_a_release_are_installed_on_every_machine(
    release_store: ReleaseStore, machines: list[NodeInfo], tmp_path: Path
) -> None:
    """A machine that has the release but another growth bundle installs it again."""
    release_store.add_growth("good growth")
    result = release_store.deploy("good")

    release_sync.push_release(release_store.section, release_store.store, machines, result.name)
    assert installed(tmp_path) == [result.name] * 2
    growth = Store(tmp_path / "two").current / "growth" / "model.txt"
    assert growth.read_text() == "good growth"
    stale = dataclasses.replace(surveyed_node("two", tmp_path), installed_release=result.digest)
    reinstalled: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(release_sync, "_reinstall", lambda host: reinstalled.append(host.name))
        assert release_sync.push_release(release_store.section, release_store.store, [stale], result.name)

    assert reinstalled == ["two"]


def test_a_machine_that_rejects_a_release_is_named_with_its_reason(
    release_store: ReleaseStore, machines: list[NodeInfo], tmp_path: Path
) -> None:
    result = release_store.deploy("good")
    allowed_signers_file(Store(tmp_path / "two")).write_text("")

    with pytest.raises(ExternalError, match=r"two: the release was refused: .* is not signed by an allowed signer"):
        release_sync.push_release(release_store.section, release_store.store, machines, result.digest)
    assert installed(tmp_path) == [result.digest, None]


def test_an_unreachable_machine_is_named(release_store: ReleaseStore, machines: list[NodeInfo], tmp_path: Path) -> None:
    result = release_store.deploy("good")
    (tmp_path / "two").rename(tmp_path / "gone")

    with pytest.raises(ExternalError, match=r"two: .*No route to host"):
        release_sync.push_release(release_store.section, release_store.store, machines, result.digest)


@pytest.mark.parametrize("existing", [OTHER, OTHER.rstrip(), ""], ids=["whole", "without its last newline", "empty"])
def test_a_missing_signing_key_is_added_to_a_machine(
    release_store: ReleaseStore, machines: list[NodeInfo], tmp_path: Path, existing: str
) -> None:
    signers = allowed_signers_file(Store(tmp_path / "two"))
    line = signers.read_text()
    signers.write_text(existing)
    messages: list[str] = []

    for _ in range(2):
        known = [surveyed_node(name, tmp_path) for name in ("one", "two")]
        release_sync.trust_signing_key(release_store.section, release_store.store, known, messages.append)

    assert signers.read_text() == (f"{OTHER}{line}" if existing else line)
    assert messages == ["adding our signing key to two"]
