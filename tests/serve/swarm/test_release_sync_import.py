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
def serving_deployer(release_store: ReleaseStore, monkeypatch: pytest.MonkeyPatch) -> Deployer:
    """A store whose first release serves."""
    deployer = create_deployer(release_store, monkeypatch)
    deployer.deploy("good 1")
    deployer.swarm.changes.clear()
    return deployer


@pytest.fixture
def other_deployer(serving_deployer: Deployer, tmp_path: Path) -> Deployer:
    """Another store, which trusts the first one."""
    deployer = Deployer(create_release_store(tmp_path / "other"), serving_deployer.swarm)
    allow_signer(serving_deployer.release_store.key, deployer.store)
    return deployer


def test_releases_of_another_store_are_imported_before_a_deploy(
    serving_deployer: Deployer, other_deployer: Deployer
) -> None:
    imported: list[Any] = []

    completed = other_deployer.deploy("good 2", gate=lambda _, champion: imported.append(champion.name))

    first = serving_deployer.record[0][1]
    assert imported == [first]
    assert [digest for _, digest in other_deployer.record] == [completed.release.digest, first]
    assert serving_deployer.swarm.installed == dict.fromkeys(BOTH, completed.release.digest)

    allow_signer(other_deployer.release_store.key, serving_deployer.store)
    third = serving_deployer.deploy("good 3").release.digest

    assert [digest for _, digest in serving_deployer.record] == [third, completed.release.digest, first]
    assert len(set(serving_deployer.swarm.release_commits.values())) == 1


def test_the_quality_gate_compares_with_a_release_of_another_store(
    serving_deployer: Deployer, other_deployer: Deployer
) -> None:
    def gate(*_: Any) -> None:
        raise DifferenceFoundError("it predicts worse")

    with pytest.raises(DifferenceFoundError, match="it predicts worse"):
        other_deployer.deploy("good 2", gate=gate)

    assert [kind for kind, _ in other_deployer.record] == ["deploy"]


def test_a_rollback_returns_to_a_release_of_another_store(serving_deployer: Deployer, other_deployer: Deployer) -> None:
    first = serving_deployer.record[0][1]
    second = serving_deployer.deploy("good 2").release.digest

    completed = other_deployer.rollback()

    assert completed.release.digest == first
    assert [digest for _, digest in other_deployer.record] == [first, second, first]


def test_a_failed_deploy_of_another_store_is_restored(serving_deployer: Deployer, other_deployer: Deployer) -> None:
    first = serving_deployer.record[0][1]
    serving_deployer.swarm.stale_bundles["production2"] = first

    with pytest.raises(
        ExternalError, match=rf"production2: a worker container serves .*release {first[:12]} serves as before"
    ):
        other_deployer.deploy("good 2")

    assert serving_deployer.swarm.installed == dict.fromkeys(BOTH, first)


def test_an_untrusted_signer_is_an_error_with_the_command_to_trust_it(
    serving_deployer: Deployer, tmp_path: Path
) -> None:
    untrusted = Deployer(create_release_store(tmp_path / "stranger"), serving_deployer.swarm)

    with pytest.raises(CredentialsError) as excinfo:
        untrusted.deploy("good 2")

    assert excinfo.value.message == "production1 has a release whose signer is not trusted by this store"
    assert excinfo.value.hint.endswith(f"/keys/allowed_signers >>{untrusted.store.keys}/allowed_signers")
    assert untrusted.record == []
    assert "accept a release" not in " ".join(serving_deployer.swarm.changes)


def test_releases_that_never_reached_production_are_archived(
    serving_deployer: Deployer, other_deployer: Deployer
) -> None:
    lone = publish_release(
        other_deployer.section,
        other_deployer.store,
        now=other_deployer.release_store.now,
        digest=other_deployer.release_store.add_bundle("good 9"),
        author="a tester",
    )

    other_deployer.deploy("good 2")

    assert [digest for _, digest in other_deployer.record][1:] == [serving_deployer.record[0][1]]
    assert f"archived as refs/archive/{lone.commit[:12]}" in " ".join(other_deployer.notes)
    repository = git.Repository(other_deployer.store.releases.resolve())
    assert git.object_info(repository, f"refs/archive/{lone.commit[:12]}") is not None


def test_many_releases_are_imported_in_several_pushes(
    serving_deployer: Deployer, other_deployer: Deployer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(2, 7):
        serving_deployer.deploy(f"good {number}")
    other_deployer.release_store.set_policy(max_releases=2)
    pushed: list[str] = []
    push = git.push
    monkeypatch.setattr(git, "push", lambda *argv, **options: pushed.append(argv[1]) or push(*argv, **options))

    other_deployer.rollback()

    assert len(other_deployer.record) == 7
    assert (
        len(
            [
                commit
                for commit in pushed
                if commit in {release.commit for release in list_releases(serving_deployer.store)}
            ]
        )
        >= 3
    )


def test_a_truncated_git_bundle_is_an_error_of_one_line(serving_deployer: Deployer, other_deployer: Deployer) -> None:
    subprocess.run(["rm", "-r", str(serving_deployer.swarm.repositories["production1"] / "refs")], check=True)

    with pytest.raises(ExternalError, match="production1"):
        other_deployer.deploy("good 2")

    assert other_deployer.record == []


def test_a_store_with_all_releases_imports_nothing(serving_deployer: Deployer, release_store: ReleaseStore) -> None:
    serving_deployer.swarm.repositories.clear()  # an export would fail

    serving_deployer.deploy("good 2")
