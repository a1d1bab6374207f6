"""Deploy, rollback and restore, with real release repositories here and a fake Swarm."""

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
def deployed(deployer: Deployer) -> Deployer:
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


def test_deploying_the_same_again_does_nothing(deployed: Deployer) -> None:
    before = deployed.production_state()

    completed = deployed.deploy("good 1")

    assert not completed.changed
    assert deployed.swarm.changes == deployed.notes == []
    assert deployed.production_state() == before


def test_a_new_model_changes_no_service(deployed: Deployer) -> None:
    completed = deployed.deploy("good 2")

    assert sorted(deployed.swarm.changes) == [f"{name}: accept a release" for name in BOTH]
    assert completed.changed
    assert deployed.swarm.installed == dict.fromkeys(BOTH, completed.release.digest)


def test_a_new_config_changes_services_and_pushes_no_release(deployed: Deployer) -> None:
    completed = deployed.deploy("good 1", section=dataclasses.replace(deployed.section, worker_replicas=3))

    assert steps(deployed.swarm.changes) == ["stack deploy"]
    assert completed.changed
    assert deployed.swarm.services["stargaze_worker"]["Spec"]["Mode"] == {"Replicated": {"Replicas": 3}}


def test_the_next_deploy_completes_a_killed_one(deployed: Deployer) -> None:
    """The release was on one machine when the deploy was killed, and the services were not deployed."""
    digest = deployed.release_store.add_bundle("good 2")
    section = dataclasses.replace(deployed.section, web_memory=2.0)
    publish_release(section, deployed.store, now=deployed.release_store.now, digest=digest)
    tip = git.branch_tip(deployed.release_store.repository)
    assert tip
    deployed.swarm.release_commits["production1"], deployed.swarm.installed["production1"] = tip, digest

    deployed.deploy(digest=digest, section=section)

    assert deployed.swarm.changes[:1] == ["production2: accept a release"]
    assert steps(deployed.swarm.changes) == ["accept a release", "stack deploy"]
    assert deployed.swarm.installed == dict.fromkeys(BOTH, digest)


def test_a_machine_with_the_release_but_without_its_bundle_installs_it_again(deployed: Deployer) -> None:
    digest = deployed.swarm.installed["production2"]
    deployed.swarm.installed["production2"] = ""

    completed = deployed.deploy("good 1")

    assert deployed.swarm.changes == ["production2: reinstall"]
    assert completed.changed
    assert deployed.swarm.installed["production2"] == digest


# ---- failures before any change ------------------------------------------------------------------------


def test_an_unreachable_machine_fails_the_deploy_before_any_change(deployed: Deployer) -> None:
    before = deployed.production_state(), deployed.record
    deployed.swarm.unreachable.add("production2")

    with pytest.raises(ExternalError, match="ssh login to production2 failed"):
        deployed.deploy("good 2")

    assert (deployed.production_state(), deployed.record) == before
    assert deployed.swarm.changes == []


def test_a_bundle_that_fails_the_quality_gate_is_not_built_unless_forced(deployed: Deployer) -> None:
    calls: list[tuple[str, str]] = []

    def gate(challenger: Path, champion: Path) -> None:
        calls.append((challenger.name, champion.name))
        raise DifferenceFoundError("it predicts worse")

    first = deployed.swarm.installed["production1"]
    for none in ("", " "):
        with pytest.raises(DifferenceFoundError, match="it predicts worse"):
            deployed.deploy("good 2", gate=gate, force_reason=none)
    assert calls == [(deployed.release_store.add_bundle("good 2"), first)] * 2
    assert deployed.swarm.changes == []

    completed = deployed.deploy("good 2", gate=gate, force_reason="a new policy")

    assert list_releases(deployed.store)[0].force_reason == "a new policy"
    assert deployed.swarm.installed == dict.fromkeys(BOTH, completed.release.digest)


def test_a_modified_bundle_is_not_deployed(deployed: Deployer) -> None:
    digest = deployed.release_store.add_bundle("good 2")
    (deployed.store.bundles / digest / "model.txt").write_text("evil")

    with pytest.raises(BadBundleError):
        deployed.deploy(digest=digest)

    assert deployed.swarm.changes == []


