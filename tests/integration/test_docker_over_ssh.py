"""DOCKER_HOST=ssh://: all that a screening needs goes through one ssh, as to a development server."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from tests.integration.conftest import Desk, left
from tests.waiting import wait_for

pytestmark = pytest.mark.docker


@pytest.fixture
def server(tmp_path: Path) -> Iterator[dict[str, str]]:
    """An ssh server on loopback whose docker is the tests' engine; what to set so that `docker` goes there."""
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / name], check=True)
    shutil.copy(tmp_path / "user.pub", tmp_path / "authorized")
    Path("/run/sshd").mkdir(exist_ok=True)  # where it confines itself
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {tmp_path}/host\nAuthorizedKeysFile {tmp_path}/authorized\n"
        f"StrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\nPidFile none\n"
        f"SetEnv DOCKER_HOST={os.environ['DOCKER_HOST']}\n"
    )
    (tmp_path / "ssh_config").write_text(
        f"IdentityFile {tmp_path}/user\nIdentitiesOnly yes\nUserKnownHostsFile {tmp_path}/known\n"
        "StrictHostKeyChecking accept-new\nBatchMode yes\n"
    )
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "ssh").write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {tmp_path}/ssh_config "$@"\n')
    (programs / "ssh").chmod(0o755)
    with (tmp_path / "sshd.log").open("wb") as log:
        sshd = subprocess.Popen(["/usr/sbin/sshd", "-D", "-e", "-f", tmp_path / "sshd_config"], stderr=log)
    try:
        wait_for(lambda: answers(port))
        yield {"DOCKER_HOST": f"ssh://root@127.0.0.1:{port}", "PATH": f"{programs}:{os.environ['PATH']}"}
    finally:
        sshd.terminate()
        sshd.wait()


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def test_screening_over_ssh_makes_the_leaderboard_that_it_makes_here(desk: Desk, server: dict[str, str]) -> None:
    here = desk.screen("--families", "ridge,xgboost", "--executor", "process")
    by_process = pd.read_csv(desk.store.leaderboard)

    ended = dataclasses.replace(desk, environment=server).screen("--families", "ridge,xgboost")

    assert (here.code, ended.code) == (0, 0), ended.err
    pd.testing.assert_frame_equal(
        pd.read_csv(desk.store.leaderboard).drop(columns="fit_time"),
        by_process.drop(columns="fit_time"),
        check_exact=True,
    )
    assert left(desk) == []


def test_an_engine_that_is_not_there_is_named(desk: Desk, server: dict[str, str]) -> None:
    away = {**server, "DOCKER_HOST": "ssh://root@127.0.0.1:1"}

    ended = dataclasses.replace(desk, environment=away).screen("--families", "ridge")

    assert ended.code == 5
    assert "error: the Docker engine ssh://root@127.0.0.1:1 does not answer: " in ended.err
    assert "hint:  start it, or name another" in ended.err
