"""The dry run of a deploy: what would change and why, without any change."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from stargaze.config import DeploySection
from stargaze.errors import DifferenceFoundError, ExternalError
from stargaze.serve.swarm.plan import PlannedChange, plan_deploy_changes, plan_stack
from stargaze.serve.swarm.production import survey_production
from tests.serve.conftest import ReleaseStore
from tests.serve.swarm.fake_swarm import FakeSwarm
from tests.serve.swarm.test_deploy import Deployer, create_deployer

pytestmark = pytest.mark.real


@pytest.fixture
def deployer(release_store: ReleaseStore, monkeypatch: pytest.MonkeyPatch) -> Deployer:
    """A store that has deployed nothing yet."""
    return create_deployer(release_store, monkeypatch)


@pytest.fixture
def serving_deployer(deployer: Deployer) -> Deployer:
    """A store whose first release serves."""
    deployer.deploy("good 1")
    deployer.swarm.changes.clear()
    return deployer


def plan(deployer: Deployer, model: str, **settings: Any) -> list[PlannedChange]:
    """Return the changes of deploying a model with other settings; assert that nothing changes."""
    gate = settings.pop("gate", None)
    section = dataclasses.replace(deployer.section, **settings)
    digest = deployer.release_store.add_bundle(model)
    before = deployer.production_state(), deployer.record, sorted(deployer.store.root.rglob("*"))

    changes = plan_deploy_changes(section, deployer.store, deployer.swarm.target(), digest=digest, gate=gate)

    assert (deployer.production_state(), deployer.record, sorted(deployer.store.root.rglob("*"))) == before
    return changes


def actions(changes: list[PlannedChange]) -> dict[str, str]:
    """Return the action of each resource, without the digest in its name."""
    return {change.resource.partition(":")[0].partition(" of ")[0]: change.action for change in changes}


def reasons(changes: list[PlannedChange]) -> dict[str, str]:
    """Return the reason of each change that is not keep."""
    return {change.resource: change.reason for change in changes if change.action != "keep"}


def test_the_first_deploy_creates_everything(deployer: Deployer) -> None:
    changes = plan(deployer, "good 1")

    result = actions(changes)
    assert result.pop("image registry.example/stargaze-serve") == "build"
    assert {name for name, action in result.items() if action == "send"} == {"image rabbitmq", "image redis"}
    assert {name for name, action in result.items() if action == "create"} == {
        "secrets", "release", *(f"service {name}" for name in ("web", "worker", "broker", "results")),
    }  # fmt: skip
    assert "missing on production1, production2" in {change.reason for change in changes}
    assert deployer.swarm.changes == []


def test_the_same_again_keeps_everything(serving_deployer: Deployer) -> None:
    assert set(actions(plan(serving_deployer, "good 1")).values()) == {"keep"}
    assert serving_deployer.swarm.changes == []


def test_a_new_model_is_a_new_release_that_every_node_lacks(serving_deployer: Deployer) -> None:
    changes = plan(serving_deployer, "good 2")

    digest = serving_deployer.release_store.add_bundle("good 2")[:12]
    assert reasons(changes) == {f"release of bundle {digest}": "missing on production1, production2"}
    assert actions(changes)["release"] == "create"


def test_changed_settings_are_named_for_each_service(serving_deployer: Deployer) -> None:
    changes = plan(serving_deployer, "good 1", web_memory=2.0, worker_replicas=3)

    assert actions(changes)["service web"] == actions(changes)["service worker"] == "update"
    result = reasons(changes)
    assert result["service web"] == "deploy.resources.limits.memory 1000000000 -> 2000000000"
    assert result["service worker"] == "replicas 2 -> 3"


def test_optional_services_are_created_and_deleted(serving_deployer: Deployer) -> None:
    assert actions(plan(serving_deployer, "good 1", flower=True))["service flower"] == "create"

    serving_deployer.deploy("good 1", section=dataclasses.replace(serving_deployer.section, flower=True))

    assert actions(plan(serving_deployer, "good 1"))["service flower"] == "delete"


def test_a_node_without_the_image_or_the_release_is_named(serving_deployer: Deployer) -> None:
    image = next(name for name in serving_deployer.swarm.images["production2"] if "stargaze-serve" in name)
    serving_deployer.swarm.images["production2"].remove(image)
    serving_deployer.swarm.installed["production2"] = ""

    result = reasons(plan(serving_deployer, "good 1"))

    assert result[f"image {image}"] == "missing on production2"
    assert "missing on production2" in [reason for name, reason in result.items() if name.startswith("release")]


def test_releases_of_another_store_would_be_imported(serving_deployer: Deployer) -> None:
    serving_deployer.swarm.release_commits["production1"] = "c" * 40

    assert actions(plan(serving_deployer, "good 1"))["releases"] == "import"


def test_a_bundle_that_the_quality_gate_refuses_is_reported(serving_deployer: Deployer) -> None:
    def gate(_challenger: Path, _champion: Path) -> None:
        raise DifferenceFoundError("it predicts worse")

    changes = plan(serving_deployer, "good 2", gate=gate)

    assert [(change.action, change.reason) for change in changes if change.resource.startswith("release")] == [
        ("refuse", "it predicts worse")
    ]


def test_nodes_that_cannot_encrypt_their_networks_are_named_before_anything_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeSwarm(esp="no-esp")
    fake.install(monkeypatch)
    survey = survey_production(fake.target().hosts)
    section = DeploySection(to="swarm", registry="registry.example")

    with pytest.raises(ExternalError, match="production1, production2: the kernel has no ESP") as caught:
        plan_stack(section, fake.target(), survey, tmp_path)

    assert "deploy.encrypt_networks = false" in caught.value.hint
    assert (
        plan_stack(dataclasses.replace(section, encrypt_networks=False), fake.target(), survey, tmp_path).bundle
        == tmp_path
    )
