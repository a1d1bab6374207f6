"""New secrets, over a small Swarm in memory: which of them is known to whom at each step, whatever stops it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from stargaze.config import DeploySection
from stargaze.errors import ExternalError, MissingInputError
from stargaze.serve.stack import secret_versions
from stargaze.serve.stack.service_options import CONTENT_LABEL
from stargaze.serve.swarm import wait
from stargaze.serve.swarm.delivery_state import load_verified_stack, save_verified_stack, send_stack
from stargaze.serve.swarm.docker import Swarm
from stargaze.serve.swarm.plan import plan_stack, prepare_stack
from stargaze.serve.swarm.production import survey_production
from stargaze.serve.swarm.rotate_secrets import rotate_secrets
from stargaze.store import Store
from tests.serve.swarm.fake_swarm import FakeSwarm, machine

SECTION = DeploySection(to="swarm", registry="registry.example", timeout=0)
NEW = [f"docker secret create stargaze_{name}_2 -" for name in secret_versions.SECRET_NAMES]
SENT = "docker stack deploy --prune --resolve-image never --compose-file - stargaze"


@pytest.fixture
def small(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSwarm:
    """A Swarm to which something was delivered, with secrets of version 1."""
    monkeypatch.setattr(wait, "POLL_INTERVAL", 0.0)
    store.root.mkdir()
    made = FakeSwarm()
    made.enter(monkeypatch)
    deliver(made, store, tmp_path)
    return made


def deliver(small: FakeSwarm, store: Store, bundle: Path) -> None:
    survey = survey_production(small.target().hosts)
    plan = plan_stack(SECTION, small.target(), survey, bundle)
    ready = prepare_stack(plan, SECTION, small.target(), survey, lambda _: None)
    send_stack(store, survey.swarm, ready)
    save_verified_stack(store, ready)
    small.done.clear()
    small.stdin.clear()


def turn(small: FakeSwarm, store: Store) -> int:
    return rotate_secrets(SECTION, store, small.target(), notify=lambda _: None)


def in_use(small: FakeSwarm) -> tuple[int, int] | None:
    return secret_versions.versions_in_use(Swarm(small.machines[0]).read_state().services)


def held(small: FakeSwarm) -> set[str]:
    """Return the versions of the secrets that Swarm holds."""
    return {name.rpartition("_")[2] for name in small.secrets}


def test_nobody_shows_a_secret_before_the_other_side_knows_it_and_the_old_ones_go_last(
    small: FakeSwarm, store: Store
) -> None:
    assert turn(small, store) == 2

    assert [line for line in small.done if "config create" not in line] == [
        *NEW,
        "production1: stargaze_broker: make a user stargaze_2",
        "production1: stargaze_web: stargaze.serve.supervisor.redis_user",
        SENT,
        SENT,
        "production1: stargaze_broker: delete all users but stargaze_2",
        "docker secret rm " + " ".join(sorted(f"stargaze_{name}_1" for name in secret_versions.SECRET_NAMES)),
    ]


def test_page_and_workers_change_first_and_queue_and_results_only_after_them(small: FakeSwarm, store: Store) -> None:
    turn(small, store)

    sent = [json.loads(stdin) for line, stdin in small.stdin if line == SENT]
    assert [
        (one["services"][name]["secrets"][0]["source"], one["services"][behind]["secrets"][0]["source"])
        for one in sent
        for name, behind in (("web", "broker"), ("worker", "results"))
    ] == [
        ("stargaze_broker_2", "stargaze_broker_conf_1"),
        ("stargaze_broker_2", "stargaze_results_conf_1"),
        ("stargaze_broker_2", "stargaze_broker_conf_2"),
        ("stargaze_broker_2", "stargaze_results_conf_2"),
    ]


def test_new_secrets_go_with_the_image_that_runs_and_what_it_holds(small: FakeSwarm, store: Store) -> None:
    before = small.services["stargaze_web"]["Spec"]["TaskTemplate"]["ContainerSpec"]

    turn(small, store)

    after = small.services["stargaze_web"]["Spec"]["TaskTemplate"]["ContainerSpec"]
    assert (after["Image"], after["Labels"][CONTENT_LABEL]) == (before["Image"], before["Labels"][CONTENT_LABEL])


def test_queue_and_results_are_told_of_the_very_secrets_that_are_shown_later(small: FakeSwarm, store: Store) -> None:
    turn(small, store)

    told = {line.partition(": ")[2]: stdin for line, stdin in small.stdin}
    assert told["stargaze_broker: make a user stargaze_2"] == small.secrets["stargaze_broker_2"]
    digest = hashlib.sha256(small.secrets["stargaze_results_2"]).hexdigest()
    assert json.loads(told["stargaze_web: stargaze.serve.supervisor.redis_user"]) == {
        "user": "stargaze_2",
        "digest": digest,
    }


def test_no_password_is_a_word_of_a_command_or_lies_in_a_file(small: FakeSwarm, store: Store) -> None:
    turn(small, store)

    texts = [*small.done, *(path.read_text() for path in store.root.rglob("*") if path.is_file())]
    assert not [text for text in texts for secret in small.secrets.values() if secret.decode() in text]


def test_what_was_rotated_is_what_a_later_failure_goes_back_to(small: FakeSwarm, store: Store) -> None:
    turn(small, store)

    assert (in_use(small), held(small)) == ((2, 2), {"2"})
    assert set((load_verified_stack(store) or {})["secrets"]) <= set(small.secrets)


def test_a_queue_is_told_where_it_runs(small: FakeSwarm, store: Store) -> None:
    small.runs_on = {"stargaze_broker": "production2", "stargaze_web": "production2"}

    turn(small, store)

    assert [line.split(":")[0] for line in small.done if ": stargaze_" in line] == ["production2"] * 3


def test_one_of_several_queues_tells_the_others(
    small: FakeSwarm, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small.machines = (machine(1), machine(2), machine(3))
    small.services.clear()
    deliver(small, store, tmp_path)
    small.runs_on = {"stargaze_broker1": "nowhere", "stargaze_broker2": "production2"}

    turn(small, store)

    assert [line for line in small.done if "stargaze_broker" in line and "docker" not in line] == [
        "production2: stargaze_broker2: make a user stargaze_2",
        "production2: stargaze_broker2: delete all users but stargaze_2",
    ]
    assert secret_versions.COOKIE_SECRET in small.secrets


# ---- what stops it --------------------------------------------------------------------------------------------------


def test_where_nothing_is_deployed_nothing_is_made(small: FakeSwarm, store: Store) -> None:
    small.services.clear()

    with pytest.raises(MissingInputError, match="nothing has been deployed to the Swarm"):
        turn(small, store)

    assert small.done == []


def test_services_without_our_secrets_are_not_given_any(small: FakeSwarm, store: Store) -> None:
    for one in small.services.values():
        one["Spec"]["TaskTemplate"]["ContainerSpec"]["Secrets"] = None

    with pytest.raises(MissingInputError, match="no secrets are in use") as caught:
        turn(small, store)

    assert caught.value.hint == "stargaze deploy"
    assert small.done == []


@pytest.mark.parametrize(
    ("what", "said", "hint"),
    [
        ("make a user", "broker on production1: the node is down", "stargaze logs broker"),
        ("stargaze.serve.supervisor.redis_user", "web on production1: the node is down", "stargaze logs web"),
    ],
)
def test_a_side_that_learns_nothing_ends_it_before_anybody_shows_the_new_secrets(
    small: FakeSwarm, store: Store, what: str, said: str, hint: str
) -> None:
    small.refuses[what] = "the node is down"

    with pytest.raises(ExternalError) as caught:
        turn(small, store)

    assert (caught.value.message, caught.value.hint) == (said, hint)
    assert SENT not in small.done
    assert (in_use(small), held(small)) == ((1, 1), {"1", "2"})


def test_a_queue_that_runs_nowhere_is_said(small: FakeSwarm, store: Store) -> None:
    small.runs_on["stargaze_broker"] = "nowhere"

    with pytest.raises(ExternalError, match=r"^broker: no running container") as caught:
        turn(small, store)

    assert caught.value.hint == "stargaze status"
    assert SENT not in small.done


def test_pages_that_are_not_well_with_the_new_ones_leave_both_valid(small: FakeSwarm, store: Store) -> None:
    before = load_verified_stack(store)
    small.ill["web"] = "unhealthy"

    with pytest.raises(ExternalError, match=r"web: .*unhealthy"):
        turn(small, store)

    assert held(small) == {"1", "2"}
    assert load_verified_stack(store) == before
    assert not [line for line in small.done if "delete all users" in line]


def test_the_same_command_ends_what_was_stopped_half_way(small: FakeSwarm, store: Store) -> None:
    small.ill["results"] = "no memory"
    with pytest.raises(ExternalError, match=r"results: .*no memory"):
        turn(small, store)
    small.ill.clear()

    assert turn(small, store) == 3

    assert (in_use(small), held(small)) == ((3, 3), {"3"})
    assert "production1: stargaze_broker: delete all users but stargaze_3" in small.done


def test_a_queue_that_went_back_alone_does_not_have_the_results_forget_whom_the_pages_are(
    small: FakeSwarm, store: Store, tmp_path: Path
) -> None:
    small.ill["broker"] = "no memory"
    with pytest.raises(ExternalError, match=r"broker: .*no memory"):
        turn(small, store)
    small.ill.clear()

    deliver(small, store, tmp_path)

    assert in_use(small) == (2, 2)
    behind = [small.services[f"stargaze_{name}"]["Spec"]["TaskTemplate"] for name in ("broker", "results")]
    assert [one["ContainerSpec"]["Secrets"][0]["SecretName"] for one in behind] == [
        "stargaze_broker_conf_2",
        "stargaze_results_conf_2",
    ]


def test_results_that_began_anew_between_two_rotations_learn_the_present_user_before_the_next(
    small: FakeSwarm, store: Store
) -> None:
    """They knew the page's user by word of mouth alone, and refuse it now: nothing else would end that."""
    small.ill |= {"broker": "no memory", "results": "no memory"}
    with pytest.raises(ExternalError, match="no memory"):
        turn(small, store)
    assert in_use(small) == (2, 1)
    small.ill.clear()
    small.refuses["stargaze.serve.supervisor.redis_user"] = "Redis: invalid username-password pair"
    deploy = small._deploy

    def learn(whole: dict[str, Any]) -> None:
        deploy(whole)
        if "stargaze_results_conf_2" in whole["secrets"]:
            small.refuses.clear()

    small._deploy = learn  # type: ignore[method-assign]
    small.stdin.clear()

    assert turn(small, store) == 3

    sent = [json.loads(stdin)["services"] for line, stdin in small.stdin if line == SENT]
    assert [[one[name]["secrets"][0]["source"] for name in ("web", "results")] for one in sent] == [
        ["stargaze_broker_2", "stargaze_results_conf_2"],
        ["stargaze_broker_3", "stargaze_results_conf_2"],
        ["stargaze_broker_3", "stargaze_results_conf_3"],
    ]
    assert (in_use(small), held(small)) == ((3, 3), {"3"})
