"""Screening in containers of a real Docker engine: the same leaderboard as in processes, and confined containers."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stargaze.system.docker import DockerEngine
from stargaze.tuning.executors.docker_executor import remove_labeled, store_id
from tests.integration.commands import CommandResult
from tests.integration.conftest import (
    Workspace,
    create_workspace,
    docker,
    leaderboard,
    remaining,
    running,
    wait_for_result,
)
from tests.waiting import wait_for

pytestmark = pytest.mark.docker
FAMILIES = "ridge,elastic-net,random-forest,histogram-boosting,perceptron,lightgbm,randomized-boosting,catboost"


@pytest.fixture(scope="module")
def screening(
    project: Path, part: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Workspace, CommandResult]:
    """A screening in containers; the first one on a new engine builds the image."""
    workspace = create_workspace(project, part, tmp_path_factory.mktemp("screened"))
    return workspace, workspace.screen("--families", FAMILIES)


def test_the_leaderboard_equals_that_of_processes_to_the_last_digit(screening: tuple[Workspace, CommandResult]) -> None:
    workspace, result = screening
    assert result.code == 0, result.err
    by_docker = pd.read_csv(workspace.store.leaderboard)

    assert workspace.screen("--families", FAMILIES, "--executor", "process").code == 0

    by_process = pd.read_csv(workspace.store.leaderboard)
    assert (by_docker["status"] == "ok").all()
    assert len(by_docker) == 3 * 9
    pd.testing.assert_frame_equal(
        by_docker.drop(columns="fit_time"), by_process.drop(columns="fit_time"), check_exact=True
    )


def test_a_screening_leaves_no_container_and_no_volume(screening: tuple[Workspace, CommandResult]) -> None:
    assert remaining(screening[0]) == []


@pytest.mark.usefixtures("screening")
def test_the_image_is_built_once(workspace: Workspace) -> None:
    result = workspace.screen("--families", "catboost")

    assert result.code == 0
    assert "building" not in result.err


@pytest.mark.usefixtures("screening")
def test_the_image_has_no_compiler_no_pip_and_no_root_user() -> None:
    image = docker("images", "--quiet", "stargaze").split()[0]

    assert docker("image", "inspect", "--format={{.Config.User}}", image) == "10001:10001"
    inside = ["run", "--rm", "--network=none", "--entrypoint=sh", image, "-c"]
    assert docker(*inside, "command -v gcc make cc; python -c 'import pip' 2>&1 | tail -n 1").endswith("'pip'")


def test_a_family_that_exceeds_its_memory_or_time_limit_is_a_row_with_the_reason(workspace: Workspace) -> None:
    result = workspace.screen("--families", "glutton,sleeper,ridge", "--memory", "0.6", "--time-limit", "45")

    assert result.code == 0, result.err
    rows = leaderboard(result)
    assert [rows["ridge", policy]["status"] for policy in ("all", "activity", "static")] == ["ok"] * 3
    assert rows["glutton", "all"]["status"] == "failed"
    assert rows["glutton", "all"]["note"] == "out of memory (limit 0.6 GB)"
    assert rows["sleeper", "all"]["status"] == "time"
    assert rows["sleeper", "all"]["note"] == "time limit of 45 s reached"
    assert remaining(workspace) == []


@pytest.fixture
def sleeping_family(workspace: Workspace) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A running screening whose family sleeps, and its container."""
    process = workspace.start("--families", "sleeper", "--cpus", "0.5", "--memory", "0.5")
    try:
        yield process, wait_for(lambda: running(workspace, "sleeper"), 120)
    finally:
        process.kill()
        process.communicate()
        remove_labeled(DockerEngine(), f"stargaze.store={store_id(workspace.store.root)}")


