"""Commands in unusual environments: they work, or one line names the cause."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.real
NETWORK_VARIABLE = re.compile(r"(?i)\w*_CA_BUNDLE|SSL_CERT_\w+|\w+_PROXY|OS_\w+")
CLOUD = "http://127.0.0.1:9/v3"


def run(*arguments: str, folder: Path, options: tuple[str, ...] = (), **environ: str) -> tuple[int, str, str]:
    """Run a command in a folder; return exit code, stdout and stderr, which has no traceback."""
    inherited = {name: value for name, value in os.environ.items() if not NETWORK_VARIABLE.fullmatch(name)}
    done = subprocess.run(
        [sys.executable, *options, "-m", "stargaze", *arguments],
        cwd=folder,
        env={**inherited, "HOME": str(folder), **environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


def failed_checks(text: str) -> dict[str, str]:
    return {row["check"]: row["result"] for row in json.loads(text) if row["state"] == "error"}


@pytest.mark.parametrize(
    ("variable", "value"),
    [("REQUESTS_CA_BUNDLE", "/no/such.pem"), ("CURL_CA_BUNDLE", "/"), ("HTTPS_PROXY", "socks5://127.0.0.1:9")],
)
def test_fetch_and_doctor_name_a_variable_that_prevents_requests(tmp_path: Path, variable: str, value: str) -> None:
    code, _, error = run("fetch", "--name", "acme/tool", folder=tmp_path, **{variable: value})
    checks = run("doctor", "--json", folder=tmp_path, **{variable: value})

    assert (code, checks[0]) == (2, 1)
    assert error.count("error:") == 1
    assert f"environment: {variable} is " in error
    assert variable in failed_checks(checks[1])


@pytest.mark.parametrize("options", [(), ("-OOP",)])
def test_the_help_and_the_annotated_config_survive_the_removal_of_docstrings(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    environ = {} if options else {"PYTHONOPTIMIZE": "2"}
    for arguments in (["--help"], ["screen", "--help"], ["config"]):
        normal = run(*arguments, folder=tmp_path)
        stripped = run(*arguments, folder=tmp_path, options=options, **environ)

        assert stripped == normal
        assert normal[0] == 0


@pytest.mark.parametrize("command", [["infra", "up", "--dry-run"], ["doctor", "--json"]])
def test_a_downloaded_clouds_yaml_without_password_is_explained(tmp_path: Path, command: list[str]) -> None:
    auth = {"auth_url": CLOUD, "username": "kim", "project_name": "stars", "user_domain_name": "Default"}
    (tmp_path / "clouds.yaml").write_text(json.dumps({"clouds": {"lab": {"auth": auth}}}), encoding="utf-8")

    code, out, error = run(*command, folder=tmp_path)

    if command[0] == "doctor":
        assert failed_checks(out)["credentials"] == "clouds.yaml holds no password"
    else:
        assert code == 4
        assert "clouds.yaml holds no password" in error
        assert "OS_PASSWORD" in error


@pytest.mark.parametrize("redirections", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_a_command_whose_streams_are_closed_works(tmp_path: Path, redirections: str) -> None:
    program = f'"{sys.executable}" -m stargaze init {redirections}'

    subprocess.run(["sh", "-c", program], cwd=tmp_path, check=True)

    assert (tmp_path / "stargaze.toml").read_text(encoding="utf-8").startswith("# stargaze.toml")


def test_a_clock_of_1970_is_named(tmp_path: Path) -> None:
    program = "import time; time.time = lambda: 5e4; from stargaze.cli import main; main()"

    done = subprocess.run(
        [sys.executable, "-c", program, "doctor", "--json", "--store", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert done.stderr.startswith("warning: this machine's clock shows 1970-01-01")
    assert "1970-01-01" in failed_checks(done.stdout)["clock"]
