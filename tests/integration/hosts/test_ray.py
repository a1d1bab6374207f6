"""A Ray cluster of two hosts, which accepts only members with the token."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.integration.hosts.conftest import Configured

pytestmark = pytest.mark.hosts

PORTS = (6379, 6380, 6381, 6382, 8265, 10001, 10100)
JOB = """
import socket
import time

import ray
from ray import tune

def trial(config):
    time.sleep(1)
    tune.report({"loss": (config["x"] - 3) ** 2, "host": socket.gethostname()})

ray.init(log_to_driver=False)
place = tune.RunConfig(storage_path="/var/lib/ray/results", verbose=0)
results = tune.Tuner(trial, param_space={"x": tune.grid_search([1, 2, 3, 4, 5, 6])}, run_config=place).fit()
best = results.get_best_result("loss", "min")
print("best", best.config["x"], *sorted({result.metrics["host"] for result in results}))
"""


def test_a_tune_job_runs_on_both_hosts(configured_cluster: Configured) -> None:
    done = configured_cluster.cluster.run_on_ray_head(JOB)

    assert done.stdout.splitlines()[-1:] == ["best 3 development parameter1"], done.stderr


def test_a_job_without_the_token_is_rejected(configured_cluster: Configured) -> None:
    done = configured_cluster.cluster.run_on_ray_head("import ray; ray.init(); print('in')", token=False)

    assert done.returncode != 0
    assert "in" not in done.stdout.split()
    assert "token" in done.stderr


def test_only_members_reach_the_ports_of_ray(
    configured_cluster: Configured, open_ports: Callable[..., list[int]]
) -> None:
    hosts = configured_cluster.cluster.hosts
    head = hosts["development"]

    assert open_ports(hosts["parameter1"], head, *PORTS)[:3] == [6379, 6380, 6381]
    for outsider in (hosts["outsider"], hosts["production1"]):
        assert open_ports(outsider, head, *PORTS) == []
        assert open_ports(outsider, hosts["parameter1"], *PORTS) == []


def test_only_the_account_of_ray_can_read_the_token(configured_cluster: Configured) -> None:
    for name in ("development", "parameter1"):
        output = configured_cluster.cluster.hosts[name].run("stat", "--format=%U %a", "/etc/stargaze/ray_token").stdout
        assert output == "ray 600\n"


def test_a_worker_that_was_off_joins_again(configured_cluster: Configured) -> None:
    configured_cluster.cluster.hosts["parameter1"].power_cycle()

    assert configured_cluster.cluster.play("ray.yml").code == 0  # ends when every member has joined
