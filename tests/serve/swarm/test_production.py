"""Production before it is changed: who is asked, what must lie ready, and what is never made twice."""

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
def small(monkeypatch: pytest.MonkeyPatch) -> FakeSwarm:
    made = FakeSwarm()
    made.enter(monkeypatch)
    return made


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    folder.mkdir()
    return folder


def ready(small: FakeSwarm, bundle: Path, section: DeploySection = SECTION) -> dict[str, Any]:
    survey = survey_production(small.target().hosts)
    plan = plan_stack(section, small.target(), survey, bundle)
    return prepare_stack(plan, section, small.target(), survey, lambda _: None)


def run(small: FakeSwarm, found: dict[str, Any]) -> None:
    """Have the stack be what runs."""
    small.configs |= dict.fromkeys(found["configs"], b"")
    small._deploy(found)


def versions(found: dict[str, Any]) -> set[str]:
    return {name.rpartition("_")[2] for name in found["secrets"] if name != secret_versions.COOKIE_SECRET}


def test_the_swarm_is_asked_behind_the_first_machine_that_manages_it(small: FakeSwarm) -> None:
    small.machines = (THREE[1], THREE[0])

    survey = survey_production(small.target().hosts)

    assert [host.name for host in survey.hosts] == ["production2", "production1"]
    assert survey.swarm == Swarm(THREE[1])


@pytest.mark.parametrize(
    ("changed", "said", "hint"),
    [
        ({"away": {"production2"}}, r"ssh login to production2 failed: .*No route to host", "infra status"),
        ({"managers": 0}, "no production machine manages the Swarm", "stargaze infra configure --tags swarm"),
    ],
)
def test_production_is_whole_before_it_is_touched(
    small: FakeSwarm, bundle: Path, changed: dict[str, object], said: str, hint: str
) -> None:
    for name, value in changed.items():
        setattr(small, name, value)

    with pytest.raises(ExternalError, match=said) as caught:
        ready(small, bundle)

    assert hint in caught.value.hint
    assert small.done == []


def test_before_the_first_deploy_there_is_no_image_in_use(small: FakeSwarm, bundle: Path) -> None:
    with pytest.raises(MissingInputError, match="nothing has been deployed to the Swarm") as caught:
        image_in_use(Swarm(THREE[0]).read_state().services)
    assert caught.value.hint == "stargaze deploy"

    found = ready(small, bundle)
    run(small, found)

    assert image_in_use(Swarm(THREE[0]).read_state().services) == found["services"]["web"]["image"]


def test_every_machine_has_every_image_before_a_service_may_want_it(small: FakeSwarm, bundle: Path) -> None:
    found = ready(small, bundle)

    mine = {found["services"]["web"]["image"], SECTION.broker_image, SECTION.results_image}
    assert small.images == {"production1": mine, "production2": mine}
    assert {service["image"] for service in found["services"].values()} == mine


def test_what_the_config_adds_brings_its_image(small: FakeSwarm, bundle: Path) -> None:
    found = ready(small, bundle, dataclasses.replace(SECTION, flower=True, prometheus=True))

    more = {SECTION.flower_image, SECTION.prometheus_image}
    assert more <= small.images["production1"] & small.images["production2"]
    assert {"flower", "prometheus"} <= set(found["services"])


def test_what_lies_ready_is_not_made_again(small: FakeSwarm, bundle: Path) -> None:
    first = ready(small, bundle)
    assert "here: build" in small.done
    small.done.clear()

    again = ready(small, bundle)

    assert small.done == []
    assert again == first


def test_only_the_machine_that_lacks_an_image_is_sent_it(small: FakeSwarm, bundle: Path) -> None:
    ready(small, bundle)
    small.images["production2"].remove(SECTION.results_image)
    small.done.clear()

    ready(small, bundle)

    assert small.done == [f"production2: docker pull --quiet {SECTION.results_image}"]


def test_secrets_are_made_once_and_travel_as_input_alone(small: FakeSwarm, bundle: Path) -> None:
    found = ready(small, bundle)

    assert set(small.secrets) == {f"stargaze_{name}_1" for name in secret_versions.SECRET_NAMES}
    assert set(found["secrets"]) <= set(small.secrets)
    assert not [line for line in small.done for secret in small.secrets.values() if secret.decode() in line]


def test_secrets_of_which_a_stopped_deploy_left_a_part_are_not_used(small: FakeSwarm, bundle: Path) -> None:
    small.secrets["stargaze_broker_1"] = b"half"

    found = ready(small, bundle)

    assert versions(found) == {"2"}
    assert small.secrets["stargaze_broker_1"] == b"half"


def test_secrets_that_a_stopped_deploy_left_whole_are_used(small: FakeSwarm, bundle: Path) -> None:
    small.secrets |= secret_versions.generate_secrets(1) | secret_versions.generate_secrets(2)

    assert versions(ready(small, bundle)) == {"2"}
    assert len(small.secrets) == 2 * len(secret_versions.SECRET_NAMES)


def test_secrets_in_use_stay_in_use_though_newer_ones_are_there(small: FakeSwarm, bundle: Path) -> None:
    """As after a rotation that was stopped before anything had changed to them."""
    run(small, ready(small, bundle))
    small.secrets |= secret_versions.generate_secrets(2)

    assert versions(ready(small, bundle)) == {"1"}


def test_a_rotation_that_was_stopped_half_way_stays_half_way(small: FakeSwarm, bundle: Path) -> None:
    """Page and workers show the new ones, queue and results may not know them from their start."""
    small.secrets |= secret_versions.generate_secrets(1) | secret_versions.generate_secrets(2)
    run(small, ready(small, bundle))
    before = Swarm(THREE[0]).read_state().services
    assert secret_versions.versions_in_use(before) == (2, 2)
    for name in ("stargaze_broker", "stargaze_results"):
        held = small.services[name]["Spec"]["TaskTemplate"]["ContainerSpec"]["Secrets"]
        held[0]["SecretName"] = held[0]["SecretName"].replace("_2", "_1")

    found = ready(small, bundle)

    assert found["services"]["web"]["secrets"][0]["source"] == "stargaze_broker_2"
    assert found["services"]["broker"]["secrets"][0]["source"] == "stargaze_broker_conf_1"
    assert found["services"]["results"]["secrets"][0]["source"] == "stargaze_results_conf_1"


@pytest.mark.parametrize(("machines", "brokers"), [(THREE[:1], 0), (THREE[:2], 0), (THREE, 1)])
def test_several_brokers_know_each_other_by_one_cookie(
    small: FakeSwarm, bundle: Path, machines: tuple[SshHost, ...], brokers: int
) -> None:
    small.machines = machines
    for _ in range(2):
        ready(small, bundle)

    assert [line for line in small.done if secret_versions.COOKIE_SECRET in line] == [
        f"docker secret create {secret_versions.COOKIE_SECRET} -"
    ] * brokers


def test_what_was_made_ready_is_what_the_config_asks_for(small: FakeSwarm, bundle: Path) -> None:
    found = ready(small, bundle, dataclasses.replace(SECTION, worker_replicas=5))
    other = ready(small, bundle)

    assert found["services"]["worker"]["deploy"]["replicas"] == 5
    assert found["services"]["web"]["ports"][0]["published"] == 80
    assert found != other
