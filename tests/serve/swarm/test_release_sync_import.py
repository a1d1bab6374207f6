"""Two stores that deploy to one production: each imports the releases of the other, from real git repositories."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from stargaze.errors import CredentialsError, DifferenceFoundError, ExternalError
from stargaze.serve.release import git
from stargaze.serve.release.publish import list_releases, publish_release
from stargaze.serve.release.repository import allow_signer
from tests.serve.conftest import ReleaseStore, create_release_store
from tests.serve.swarm.test_deploy import BOTH, Deployer, create_deployer

pytestmark = pytest.mark.real


@pytest.fixture
def deployed(release_store: ReleaseStore, monkeypatch: pytest.MonkeyPatch) -> Deployer:
    """A store whose first release serves."""
    deployer = create_deployer(release_store, monkeypatch)
    deployer.deploy("good 1")
    deployer.swarm.changes.clear()
    return deployer


@pytest.fixture
def other(deployed: Deployer, tmp_path: Path) -> Deployer:
    """Another store, which trusts the first one."""
    deployer = Deployer(create_release_store(tmp_path / "other"), deployed.swarm)
    allow_signer(deployed.release_store.key, deployer.store)
    return deployer


def test_releases_of_another_store_are_imported_before_a_deploy(deployed: Deployer, other: Deployer) -> None:
    imported: list[Any] = []

    completed = other.deploy("good 2", gate=lambda _, champion: imported.append(champion.name))

    first = deployed.record[0][1]
    assert imported == [first]
    assert [digest for _, digest in other.record] == [completed.release.digest, first]
    assert deployed.swarm.installed == dict.fromkeys(BOTH, completed.release.digest)

    allow_signer(other.release_store.key, deployed.store)
    third = deployed.deploy("good 3").release.digest

    assert [digest for _, digest in deployed.record] == [third, completed.release.digest, first]
    assert len(set(deployed.swarm.release_commits.values())) == 1


def test_the_quality_gate_compares_with_a_release_of_another_store(deployed: Deployer, other: Deployer) -> None:
    def gate(*_: Any) -> None:
        raise DifferenceFoundError("it predicts worse")

    with pytest.raises(DifferenceFoundError, match="it predicts worse"):
        other.deploy("good 2", gate=gate)

    assert [kind for kind, _ in other.record] == ["deploy"]


def test_a_rollback_returns_to_a_release_of_another_store(deployed: Deployer, other: Deployer) -> None:
    first = deployed.record[0][1]
    second = deployed.deploy("good 2").release.digest

    completed = other.rollback()

    assert completed.release.digest == first
    assert [digest for _, digest in other.record] == [first, second, first]


def test_a_failed_deploy_of_another_store_is_restored(deployed: Deployer, other: Deployer) -> None:
    first = deployed.record[0][1]
    deployed.swarm.stale_bundles["production2"] = first

    with pytest.raises(
        ExternalError, match=rf"production2: a worker container serves .*release {first[:12]} serves as before"
    ):
        other.deploy("good 2")

    assert deployed.swarm.installed == dict.fromkeys(BOTH, first)


def test_an_untrusted_signer_is_an_error_with_the_command_to_trust_it(deployed: Deployer, tmp_path: Path) -> None:
    untrusted = Deployer(create_release_store(tmp_path / "stranger"), deployed.swarm)

    with pytest.raises(CredentialsError) as excinfo:
        untrusted.deploy("good 2")

    assert excinfo.value.message == "production1 has a release whose signer is not trusted by this store"
    assert excinfo.value.hint.endswith(f"/keys/allowed_signers >>{untrusted.store.keys}/allowed_signers")
    assert untrusted.record == []
    assert "accept a release" not in " ".join(deployed.swarm.changes)


def test_releases_that_never_reached_production_are_archived(deployed: Deployer, other: Deployer) -> None:
    lone = publish_release(
        other.section,
        other.store,
        now=other.release_store.now,
        digest=other.release_store.add_bundle("good 9"),
        author="a tester",
    )

    other.deploy("good 2")

    assert [digest for _, digest in other.record][1:] == [deployed.record[0][1]]
    assert f"archived as refs/archive/{lone.commit[:12]}" in " ".join(other.notes)
    repository = git.Repository(other.store.releases.resolve())
    assert git.object_info(repository, f"refs/archive/{lone.commit[:12]}") is not None


def test_many_releases_are_imported_in_several_pushes(
    deployed: Deployer, other: Deployer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(2, 7):
        deployed.deploy(f"good {number}")
    other.release_store.set_policy(max_releases=2)
    pushed: list[str] = []
    push = git.push
    monkeypatch.setattr(git, "push", lambda *argv, **options: pushed.append(argv[1]) or push(*argv, **options))

    other.rollback()

    assert len(other.record) == 7
    assert (
        len([commit for commit in pushed if commit in {release.commit for release in list_releases(deployed.store)}])
        >= 3
    )


def test_a_truncated_git_bundle_is_an_error_of_one_line(deployed: Deployer, other: Deployer) -> None:
    subprocess.run(["rm", "-r", str(deployed.swarm.repositories["production1"] / "refs")], check=True)

    with pytest.raises(ExternalError, match="production1"):
        other.deploy("good 2")

    assert other.record == []


def test_a_store_with_all_releases_imports_nothing(deployed: Deployer, release_store: ReleaseStore) -> None:
    deployed.swarm.repositories.clear()  # an export would fail

    deployed.deploy("good 2")
