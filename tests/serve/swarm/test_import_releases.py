"""Two stores that deliver to one production: each takes in what the other has sent, from real repositories."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from stargaze.errors import CredentialsError, DifferenceFoundError, ExternalError
from stargaze.serve.release import git
from stargaze.serve.release.publish import list_releases, publish_release
from stargaze.serve.release.signing import allow_signer
from tests.serve.conftest import ReleaseStore, create_release_store
from tests.serve.swarm.test_deploy import BOTH, Desk, opened

pytestmark = pytest.mark.real


@pytest.fixture
def delivered(release_store: ReleaseStore, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """Somebody whose first release serves."""
    made = opened(release_store, monkeypatch)
    made.deploy("good 1")
    made.small.done.clear()
    return made


@pytest.fixture
def other(delivered: Desk, tmp_path: Path) -> Desk:
    """Somebody else with a store of their own, who believes the first."""
    made = Desk(create_release_store(tmp_path / "other"), delivered.small)
    allow_signer(delivered.release_store.key, made.store)
    return made


def test_what_another_store_has_sent_is_before_what_this_one_sends(delivered: Desk, other: Desk) -> None:
    seen: list[Any] = []

    done = other.deploy("good 2", gate=lambda _, champion: seen.append(champion.name))

    first = delivered.record[0][1]
    assert seen == [first]
    assert [digest for _, digest in other.record] == [done.release.digest, first]
    assert delivered.small.installed == dict.fromkeys(BOTH, done.release.digest)

    allow_signer(other.release_store.key, delivered.store)
    third = delivered.deploy("good 3").release.digest

    assert [digest for _, digest in delivered.record] == [third, done.release.digest, first]
    assert len(set(delivered.small.tips.values())) == 1


def test_the_gate_holds_another_stores_release_against_this_bundle(delivered: Desk, other: Desk) -> None:
    def gate(*_: Any) -> None:
        raise DifferenceFoundError("it predicts worse")

    with pytest.raises(DifferenceFoundError, match="it predicts worse"):
        other.deploy("good 2", gate=gate)

    assert [kind for kind, _ in other.record] == ["deploy"]


def test_a_rollback_returns_to_what_another_store_has_sent(delivered: Desk, other: Desk) -> None:
    first = delivered.record[0][1]
    second = delivered.deploy("good 2").release.digest

    done = other.rollback()

    assert done.release.digest == first
    assert [digest for _, digest in other.record] == [first, second, first]


def test_what_fails_from_another_store_is_put_back_to_what_served(delivered: Desk, other: Desk) -> None:
    first = delivered.record[0][1]
    delivered.small.stuck["production2"] = first

    with pytest.raises(
        ExternalError, match=rf"production2: a worker container serves .*release {first[:12]} serves as before"
    ):
        other.deploy("good 2")

    assert delivered.small.installed == dict.fromkeys(BOTH, first)


def test_somebody_whom_this_store_does_not_believe_is_named_with_the_way_to_believe_them(
    delivered: Desk, tmp_path: Path
) -> None:
    stranger = Desk(create_release_store(tmp_path / "stranger"), delivered.small)

    with pytest.raises(CredentialsError) as caught:
        stranger.deploy("good 2")

    assert caught.value.message == "production1 has a release whose signer is not trusted by this store"
    assert caught.value.hint.endswith(f"/keys/allowed_signers >>{stranger.store.keys}/allowed_signers")
    assert stranger.record == []
    assert "take a release" not in " ".join(delivered.small.done)


def test_releases_that_never_came_to_production_step_aside_and_are_kept(delivered: Desk, other: Desk) -> None:
    lone = publish_release(
        other.section,
        other.store,
        now=other.release_store.now,
        digest=other.release_store.add_bundle("good 9"),
        author="a tester",
    )

    other.deploy("good 2")

    assert [digest for _, digest in other.record][1:] == [delivered.record[0][1]]
    assert f"archived as refs/archive/{lone.commit[:12]}" in " ".join(other.notes)
    repository = git.Repository(other.store.releases.resolve())
    assert git.object_info(repository, f"refs/archive/{lone.commit[:12]}") is not None


def test_more_releases_than_a_hook_takes_at_once_come_in_several_pushes(
    delivered: Desk, other: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(2, 7):
        delivered.deploy(f"good {number}")
    other.release_store.set_policy(max_releases=2)
    pushed: list[str] = []
    push = git.push
    monkeypatch.setattr(git, "push", lambda *words, **way: pushed.append(words[1]) or push(*words, **way))

    other.rollback()

    assert len(other.record) == 7
    assert len([commit for commit in pushed if commit in {one.commit for one in list_releases(delivered.store)}]) >= 3


def test_a_bundle_of_objects_that_is_cut_off_is_an_error_of_one_line(delivered: Desk, other: Desk) -> None:
    subprocess.run(["rm", "-r", str(delivered.small.holds["production1"] / "refs")], check=True)

    with pytest.raises(ExternalError, match="production1"):
        other.deploy("good 2")

    assert other.record == []


def test_a_store_that_knows_all_asks_nothing(delivered: Desk, release_store: ReleaseStore) -> None:
    delivered.small.holds.clear()  # whoever asked would fail

    delivered.deploy("good 2")
