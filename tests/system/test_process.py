"""The environment that programs inherit."""

from __future__ import annotations

import os

import pytest

from stargaze.system.process import github_token, hide_token, run_program, token_environment, without_secrets

TOKEN = "ghp_0123456789"


def test_programs_do_not_inherit_the_token_of_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", TOKEN)

    with hide_token():
        assert TOKEN not in run_program("env").stdout.decode()
        assert github_token() == TOKEN
        given = run_program("env", environment={**os.environ, **token_environment()})

    assert TOKEN in given.stdout.decode()
    assert os.environ["GITHUB_TOKEN"] == TOKEN


def test_a_command_without_a_token_does_not_get_that_of_an_earlier_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", TOKEN)
    with hide_token():
        pass
    monkeypatch.delenv("GITHUB_TOKEN")

    with hide_token():
        assert github_token() == ""
        assert token_environment() == {}
    assert "GITHUB_TOKEN" not in os.environ


@pytest.mark.parametrize(
    ("name", "is_kept"),
    [
        *(
            ("GITHUB_TOKEN", False),
            ("GH_TOKEN", False),
            ("OS_PASSWORD", False),
            ("OS_APPLICATION_CREDENTIAL_SECRET", False),
        ),
        *(("AWS_SECRET_ACCESS_KEY", False), ("OPENAI_API_KEY", False), ("stargaze_x_password", False)),
        *(("STARGAZE_BROKER_PASSWORD_FILE", True), ("STARGAZE_SESSION_KEY_FILE", True), ("PATH", True), ("HOME", True)),
        *(("STARGAZE_DEPLOY_SIGNING_KEY", True), ("OMP_NUM_THREADS", True)),
    ],
)
def test_secrets_are_recognized_by_their_names(name: str, is_kept: bool) -> None:
    assert (name in without_secrets({name: "x"})) == is_kept
