"""The checks of ``doctor``: a failed check has a fix, and an error of a check is a failed check."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stargaze import diagnostics
from stargaze.config import Config, InfraSection
from stargaze.diagnostics import Check, catch_errors, check_this_machine
from stargaze.errors import ExternalError
from stargaze.pipeline import doctor
from stargaze.store import Store


def states(checks: tuple[Check, ...]) -> dict[str, str]:
    return {check.name: check.state for check in checks}


def test_a_working_machine_is_ok_and_a_missing_token_is_a_warning(tmp_path: Path) -> None:
    checks = check_this_machine(tmp_path / "store" / "not" / "yet", {})

    assert states(checks)["python"] == "ok"
    assert states(checks)["GITHUB_TOKEN"] == "warning"
    assert states(check_this_machine(tmp_path, {"GITHUB_TOKEN": "x"}))["GITHUB_TOKEN"] == "ok"


def test_a_missing_program_has_an_install_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    git = next(check for check in check_this_machine(tmp_path, os.environ) if check.name == "program git")

    assert (git.state, git.fix) == ("error", "apt-get install git")
    assert git.as_row()["fix"] == "apt-get install git"


def test_a_full_disk_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnostics, "MIN_FREE", 1e9)

    assert states(check_this_machine(tmp_path, {}))["disk"] == "error"


def test_the_error_of_a_check_is_its_result() -> None:
    def look() -> list[Check]:
        raise ExternalError("no answer", hint="ping")

    assert catch_errors("cloud", look) == (Check("cloud", "error", "no answer", "ping"),)


def test_without_a_cloud_the_cloud_is_not_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    names = {check.name for check in doctor.run_checks(Config(), Store(tmp_path), {"HOME": str(tmp_path)})}

    assert "credentials" not in names


def test_unreachable_machines_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stargaze.infra.checks.PORT_TIMEOUT", 0.1)
    program = tmp_path / "ssh"
    program.write_text("#!/bin/sh\nexit 255\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    settings = Config(infra=InfraSection(provider="static", hosts={"production1": "me@127.0.0.1"}))

    results = states(doctor.run_checks(settings, Store(tmp_path), {"HOME": str(tmp_path)}))

    assert results["production1: ssh"] == "error"
    assert results["port 2375 from here"] == "ok"
