"""The plan: computed from the desired and the actual resources."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargaze.config import InfraSection
from stargaze.infra.plan.offers import Limit, resolve_offers
from stargaze.infra.plan.plan import Plan, plan_changes, plan_teardown
from stargaze.infra.plan.resources import ANYWHERE, ActualResource, DesiredResource, desired_resources
from tests.infra.conftest import OFFERS, SECTION

RESOLVED, _ = resolve_offers(SECTION, OFFERS)


def desired(section: InfraSection = SECTION) -> tuple[DesiredResource, ...]:
    resolved, problems = resolve_offers(section, OFFERS)
    assert problems == ()
    return desired_resources(section, resolved, "ssh-ed25519 AAAA", lambda machine: machine.name)


def as_actual(resources: Sequence[DesiredResource]) -> list[ActualResource]:
    """Return the desired resources as a cloud that contains them would list them."""
    return [
        ActualResource(
            resource.kind,
            resource.name,
            f"id-{number}",
            resource.spec,
            "ACTIVE" if resource.kind == "server" else "",
            "",
            "2026-01-01",
        )
        for number, resource in enumerate(resources)
    ]


def plan_for(
    actual: Sequence[ActualResource], section: InfraSection = SECTION, limits: dict[str, Limit] | None = None
) -> Plan:
    return plan_changes(desired(section), actual, RESOLVED, limits or {})


def test_in_an_empty_project_everything_is_created() -> None:
    plan = plan_for([])

    assert {step.action for step in plan.steps} == {"create"}
    assert plan.count("create") == len(desired())
    assert plan.problems == ()


def test_a_complete_cluster_needs_no_change() -> None:
    assert plan_for(as_actual(desired())).changes == ()


@given(st.data())
def test_any_subset_of_a_cluster_is_completed_and_nothing_is_created_twice(data: st.DataObject) -> None:
    actual = as_actual(desired())
    existing = data.draw(st.lists(st.sampled_from(actual), unique_by=lambda resource: resource.id))

    plan = plan_for(existing)

    assert {step.key for step in plan.changes} == {resource.key for resource in actual} - {
        resource.key for resource in existing
    }
    assert {step.action for step in plan.changes} <= {"create"}


@pytest.mark.parametrize(
    "section", [SECTION, replace(SECTION, network="shared", router=False), replace(SECTION, production_servers=5)]
)
def test_dependencies_are_desired_too_and_have_no_cycle(section: InfraSection) -> None:
    resources = desired(section)
    keys = {resource.key for resource in resources}
    done: set[str] = set()
    while len(done) < len(keys):
        ready = {
            resource.key for resource in resources if resource.key not in done and set(resource.depends_on) <= done
        }
        assert ready
        done |= ready


def test_only_the_page_is_open_to_the_internet_and_ssh_only_to_the_configured_range() -> None:
    rules = [rule for resource in desired() if resource.kind == "rules" for rule in resource.spec["rules"]]
    public = [rule for rule in rules if any(rule.endswith(f"from {source}") for source in ANYWHERE)]
    others = [rule for rule in rules if rule not in public and "group:" not in rule]

    assert sorted(public) == ["tcp 80 from 0.0.0.0/0", "tcp 80 from ::/0"]
    assert others == ["tcp 22 from 192.0.2.0/24"]


def test_only_the_orchestration_machine_has_a_floating_ip_and_open_ports() -> None:
    resources = {resource.key: resource for resource in desired()}
    jump = [
        resource.name
        for resource in resources.values()
        if resource.kind == "port" and "stargaze-jump" in resource.spec["groups"]
    ]
    page = [
        resource.name
        for resource in resources.values()
        if resource.kind == "port" and "stargaze-page" in resource.spec["groups"]
    ]

    assert jump == page == ["stargaze-orchestration"]
    assert [resource.name for resource in resources.values() if resource.kind == "floating IP"] == [
        "stargaze-orchestration"
    ]


def test_scaling_down_deletes_only_machines_and_their_ports() -> None:
    actual = as_actual(desired(replace(SECTION, production_servers=3)))

    plan = plan_for(actual)

    assert sorted(step.key for step in plan.changes) == ["port stargaze-production3", "server stargaze-production3"]
    assert {step.action for step in plan.changes} == {"delete"}


@pytest.mark.parametrize(
    ("state", "action", "reason"),
    [
        ("ERROR", "replace", "is in ERROR: no valid host"),
        ("SHUTOFF", "update", "is shutoff and will be started"),
        ("ACTIVE", "keep", ""),
        ("BUILD", "keep", ""),
    ],
)
def test_a_failed_server_is_replaced_and_a_stopped_one_is_started(state: str, action: str, reason: str) -> None:
    actual = as_actual(desired())
    index = next(i for i, resource in enumerate(actual) if resource.key == "server stargaze-production1")
    actual[index] = replace(actual[index], state=state, fault="no valid host" if state == "ERROR" else "")

    step = next(step for step in plan_for(actual).steps if step.key == "server stargaze-production1")

    assert (step.action, step.reason) == (action, reason)


@pytest.mark.parametrize(
    ("key", "spec", "reason"),
    [
        (
            "rules stargaze-jump",
            {"rules": ["tcp 22 from 0.0.0.0/0"]},
            "missing tcp 22 from 192.0.2.0/24, unexpected tcp 22 from 0.0.0.0/0",
        ),
        (
            "port stargaze-production1",
            {"groups": ["default"]},
            "missing stargaze-internal, missing stargaze-swarm, unexpected default",
        ),
        ("router stargaze", {"external_network": ""}, "external_network is none, not n1"),
        ("floating IP stargaze-orchestration", {"port": ""}, "port is none, not stargaze-orchestration"),
        ("network stargaze", {"untagged": True}, "its tag is missing"),
    ],
)
def test_a_resource_that_was_changed_is_updated(key: str, spec: dict[str, object], reason: str) -> None:
    actual = [
        replace(resource, spec={**resource.spec, **spec}) if resource.key == key else resource
        for resource in as_actual(desired())
    ]

    (step,) = plan_for(actual).changes

    assert (step.action, step.key, step.reason) == ("update", key, reason)


def test_of_duplicates_the_working_one_is_kept_and_then_the_oldest() -> None:
    actual = as_actual(desired())
    server = next(resource for resource in actual if resource.key == "server stargaze-production1")
    network = next(resource for resource in actual if resource.kind == "network")
    broken = replace(server, id="broken", state="ERROR", created_at="2025-01-01")
    newer = replace(network, id="younger", created_at="2026-02-02")

    plan = plan_for([broken, *actual, newer])

    assert {step.actual.id for step in plan.changes if step.actual} == {"broken", "younger"}
    assert {(step.action, step.reason) for step in plan.changes} == {("delete", "duplicate")}


def test_of_working_duplicates_the_one_in_use_is_kept_in_any_order_of_the_list() -> None:
    actual = as_actual(desired())
    network = next(resource for resource in actual if resource.kind == "network")
    later = replace(network, id="later", created_at="2026-02-02", is_in_use=True)
    same_second = replace(network, id="another")

    for listed in ([*actual, later, same_second], [same_second, later, *actual]):
        plan = plan_for(listed)

        assert {step.actual.id for step in plan.changes if step.actual} == {network.id, "another"}


@pytest.mark.parametrize(
    ("key", "spec", "message"),
    [
        ("keypair stargaze", {"public_key": "ssh-ed25519 BBBB"}, "has another public key"),
        ("subnet stargaze", {"cidr": "10.99.0.0/24"}, "has another address range than infra.cidr"),
    ],
)
def test_a_required_value_that_cannot_be_changed_is_a_problem(key: str, spec: dict[str, object], message: str) -> None:
    actual = [
        replace(resource, spec={**resource.spec, **spec}) if resource.key == key else resource
        for resource in as_actual(desired())
    ]

    assert message in plan_for(actual).problems[0].message


def test_a_server_with_another_image_is_kept_and_reported() -> None:
    actual = [
        replace(resource, spec={**resource.spec, "image": "i0"})
        if resource.key == "server stargaze-development"
        else resource
        for resource in as_actual(desired())
    ]

    plan = plan_for(actual)

    assert plan.changes == ()
    assert [step.reason for step in plan.steps if step.reason] == ["keeps its image, which differs from the config"]


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"servers": Limit(10, 8)}, "quota exceeded: 5 more servers needed, 2 of 10 available"),
        ({"cores": Limit(8, 0)}, "quota exceeded: 10 more cores needed, 8 of 8 available"),
        ({"memory": Limit(16, 0)}, "quota exceeded: 20 more memory needed, 16 of 16 available"),
        ({"floating IPs": Limit(1, 1)}, "quota exceeded: 1 more floating IPs needed, 0 of 1 available"),
        ({"security groups": Limit(10, 7)}, "quota exceeded: 5 more security groups needed, 3 of 10 available"),
    ],
)
def test_an_insufficient_quota_is_a_problem_of_the_plan(limits: dict[str, Limit], message: str) -> None:
    assert plan_for([], limits=limits).problems[0].message == message


def test_an_unlimited_quota_suffices_and_existing_resources_need_none() -> None:
    assert plan_for([], limits={"servers": Limit(-1, 3)}).problems == ()
    assert plan_for(as_actual(desired()), limits={"servers": Limit(5, 5), "floating IPs": Limit(1, 1)}).problems == ()


def test_teardown_deletes_all_owned_resources_and_no_others() -> None:
    actual = as_actual(desired())
    foreign = ActualResource("anti-affinity group", "stargaze", "theirs", conflict="its policy is affinity")

    plan = plan_teardown([*actual, foreign])

    assert {step.action for step in plan.steps} == {"delete"}
    assert "theirs" not in {step.actual.id for step in plan.steps if step.actual}
    assert {step.kind for step in plan.steps} == {resource.kind for resource in actual} - {"rules"}


def test_encrypted_networks_of_the_swarm_and_the_page_by_https_have_rules() -> None:
    def rules(section: InfraSection = SECTION) -> set[str]:
        groups = desired(section)
        return {f"{group.name}: {rule}" for group in groups if group.kind == "rules" for rule in group.spec["rules"]}

    name = SECTION.name
    assert f"{name}-swarm: esp from group:{name}-swarm" in rules()
    assert not [rule for rule in rules() if " 443 " in rule]
    added = rules(replace(SECTION, tls="acme", page_domain="stars.example.org")) - rules()
    assert added == {f"{name}-page: tcp 443 from {source}" for source in ANYWHERE}
