"""The command that creates a server's release repository."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from stargaze.serve.release.git_hooks import main
from stargaze.serve.release.repository import allowed_signers_file, read_policy
from stargaze.store import Store

pytestmark = pytest.mark.real


def test_the_hook_reads_the_policy_that_init_wrote(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["init", str(store.root), "--max-size", "7"])

    assert (code, json.loads(capsys.readouterr().out)) == (0, {"changed": True, "releases": str(store.releases)})
    policy = read_policy(store.releases)
    assert (policy.serving, policy.allowed_signers) == (store.serving, allowed_signers_file(store))
    assert policy.max_bytes == 7_000_000
    assert all(os.access(store.releases / "hooks" / name, os.X_OK) for name in ("pre-receive", "post-receive"))


def test_a_second_init_changes_nothing(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    main(["init", str(store.root)])
    main(["init", str(store.root)])

    assert [json.loads(line)["changed"] for line in capsys.readouterr().out.splitlines()] == [True, False]


def test_a_disabled_hook_is_enabled_again(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    main(["init", str(store.root)])
    (store.releases / "hooks" / "pre-receive").chmod(0o644)

    main(["init", str(store.root)])

    assert [json.loads(line)["changed"] for line in capsys.readouterr().out.splitlines()] == [True, True]
    assert os.access(store.releases / "hooks" / "pre-receive", os.X_OK)


def test_a_folder_that_cannot_be_created_is_an_error_of_one_line(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    store.root.write_text("a file")

    assert main(["init", str(store.root)]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_init_without_a_folder_creates_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(SystemExit, match="2"):
        main(["init"])

    assert not list(tmp_path.iterdir())
