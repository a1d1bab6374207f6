"""The survey of production, and the images and secrets that a deploy prepares."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from stargaze.config import DeploySection
from stargaze.errors import ExternalError, MissingInputError
from stargaze.serve.stack import secret_versions
from stargaze.serve.swarm.docker import Swarm
from stargaze.serve.swarm.plan import plan_stack, prepare_stack
from stargaze.serve.swarm.production import image_in_use, survey_production
from stargaze.system.ssh import SshHost
from tests.serve.swarm.fake_swarm import FakeSwarm, machine

SECTION = DeploySection(to="swarm", registry="registry.example/team", timeout=0)
THREE = tuple(machine(number) for number in (1, 2, 3))


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeSwarm:
    fake_swarm = FakeSwarm()
    fake_swarm.install(monkeypatch)
    return fake_swarm


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    folder.mkdir()
    return folder


def ready(fake: FakeSwarm, bundle: Path, section: DeploySection = SECTION) -> dict[str, Any]:
    survey = survey_production(fake.target().hosts)
    plan = plan_stack(section, fake.target(), survey, bundle)
    return prepare_stack(plan, section, fake.target(), survey, lambda _: None)


def run(fake: FakeSwarm, stack: dict[str, Any]) -> None:
    """Deploy the stack."""
    fake.configs |= dict.fromkeys(stack["configs"], b"")
    fake._deploy(stack)


def versions(stack: dict[str, Any]) -> set[str]:
    return {name.rpartition("_")[2] for name in stack["secrets"] if name != secret_versions.COOKIE_SECRET}


def test_the_swarm_is_reached_through_its_first_manager(fake: FakeSwarm) -> None:
    fake.machines = (THREE[1], THREE[0])

    survey = survey_production(fake.target().hosts)

    assert [host.name for host in survey.hosts] == ["production2", "production1"]
    assert survey.swarm == Swarm(THREE[1])


@pytest.mark.parametrize(
    ("changed", "message", "hint"),
    [
        ({"unreachable": {"production2"}}, r"ssh login to production2 failed: .*No route to host", "infra status"),
        ({"managers": 0}, "no production machine manages the Swarm", "stargaze infra configure --tags swarm"),
    ],
)
def test_a_deploy_requires_every_machine_and_a_manager(
    fake: FakeSwarm, bundle: Path, changed: dict[str, object], message: str, hint: str
) -> None:
    for name, value in changed.items():
        setattr(fake, name, value)

    with pytest.raises(ExternalError, match=message) as excinfo:
        ready(fake, bundle)

    assert hint in excinfo.value.hint
    assert fake.changes == []


def test_before_the_first_deploy_no_image_is_in_use(fake: FakeSwarm, bundle: Path) -> None:
    with pytest.raises(MissingInputError, match="nothing has been deployed to the Swarm") as excinfo:
        image_in_use(Swarm(THREE[0]).read_state().services)
    assert excinfo.value.hint == "stargaze deploy"

    result = ready(fake, bundle)
    run(fake, result)

    assert image_in_use(Swarm(THREE[0]).read_state().services) == result["services"]["web"]["image"]


def test_every_machine_gets_every_image(fake: FakeSwarm, bundle: Path) -> None:
    result = ready(fake, bundle)

    images = {result["services"]["web"]["image"], SECTION.broker_image, SECTION.results_image}
    assert fake.images == {"production1": images, "production2": images}
    assert {service["image"] for service in result["services"].values()} == images


def test_optional_services_add_their_images(fake: FakeSwarm, bundle: Path) -> None:
    result = ready(fake, bundle, dataclasses.replace(SECTION, flower=True, prometheus=True))

    more = {SECTION.flower_image, SECTION.prometheus_image}
    assert more <= fake.images["production1"] & fake.images["production2"]
    assert {"flower", "prometheus"} <= set(result["services"])


def test_images_and_secrets_are_not_created_twice(fake: FakeSwarm, bundle: Path) -> None:
    first = ready(fake, bundle)
    assert "here: build" in fake.changes
    fake.changes.clear()

    again = ready(fake, bundle)

    assert fake.changes == []
    assert again == first


def test_an_image_is_transferred_only_where_it_is_missing(fake: FakeSwarm, bundle: Path) -> None:
    ready(fake, bundle)
    fake.images["production2"].remove(SECTION.results_image)
    fake.changes.clear()

    ready(fake, bundle)

    assert fake.changes == [f"production2: docker pull --quiet {SECTION.results_image}"]


def test_secrets_are_created_once_and_passed_as_standard_input(fake: FakeSwarm, bundle: Path) -> None:
    result = ready(fake, bundle)

    assert set(fake.secrets) == {f"stargaze_{name}_1" for name in secret_versions.SECRET_NAMES}
    assert set(result["secrets"]) <= set(fake.secrets)
    assert not [line for line in fake.changes for secret in fake.secrets.values() if secret.decode() in line]


def test_incomplete_secrets_of_an_interrupted_deploy_are_not_used(fake: FakeSwarm, bundle: Path) -> None:
    fake.secrets["stargaze_broker_1"] = b"half"

    result = ready(fake, bundle)

    assert versions(result) == {"2"}
    assert fake.secrets["stargaze_broker_1"] == b"half"


def test_complete_secrets_of_an_interrupted_deploy_are_used(fake: FakeSwarm, bundle: Path) -> None:
    fake.secrets |= secret_versions.generate_secrets(1) | secret_versions.generate_secrets(2)

    assert versions(ready(fake, bundle)) == {"2"}
    assert len(fake.secrets) == 2 * len(secret_versions.SECRET_NAMES)


def test_secrets_in_use_are_kept_although_newer_ones_exist(fake: FakeSwarm, bundle: Path) -> None:
    """As after a rotation that was interrupted before any service changed."""
    run(fake, ready(fake, bundle))
    fake.secrets |= secret_versions.generate_secrets(2)

    assert versions(ready(fake, bundle)) == {"1"}


def test_a_deploy_keeps_the_versions_of_an_interrupted_rotation(fake: FakeSwarm, bundle: Path) -> None:
    """Web and workers use the new ones; broker and results may have started with the old ones."""
    fake.secrets |= secret_versions.generate_secrets(1) | secret_versions.generate_secrets(2)
    run(fake, ready(fake, bundle))
    before = Swarm(THREE[0]).read_state().services
    assert secret_versions.versions_in_use(before) == (2, 2)
    for name in ("stargaze_broker", "stargaze_results"):
        secrets = fake.services[name]["Spec"]["TaskTemplate"]["ContainerSpec"]["Secrets"]
        secrets[0]["SecretName"] = secrets[0]["SecretName"].replace("_2", "_1")

    result = ready(fake, bundle)

    assert result["services"]["web"]["secrets"][0]["source"] == "stargaze_broker_2"
    assert result["services"]["broker"]["secrets"][0]["source"] == "stargaze_broker_conf_1"
    assert result["services"]["results"]["secrets"][0]["source"] == "stargaze_results_conf_1"


@pytest.mark.parametrize(("machines", "brokers"), [(THREE[:1], 0), (THREE[:2], 0), (THREE, 1)])
def test_a_broker_cluster_has_one_cookie(
    fake: FakeSwarm, bundle: Path, machines: tuple[SshHost, ...], brokers: int
) -> None:
    fake.machines = machines
    for _ in range(2):
        ready(fake, bundle)

    assert [line for line in fake.changes if secret_versions.COOKIE_SECRET in line] == [
        f"docker secret create {secret_versions.COOKIE_SECRET} -"
    ] * brokers


def test_the_stack_has_the_settings_of_the_config(fake: FakeSwarm, bundle: Path) -> None:
    result = ready(fake, bundle, dataclasses.replace(SECTION, worker_replicas=5))
    other = ready(fake, bundle)

    assert result["services"]["worker"]["deploy"]["replicas"] == 5
    assert result["services"]["web"]["ports"][0]["published"] == 80
    assert result != other
