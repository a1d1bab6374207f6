"""The doctor's checks of a cloud and of the facts of a machine."""

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

HEALTHY = {"time": 1000.0, "free": 9e6, "docker": "24.0", "swarm": "active", "ray": "active", "stargaze": __version__}
HEALTHY |= {"page": "active"}
MEMBERS = {"swarm nodes": "2", "ray nodes": "2"}


@pytest.fixture
def state_dir(tmp_path: Path) -> StateDir:
    return open_state_dir(SECTION, Store(tmp_path))


def test_an_empty_project_with_sufficient_offers_has_a_plan_to_apply(cloud: FakeCloud, state_dir: StateDir) -> None:
    credentials, plan, rules = check_cloud(SECTION, cloud, state_dir, "applicationcredential")

    assert (credentials.state, plan.state, rules.state) == ("ok", "warning", "ok")
    assert plan.fix == "stargaze infra up"
    assert "27 to create" in plan.result


def test_a_password_causes_a_warning(cloud: FakeCloud, state_dir: StateDir) -> None:
    credentials, *_ = check_cloud(SECTION, cloud, state_dir, "password")

    assert (credentials.state, "application credential" in credentials.fix) == ("warning", True)


def test_every_problem_is_a_check_of_its_own(state_dir: StateDir) -> None:
    checks = check_cloud(SECTION, FakeCloud(Offers()), state_dir, "token")

    assert [check.state for check in checks] == ["ok", "error", "error", "error", "ok"]


def test_a_rule_that_opens_more_than_the_page_is_an_error(cloud: FakeCloud, state_dir: StateDir) -> None:
    apply_plan(plan_up(SECTION, cloud, state_dir), cloud, lambda *_: None)
    cloud.existing = [
        replace(resource, spec={"rules": ["tcp 6379 from 0.0.0.0/0"]})
        if resource.key == "rules stargaze-ray"
        else resource
        for resource in cloud.existing
    ]

    *_, rules = check_cloud(SECTION, cloud, state_dir, "token")

    assert (rules.state, rules.result) == ("error", "stargaze-ray: tcp 6379 from 0.0.0.0/0")


@pytest.mark.parametrize(
    ("changes", "role", "failed"),
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
def test_the_facts_are_compared_with_the_role(changes: dict[str, Any], role: str, failed: list[str]) -> None:
    checks = _check_facts("m", role, {**HEALTHY, **MEMBERS, **changes}, 1000.0, {"ray": 2, "swarm": 2})

    assert [check.name for check in checks if check.state == "error"] == failed
    assert all(check.fix for check in checks if check.state == "error")
