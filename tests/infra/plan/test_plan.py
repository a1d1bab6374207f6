"""The plan: computed from what is wanted and what stands, and true to both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargaze.config import InfraSection
from stargaze.infra.plan.desired import ANYWHERE, desired_resources
from stargaze.infra.plan.offers import Limit
from stargaze.infra.plan.plan import Plan, plan_changes, plan_teardown
from stargaze.infra.plan.resolve import resolve_offers
from stargaze.infra.plan.resources import ActualResource, DesiredResource
from tests.infra.conftest import OFFERS, SECTION

CHOICE, _ = resolve_offers(SECTION, OFFERS)


def needed(section: InfraSection = SECTION) -> tuple[DesiredResource, ...]:
    choice, missing = resolve_offers(section, OFFERS)
    assert missing == ()
    return desired_resources(section, choice, "ssh-ed25519 AAAA", lambda machine: machine.name)


def standing(resources: Sequence[DesiredResource]) -> list[ActualResource]:
    """Everything that is wanted, as a cloud that has it would tell it."""
    return [
        ActualResource(
            one.kind, one.name, f"id-{number}", one.spec, "ACTIVE" if one.kind == "server" else "", "", "2026-01-01"
        )
        for number, one in enumerate(resources)
    ]


def planned(
    found: Sequence[ActualResource], section: InfraSection = SECTION, limits: dict[str, Limit] | None = None
) -> Plan:
    return plan_changes(needed(section), found, CHOICE, limits or {})


def test_in_an_empty_project_all_is_made() -> None:
    todo = planned([])

    assert {step.verb for step in todo.steps} == {"create"}
    assert todo.count("create") == len(needed())
    assert todo.missing == ()


def test_where_all_stands_nothing_is_done() -> None:
    assert planned(standing(needed())).changes == ()


@given(st.data())
def test_whatever_is_left_of_a_cluster_the_rest_is_made_and_nothing_twice(data: st.DataObject) -> None:
    found = standing(needed())
    kept = data.draw(st.lists(st.sampled_from(found), unique_by=lambda one: one.id))

    todo = planned(kept)

    assert {step.key for step in todo.changes} == {one.key for one in found} - {one.key for one in kept}
    assert {step.verb for step in todo.changes} <= {"create"}


@pytest.mark.parametrize(
    "section", [SECTION, replace(SECTION, network="shared", router=False), replace(SECTION, production=5)]
)
def test_what_a_thing_needs_is_wanted_too_and_in_no_circle(section: InfraSection) -> None:
    resources = needed(section)
    keys = {one.key for one in resources}
    done: set[str] = set()
    while len(done) < len(keys):
        ready = {one.key for one in resources if one.key not in done and set(one.needs) <= done}
        assert ready
        done |= ready


def test_only_the_page_faces_the_world_and_ssh_the_configured_range() -> None:
    rules = [rule for one in needed() if one.kind == "rules" for rule in one.spec["rules"]]
    world = [rule for rule in rules if any(rule.endswith(f"from {anywhere}") for anywhere in ANYWHERE)]
    others = [rule for rule in rules if rule not in world and "group:" not in rule]

    assert sorted(world) == ["tcp 80 from 0.0.0.0/0", "tcp 80 from ::/0"]
    assert others == ["tcp 22 from 192.0.2.0/24"]


def test_only_the_orchestration_machine_has_an_address_outside_and_the_ports_that_face_it() -> None:
    resources = {one.key: one for one in needed()}
    jump = [one.name for one in resources.values() if one.kind == "port" and "stargaze-jump" in one.spec["groups"]]
    page = [one.name for one in resources.values() if one.kind == "port" and "stargaze-page" in one.spec["groups"]]

    assert jump == page == ["stargaze-orchestration"]
    assert [one.name for one in resources.values() if one.kind == "floating IP"] == ["stargaze-orchestration"]


def test_a_smaller_number_takes_machines_away_and_nothing_else() -> None:
    found = standing(needed(replace(SECTION, production=3)))

    todo = planned(found)

    assert sorted(step.key for step in todo.changes) == ["port stargaze-production3", "server stargaze-production3"]
    assert {step.verb for step in todo.changes} == {"delete"}


@pytest.mark.parametrize(
    ("state", "verb", "why"),
    [
        ("ERROR", "replace", "is in ERROR: no valid host"),
        ("SHUTOFF", "repair", "is shutoff: it is started"),
        ("ACTIVE", "keep", ""),
        ("BUILD", "keep", ""),
    ],
)
def test_a_machine_that_is_not_well_is_seen_to(state: str, verb: str, why: str) -> None:
    found = standing(needed())
    place = next(i for i, one in enumerate(found) if one.key == "server stargaze-production1")
    found[place] = replace(found[place], state=state, fault="no valid host" if state == "ERROR" else "")

    step = next(step for step in planned(found).steps if step.key == "server stargaze-production1")

    assert (step.verb, step.why) == (verb, why)


@pytest.mark.parametrize(
    ("key", "spec", "why"),
    [
        (
            "rules stargaze-jump",
            {"rules": ["tcp 22 from 0.0.0.0/0"]},
            "lacks tcp 22 from 192.0.2.0/24, has tcp 22 from 0.0.0.0/0",
        ),
        (
            "port stargaze-production1",
            {"groups": ["default"]},
            "lacks stargaze-inside, lacks stargaze-swarm, has default",
        ),
        ("router stargaze", {"outside": ""}, "outside: none instead of n1"),
        ("floating IP stargaze-orchestration", {"port": ""}, "port: none instead of stargaze-orchestration"),
        ("network stargaze", {"untagged": True}, "its tag is missing"),
    ],
)
def test_what_was_changed_by_others_is_put_right(key: str, spec: dict[str, object], why: str) -> None:
    found = [replace(one, spec={**one.spec, **spec}) if one.key == key else one for one in standing(needed())]

    (step,) = planned(found).changes

    assert (step.verb, step.key, step.why) == ("repair", key, why)


def test_of_two_the_one_that_works_stays_and_then_the_older() -> None:
    found = standing(needed())
    server = next(one for one in found if one.key == "server stargaze-production1")
    network = next(one for one in found if one.kind == "network")
    broken = replace(server, id="broken", state="ERROR", made_at="2025-01-01")
    younger = replace(network, id="younger", made_at="2026-02-02")

    todo = planned([broken, *found, younger])

    assert {step.found.id for step in todo.changes if step.found} == {"broken", "younger"}
    assert {(step.verb, step.why) for step in todo.changes} == {("delete", "there are two of it")}


def test_of_two_that_work_the_one_in_use_stays_however_they_are_listed() -> None:
    found = standing(needed())
    network = next(one for one in found if one.kind == "network")
    later = replace(network, id="a later one", made_at="2026-02-02", used=True)
    of_the_same_second = replace(network, id="another")

    for listed in ([*found, later, of_the_same_second], [of_the_same_second, later, *found]):
        todo = planned(listed)

        assert {step.found.id for step in todo.changes if step.found} == {network.id, "another"}


@pytest.mark.parametrize(
    ("key", "spec", "said"),
    [
        ("keypair stargaze", {"public_key": "ssh-ed25519 BBBB"}, "holds another key"),
        ("subnet stargaze", {"cidr": "10.99.0.0/24"}, "has other addresses than infra.cidr"),
    ],
)
def test_what_cannot_be_changed_is_missing_and_said(key: str, spec: dict[str, object], said: str) -> None:
    found = [replace(one, spec={**one.spec, **spec}) if one.key == key else one for one in standing(needed())]

    assert said in planned(found).missing[0].what


def test_a_machine_of_another_image_is_kept_and_told() -> None:
    found = [
        replace(one, spec={**one.spec, "image": "i0"}) if one.key == "server stargaze-development" else one
        for one in standing(needed())
    ]

    todo = planned(found)

    assert todo.changes == ()
    assert [step.why for step in todo.steps if step.why] == ["has another image than the config says, and keeps it"]


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"servers": Limit(10, 8)}, "5 more servers are needed, 2 are left of 10"),
        ({"cores": Limit(8, 0)}, "10 more cores are needed, 8 are left of 8"),
        ({"memory": Limit(16, 0)}, "20 more memory are needed, 16 are left of 16"),
        ({"floating IPs": Limit(1, 1)}, "1 more floating IPs are needed, 0 are left of 1"),
        ({"security groups": Limit(10, 7)}, "5 more security groups are needed, 3 are left of 10"),
    ],
)
def test_a_quota_that_is_too_small_is_said_before_anything_is_made(limits: dict[str, Limit], said: str) -> None:
    assert planned([], limits=limits).missing[0].what == said


def test_no_limit_is_enough_and_what_stands_needs_no_quota() -> None:
    assert planned([], limits={"servers": Limit(-1, 3)}).missing == ()
    assert planned(standing(needed()), limits={"servers": Limit(5, 5), "floating IPs": Limit(1, 1)}).missing == ()


def test_all_of_ours_is_taken_down_and_nothing_that_is_not() -> None:
    found = standing(needed())
    foreign = ActualResource("anti-affinity group", "stargaze", "theirs", unlike="its policy is affinity")

    todo = plan_teardown([*found, foreign])

    assert {step.verb for step in todo.steps} == {"delete"}
    assert "theirs" not in {step.found.id for step in todo.steps if step.found}
    assert {step.kind for step in todo.steps} == {one.kind for one in found} - {"rules"}
