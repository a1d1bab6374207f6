"""The place on a server that releases are pushed to."""

from __future__ import annotations

import json
import os

import pytest

from stargaze.serve.release.init_repository import main
from stargaze.serve.release.repository import read_rules
from stargaze.serve.release.signing import allowed_signers
from stargaze.store import Store

pytestmark = pytest.mark.real


def test_the_rules_are_those_that_the_hook_finds(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    code = main([str(store.root), "--max-size", "7"])

    assert (code, json.loads(capsys.readouterr().out)) == (0, {"changed": True, "releases": str(store.releases)})
    rules = read_rules(store.releases)
    assert (rules.serving, rules.allowed_signers) == (store.serving, allowed_signers(store))
    assert rules.max_bytes == 7_000_000
    assert all(os.access(store.releases / "hooks" / name, os.X_OK) for name in ("pre-receive", "post-receive"))


def test_a_second_time_changes_nothing(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    main([str(store.root)])
    main([str(store.root)])

    assert [json.loads(line)["changed"] for line in capsys.readouterr().out.splitlines()] == [True, False]


def test_a_hook_that_someone_switched_off_is_switched_on_again(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    main([str(store.root)])
    (store.releases / "hooks" / "pre-receive").chmod(0o644)

    main([str(store.root)])

    assert [json.loads(line)["changed"] for line in capsys.readouterr().out.splitlines()] == [True, True]
    assert os.access(store.releases / "hooks" / "pre-receive", os.X_OK)


def test_a_place_that_cannot_be_made_is_one_line(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    store.root.write_text("a file")

    assert main([str(store.root)]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
