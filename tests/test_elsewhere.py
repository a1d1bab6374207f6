"""Which machine a stage goes to, and what of this machine goes with it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from stargaze import elsewhere
from stargaze.artifacts import Store, write_json
from stargaze.config import Config, InfraSection, TuningSection
from stargaze.errands.carry import Outcome
from stargaze.errands.head import SshHead
from stargaze.errors import ConfigError, MissingInputError, OutsideError
from stargaze.stages import _tuned

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MACHINES = InfraSection(
    provider="static",
    hosts={"development": "me@10.0.0.4", "parameter1": "me@10.0.0.5"},
    variables={"ray_folder": "/srv/ray"},
)


def quiet(_what: str, _done: float) -> None: ...


def test_the_head_is_the_development_machine(store: Store) -> None:
    found = elsewhere.head(Config(infra=MACHINES), store)

    assert isinstance(found, SshHead)
    assert (found.name, found.machine.address, found.place.folder) == ("development", "10.0.0.4", "/srv/ray")


def test_without_machines_it_is_said_what_to_type(store: Store) -> None:
    with pytest.raises(MissingInputError) as raised:
        elsewhere.head(Config(), store)
    assert raised.value.hint == "stargaze infra up"
    with pytest.raises(ConfigError):
        elsewhere.head(Config(infra=InfraSection(provider="static")), store)


@pytest.mark.parametrize(("stage", "secrets"), [("fetch", {"GITHUB_TOKEN": "t"}), ("tune", {}), ("screen", {})])
def test_only_fetch_is_told_the_token(
    store: Store, monkeypatch: pytest.MonkeyPatch, stage: str, secrets: dict[str, str]
) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", "t")
    sent = list[Any]()
    monkeypatch.setattr(elsewhere, "send", lambda one, _head, _store, _now, given, _report: sent.extend([one, given]))

    elsewhere.begin(stage, Config(infra=MACHINES), store, NOW, quiet, words=["--update"], resume=stage == "tune")

    assert sent[1] == secrets
    assert sent[0].words == (stage, "--update", *(["--resume"] if stage == "tune" else []))


def test_the_answer_names_the_bundle_where_it_lies_here(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.root.mkdir()
    write_json(store.root / "errand.json", {"stage": "tune"})
    monkeypatch.setattr(elsewhere, "follow", lambda *_: Outcome({"bundle": "store/bundles/abc"}, "text"))

    found = elsewhere.attend("tune", Config(infra=MACHINES), store, quiet)

    assert found == Outcome({"bundle": str(store.bundles / "abc")}, "text")


def test_a_stage_without_an_answer_is_an_error(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.root.mkdir()
    write_json(store.root / "errand.json", {"stage": "tune"})
    monkeypatch.setattr(elsewhere, "follow", lambda *_: Outcome(None))

    with pytest.raises(OutsideError, match="tune gave no answer"):
        elsewhere.attend("tune", Config(infra=MACHINES), store, quiet)


def test_nobody_is_asked_for_what_was_not_begun(store: Store) -> None:
    with pytest.raises(MissingInputError, match="no tune of this store is on the cluster"):
        elsewhere.attend("tune", Config(), store, quiet)


@pytest.mark.parametrize("begun", [False, True])
def test_a_run_tunes_on_the_cluster_and_meets_what_it_began(
    store: Store, monkeypatch: pytest.MonkeyPatch, begun: bool
) -> None:
    store.root.mkdir()
    if begun:
        write_json(store.root / "errand.json", {"stage": "tune"})
    done = list[str]()
    monkeypatch.setattr(elsewhere, "begin", lambda stage, *_, **__: done.append(f"begin {stage}"))
    monkeypatch.setattr(elsewhere, "attend", lambda stage, *_: done.append(f"attend {stage}") or Outcome({"trials": 3}))

    found = _tuned(Config(tuning=TuningSection(on="cluster")), store, NOW, quiet, resume=False)

    assert found == {"trials": 3}
    assert done == [*([] if begun else ["begin tune"]), "attend tune"]
