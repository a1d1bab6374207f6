"""Transfer of an image; fake programs ``docker`` and ``ssh`` replace engine and network."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stargaze.errors import ExternalError
from stargaze.serve.swarm import image
from stargaze.system.docker import DockerEngine
from stargaze.system.ssh import SshHost

pytestmark = pytest.mark.real


def test_a_transfer_timeout_kills_all_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / "here"
    here.touch()
    for name in ("docker", "ssh"):
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\necho $$ >>{here}\nexec sleep 600\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(image, "LONG_TIME_LIMIT", 1.0)

    with pytest.raises(ExternalError, match="stargaze-serve:1 to two took longer than 1 s"):
        image._copy("stargaze-serve:1", DockerEngine(), SshHost("two", "production", "two", "two", "root", ()))

    assert not any(Path(f"/proc/{number}").exists() for number in here.read_text().split())
