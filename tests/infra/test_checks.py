"""What the doctor says of a cloud and of what a machine tells of itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stargaze import __version__
from stargaze.infra.checks import _check_facts, check_cloud
from stargaze.infra.hosts.state_dir import StateDir, open_state_dir
from stargaze.infra.plan.apply import apply_plan
from stargaze.infra.plan.offers import Offers
from stargaze.infra.provision import plan_up
from stargaze.store import Store
from tests.infra.conftest import SECTION, FakeCloud

WELL = {"time": 1000.0, "free": 9e6, "docker": "24.0", "swarm": "active", "ray": "active", "stargaze": __version__}
WELL |= {"page": "active"}
SEEN = {"swarm nodes": "2", "ray nodes": "2"}


@pytest.fixture
def state_dir(tmp_path: Path) -> StateDir:
    return open_state_dir(SECTION, Store(tmp_path))


def test_an_empty_project_that_has_all_is_a_plan_to_carry_out(cloud: FakeCloud, state_dir: StateDir) -> None:
    kind, plan, world = check_cloud(SECTION, cloud, state_dir, "applicationcredential")

    assert (kind.state, plan.state, world.state) == ("well", "warning", "well")
    assert plan.hint == "stargaze infra up"
    assert "27 to create" in plan.found


def test_a_password_is_warned_of(cloud: FakeCloud, state_dir: StateDir) -> None:
    kind, *_ = check_cloud(SECTION, cloud, state_dir, "password")

    assert (kind.state, "application credential" in kind.hint) == ("warning", True)


def test_what_is_missing_is_a_line_each(state_dir: StateDir) -> None:
    found = check_cloud(SECTION, FakeCloud(Offers()), state_dir, "token")

    assert [one.state for one in found] == ["well", "ill", "ill", "ill", "well"]


def test_a_rule_that_opens_more_than_the_page_is_ill(cloud: FakeCloud, state_dir: StateDir) -> None:
    apply_plan(plan_up(SECTION, cloud, state_dir), cloud, lambda *_: None)
    cloud.things = [
        replace(one, spec={"rules": ["tcp 6379 from 0.0.0.0/0"]}) if one.key == "rules stargaze-ray" else one
        for one in cloud.things
    ]

    *_, world = check_cloud(SECTION, cloud, state_dir, "token")

    assert (world.state, world.found) == ("ill", "stargaze-ray: tcp 6379 from 0.0.0.0/0")


@pytest.mark.parametrize(
    ("changes", "role", "ill"),
    [
        ({}, "production", []),
        ({"time": 990.0}, "development", ["m: clock"]),
        ({"free": 1e6}, "development", ["m: disk"]),
        ({"swarm": "inactive"}, "production", ["m: swarm"]),
        ({"ray": ""}, "parameter", ["m: ray"]),
        ({"docker": "", "ray": "failed"}, "development", ["m: docker", "m: ray"]),
        ({"stargaze": "0.0"}, "parameter", ["m: stargaze"]),
        ({"stargaze": f"{__version__}+650d781ae18b"}, "parameter", []),
        ({"docker": "", "swarm": "", "ray": "", "stargaze": ""}, "orchestration", []),
        ({"page": "failed"}, "orchestration", ["m: page"]),
        ({"ray nodes": "1"}, "development", ["m: ray members"]),
        ({"swarm nodes": "1"}, "production", ["m: swarm members"]),
        ({"swarm nodes": "0", "ray nodes": ""}, "production", []),
    ],
)
def test_a_machine_is_judged_by_its_role(changes: dict[str, Any], role: str, ill: list[str]) -> None:
    found = _check_facts("m", role, {**WELL, **SEEN, **changes}, 1000.0, {"ray": 2, "swarm": 2})

    assert [one.name for one in found if one.state == "ill"] == ill
    assert all(one.hint for one in found if one.state == "ill")