def test_a_container_has_resource_limits_and_sees_only_its_data(
    sleeping_family: tuple[subprocess.Popen[str], str],
) -> None:
    _, container = sleeping_family
    details = json.loads(docker("inspect", container))[0]
    host = details["HostConfig"]

    assert (host["NanoCpus"], host["Memory"], host["MemorySwap"]) == (500_000_000, 500_000_000, 500_000_000)
    assert (host["NetworkMode"], host["ReadonlyRootfs"], host["CapDrop"]) == ("none", True, ["ALL"])
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert host["PidsLimit"] == 128
    assert details["Config"]["User"] == "10001:10001"
    mounts = {mount["Destination"]: mount for mount in details["Mounts"]}
    assert {mount["Type"] for mount in mounts.values()} == {"volume"}
    assert (mounts["/data"]["RW"], mounts["/results"]["RW"]) == (False, True)
    limit = "cat /sys/fs/cgroup/memory.max 2>/dev/null || cat /sys/fs/cgroup/memory/memory.limit_in_bytes"
    limits = docker("exec", container, "sh", "-c", f"({limit}); cat /proc/1/status")
    assert limits.splitlines()[0] in {"499998720", "500000000"}  # the kernel counts in pages
    assert "CapEff:\t0000000000000000" in limits


FORBIDDEN: dict[str, tuple[str, str]] = {
    "is root": ("import os; assert os.getuid() == 0", "AssertionError"),
    "writes its data": ("open('/data/all.npz', 'wb')", "Read-only file system"),
    "writes its program": ("open('/opt/app/stargaze/x', 'wb')", "Read-only file system"),
    "reaches the machine": ("import socket; socket.create_connection(('127.0.0.1', 22), 5)", "refused"),
    "reaches a network": ("import socket; socket.create_connection(('192.0.2.1', 80), 5)", "unreachable"),
}


def test_a_container_cannot_write_its_program_or_reach_a_network(
    sleeping_family: tuple[subprocess.Popen[str], str],
) -> None:
    _, container = sleeping_family
    for program, error in FORBIDDEN.values():
        done = subprocess.run(
            ["docker", "exec", container, "python", "-c", program], capture_output=True, text=True, check=False
        )
        assert error in done.stderr, program


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_screening_leaves_nothing(
    workspace: Workspace, sleeping_family: tuple[subprocess.Popen[str], str], number: signal.Signals, code: int
) -> None:
    process, _ = sleeping_family

    process.send_signal(number)

    assert wait_for_result(process).code == code
    assert remaining(workspace) == []


def test_the_next_screening_deletes_what_a_killed_one_left(
    workspace: Workspace, sleeping_family: tuple[subprocess.Popen[str], str]
) -> None:
    process, container = sleeping_family
    process.kill()
    process.communicate()
    assert container in remaining(workspace)

    result = workspace.screen("--families", "ridge,catboost")

    assert result.code == 0
    assert remaining(workspace) == []


def test_the_screening_of_another_store_is_not_affected(
    workspace: Workspace, part: pd.DataFrame, tmp_path: Path, sleeping_family: tuple[subprocess.Popen[str], str]
) -> None:
    _, container = sleeping_family
    other = create_workspace(workspace.project, part, tmp_path / "other")

    assert other.screen("--families", "catboost").code == 0

    assert running(workspace, "sleeper") == container


def test_a_failed_image_build_reports_the_reason(workspace: Workspace, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(workspace.project, broken)
    (broken / "Dockerfile").write_text("ARG BASE\nFROM ${BASE}\nRUN echo it broke just here >&2; exit 7\n")

    result = Workspace(broken, workspace.folder).screen("--families", "ridge")

    assert result.code == 5
    assert "error: the image build failed:" in result.err
    assert "it broke just here" in result.err
    assert "screening.base_image" in result.err
    assert remaining(workspace) == []


def test_more_cpus_than_the_engine_has_are_rejected(workspace: Workspace) -> None:
    result: Any = workspace.screen("--families", "ridge", "--cpus", "200")

    assert result.code == 2
    assert "screening.cpus is 200: the engine has" in result.err