def test_a_model_that_the_local_hook_rejects_reaches_no_machine(deployed: Deployer) -> None:
    before = deployed.production_state(), deployed.record

    with pytest.raises(RefusedError, match=r"predicts 3\.0 for the prototype row"):
        deployed.deploy("bad")

    assert "accept a release" not in steps(deployed.swarm.changes)
    assert (deployed.production_state(), deployed.record) == before


# ---- restore ---------------------------------------------------------------------------------------------------


def test_failing_services_restore_release_and_services(deployed: Deployer) -> None:
    before, first = deployed.production_state(), deployed.swarm.installed["production1"]
    deployed.swarm.unhealthy["web"] = "task: unhealthy"

    with pytest.raises(ExternalError) as excinfo:
        deployed.deploy("good 2", section=dataclasses.replace(deployed.section, web_memory=0.05, worker_replicas=9))

    second = deployed.record[1][1]
    assert excinfo.value.message.startswith(f"release {second[:12]} does not serve: web: ")
    assert "task: unhealthy" in excinfo.value.message
    assert excinfo.value.message.endswith(f"; release {first[:12]} serves as before")
    assert excinfo.value.hint == "stargaze logs web"
    assert deployed.production_state() == before
    assert deployed.record == [("rollback", first), ("deploy", second), ("deploy", first)]


def test_failing_services_of_the_same_release_are_restored_without_a_new_release(deployed: Deployer) -> None:
    before, record = deployed.production_state(), deployed.record
    deployed.swarm.unhealthy["worker"] = "no memory"

    with pytest.raises(ExternalError, match=r"no memory; release .* serves as before"):
        deployed.deploy("good 1", section=dataclasses.replace(deployed.section, worker_memory=0.05))

    assert deployed.production_state() == before
    assert deployed.record == record


def test_a_release_that_one_machine_rejects_is_rolled_back_on_the_others(deployed: Deployer) -> None:
    before, first = deployed.production_state(), deployed.swarm.installed["production1"]
    deployed.rejections["production2"] = "remote: refused: commit abc is not signed by an allowed signer\n"

    def accept_again(line: str) -> None:
        deployed.notes.append(line)
        if "restoring" in line:
            deployed.rejections.clear()

    with pytest.raises(
        ExternalError, match=r"production2: the release was refused: .* not signed by an allowed"
    ) as excinfo:
        swarm_deploy.deploy(
            deployed.section, deployed.store, deployed.swarm.target(), now=deployed.release_store.now, notify=accept_again,
            digest=deployed.release_store.add_bundle("good 2"),
        )  # fmt: skip

    assert excinfo.value.message.endswith(f"release {first[:12]} serves as before")
    assert "stack deploy" not in steps(deployed.swarm.changes)
    assert deployed.production_state() == before


def test_a_process_that_keeps_serving_the_old_release_causes_a_restore(deployed: Deployer) -> None:
    first = deployed.swarm.installed["production1"]
    deployed.swarm.stale_bundles["production2"] = first

    with pytest.raises(
        ExternalError, match=rf"production2: a worker container serves {first[:12]}; release .* as before"
    ):
        deployed.deploy("good 2")

    assert deployed.swarm.installed == dict.fromkeys(BOTH, first)


def test_a_failure_restores_the_release_that_only_this_store_had_lost(deployed: Deployer) -> None:
    """Repairing the local installation creates no release."""
    deployed.deploy("good 2")
    before, record = deployed.production_state(), deployed.record
    deployed.store.current.unlink()
    deployed.swarm.unhealthy["web"] = "unhealthy"

    with pytest.raises(ExternalError, match=rf"release {record[0][1][:12]} serves as before"):
        deployed.deploy("good 2", section=dataclasses.replace(deployed.section, web_memory=0.05))

    assert deployed.production_state() == before
    assert deployed.record == record


def test_a_restore_keeps_scaled_replicas(deployed: Deployer) -> None:
    deployed.swarm.services["stargaze_worker"]["Spec"]["Mode"] = {"Replicated": {"Replicas": 8}}
    deployed.swarm.unhealthy["web"] = "unhealthy"
    before = deployed.production_state()

    with pytest.raises(ExternalError, match="serves as before"):
        deployed.deploy("good 2", section=dataclasses.replace(deployed.section, web_memory=0.05, worker_memory=3.0))

    assert deployed.production_state() == before


