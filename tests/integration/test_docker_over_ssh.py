"""DOCKER_HOST=ssh://: a screening uses the engine of another machine through one ssh connection."""

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

from tests.integration.conftest import Workspace, remaining
from tests.waiting import wait_for

pytestmark = pytest.mark.docker


@pytest.fixture
def server(tmp_path: Path) -> Iterator[dict[str, str]]:
    """An ssh server on loopback whose `docker` is the engine of the tests; the environment in which `docker` connects to it."""
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / name], check=True)
    shutil.copy(tmp_path / "user.pub", tmp_path / "authorized")
    Path("/run/sshd").mkdir(exist_ok=True)  # sshd needs it
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
        wait_for(lambda: accepts_connections(port))
        yield {"DOCKER_HOST": f"ssh://root@127.0.0.1:{port}", "PATH": f"{programs}:{os.environ['PATH']}"}
    finally:
        sshd.terminate()
        sshd.wait()


def accepts_connections(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def test_screening_over_ssh_creates_the_same_leaderboard_as_here(workspace: Workspace, server: dict[str, str]) -> None:
    local = workspace.screen("--families", "ridge,catboost", "--executor", "process")
    by_process = pd.read_csv(workspace.store.leaderboard)

    result = dataclasses.replace(workspace, environment=server).screen("--families", "ridge,catboost")

    assert (local.code, result.code) == (0, 0), result.err
    pd.testing.assert_frame_equal(
        pd.read_csv(workspace.store.leaderboard).drop(columns="fit_time"),
        by_process.drop(columns="fit_time"),
        check_exact=True,
    )
    assert remaining(workspace) == []


def test_an_unreachable_engine_is_named(workspace: Workspace, server: dict[str, str]) -> None:
    unreachable = {**server, "DOCKER_HOST": "ssh://root@127.0.0.1:1"}

    result = dataclasses.replace(workspace, environment=unreachable).screen("--families", "ridge")

    assert result.code == 5
    assert "error: the Docker engine ssh://root@127.0.0.1:1 does not answer: " in result.err
    assert "hint:  start it, or name another" in result.err
