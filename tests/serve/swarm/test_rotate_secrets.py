"""Rotation of secrets in a fake Swarm: which services know which version at each step, also after an interruption."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from stargaze.config import DeploySection
from stargaze.errors import ExternalError, MissingInputError
from stargaze.serve.stack import secret_versions
from stargaze.serve.stack.service_options import CONTENT_LABEL
from stargaze.serve.swarm import production
from stargaze.serve.swarm.delivery_state import load_verified_stack, save_verified_stack, send_stack
from stargaze.serve.swarm.docker import Swarm
from stargaze.serve.swarm.plan import plan_stack, prepare_stack
from stargaze.serve.swarm.production import survey_production
from stargaze.serve.swarm.rotate_secrets import rotate_secrets
from stargaze.store import Store
from tests.serve.swarm.fake_swarm import FakeSwarm, machine

SECTION = DeploySection(to="swarm", registry="registry.example", timeout=0)
CREATED = {f"docker secret create stargaze_{name}_2 -" for name in secret_versions.SECRET_NAMES}
STACK_DEPLOY = "docker stack deploy --prune --resolve-image never --compose-file - stargaze"


@pytest.fixture
def fake(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSwarm:
    """A fake Swarm with a deployed stack and secrets of version 1."""
    monkeypatch.setattr(production, "POLL_INTERVAL", 0.0)
    store.root.mkdir()
    fake_swarm = FakeSwarm()
    fake_swarm.install(monkeypatch)
    deploy(fake_swarm, store, tmp_path)
    return fake_swarm


def deploy(fake: FakeSwarm, store: Store, bundle: Path) -> None:
    survey = survey_production(fake.target().hosts)
    plan = plan_stack(SECTION, fake.target(), survey, bundle)
    ready = prepare_stack(plan, SECTION, fake.target(), survey, lambda _: None)
    send_stack(store, survey.swarm, ready)
    save_verified_stack(store, ready)
    fake.changes.clear()
    fake.stdin.clear()


def rotate(fake: FakeSwarm, store: Store) -> int:
    return rotate_secrets(SECTION, store, fake.target(), notify=lambda _: None)


def in_use(fake: FakeSwarm) -> tuple[int, int] | None:
    return secret_versions.versions_in_use(Swarm(fake.machines[0]).read_state().services)


def stored_versions(fake: FakeSwarm) -> set[str]:
    """Return the versions of all secrets of the Swarm."""
    return {name.rpartition("_")[2] for name in fake.secrets}


def test_new_secrets_are_known_before_they_are_used_and_old_ones_are_deleted_last(
    fake: FakeSwarm, store: Store
) -> None:
    assert rotate(fake, store) == 2

    changes = [line for line in fake.changes if "config create" not in line]
    assert set(changes[: len(CREATED)]) == CREATED
    assert changes[len(CREATED) :] == [
        "production1: stargaze_broker: add a user stargaze_2",
        "production1: stargaze_results: add a user stargaze_2",
        STACK_DEPLOY,
        STACK_DEPLOY,
        STACK_DEPLOY,
        "production1: stargaze_broker: delete all users but stargaze_2",
        "docker secret rm " + " ".join(sorted(f"stargaze_{name}_1" for name in secret_versions.SECRET_NAMES)),
    ]


def test_web_and_workers_change_before_broker_and_results(fake: FakeSwarm, store: Store) -> None:
    rotate(fake, store)

    sent = [json.loads(stdin) for line, stdin in fake.stdin if line == STACK_DEPLOY]
    assert [
        (item["services"][name]["secrets"][0]["source"], item["services"][backing]["secrets"][0]["source"])
        for item in sent
        for name, backing in (("web", "broker"), ("worker", "results"))
    ] == [
        ("stargaze_broker_2", "stargaze_broker_conf_1"),
        ("stargaze_broker_2", "stargaze_results_conf_1"),
        ("stargaze_broker_2", "stargaze_broker_conf_2"),
        ("stargaze_broker_2", "stargaze_results_conf_2"),
        ("stargaze_broker_2", "stargaze_broker_conf_2"),
        ("stargaze_broker_2", "stargaze_results_conf_2"),
    ]
    trusted = [[name for name in item["secrets"] if "_ca_" in name] for item in sent]
    assert trusted == [["stargaze_ca_1", "stargaze_ca_2"], ["stargaze_ca_1", "stargaze_ca_2"], ["stargaze_ca_2"]]


def test_a_rotation_keeps_the_running_image(fake: FakeSwarm, store: Store) -> None:
    before = fake.services["stargaze_web"]["Spec"]["TaskTemplate"]["ContainerSpec"]

    rotate(fake, store)

    after = fake.services["stargaze_web"]["Spec"]["TaskTemplate"]["ContainerSpec"]
    assert (after["Image"], after["Labels"][CONTENT_LABEL]) == (before["Image"], before["Labels"][CONTENT_LABEL])


def test_broker_and_results_get_the_secrets_that_are_used_later(fake: FakeSwarm, store: Store) -> None:
    rotate(fake, store)

    reported = {line.partition(": ")[2]: stdin for line, stdin in fake.stdin}
    assert reported["stargaze_broker: add a user stargaze_2"] == fake.secrets["stargaze_broker_conf_2"]
    digest = hashlib.sha256(fake.secrets["stargaze_results_2"]).hexdigest()
    assert reported["stargaze_results: add a user stargaze_2"] == f"{digest}\n".encode()


def test_no_password_is_an_argument_or_in_a_file(fake: FakeSwarm, store: Store) -> None:
    rotate(fake, store)

    texts = [*fake.changes, *(path.read_text() for path in store.root.rglob("*") if path.is_file())]
    assert not [text for text in texts for secret in fake.secrets.values() if secret.decode() in text]


def test_the_rotated_stack_is_the_one_to_restore(fake: FakeSwarm, store: Store) -> None:
    rotate(fake, store)

    assert (in_use(fake), stored_versions(fake)) == ((2, 2), {"2"})
    assert set((load_verified_stack(store) or {})["secrets"]) <= set(fake.secrets)


def test_the_user_is_added_on_the_machine_of_the_broker(fake: FakeSwarm, store: Store) -> None:
    fake.runs_on = {"stargaze_broker": "production2", "stargaze_results": "production2"}

    rotate(fake, store)

    assert [line.split(":")[0] for line in fake.changes if ": stargaze_" in line] == ["production2"] * 3


def test_one_broker_of_a_cluster_gets_the_new_user(
    fake: FakeSwarm, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.machines = (machine(1), machine(2), machine(3))
    fake.services.clear()
    deploy(fake, store, tmp_path)
    fake.runs_on = {"stargaze_broker1": "nowhere", "stargaze_broker2": "production2"}

    rotate(fake, store)

    assert [line for line in fake.changes if "stargaze_broker" in line and "docker" not in line] == [
        "production2: stargaze_broker2: add a user stargaze_2",
        "production2: stargaze_broker2: delete all users but stargaze_2",
    ]
    assert secret_versions.COOKIE_SECRET in fake.secrets


# ---- interruptions --------------------------------------------------------------------------------------------------


def test_a_rotation_before_the_first_deploy_creates_nothing(fake: FakeSwarm, store: Store) -> None:
    fake.services.clear()

    with pytest.raises(MissingInputError, match="nothing has been deployed to the Swarm"):
        rotate(fake, store)

    assert fake.changes == []


def test_services_without_our_secrets_are_not_changed(fake: FakeSwarm, store: Store) -> None:
    for service in fake.services.values():
        service["Spec"]["TaskTemplate"]["ContainerSpec"]["Secrets"] = None

    with pytest.raises(MissingInputError, match="no secrets are in use") as excinfo:
        rotate(fake, store)

    assert excinfo.value.hint == "stargaze deploy"
    assert fake.changes == []


@pytest.mark.parametrize("service", ["broker", "results"])
def test_a_failed_new_user_ends_the_rotation_before_any_service_changes(
    fake: FakeSwarm, store: Store, service: str
) -> None:
    fake.failures[f"{service}: add a user"] = "the node is down"

    with pytest.raises(ExternalError) as excinfo:
        rotate(fake, store)

    assert excinfo.value.message == f"{service} on production1: the node is down"
    assert excinfo.value.hint == f"stargaze logs {service}"
    assert STACK_DEPLOY not in fake.changes
    assert (in_use(fake), stored_versions(fake)) == ((1, 1), {"1", "2"})


def test_a_broker_without_container_is_an_error(fake: FakeSwarm, store: Store) -> None:
    fake.runs_on["stargaze_broker"] = "nowhere"

    with pytest.raises(ExternalError, match=r"^broker: no running container") as excinfo:
        rotate(fake, store)

    assert excinfo.value.hint == "stargaze status"
    assert STACK_DEPLOY not in fake.changes


def test_a_web_service_that_fails_with_new_secrets_leaves_both_versions_valid(fake: FakeSwarm, store: Store) -> None:
    before = load_verified_stack(store)
    fake.unhealthy["web"] = "unhealthy"

    with pytest.raises(ExternalError, match=r"web: .*unhealthy"):
        rotate(fake, store)

    assert stored_versions(fake) == {"1", "2"}
    assert load_verified_stack(store) == before
    assert not [line for line in fake.changes if "delete all users" in line]


def test_a_repeated_rotation_completes_an_interrupted_one(fake: FakeSwarm, store: Store) -> None:
    fake.unhealthy["results"] = "no memory"
    with pytest.raises(ExternalError, match=r"results: .*no memory"):
        rotate(fake, store)
    fake.unhealthy.clear()

    assert rotate(fake, store) == 3

    assert (in_use(fake), stored_versions(fake)) == ((3, 3), {"3"})
    assert "production1: stargaze_broker: delete all users but stargaze_3" in fake.changes


@pytest.mark.thorough
def test_a_broker_that_was_rolled_back_alone_restarts_with_the_newer_secrets(
    fake: FakeSwarm, store: Store, tmp_path: Path
) -> None:
    fake.unhealthy["broker"] = "no memory"
    with pytest.raises(ExternalError, match=r"broker: .*no memory"):
        rotate(fake, store)
    fake.unhealthy.clear()

    deploy(fake, store, tmp_path)

    assert in_use(fake) == (2, 2)
    templates = [fake.services[f"stargaze_{name}"]["Spec"]["TaskTemplate"] for name in ("broker", "results")]
    assert [item["ContainerSpec"]["Secrets"][0]["SecretName"] for item in templates] == [
        "stargaze_broker_conf_2",
        "stargaze_results_conf_2",
    ]


def test_after_an_interruption_the_next_rotation_adds_its_user_to_the_running_result_store(
    fake: FakeSwarm, store: Store
) -> None:
    """Also if that has restarted since and forgotten the user of web: the administrator's password is that of its own version."""
    fake.unhealthy |= {"broker": "no memory", "results": "no memory"}
    with pytest.raises(ExternalError, match="no memory"):
        rotate(fake, store)
    assert in_use(fake) == (2, 1)
    fake.unhealthy.clear()
    fake.stdin.clear()

    assert rotate(fake, store) == 3

    sent = [json.loads(stdin)["services"] for line, stdin in fake.stdin if line == STACK_DEPLOY]
    assert [[item[name]["secrets"][0]["source"] for name in ("web", "results")] for item in sent] == [
        ["stargaze_broker_3", "stargaze_results_conf_1"],
        ["stargaze_broker_3", "stargaze_results_conf_3"],
        ["stargaze_broker_3", "stargaze_results_conf_3"],
    ]
    assert (in_use(fake), stored_versions(fake)) == ((3, 3), {"3"})


def test_services_with_secrets_of_an_earlier_stargaze_are_not_changed(
    fake: FakeSwarm, store: Store, tmp_path: Path
) -> None:
    for name in [name for name in fake.secrets if "_ca_" in name or "_cert_" in name or "_key_" in name]:
        del fake.secrets[name]

    with pytest.raises(
        ExternalError, match="secrets of version 1, which an earlier stargaze created without certificates"
    ):
        deploy(fake, store, tmp_path)

    assert fake.changes == []