def test_an_interrupted_release_is_not_a_rollback_target(deployed: Deployer, monkeypatch: pytest.MonkeyPatch) -> None:
    first = deployed.swarm.installed["production1"]
    with monkeypatch.context() as patched:
        patched.setattr(swarm_deploy, "await_serving", interrupted)
        with pytest.raises(KeyboardInterrupt):
            deployed.deploy("good 2")
    deployed.swarm.unhealthy["web"] = "unhealthy"

    with pytest.raises(ExternalError, match=rf"release {first[:12]} serves as before"):
        deployed.deploy("good 3", section=dataclasses.replace(deployed.section, web_memory=0.05))

    assert deployed.swarm.installed == dict.fromkeys(BOTH, first)
    state = read_previous_state(deployed.store, list(deployed.swarm.services.values()))
    assert state.release == list_releases(deployed.store)[0]


def test_a_release_that_another_store_deployed_meanwhile_is_not_reverted(deployed: Deployer) -> None:
    deployed.swarm.unhealthy["web"] = "unhealthy"

    def deploy_elsewhere(line: str) -> None:
        if "restoring" in line:
            deployed.swarm.release_commits["production2"] = "another"

    with pytest.raises(ExternalError, match="another release has been deployed since"):
        swarm_deploy.deploy(
            dataclasses.replace(deployed.section, web_memory=0.05), deployed.store, deployed.swarm.target(),
            now=deployed.release_store.now, notify=deploy_elsewhere, digest=deployed.release_store.add_bundle("good 2"),
        )  # fmt: skip

    assert [kind for kind, _ in deployed.record] == ["deploy", "deploy"]


def test_a_machine_that_becomes_unreachable_does_not_keep_others_from_being_restored(deployed: Deployer) -> None:
    first = deployed.swarm.installed["production1"]
    deployed.rejections["production2"] = "Connection closed"

    def lose(line: str) -> None:
        if "restoring" in line:
            deployed.swarm.unreachable.add("production2")

    with pytest.raises(ExternalError) as excinfo:
        swarm_deploy.deploy(
            deployed.section, deployed.store, deployed.swarm.target(),
            now=deployed.release_store.now, notify=lose, digest=deployed.release_store.add_bundle("good 2"),
        )  # fmt: skip

    assert f"release {first[:12]} serves as before on production1; ssh login to production2 failed" in (
        excinfo.value.message
    )
    assert excinfo.value.hint == f"when it is back: stargaze deploy {first[:12]}"
    assert deployed.swarm.installed["production1"] == first
    deployed.rejections.clear()
    deployed.swarm.unreachable.clear()

    deployed.deploy(digest=first)

    assert len(set(deployed.swarm.release_commits.values())) == 1


def test_the_first_deploy_has_nothing_to_restore(deployer: Deployer) -> None:
    deployer.swarm.unhealthy["broker"] = "no such volume"

    with pytest.raises(ExternalError, match=r"broker: .*no such volume; nothing was deployed before"):
        deployer.deploy()

    assert load_verified_stack(deployer.store) is None


def test_a_failed_restore_is_reported_with_both_reasons(deployed: Deployer) -> None:
    deployed.swarm.unhealthy["web"] = "unhealthy"

    def lose(line: str) -> None:
        if "restoring" in line:
            deployed.swarm.unreachable.add("production1")

    with pytest.raises(ExternalError) as excinfo:
        swarm_deploy.deploy(
            dataclasses.replace(deployed.section, web_memory=0.05), deployed.store, deployed.swarm.target(),
            now=deployed.release_store.now, notify=lose, digest=deployed.release_store.add_bundle("good 2"),
        )  # fmt: skip

    assert "unhealthy" in excinfo.value.message
    assert (
        "restoring failed too: no Swarm manager is reachable: ssh login to production1 failed" in excinfo.value.message
    )
    assert excinfo.value.hint == "stargaze status"


# ---- rollback -------------------------------------------------------------------------------------------------------


