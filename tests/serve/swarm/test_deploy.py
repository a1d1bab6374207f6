"""Deliveries from the first to the last step, and back from each: real releases here, a small Swarm and its peers in memory."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from stargaze.bundle.manifest import BadBundleError
from stargaze.config import DeploySection
from stargaze.errors import DifferenceFoundError, ExternalError, MissingInputError
from stargaze.serve.release import git
from stargaze.serve.release.commit_tree import RefusedError
from stargaze.serve.release.publish import list_releases, publish_release
from stargaze.serve.swarm import deploy as swarm_deploy
from stargaze.serve.swarm import wait
from stargaze.serve.swarm.delivery_state import load_verified_stack
from stargaze.serve.swarm.deploy import DeployResult
from stargaze.serve.swarm.restore import read_previous_state
from stargaze.store import Store
from tests.serve.conftest import ReleaseStore
from tests.serve.swarm.fake_swarm import FakeSwarm

pytestmark = pytest.mark.real
BOTH = ("production1", "production2")


class Desk:
    """Somebody who delivers: a release_store for bundles, a Swarm to bring them to, and peers that take every push but some."""

    def __init__(self, release_store: ReleaseStore, small: FakeSwarm) -> None:
        self.release_store, self.small = release_store, small
        self.store: Store = release_store.store
        self.section = dataclasses.replace(release_store.section, to="swarm", registry="registry.example", timeout=0)
        self.refusing: dict[str, str] = {}
        """Machines whose repository takes nothing, and what it says."""
        self.notes: list[str] = []

    def deploy(self, model: str = "good", **more: Any) -> DeployResult:
        """Make a bundle and deliver it, or deliver the one of a ``digest`` again."""
        digest = more.pop("digest", None) or self.release_store.add_bundle(model)
        return swarm_deploy.deploy(
            more.pop("section", self.section),
            self.store,
            self.small.target(),
            now=self.release_store.now,
            notify=self.notes.append,
            digest=digest,
            **more,
        )

    def rollback(self, to: str | None = None, section: DeploySection | None = None) -> DeployResult:
        """Return to a release."""
        where = (section or self.section, self.store, self.small.target())
        return swarm_deploy.rollback(*where, now=self.release_store.now, notify=self.notes.append, to=to)

    def take(self, repository: git.Repository, commit: str, to: str, **_: Any) -> git.PushResult:
        """Answer a push as the repository of a machine."""
        name = next(one.name for one in self.small.machines if f"@{one.address}/" in to)
        self.small.done.append(f"{name}: take a release")
        if name in self.refusing:
            return git.PushResult(False, self.refusing[name])
        tip = self.small.tips.get(name)
        if tip and not git.is_ancestor(repository, tip, commit):
            return git.PushResult(False, "! [remote rejected] main (not a fast-forward)")
        self.small.tips[name], self.small.holds[name] = commit, repository.path
        (entry,) = [one for one in git.list_tree(repository, commit) if one.name == "release.json"]
        digest = json.loads(git.read_objects(repository, [entry.object])[0])["digest"]
        self.small.installed[name] = self.small.releases[commit] = digest
        return git.PushResult(True, "")

    def everything(self) -> dict[str, Any]:
        """Return all that serves, which a delivery that fails must leave as it was."""
        services = {name: {**one, "UpdateStatus": None} for name, one in self.small.services.items()}
        return {"services": services, "installed": dict(self.small.installed), "stack": load_verified_stack(self.store)}

    @property
    def record(self) -> list[tuple[str, str]]:
        """Return kind and bundle of every release, newest first."""
        return [(one.kind, one.digest) for one in list_releases(self.store)]


@pytest.fixture
def desk(release_store: ReleaseStore, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A desk that has delivered nothing yet."""
    return opened(release_store, monkeypatch)


