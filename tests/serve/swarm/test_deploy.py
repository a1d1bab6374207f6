"""Deploy, rollback and restore, with real release repositories here and a fake Swarm."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from stargaze.bundle.manifest import BadBundleError
from stargaze.config import DeploySection
from stargaze.errors import DifferenceFoundError, ExternalError, MissingInputError
from stargaze.serve.release import git
from stargaze.serve.release.publish import list_releases, publish_release
from stargaze.serve.release.repository import RefusedError
from stargaze.serve.swarm import deploy as swarm_deploy
from stargaze.serve.swarm import production
from stargaze.serve.swarm.delivery_state import load_verified_stack
from stargaze.serve.swarm.deploy import DeployResult, read_previous_state
from stargaze.store import Store
from tests.serve.conftest import ReleaseStore
from tests.serve.swarm.fake_swarm import FakeSwarm

pytestmark = pytest.mark.real
BOTH = ("production1", "production2")


class Deployer:
    """A store that deploys to a fake Swarm, whose machines accept every push except those in ``rejections``."""

    def __init__(self, release_store: ReleaseStore, swarm: FakeSwarm) -> None:
        self.release_store, self.swarm = release_store, swarm
        self.store: Store = release_store.store
        self.section = dataclasses.replace(release_store.section, to="swarm", registry="registry.example", timeout=0)
        self.rejections: dict[str, str] = {}
        """Machines that reject pushes, with the message."""
        self.notes: list[str] = []

    def deploy(self, model: str = "good", **more: Any) -> DeployResult:
        """Create a bundle and deploy it, or deploy the one with a ``digest``."""
        digest = more.pop("digest", None) or self.release_store.add_bundle(model)
        return swarm_deploy.deploy(
            more.pop("section", self.section),
            self.store,
            self.swarm.target(),
            now=self.release_store.now,
            notify=self.notes.append,
            digest=digest,
            **more,
        )

    def rollback(self, to: str | None = None, section: DeploySection | None = None) -> DeployResult:
        """Roll back."""
        arguments = (section or self.section, self.store, self.swarm.target())
        return swarm_deploy.rollback(*arguments, now=self.release_store.now, notify=self.notes.append, to=to)

    def accept(self, repository: git.Repository, commit: str, to: str, **_: Any) -> git.PushResult:
        """Answer a push like the release repository of a machine."""
        name = next(item.name for item in self.swarm.machines if f"@{item.address}/" in to)
        self.swarm.changes.append(f"{name}: accept a release")
        if name in self.rejections:
            return git.PushResult(False, self.rejections[name])
        tip = self.swarm.release_commits.get(name)
        if tip and not git.is_ancestor(repository, tip, commit):
            return git.PushResult(False, "! [remote rejected] main (not a fast-forward)")
        self.swarm.release_commits[name], self.swarm.repositories[name] = commit, repository.path
        (entry,) = [item for item in git.list_tree(repository, commit) if item.name == "release.json"]
        digest = json.loads(git.read_objects(repository, [entry.object])[0])["digest"]
        self.swarm.installed[name] = self.swarm.releases[commit] = digest
        return git.PushResult(True, "")

    def production_state(self) -> dict[str, Any]:
        """Return everything that a failed deploy must restore."""
        services = {name: {**item, "UpdateStatus": None} for name, item in self.swarm.services.items()}
        return {"services": services, "installed": dict(self.swarm.installed), "stack": load_verified_stack(self.store)}

    @property
    def record(self) -> list[tuple[str, str]]:
        """Return kind and bundle of every release, newest first."""
        return [(release.kind, release.digest) for release in list_releases(self.store)]


@pytest.fixture
def deployer(release_store: ReleaseStore, monkeypatch: pytest.MonkeyPatch) -> Deployer:
    """A store that has deployed nothing yet."""
    return create_deployer(release_store, monkeypatch)


def create_deployer(release_store: ReleaseStore, monkeypatch: pytest.MonkeyPatch) -> Deployer:
    """Return a store that deploys to a fake Swarm."""
    monkeypatch.setattr(production, "POLL_INTERVAL", 0.0)
    deployer = Deployer(release_store, FakeSwarm())
    deployer.swarm.install(monkeypatch)
    push = git.push
    monkeypatch.setattr(git, "push", lambda *argv, **options: (deployer.accept if options else push)(*argv, **options))
    return deployer


@pytest.fixture
def serving_deployer(deployer: Deployer) -> Deployer:
    """A store whose first release serves."""
    deployer.deploy("good 1")
    deployer.swarm.changes.clear()
    deployer.notes.clear()
    return deployer


def interrupted(*_: Any) -> None:
    raise KeyboardInterrupt


def steps(done: list[str]) -> list[str]:
    """Return the kinds of changes, each once, in order."""
    kinds = ("trust", "here:", "pull", "secret create", "accept a release", "stack deploy", "secret rm", "scale")
    return list(dict.fromkeys(kind for line in done for kind in kinds if kind in line))


def test_image_and_secrets_come_before_the_release_and_services_last(deployer: Deployer) -> None:
    completed = deployer.deploy()

    assert steps(deployer.swarm.changes) == [
        "trust",
        "here:",
        "pull",
        "secret create",
        "accept a release",
        "stack deploy",
    ]
    web = deployer.swarm.services["stargaze_web"]["Spec"]["TaskTemplate"]["ContainerSpec"]
    assert (completed.changed, completed.machines, completed.image) == (True, BOTH, web["Image"])
    assert deployer.swarm.installed == dict.fromkeys(BOTH, completed.release.digest)
    assert load_verified_stack(deployer.store) is not None


def test_deploying_the_same_again_does_nothing(serving_deployer: Deployer) -> None:
    before = serving_deployer.production_state()

    completed = serving_deployer.deploy("good 1")

    assert not completed.changed
    assert serving_deployer.swarm.changes == serving_deployer.notes == []
    assert serving_deployer.production_state() == before


def test_a_new_model_changes_no_service(serving_deployer: Deployer) -> None:
    completed = serving_deployer.deploy("good 2")

    assert sorted(serving_deployer.swarm.changes) == [f"{name}: accept a release" for name in BOTH]
    assert completed.changed
    assert serving_deployer.swarm.installed == dict.fromkeys(BOTH, completed.release.digest)


def test_a_new_config_changes_services_and_pushes_no_release(serving_deployer: Deployer) -> None:
    completed = serving_deployer.deploy(
        "good 1", section=dataclasses.replace(serving_deployer.section, worker_replicas=3)
    )

    assert steps(serving_deployer.swarm.changes) == ["stack deploy"]
    assert completed.changed
    assert serving_deployer.swarm.services["stargaze_worker"]["Spec"]["Mode"] == {"Replicated": {"Replicas": 3}}


def test_the_next_deploy_completes_a_killed_one(serving_deployer: Deployer) -> None:
    """The release was on one machine when the deploy was killed, and the services were not deployed."""
    digest = serving_deployer.release_store.add_bundle("good 2")
    section = dataclasses.replace(serving_deployer.section, web_memory=2.0)
    publish_release(section, serving_deployer.store, now=serving_deployer.release_store.now, digest=digest)
    tip = git.branch_tip(serving_deployer.release_store.repository)
    assert tip
    serving_deployer.swarm.release_commits["production1"], serving_deployer.swarm.installed["production1"] = tip, digest

    serving_deployer.deploy(digest=digest, section=section)

    assert serving_deployer.swarm.changes[:1] == ["production2: accept a release"]
    assert steps(serving_deployer.swarm.changes) == ["accept a release", "stack deploy"]
    assert serving_deployer.swarm.installed == dict.fromkeys(BOTH, digest)


def test_a_machine_with_the_release_but_without_its_bundle_installs_it_again(serving_deployer: Deployer) -> None:
    digest = serving_deployer.swarm.installed["production2"]
    serving_deployer.swarm.installed["production2"] = ""

    completed = serving_deployer.deploy("good 1")

    assert serving_deployer.swarm.changes == ["production2: reinstall"]
    assert completed.changed
    assert serving_deployer.swarm.installed["production2"] == digest


# ---- failures before any change ------------------------------------------------------------------------


def test_an_unreachable_machine_fails_the_deploy_before_any_change(serving_deployer: Deployer) -> None:
    before = serving_deployer.production_state(), serving_deployer.record
    serving_deployer.swarm.unreachable.add("production2")

    with pytest.raises(ExternalError, match="ssh login to production2 failed"):
        serving_deployer.deploy("good 2")

    assert (serving_deployer.production_state(), serving_deployer.record) == before
    assert serving_deployer.swarm.changes == []


def test_a_bundle_that_fails_the_quality_gate_is_not_built_unless_forced(serving_deployer: Deployer) -> None:
    calls: list[tuple[str, str]] = []

    def gate(challenger: Path, champion: Path) -> None:
        calls.append((challenger.name, champion.name))
        raise DifferenceFoundError("it predicts worse")

    first = serving_deployer.swarm.installed["production1"]
    for none in ("", " "):
        with pytest.raises(DifferenceFoundError, match="it predicts worse"):
            serving_deployer.deploy("good 2", gate=gate, force_reason=none)
    assert calls == [(serving_deployer.release_store.add_bundle("good 2"), first)] * 2
    assert serving_deployer.swarm.changes == []

    completed = serving_deployer.deploy("good 2", gate=gate, force_reason="a new policy")

    assert list_releases(serving_deployer.store)[0].force_reason == "a new policy"
    assert serving_deployer.swarm.installed == dict.fromkeys(BOTH, completed.release.digest)


def test_a_modified_bundle_is_not_deployed(serving_deployer: Deployer) -> None:
    digest = serving_deployer.release_store.add_bundle("good 2")
    (serving_deployer.store.bundles / digest / "model.txt").write_text("evil")

    with pytest.raises(BadBundleError):
        serving_deployer.deploy(digest=digest)

    assert serving_deployer.swarm.changes == []


def test_a_model_that_the_local_hook_rejects_reaches_no_machine(serving_deployer: Deployer) -> None:
    before = serving_deployer.production_state(), serving_deployer.record

    with pytest.raises(RefusedError, match=r"predicts 3\.0 for the prototype row"):
        serving_deployer.deploy("bad")

    assert "accept a release" not in steps(serving_deployer.swarm.changes)
    assert (serving_deployer.production_state(), serving_deployer.record) == before


# ---- restore ---------------------------------------------------------------------------------------------------


def test_failing_services_restore_release_and_services(serving_deployer: Deployer) -> None:
    before, first = serving_deployer.production_state(), serving_deployer.swarm.installed["production1"]
    serving_deployer.swarm.unhealthy["web"] = "task: unhealthy"

    with pytest.raises(ExternalError) as excinfo:
        serving_deployer.deploy(
            "good 2", section=dataclasses.replace(serving_deployer.section, web_memory=0.05, worker_replicas=9)
        )

    second = serving_deployer.record[1][1]
    assert excinfo.value.message.startswith(f"release {second[:12]} does not serve: web: ")
    assert "task: unhealthy" in excinfo.value.message
    assert excinfo.value.message.endswith(f"; release {first[:12]} serves as before")
    assert excinfo.value.hint == "stargaze logs web"
    assert serving_deployer.production_state() == before
    assert serving_deployer.record == [("rollback", first), ("deploy", second), ("deploy", first)]


def test_failing_services_of_the_same_release_are_restored_without_a_new_release(serving_deployer: Deployer) -> None:
    before, record = serving_deployer.production_state(), serving_deployer.record
    serving_deployer.swarm.unhealthy["worker"] = "no memory"

    with pytest.raises(ExternalError, match=r"no memory; release .* serves as before"):
        serving_deployer.deploy("good 1", section=dataclasses.replace(serving_deployer.section, worker_memory=0.05))

    assert serving_deployer.production_state() == before
    assert serving_deployer.record == record


def test_a_release_that_one_machine_rejects_is_rolled_back_on_the_others(serving_deployer: Deployer) -> None:
    before, first = serving_deployer.production_state(), serving_deployer.swarm.installed["production1"]
    serving_deployer.rejections["production2"] = "remote: refused: commit abc is not signed by an allowed signer\n"

    def accept_again(line: str) -> None:
        serving_deployer.notes.append(line)
        if "restoring" in line:
            serving_deployer.rejections.clear()

    with pytest.raises(
        ExternalError, match=r"production2: the release was refused: .* not signed by an allowed"
    ) as excinfo:
        swarm_deploy.deploy(
            serving_deployer.section,
            serving_deployer.store,
            serving_deployer.swarm.target(),
            now=serving_deployer.release_store.now,
            notify=accept_again,
            digest=serving_deployer.release_store.add_bundle("good 2"),
        )

    assert excinfo.value.message.endswith(f"release {first[:12]} serves as before")
    assert "stack deploy" not in steps(serving_deployer.swarm.changes)
    assert serving_deployer.production_state() == before


def test_a_process_that_keeps_serving_the_old_release_causes_a_restore(serving_deployer: Deployer) -> None:
    first = serving_deployer.swarm.installed["production1"]
    serving_deployer.swarm.stale_bundles["production2"] = first

    with pytest.raises(
        ExternalError, match=rf"production2: a worker container serves {first[:12]}; release .* as before"
    ):
        serving_deployer.deploy("good 2")

    assert serving_deployer.swarm.installed == dict.fromkeys(BOTH, first)


def test_a_failure_restores_the_release_that_only_this_store_had_lost(serving_deployer: Deployer) -> None:
    """Repairing the local installation creates no release."""
    serving_deployer.deploy("good 2")
    before, record = serving_deployer.production_state(), serving_deployer.record
    serving_deployer.store.current.unlink()
    serving_deployer.swarm.unhealthy["web"] = "unhealthy"

    with pytest.raises(ExternalError, match=rf"release {record[0][1][:12]} serves as before"):
        serving_deployer.deploy("good 2", section=dataclasses.replace(serving_deployer.section, web_memory=0.05))

    assert serving_deployer.production_state() == before
    assert serving_deployer.record == record


def test_a_restore_keeps_scaled_replicas(serving_deployer: Deployer) -> None:
    serving_deployer.swarm.services["stargaze_worker"]["Spec"]["Mode"] = {"Replicated": {"Replicas": 8}}
    serving_deployer.swarm.unhealthy["web"] = "unhealthy"
    before = serving_deployer.production_state()

    with pytest.raises(ExternalError, match="serves as before"):
        serving_deployer.deploy(
            "good 2", section=dataclasses.replace(serving_deployer.section, web_memory=0.05, worker_memory=3.0)
        )

    assert serving_deployer.production_state() == before


def test_an_interrupted_release_is_not_a_rollback_target(
    serving_deployer: Deployer, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = serving_deployer.swarm.installed["production1"]
    with monkeypatch.context() as patched:
        patched.setattr(swarm_deploy, "await_serving", interrupted)
        with pytest.raises(KeyboardInterrupt):
            serving_deployer.deploy("good 2")
    serving_deployer.swarm.unhealthy["web"] = "unhealthy"

    with pytest.raises(ExternalError, match=rf"release {first[:12]} serves as before"):
        serving_deployer.deploy("good 3", section=dataclasses.replace(serving_deployer.section, web_memory=0.05))

    assert serving_deployer.swarm.installed == dict.fromkeys(BOTH, first)
    state = read_previous_state(serving_deployer.store, list(serving_deployer.swarm.services.values()))
    assert state.release == list_releases(serving_deployer.store)[0]


def test_a_release_that_another_store_deployed_meanwhile_is_not_reverted(serving_deployer: Deployer) -> None:
    serving_deployer.swarm.unhealthy["web"] = "unhealthy"

    def deploy_elsewhere(line: str) -> None:
        if "restoring" in line:
            serving_deployer.swarm.release_commits["production2"] = "another"

    with pytest.raises(ExternalError, match="another release has been deployed since"):
        swarm_deploy.deploy(
            dataclasses.replace(serving_deployer.section, web_memory=0.05),
            serving_deployer.store,
            serving_deployer.swarm.target(),
            now=serving_deployer.release_store.now,
            notify=deploy_elsewhere,
            digest=serving_deployer.release_store.add_bundle("good 2"),
        )

    assert [kind for kind, _ in serving_deployer.record] == ["deploy", "deploy"]


def test_a_machine_that_becomes_unreachable_does_not_keep_others_from_being_restored(
    serving_deployer: Deployer,
) -> None:
    first = serving_deployer.swarm.installed["production1"]
    serving_deployer.rejections["production2"] = "Connection closed"

    def lose(line: str) -> None:
        if "restoring" in line:
            serving_deployer.swarm.unreachable.add("production2")

    with pytest.raises(ExternalError) as excinfo:
        swarm_deploy.deploy(
            serving_deployer.section,
            serving_deployer.store,
            serving_deployer.swarm.target(),
            now=serving_deployer.release_store.now,
            notify=lose,
            digest=serving_deployer.release_store.add_bundle("good 2"),
        )

    assert f"release {first[:12]} serves as before on production1; ssh login to production2 failed" in (
        excinfo.value.message
    )
    assert excinfo.value.hint == f"when it is back: stargaze deploy {first[:12]} --growth none"
    assert serving_deployer.swarm.installed["production1"] == first
    serving_deployer.rejections.clear()
    serving_deployer.swarm.unreachable.clear()

    serving_deployer.deploy(digest=first)

    assert len(set(serving_deployer.swarm.release_commits.values())) == 1


def test_the_first_deploy_has_nothing_to_restore(deployer: Deployer) -> None:
    deployer.swarm.unhealthy["broker"] = "no such volume"

    with pytest.raises(ExternalError, match=r"broker: .*no such volume; nothing was deployed before"):
        deployer.deploy()

    assert load_verified_stack(deployer.store) is None


def test_a_failed_restore_is_reported_with_both_reasons(serving_deployer: Deployer) -> None:
    serving_deployer.swarm.unhealthy["web"] = "unhealthy"

    def lose(line: str) -> None:
        if "restoring" in line:
            serving_deployer.swarm.unreachable.add("production1")

    with pytest.raises(ExternalError) as excinfo:
        swarm_deploy.deploy(
            dataclasses.replace(serving_deployer.section, web_memory=0.05),
            serving_deployer.store,
            serving_deployer.swarm.target(),
            now=serving_deployer.release_store.now,
            notify=lose,
            digest=serving_deployer.release_store.add_bundle("good 2"),
        )

    assert "unhealthy" in excinfo.value.message
    assert (
        "restoring failed too: no Swarm manager is reachable: ssh login to production1 failed" in excinfo.value.message
    )
    assert excinfo.value.hint == "stargaze status"


# ---- rollback -------------------------------------------------------------------------------------------------------


def test_a_rollback_restores_the_previous_release_and_keeps_the_services(serving_deployer: Deployer) -> None:
    first = serving_deployer.swarm.installed["production1"]
    second = serving_deployer.deploy("good 2").release.digest
    serving_deployer.swarm.changes.clear()

    completed = serving_deployer.rollback()

    assert (completed.changed, completed.release.kind, completed.release.digest) == (True, "rollback", first)
    assert steps(serving_deployer.swarm.changes) == ["accept a release"]
    assert serving_deployer.swarm.installed == dict.fromkeys(BOTH, first)
    assert serving_deployer.rollback(second[:12]).release.digest == second


@pytest.mark.parametrize("step", ["push_release", "mark_unverified", "await_serving", "clear_unverified"])
def test_a_rollback_that_was_killed_is_completed_on_every_machine_when_it_is_repeated(
    serving_deployer: Deployer, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """And does not go back a second release."""
    serving_deployer.deploy("good 2")
    second = serving_deployer.swarm.installed["production1"]
    serving_deployer.deploy("good 3")
    with monkeypatch.context() as patch:
        patch.setattr(swarm_deploy, step, Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            serving_deployer.rollback()

    completed = serving_deployer.rollback()

    assert completed.release.digest == second
    assert serving_deployer.swarm.installed == dict.fromkeys(BOTH, second)
    assert [kind for kind, _ in serving_deployer.record].count("rollback") == 1
    assert any(note.startswith("completing the interrupted rollback") for note in serving_deployer.notes)


def test_a_bundle_that_was_rolled_back_is_not_delivered_without_a_reason(serving_deployer: Deployer) -> None:
    second = serving_deployer.deploy("good 2").release.digest
    serving_deployer.rollback()
    before = serving_deployer.production_state()

    with pytest.raises(DifferenceFoundError, match="was rolled back"):
        serving_deployer.deploy("good 2")

    assert serving_deployer.production_state() == before
    assert serving_deployer.deploy("good 2", force_reason="why").release.digest == second


def test_a_failed_rollback_is_restored_like_a_failed_deploy(serving_deployer: Deployer) -> None:
    second = serving_deployer.deploy("good 2").release.digest
    before, record = serving_deployer.production_state(), serving_deployer.record
    serving_deployer.swarm.stale_bundles["production1"] = second

    with pytest.raises(
        ExternalError, match=rf"production1: a worker container serves .*release {second[:12]} serves as"
    ):
        serving_deployer.rollback()

    assert serving_deployer.production_state() == before
    assert serving_deployer.record == [("rollback", second), ("rollback", record[1][1]), *record]


def test_a_rollback_reaches_available_machines_and_reports_the_others(serving_deployer: Deployer) -> None:
    first = serving_deployer.swarm.installed["production1"]
    second = serving_deployer.deploy("good 2").release.digest
    serving_deployer.swarm.unreachable.add("production2")

    with pytest.raises(ExternalError) as excinfo:
        serving_deployer.rollback()

    assert excinfo.value.message.startswith(
        f"release {first[:12]} serves again on production1; ssh login to production2 failed"
    )
    assert serving_deployer.swarm.installed == {"production1": first, "production2": second}
    serving_deployer.swarm.unreachable.clear()

    serving_deployer.deploy(digest=first)

    assert serving_deployer.swarm.installed == dict.fromkeys(BOTH, first)


def test_a_failed_rollback_to_another_image_restores_the_stack(serving_deployer: Deployer) -> None:
    digest = serving_deployer.release_store.add_bundle("good 2", **{"model-all-1.skops": "another kind"})
    serving_deployer.deploy(digest=digest)
    serving_deployer.deploy("good 3")
    before = serving_deployer.production_state()
    serving_deployer.swarm.stale_bundles["production1"] = before["installed"]["production1"]

    with pytest.raises(ExternalError, match="serves as before"):
        serving_deployer.rollback()

    assert serving_deployer.production_state() == before


def test_a_rollback_to_another_image_requires_every_machine(serving_deployer: Deployer) -> None:
    digest = serving_deployer.release_store.add_bundle("good 2", **{"model-all-1.skops": "another kind"})
    serving_deployer.deploy(digest=digest)
    third = serving_deployer.deploy("good 3").release.digest
    serving_deployer.swarm.unreachable.add("production2")

    with pytest.raises(ExternalError, match="needs another image; ssh login to production2 failed"):
        serving_deployer.rollback()

    assert serving_deployer.swarm.installed == dict.fromkeys(BOTH, third)


def test_a_rollback_to_models_with_more_packages_transfers_their_image_first(serving_deployer: Deployer) -> None:
    digest = serving_deployer.release_store.add_bundle("good 2", **{"model-all-1.skops": "another kind"})
    large = serving_deployer.deploy(digest=digest).image
    small = serving_deployer.deploy("good 3").image
    serving_deployer.swarm.images["production2"].remove(large)
    serving_deployer.swarm.changes.clear()

    completed = serving_deployer.rollback()

    assert small != large == completed.image
    assert steps(serving_deployer.swarm.changes) == ["here:", "pull", "accept a release", "stack deploy"]
    assert serving_deployer.swarm.installed == dict.fromkeys(BOTH, digest)
    assert (load_verified_stack(serving_deployer.store) or {})["services"]["web"]["image"] == large


def test_only_a_successful_deploy_prunes(serving_deployer: Deployer) -> None:
    old = "registry.example/stargaze-serve:old"
    for images in serving_deployer.swarm.images.values():
        images.add(old)
    serving_deployer.rejections = dict.fromkeys(BOTH, "no")

    with pytest.raises(ExternalError):
        serving_deployer.deploy("good 2")
    assert all(old in images for images in serving_deployer.swarm.images.values())

    serving_deployer.rejections = {}
    image = serving_deployer.deploy("good 3").image
    assert all(old not in images and image in images for images in serving_deployer.swarm.images.values())


def test_a_rollback_before_the_first_deploy_changes_nothing(deployer: Deployer) -> None:
    with pytest.raises(MissingInputError, match="nothing has been deployed to the Swarm"):
        deployer.rollback()

    assert deployer.swarm.changes == []
    assert deployer.record == []