def test_a_rollback_restores_the_previous_release_and_keeps_the_services(deployed: Deployer) -> None:
    first = deployed.swarm.installed["production1"]
    second = deployed.deploy("good 2").release.digest
    deployed.swarm.changes.clear()

    completed = deployed.rollback()

    assert (completed.changed, completed.release.kind, completed.release.digest) == (True, "rollback", first)
    assert steps(deployed.swarm.changes) == ["accept a release"]
    assert deployed.swarm.installed == dict.fromkeys(BOTH, first)
    assert deployed.rollback(second[:12]).release.digest == second


def test_a_failed_rollback_is_restored_like_a_failed_deploy(deployed: Deployer) -> None:
    second = deployed.deploy("good 2").release.digest
    before, record = deployed.production_state(), deployed.record
    deployed.swarm.stale_bundles["production1"] = second

    with pytest.raises(
        ExternalError, match=rf"production1: a worker container serves .*release {second[:12]} serves as"
    ):
        deployed.rollback()

    assert deployed.production_state() == before
    assert deployed.record == [("rollback", second), ("rollback", record[1][1]), *record]


def test_a_rollback_reaches_available_machines_and_reports_the_others(deployed: Deployer) -> None:
    first = deployed.swarm.installed["production1"]
    second = deployed.deploy("good 2").release.digest
    deployed.swarm.unreachable.add("production2")

    with pytest.raises(ExternalError) as excinfo:
        deployed.rollback()

    assert excinfo.value.message.startswith(
        f"release {first[:12]} serves again on production1; ssh login to production2 failed"
    )
    assert deployed.swarm.installed == {"production1": first, "production2": second}
    deployed.swarm.unreachable.clear()

    deployed.deploy(digest=first)

    assert deployed.swarm.installed == dict.fromkeys(BOTH, first)


def test_a_failed_rollback_to_another_image_restores_the_stack(deployed: Deployer) -> None:
    digest = deployed.release_store.add_bundle("good 2", **{"model-all-1.skops": "another kind"})
    deployed.deploy(digest=digest)
    deployed.deploy("good 3")
    before = deployed.production_state()
    deployed.swarm.stale_bundles["production1"] = before["installed"]["production1"]

    with pytest.raises(ExternalError, match="serves as before"):
        deployed.rollback()

    assert deployed.production_state() == before


def test_a_rollback_to_another_image_requires_every_machine(deployed: Deployer) -> None:
    digest = deployed.release_store.add_bundle("good 2", **{"model-all-1.skops": "another kind"})
    deployed.deploy(digest=digest)
    third = deployed.deploy("good 3").release.digest
    deployed.swarm.unreachable.add("production2")

    with pytest.raises(ExternalError, match="needs another image; ssh login to production2 failed"):
        deployed.rollback()

    assert deployed.swarm.installed == dict.fromkeys(BOTH, third)


def test_a_rollback_to_models_with_more_packages_transfers_their_image_first(deployed: Deployer) -> None:
    digest = deployed.release_store.add_bundle("good 2", **{"model-all-1.skops": "another kind"})
    large = deployed.deploy(digest=digest).image
    small = deployed.deploy("good 3").image
    deployed.swarm.images["production2"].remove(large)
    deployed.swarm.changes.clear()

    completed = deployed.rollback()

    assert small != large == completed.image
    assert steps(deployed.swarm.changes) == ["here:", "pull", "accept a release", "stack deploy"]
    assert deployed.swarm.installed == dict.fromkeys(BOTH, digest)
    assert (load_verified_stack(deployed.store) or {})["services"]["web"]["image"] == large


def test_only_a_successful_deploy_prunes(deployed: Deployer) -> None:
    old = "registry.example/stargaze-serve:old"
    for images in deployed.swarm.images.values():
        images.add(old)
    deployed.rejections = dict.fromkeys(BOTH, "no")

    with pytest.raises(ExternalError):
        deployed.deploy("good 2")
    assert all(old in images for images in deployed.swarm.images.values())

    deployed.rejections = {}
    image = deployed.deploy("good 3").image
    assert all(old not in images and image in images for images in deployed.swarm.images.values())


def test_a_rollback_before_the_first_deploy_changes_nothing(deployer: Deployer) -> None:
    with pytest.raises(MissingInputError, match="nothing has been deployed to the Swarm"):
        deployer.rollback()

    assert deployer.swarm.changes == []
    assert deployer.record == []