def opened(release_store: ReleaseStore, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """Open a desk, and have all its words end in a Swarm in memory."""
    monkeypatch.setattr(wait, "POLL_INTERVAL", 0.0)
    made = Desk(release_store, FakeSwarm())
    made.small.enter(monkeypatch)
    push = git.push
    monkeypatch.setattr(git, "push", lambda *words, **way: (made.take if way else push)(*words, **way))
    return made


@pytest.fixture
def delivered(desk: Desk) -> Desk:
    """A desk whose first release serves."""
    desk.deploy("good 1")
    desk.small.done.clear()
    desk.said.clear()
    return desk


def interrupted(*_: Any) -> None:
    raise KeyboardInterrupt


def steps(done: list[str]) -> list[str]:
    """Return what was done as the kinds of it, each once, in order."""
    kinds = ("believe", "here:", "pull", "secret create", "take a release", "stack deploy", "secret rm", "scale")
    return list(dict.fromkeys(kind for line in done for kind in kinds if kind in line))


def test_image_and_secrets_lie_ready_before_the_release_goes_and_services_come_last(desk: Desk) -> None:
    done = desk.deploy()

    assert steps(desk.small.done) == ["believe", "here:", "pull", "secret create", "take a release", "stack deploy"]
    assert (done.changed, done.machines, done.image) == (True, BOTH, desk.small.services["stargaze_web"]["Spec"][
        "TaskTemplate"
    ]["ContainerSpec"]["Image"])  # fmt: skip
    assert desk.small.installed == dict.fromkeys(BOTH, done.release.digest)
    assert load_verified_stack(desk.store) is not None


def test_the_same_again_has_nothing_to_do(delivered: Desk) -> None:
    before = delivered.everything()

    done = delivered.deploy("good 1")

    assert not done.changed
    assert delivered.small.done == delivered.notes == []
    assert delivered.everything() == before


def test_a_model_alone_travels_without_touching_a_service(delivered: Desk) -> None:
    done = delivered.deploy("good 2")

    assert sorted(delivered.small.done) == [f"{name}: take a release" for name in BOTH]
    assert done.changed
    assert delivered.small.installed == dict.fromkeys(BOTH, done.release.digest)


def test_a_config_alone_changes_the_services_and_sends_no_release(delivered: Desk) -> None:
    done = delivered.deploy("good 1", section=dataclasses.replace(delivered.section, worker_replicas=3))

    assert steps(delivered.small.done) == ["stack deploy"]
    assert done.changed
    assert delivered.small.services["stargaze_worker"]["Spec"]["Mode"] == {"Replicated": {"Replicas": 3}}


def test_what_a_killed_delivery_left_half_done_the_next_one_ends(delivered: Desk) -> None:
    """The release was on one machine when it was killed, and the services were not sent."""
    digest = delivered.release_store.add_bundle("good 2")
    section = dataclasses.replace(delivered.section, web_memory=2.0)
    publish_release(section, delivered.store, now=delivered.release_store.now, digest=digest)
    tip = git.branch_tip(delivered.release_store.repository)
    assert tip
    delivered.small.tips["production1"], delivered.small.installed["production1"] = tip, digest

    delivered.deploy(digest=digest, section=section)

    assert delivered.small.done[:1] == ["production2: take a release"]
    assert steps(delivered.small.done) == ["take a release", "stack deploy"]
    assert delivered.small.installed == dict.fromkeys(BOTH, digest)


def test_a_machine_that_has_the_release_and_not_its_bundle_installs_it_again(delivered: Desk) -> None:
    digest = delivered.small.installed["production2"]
    delivered.small.installed["production2"] = ""

    done = delivered.deploy("good 1")

    assert delivered.small.done == ["production2: heal"]
    assert done.changed
    assert delivered.small.installed["production2"] == digest


# ---- what stops a delivery before it begins ------------------------------------------------------------------------


def test_a_machine_that_does_not_answer_stops_it_before_anything_is_done(delivered: Desk) -> None:
    before = delivered.everything(), delivered.record
    delivered.small.away.add("production2")

    with pytest.raises(ExternalError, match="ssh login to production2 failed"):
        delivered.deploy("good 2")

    assert (delivered.everything(), delivered.record) == before
    assert delivered.small.done == []


def test_what_the_gate_holds_back_is_not_even_built_and_a_reason_lets_it_through(delivered: Desk) -> None:
    seen: list[tuple[str, str]] = []

    def gate(challenger: Path, champion: Path) -> None:
        seen.append((challenger.name, champion.name))
        raise DifferenceFoundError("it predicts worse")

    first = delivered.small.installed["production1"]
    for none in ("", " "):
        with pytest.raises(DifferenceFoundError, match="it predicts worse"):
            delivered.deploy("good 2", gate=gate, force_reason=none)
    assert seen == [(delivered.release_store.add_bundle("good 2"), first)] * 2
    assert delivered.small.done == []

    done = delivered.deploy("good 2", gate=gate, force_reason="a new policy")

    assert list_releases(delivered.store)[0].force_reason == "a new policy"
    assert delivered.small.installed == dict.fromkeys(BOTH, done.release.digest)


def test_a_bundle_that_was_changed_after_tuning_reaches_nobody(delivered: Desk) -> None:
    digest = delivered.release_store.add_bundle("good 2")
    (delivered.store.bundles / digest / "model.txt").write_text("evil")

    with pytest.raises(BadBundleError):
        delivered.deploy(digest=digest)

    assert delivered.small.done == []


def test_a_model_that_the_hook_here_refuses_reaches_no_machine(delivered: Desk) -> None:
    before = delivered.everything(), delivered.record

    with pytest.raises(RefusedError, match=r"predicts 3\.0 for the prototype row"):
        delivered.deploy("bad")

    assert "take a release" not in steps(delivered.small.done)
    assert (delivered.everything(), delivered.record) == before


# ---- the way back ---------------------------------------------------------------------------------------------------


def test_services_that_are_not_well_put_release_and_services_back(delivered: Desk) -> None:
    before, first = delivered.everything(), delivered.small.installed["production1"]
    delivered.small.ill["web"] = "task: unhealthy"

    with pytest.raises(ExternalError) as caught:
        delivered.deploy("good 2", section=dataclasses.replace(delivered.section, web_memory=0.05, worker_replicas=9))

    second = delivered.record[1][1]
    assert caught.value.message.startswith(f"release {second[:12]} does not serve: web: ")
    assert "task: unhealthy" in caught.value.message
    assert caught.value.message.endswith(f"; release {first[:12]} serves as before")
    assert caught.value.hint == "stargaze logs web"
    assert delivered.everything() == before
    assert delivered.record == [("rollback", first), ("deploy", second), ("deploy", first)]


def test_services_of_the_same_release_are_put_back_without_another(delivered: Desk) -> None:
    before, record = delivered.everything(), delivered.record
    delivered.small.ill["worker"] = "no memory"

    with pytest.raises(ExternalError, match=r"no memory; release .* serves as before"):
        delivered.deploy("good 1", section=dataclasses.replace(delivered.section, worker_memory=0.05))

    assert delivered.everything() == before
    assert delivered.record == record


def test_a_machine_that_refuses_a_release_has_the_others_go_back(delivered: Desk) -> None:
    """As one that does not believe who signed it."""
    before, first = delivered.everything(), delivered.small.installed["production1"]
    delivered.refusing["production2"] = "remote: refused: commit abc is not signed by an allowed signer\n"

    def heals(line: str) -> None:
        delivered.notes.append(line)
        if "restoring" in line:
            delivered.refusing.clear()

    with pytest.raises(
        ExternalError, match=r"production2: the release was refused: .* not signed by an allowed"
    ) as caught:
        swarm_deploy.deploy(
            delivered.section, delivered.store, delivered.small.target(), now=delivered.release_store.now, notify=heals,
            digest=delivered.release_store.add_bundle("good 2"),
        )  # fmt: skip

    assert caught.value.message.endswith(f"release {first[:12]} serves as before")
    assert "stack deploy" not in steps(delivered.small.done)
    assert delivered.everything() == before


def test_a_process_that_goes_on_with_another_release_puts_it_back(delivered: Desk) -> None:
    first = delivered.small.installed["production1"]
    delivered.small.stuck["production2"] = first

    with pytest.raises(
        ExternalError, match=rf"production2: a worker container serves {first[:12]}; release .* as before"
    ):
        delivered.deploy("good 2")

    assert delivered.small.installed == dict.fromkeys(BOTH, first)


def test_a_release_that_only_the_desk_had_lost_is_what_a_failure_goes_back_to(delivered: Desk) -> None:
    """Its installation here is healed, which makes no release: the one before it did not serve."""
    delivered.deploy("good 2")
    before, record = delivered.everything(), delivered.record
    delivered.store.current.unlink()
    delivered.small.ill["web"] = "unhealthy"

    with pytest.raises(ExternalError, match=rf"release {record[0][1][:12]} serves as before"):
        delivered.deploy("good 2", section=dataclasses.replace(delivered.section, web_memory=0.05))

    assert delivered.everything() == before
    assert delivered.record == record


def test_what_was_scaled_since_is_put_back_as_it_was(delivered: Desk) -> None:
    delivered.small.services["stargaze_worker"]["Spec"]["Mode"] = {"Replicated": {"Replicas": 8}}
    delivered.small.ill["web"] = "unhealthy"
    before = delivered.everything()

    with pytest.raises(ExternalError, match="serves as before"):
        delivered.deploy("good 2", section=dataclasses.replace(delivered.section, web_memory=0.05, worker_memory=3.0))

    assert delivered.everything() == before


def test_a_release_whose_delivery_was_interrupted_is_none_to_return_to(
    delivered: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = delivered.small.installed["production1"]
    with monkeypatch.context() as patched:
        patched.setattr(swarm_deploy, "await_serving", interrupted)
        with pytest.raises(KeyboardInterrupt):
            delivered.deploy("good 2")
    delivered.small.ill["web"] = "unhealthy"

    with pytest.raises(ExternalError, match=rf"release {first[:12]} serves as before"):
        delivered.deploy("good 3", section=dataclasses.replace(delivered.section, web_memory=0.05))

    assert delivered.small.installed == dict.fromkeys(BOTH, first)
    stands = read_previous_state(delivered.store, list(delivered.small.services.values()))
    assert stands.release == list_releases(delivered.store)[0]


def test_what_somebody_else_has_brought_meanwhile_is_not_taken_back(delivered: Desk) -> None:
    delivered.small.ill["web"] = "unhealthy"

    def arrives(line: str) -> None:
        if "restoring" in line:
            delivered.small.tips["production2"] = "another"

    with pytest.raises(ExternalError, match="somebody else deployed another release since"):
        swarm_deploy.deploy(
            dataclasses.replace(delivered.section, web_memory=0.05), delivered.store, delivered.small.target(),
            now=delivered.release_store.now, notify=arrives, digest=delivered.release_store.add_bundle("good 2"),
        )  # fmt: skip

    assert [kind for kind, _ in delivered.record] == ["deploy", "deploy"]


def test_a_machine_that_is_lost_on_the_way_keeps_the_others_from_nothing(delivered: Desk) -> None:
    first = delivered.small.installed["production1"]
    delivered.refusing["production2"] = "Connection closed"

    def lose(line: str) -> None:
        if "restoring" in line:
            delivered.small.away.add("production2")

    with pytest.raises(ExternalError) as caught:
        swarm_deploy.deploy(
            delivered.section, delivered.store, delivered.small.target(),
            now=delivered.release_store.now, notify=lose, digest=delivered.release_store.add_bundle("good 2"),
        )  # fmt: skip

    assert f"release {first[:12]} serves as before on production1; ssh login to production2 failed" in (
        caught.value.message
    )
    assert caught.value.hint == f"when it is back: stargaze deploy {first[:12]}"
    assert delivered.small.installed["production1"] == first
    delivered.refusing.clear()
    delivered.small.away.clear()

    delivered.deploy(digest=first)

    assert len(set(delivered.small.tips.values())) == 1


def test_where_nothing_served_before_there_is_nothing_to_go_back_to(desk: Desk) -> None:
    desk.small.ill["broker"] = "no such volume"

    with pytest.raises(ExternalError, match=r"broker: .*no such volume; nothing was deployed before"):
        desk.deploy()

    assert load_verified_stack(desk.store) is None


def test_a_way_back_that_fails_too_is_told_with_both_reasons(delivered: Desk) -> None:
    delivered.small.ill["web"] = "unhealthy"

    def lose(line: str) -> None:
        if "restoring" in line:
            delivered.small.away.add("production1")

    with pytest.raises(ExternalError) as caught:
        swarm_deploy.deploy(
            dataclasses.replace(delivered.section, web_memory=0.05), delivered.store, delivered.small.target(),
            now=delivered.release_store.now, notify=lose, digest=delivered.release_store.add_bundle("good 2"),
        )  # fmt: skip

    assert "unhealthy" in caught.value.message
    assert (
        "restoring failed too: no Swarm manager is reachable: ssh login to production1 failed" in caught.value.message
    )
    assert caught.value.hint == "stargaze status"


# ---- rollback -------------------------------------------------------------------------------------------------------


def test_a_rollback_brings_the_release_before_and_leaves_the_services(delivered: Desk) -> None:
    first = delivered.small.installed["production1"]
    second = delivered.deploy("good 2").release.digest
    delivered.small.done.clear()

    done = delivered.rollback()

    assert (done.changed, done.release.kind, done.release.digest) == (True, "rollback", first)
    assert steps(delivered.small.done) == ["take a release"]
    assert delivered.small.installed == dict.fromkeys(BOTH, first)
    assert delivered.rollback(second[:12]).release.digest == second


def test_a_rollback_that_does_not_serve_is_put_back_as_a_delivery_is(delivered: Desk) -> None:
    second = delivered.deploy("good 2").release.digest
    before, record = delivered.everything(), delivered.record
    delivered.small.stuck["production1"] = second

    with pytest.raises(
        ExternalError, match=rf"production1: a worker container serves .*release {second[:12]} serves as"
    ):
        delivered.rollback()

    assert delivered.everything() == before
    assert delivered.record == [("rollback", second), ("rollback", record[1][1]), *record]


def test_a_rollback_reaches_whom_it_can_and_tells_of_the_others(delivered: Desk) -> None:
    first = delivered.small.installed["production1"]
    second = delivered.deploy("good 2").release.digest
    delivered.small.away.add("production2")

    with pytest.raises(ExternalError) as caught:
        delivered.rollback()

    assert caught.value.message.startswith(
        f"release {first[:12]} serves again on production1; ssh login to production2 failed"
    )
    assert delivered.small.installed == {"production1": first, "production2": second}
    delivered.small.away.clear()

    delivered.deploy(digest=first)

    assert delivered.small.installed == dict.fromkeys(BOTH, first)


def test_a_rollback_to_another_image_that_fails_leaves_the_stack_to_return_to(delivered: Desk) -> None:
    wants = delivered.release_store.add_bundle("good 2", **{"model-all-1.skops": "another kind"})
    delivered.deploy(digest=wants)
    delivered.deploy("good 3")
    before = delivered.everything()
    delivered.small.stuck["production1"] = before["installed"]["production1"]

    with pytest.raises(ExternalError, match="serves as before"):
        delivered.rollback()

    assert delivered.everything() == before


def test_a_rollback_to_another_image_wants_every_machine(delivered: Desk) -> None:
    wants = delivered.release_store.add_bundle("good 2", **{"model-all-1.skops": "another kind"})
    delivered.deploy(digest=wants)
    third = delivered.deploy("good 3").release.digest
    delivered.small.away.add("production2")

    with pytest.raises(ExternalError, match="needs another image; ssh login to production2 failed"):
        delivered.rollback()

    assert delivered.small.installed == dict.fromkeys(BOTH, third)


def test_a_rollback_to_models_that_want_more_of_an_image_brings_it_first(delivered: Desk) -> None:
    wants = delivered.release_store.add_bundle("good 2", **{"model-all-1.skops": "another kind"})
    large = delivered.deploy(digest=wants).image
    small = delivered.deploy("good 3").image
    delivered.small.images["production2"].remove(large)
    delivered.small.done.clear()

    done = delivered.rollback()

    assert small != large == done.image
    assert steps(delivered.small.done) == ["here:", "pull", "take a release", "stack deploy"]
    assert delivered.small.installed == dict.fromkeys(BOTH, wants)
    assert (load_verified_stack(delivered.store) or {})["services"]["web"]["image"] == large


def test_a_delivery_that_succeeded_sweeps_and_one_that_failed_removes_nothing(delivered: Desk) -> None:
    old = "registry.example/stargaze-serve:old"
    for images in delivered.small.images.values():
        images.add(old)
    delivered.refusing = dict.fromkeys(BOTH, "no")

    with pytest.raises(ExternalError):
        delivered.deploy("good 2")
    assert all(old in images for images in delivered.small.images.values())

    delivered.refusing = {}
    image = delivered.deploy("good 3").image
    assert all(old not in images and image in images for images in delivered.small.images.values())


def test_before_the_first_delivery_there_is_nothing_to_return_to(desk: Desk) -> None:
    with pytest.raises(MissingInputError, match="nothing has been deployed to the Swarm"):
        desk.rollback()

    assert desk.small.done == []
    assert desk.record == []
