"""Carrying out: in an order that holds, side by side, and telling all that failed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stargaze.errors import ExternalError
from stargaze.infra.plan.apply import apply_plan, wait_until_active
from stargaze.infra.plan.plan import Plan, plan_changes
from stargaze.infra.plan.resources import NEEDS
from stargaze.infra.provision import plan_down
from tests.infra.conftest import SECTION, FakeCloud
from tests.infra.plan.test_plan import CHOICE, needed


def todo_of(cloud: FakeCloud) -> Plan:
    return plan_changes(needed(), cloud.found(), CHOICE, {})


def quietly(*_: object) -> None:
    """Say nothing."""


def test_all_is_made_and_a_second_time_nothing(cloud: FakeCloud) -> None:
    stands = apply_plan(todo_of(cloud), cloud, quietly)

    assert set(stands) == {one.key for one in needed()}
    assert todo_of(cloud).changes == ()


def test_what_a_thing_needs_is_gone_only_after_it(cloud: FakeCloud) -> None:
    apply_plan(todo_of(cloud), cloud, quietly)
    cloud.calls.clear()

    apply_plan(plan_down(cloud), cloud, quietly)  # type: ignore[arg-type]

    kinds = [next(kind for kind in NEEDS if call.startswith(f"remove {kind} ")) for call in cloud.calls]
    for place, kind in enumerate(kinds):
        assert not set(NEEDS[kind]) & set(kinds[:place]), kind


def test_a_failure_stops_only_what_needs_it_and_the_next_time_goes_on(cloud: FakeCloud) -> None:
    cloud.fails["router stargaze"] = "no more addresses"

    with pytest.raises(ExternalError) as caught:
        apply_plan(todo_of(cloud), cloud, quietly)

    assert caught.value.message == "router stargaze could not be made: no more addresses (2 more wait for that)"
    assert caught.value.hint == "wait"
    assert sorted(step.key for step in todo_of(cloud).changes) == [
        "floating IP stargaze-orchestration",
        "interface stargaze",
        "router stargaze",
    ]
    cloud.fails.clear()
    apply_plan(todo_of(cloud), cloud, quietly)
    assert todo_of(cloud).changes == ()


def test_a_port_leaves_a_doubled_group_before_that_goes(cloud: FakeCloud) -> None:
    apply_plan(todo_of(cloud), cloud, quietly)
    group = next(one for one in cloud.things if one.key == "security group stargaze-page")
    port = next(one for one in cloud.things if one.key == "port stargaze-orchestration")
    cloud.things.append(replace(group, id="doubled", made_at="9"))
    cloud.things[cloud.things.index(port)] = replace(port, spec={**port.spec, "groups": ["doubled"]})
    cloud.calls.clear()

    apply_plan(todo_of(cloud), cloud, quietly)

    assert cloud.calls == ["mend port stargaze-orchestration", "remove security group stargaze-page"]
    assert group in cloud.things


def test_a_broken_machine_is_made_anew_on_its_port(cloud: FakeCloud) -> None:
    apply_plan(todo_of(cloud), cloud, quietly)
    place = next(i for i, one in enumerate(cloud.things) if one.key == "server stargaze-production1")
    cloud.things[place] = replace(cloud.things[place], state="ERROR", fault="boom")
    cloud.calls.clear()

    apply_plan(todo_of(cloud), cloud, quietly)

    assert cloud.calls == ["remove server stargaze-production1", "make server stargaze-production1"]


def test_every_step_is_told_as_it_begins_and_ends(cloud: FakeCloud) -> None:
    said: list[tuple[str, str]] = []

    apply_plan(todo_of(cloud), cloud, lambda step, state, _: said.append((step.key, state)))

    assert len(said) == 2 * len(needed())
    assert said.index(("network stargaze", "done")) < said.index(("subnet stargaze", "begun"))


def test_a_machine_that_breaks_as_it_boots_ends_the_wait(cloud: FakeCloud) -> None:
    apply_plan(todo_of(cloud), cloud, quietly)
    cloud.things = [
        replace(one, state="ERROR", fault="No valid host") if one.kind == "server" else one for one in cloud.things
    ]

    with pytest.raises(ExternalError, match="stargaze-production1 is in ERROR: No valid host"):
        wait_until_active(["stargaze-production1"], cloud, 5, quietly)


def test_a_machine_that_does_not_come_up_is_waited_for_only_so_long(cloud: FakeCloud) -> None:
    with pytest.raises(ExternalError, match="not up after 0 s: stargaze-development") as caught:
        wait_until_active(["stargaze-development"], cloud, 0, quietly)

    assert "infra.patience" in caught.value.hint
    assert SECTION.patience == 10
