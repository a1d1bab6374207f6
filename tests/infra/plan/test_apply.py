"""Applying a plan: in the order of the dependencies, in parallel, with all failures in one error."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stargaze.errors import ExternalError
from stargaze.infra.plan.apply import apply_plan, wait_until_active
from stargaze.infra.plan.plan import Plan, plan_changes
from stargaze.infra.plan.resources import DEPENDS_ON
from stargaze.infra.provision import plan_down
from tests.infra.conftest import SECTION, FakeCloud
from tests.infra.plan.test_plan import RESOLVED, desired


def plan_for(cloud: FakeCloud) -> Plan:
    return plan_changes(desired(), cloud.resources(), RESOLVED, {})


def ignore(*_: object) -> None:
    """Ignore the progress."""


def test_a_second_run_changes_nothing(cloud: FakeCloud) -> None:
    resources = apply_plan(plan_for(cloud), cloud, ignore)

    assert set(resources) == {resource.key for resource in desired()}
    assert plan_for(cloud).changes == ()


def test_a_resource_is_deleted_before_its_dependencies(cloud: FakeCloud) -> None:
    apply_plan(plan_for(cloud), cloud, ignore)
    cloud.calls.clear()

    apply_plan(plan_down(cloud), cloud, ignore)  # type: ignore[arg-type]

    kinds = [next(kind for kind in DEPENDS_ON if call.startswith(f"delete {kind} ")) for call in cloud.calls]
    for i, kind in enumerate(kinds):
        assert not set(DEPENDS_ON[kind]) & set(kinds[:i]), kind


def test_a_failure_skips_only_dependent_steps_and_the_next_run_continues(cloud: FakeCloud) -> None:
    cloud.failures["router stargaze"] = "no more addresses"

    with pytest.raises(ExternalError) as caught:
        apply_plan(plan_for(cloud), cloud, ignore)

    assert (
        caught.value.message
        == "router stargaze could not be created: no more addresses (2 dependent steps were skipped)"
    )
    assert caught.value.hint == "wait"
    assert sorted(step.key for step in plan_for(cloud).changes) == [
        "floating IP stargaze-orchestration",
        "interface stargaze",
        "router stargaze",
    ]
    cloud.failures.clear()
    apply_plan(plan_for(cloud), cloud, ignore)
    assert plan_for(cloud).changes == ()


def test_a_port_is_moved_from_a_duplicate_group_before_the_group_is_deleted(cloud: FakeCloud) -> None:
    apply_plan(plan_for(cloud), cloud, ignore)
    group = next(resource for resource in cloud.existing if resource.key == "security group stargaze-page")
    port = next(resource for resource in cloud.existing if resource.key == "port stargaze-orchestration")
    cloud.existing.append(replace(group, id="duplicate", created_at="9"))
    cloud.existing[cloud.existing.index(port)] = replace(port, spec={**port.spec, "groups": ["duplicate"]})
    cloud.calls.clear()

    apply_plan(plan_for(cloud), cloud, ignore)

    assert cloud.calls == ["update port stargaze-orchestration", "delete security group stargaze-page"]
    assert group in cloud.existing


def test_a_failed_server_is_replaced_on_its_port(cloud: FakeCloud) -> None:
    apply_plan(plan_for(cloud), cloud, ignore)
    index = next(i for i, resource in enumerate(cloud.existing) if resource.key == "server stargaze-production1")
    cloud.existing[index] = replace(cloud.existing[index], state="ERROR", fault="boom")
    cloud.calls.clear()

    apply_plan(plan_for(cloud), cloud, ignore)

    assert cloud.calls == ["delete server stargaze-production1", "create server stargaze-production1"]


def test_every_step_is_reported_when_it_starts_and_ends(cloud: FakeCloud) -> None:
    reported: list[tuple[str, str]] = []

    apply_plan(plan_for(cloud), cloud, lambda row, state, _: reported.append((row, state)))

    assert len(reported) == 2 * len(desired())
    assert reported.index(("create network stargaze", "done")) < reported.index(("create subnet stargaze", "running"))


def test_a_server_that_fails_while_booting_ends_the_wait(cloud: FakeCloud) -> None:
    apply_plan(plan_for(cloud), cloud, ignore)
    cloud.existing = [
        replace(resource, state="ERROR", fault="No valid host") if resource.kind == "server" else resource
        for resource in cloud.existing
    ]

    with pytest.raises(ExternalError, match="stargaze-production1 is in ERROR: No valid host"):
        wait_until_active(["stargaze-production1"], cloud, 5, ignore)


def test_a_server_that_does_not_become_active_ends_the_wait_at_the_timeout(cloud: FakeCloud) -> None:
    with pytest.raises(ExternalError, match="not active after 0 s: stargaze-development") as caught:
        wait_until_active(["stargaze-development"], cloud, 0, ignore)

    assert "infra.timeout" in caught.value.hint
    assert SECTION.timeout == 10
