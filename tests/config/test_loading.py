"""Paths of the config begin with a home folder if they are written with ~, from whatever source."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from stargaze.cli import main
from stargaze.config import load
from stargaze.errors import ConfigError

PATHS = {
    "store.path": "path",
    "growth.history_file": "history_file",
    "deploy.signing_key": "signing_key",
    "infra.key_file": "key_file",
    "infra.tls_certificate": "tls_certificate",
    "infra.tls_key": "tls_key",
    "infra.tls_ca": "tls_ca",
}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home folder, which is also the working directory's parent."""
    (tmp_path / "work").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


@pytest.mark.parametrize("key", PATHS)
@pytest.mark.parametrize("source", ["file", "environment", "option"])
def test_a_path_is_expanded_once_at_loading(home: Path, key: str, source: str) -> None:
    section, _, name = key.partition(".")
    file = home / "work" / "x.toml"
    file.write_text(f'[{section}]\n{name} = "~/a b/c"\n' if source == "file" else "", encoding="utf-8")
    environ = {f"STARGAZE_{section}_{name}".upper(): "~/a b/c"} if source == "environment" else {}

    config = load(file, environ=environ, options={key: "~/a b/c"} if source == "option" else {})

    assert getattr(getattr(config, section), name) == str(home / "a b" / "c")


def test_every_file_of_fetch_is_expanded(home: Path) -> None:
    config = load(None, environ={"STARGAZE_FETCH_FILES": "~/one.csv, two.csv,~/three/*.json"})

    assert config.fetch.files == [str(home / "one.csv"), "two.csv", str(home / "three" / "*.json")]


def test_the_home_of_another_user_is_known() -> None:
    user = pwd.getpwuid(os.getuid())

    assert load(None, environ={}, options={"store.path": f"~{user.pw_name}/s"}).store.path == f"{user.pw_dir}/s"


def test_an_unknown_user_is_named() -> None:
    with pytest.raises(ConfigError, match=r"store\.path should be a path: ~no-such-user has no home folder"):
        load(None, environ={}, options={"store.path": "~no-such-user/s"})


def test_a_tilde_within_a_path_is_a_character() -> None:
    assert load(None, environ={}, options={"store.path": "./~/s"}).store.path == "./~/s"


def test_options_and_arguments_of_commands_are_expanded(home: Path) -> None:
    (home / "list.csv").write_text("full_name,stars\nkim/a,4\n", encoding="utf-8")
    (home / "c.toml").write_text('[store]\npath = "~/s1"\n', encoding="utf-8")

    for arguments in (["--from=~/list.csv", "--config=~/c.toml"], ["~/list.csv", "--store=~/s2"]):
        with pytest.raises(SystemExit) as ended:
            main(["fetch", *arguments])
        assert ended.value.code == 0

    assert [path.name for path in sorted(home.glob("s?/repositories.parquet"))] == ["repositories.parquet"] * 2
    assert list((home / "work").iterdir()) == []


@pytest.mark.parametrize("name", ["history", "history_file"])
def test_the_history_has_two_names(home: Path, name: str) -> None:
    file = home / "work" / "x.toml"
    file.write_text(f'[growth]\n{name} = "~/h.csv"\n', encoding="utf-8")

    assert load(file, environ={}).growth.history_file == str(home / "h.csv")
    assert load(None, environ={f"STARGAZE_GROWTH_{name.upper()}": "h.csv"}).growth.history_file == "h.csv"
