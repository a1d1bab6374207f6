"""Screening in containers of a real Docker engine: the leaderboard of processes, and nothing that a container should not do."""

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

from stargaze.tuning.executors.docker_cli import Client
from stargaze.tuning.executors.docker_executor import owner_of, sweep
from tests.integration.conftest import Desk, Ended, docker, left, running, seated, told
from tests.waiting import wait_for

pytestmark = pytest.mark.docker
FAMILIES = "ridge,elastic-net,random-forest,histogram-boosting,perceptron,lightgbm,xgboost,catboost"


@pytest.fixture(scope="module")
def screened(project: Path, part: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> tuple[Desk, Ended]:
    """A screening in containers; the first on a new engine builds the image."""
    desk = seated(project, part, tmp_path_factory.mktemp("screened"))
    return desk, desk.screen("--families", FAMILIES)


def test_the_leaderboard_is_that_of_processes_to_the_last_digit(screened: tuple[Desk, Ended]) -> None:
    desk, ended = screened
    assert ended.code == 0, ended.err
    by_docker = pd.read_csv(desk.store.leaderboard)

    assert desk.screen("--families", FAMILIES, "--executor", "process").code == 0

    by_process = pd.read_csv(desk.store.leaderboard)
    assert (by_docker["status"] == "ok").all()
    assert len(by_docker) == 3 * 9
    pd.testing.assert_frame_equal(
        by_docker.drop(columns="fit_time"), by_process.drop(columns="fit_time"), check_exact=True
    )


def test_nothing_of_a_screening_is_left_on_the_engine(screened: tuple[Desk, Ended]) -> None:
    assert left(screened[0]) == []


@pytest.mark.usefixtures("screened")
def test_the_image_is_built_once(desk: Desk) -> None:
    ended = desk.screen("--families", "xgboost")

    assert ended.code == 0
    assert "building" not in ended.err


@pytest.mark.usefixtures("screened")
def test_the_image_holds_no_tool_to_install_or_to_compile_with_and_no_root() -> None:
    image = docker("images", "--quiet", "stargaze").split()[0]

    assert docker("image", "inspect", "--format={{.Config.User}}", image) == "10001:10001"
    inside = ["run", "--rm", "--network=none", "--entrypoint=sh", image, "-c"]
    assert docker(*inside, "command -v gcc make cc; python -c 'import pip' 2>&1 | tail -n 1").endswith("'pip'")


def test_a_family_that_eats_memory_or_sleeps_is_a_row_that_says_so(desk: Desk) -> None:
    ended = desk.screen("--families", "glutton,sleeper,ridge", "--memory", "0.6", "--time-limit", "45")

    assert ended.code == 0, ended.err
    rows = ended.rows
    assert [rows["ridge", policy]["status"] for policy in ("all", "activity", "static")] == ["ok"] * 3
    assert rows["glutton", "all"]["status"] == "failed"
    assert rows["glutton", "all"]["note"] == "out of memory (limit 0.6 GB)"
    assert rows["sleeper", "all"]["status"] == "time"
    assert rows["sleeper", "all"]["note"] == "time limit of 45 s reached"
    assert left(desk) == []


@pytest.fixture
def at_work(desk: Desk) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A screening whose family sleeps, and its container."""
    process = desk.begin("--families", "sleeper", "--cpus", "0.5", "--memory", "0.5")
    try:
        yield process, wait_for(lambda: running(desk, "sleeper"), 120)
    finally:
        process.kill()
        process.communicate()
        sweep(Client(), f"stargaze.store={owner_of(desk.store.root)}")


def test_a_container_is_bounded_and_sees_nothing_but_its_data(at_work: tuple[subprocess.Popen[str], str]) -> None:
    _, container = at_work
    told = json.loads(docker("inspect", container))[0]
    host = told["HostConfig"]

    assert (host["NanoCpus"], host["Memory"], host["MemorySwap"]) == (500_000_000, 500_000_000, 500_000_000)
    assert (host["NetworkMode"], host["ReadonlyRootfs"], host["CapDrop"]) == ("none", True, ["ALL"])
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert host["PidsLimit"] == 128
    assert told["Config"]["User"] == "10001:10001"
    mounts = {mount["Destination"]: mount for mount in told["Mounts"]}
    assert {mount["Type"] for mount in mounts.values()} == {"volume"}
    assert (mounts["/data"]["RW"], mounts["/results"]["RW"]) == (False, True)
    limit = "cat /sys/fs/cgroup/memory.max 2>/dev/null || cat /sys/fs/cgroup/memory/memory.limit_in_bytes"
    limits = docker("exec", container, "sh", "-c", f"({limit}); cat /proc/1/status")
    assert limits.splitlines()[0] in {"499998720", "500000000"}  # the kernel counts in pages
    assert "CapEff:\t0000000000000000" in limits


INSIDE: dict[str, tuple[str, str]] = {
    "is root": ("import os; assert os.getuid() == 0", "AssertionError"),
    "writes its data": ("open('/data/all.npz', 'wb')", "Read-only file system"),
    "writes its program": ("open('/opt/app/stargaze/x', 'wb')", "Read-only file system"),
    "reaches the machine": ("import socket; socket.create_connection(('127.0.0.1', 22), 5)", "refused"),
    "reaches a network": ("import socket; socket.create_connection(('192.0.2.1', 80), 5)", "unreachable"),
}


def test_a_container_cannot_do_what_it_need_not(at_work: tuple[subprocess.Popen[str], str]) -> None:
    _, container = at_work
    for program, complaint in INSIDE.values():
        tried = subprocess.run(
            ["docker", "exec", container, "python", "-c", program], capture_output=True, text=True, check=False
        )
        assert complaint in tried.stderr, program


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_however_it_is_interrupted_nothing_is_left(
    desk: Desk, at_work: tuple[subprocess.Popen[str], str], number: signal.Signals, code: int
) -> None:
    process, _ = at_work

    process.send_signal(number)

    assert told(process).code == code
    assert left(desk) == []


def test_what_a_killed_screening_left_is_swept_by_the_next(
    desk: Desk, at_work: tuple[subprocess.Popen[str], str]
) -> None:
    process, container = at_work
    process.kill()
    process.communicate()
    assert container in left(desk)

    ended = desk.screen("--families", "ridge,xgboost")

    assert ended.code == 0
    assert left(desk) == []


def test_another_stores_screening_is_left_alone(
    desk: Desk, part: pd.DataFrame, tmp_path: Path, at_work: tuple[subprocess.Popen[str], str]
) -> None:
    _, container = at_work
    other = seated(desk.project, part, tmp_path / "other")

    assert other.screen("--families", "xgboost").code == 0

    assert running(desk, "sleeper") == container


def test_an_image_that_cannot_be_built_says_why(desk: Desk, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(desk.project, broken)
    (broken / "Dockerfile").write_text("ARG BASE\nFROM ${BASE}\nRUN echo it broke just here >&2; exit 7\n")

    ended = Desk(broken, desk.folder).screen("--families", "ridge")

    assert ended.code == 5
    assert "error: the image cannot be built:" in ended.err
    assert "it broke just here" in ended.err
    assert "screening.base_image" in ended.err
    assert left(desk) == []


def test_more_than_the_engine_has_is_refused(desk: Desk) -> None:
    ended: Any = desk.screen("--families", "ridge", "--cpus", "200")

    assert ended.code == 2
    assert "screening.cpus is 200: the engine has" in ended.err
