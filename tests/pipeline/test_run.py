"""``run`` runs the unfinished stages, then serves the page, or sends one request with ``--once``."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stargaze.bundle.star_bundle import Bundle
from stargaze.config import Config, FeaturesSection, ScreeningSection
from stargaze.errors import ExternalError, UsageError
from stargaze.features.split import TEST, assign_folds
from stargaze.output import Output
from stargaze.pipeline import run as pipeline
from stargaze.pipeline.run import EXAMPLES, run_pipeline
from stargaze.pipeline.stages import Stage
from stargaze.store import Store
from tests.waiting import wait_for


class Page:
    """A fake page that records the requests."""

    def __init__(self) -> None:
        self.requested: list[str] = []
        self.served = 0

    @contextlib.contextmanager
    def serving(self, _section: object, _store: Store, _sources: object) -> Iterator[str]:
        """Serve inside the block."""
        self.served += 1
        yield "http://127.0.0.1:1"

    def serve(self, _section: object, _store: Store, _sources: object, *, announce: Callable[[str], None]) -> int:
        """Return as after an immediate Ctrl-C."""
        announce("http://127.0.0.1:1")
        return 130

    def ask_once(self, _url: str, names: list[str]) -> list[dict[str, Any]]:
        """Return predictions."""
        self.requested += names
        return [
            {
                "full_name": name,
                "expected_stars": 7.5,
                "interval_low": 1,
                "interval_high": 20,
                "actual_stars": float("nan"),
            }
            for name in names
        ]


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Page:
    """A fake page instead of gunicorn and Celery."""
    page = Page()
    monkeypatch.setattr("stargaze.serve.supervisor.supervise.serve", page.serve)
    monkeypatch.setattr("stargaze.serve.supervisor.supervise.serving", page.serving)
    monkeypatch.setattr("stargaze.serve.web.api.client.request_predictions", page.ask_once)
    return page


@pytest.fixture
def store(tmp_path: Path, bundle_folder: Path) -> Store:
    """A store with an installed release."""
    store = Store(tmp_path)
    store.serving.mkdir()
    store.current.symlink_to(bundle_folder)
    return store


def run_with_stages(
    monkeypatch: pytest.MonkeyPatch,
    store: Store,
    todo: list[Stage],
    *,
    config: Config | None = None,
    as_json: bool = False,
    **options: bool,
) -> int:
    """Run the pipeline with these stages."""
    monkeypatch.setattr(pipeline, "build_stages", lambda *_arguments: todo)
    options = {"once": False, "again": False, **options}
    return run_pipeline(
        config or Config(), store, Output(as_json), clock=lambda: datetime(2026, 1, 1, tzinfo=UTC), **options
    )


def stage(name: str, *, done: bool, did: list[str]) -> Stage:
    """Return a stage that records that it ran."""

    def act(report: Callable[[str, float], None]) -> str:
        did.append(name)
        report("half", 0.5)
        return f"{name} is made"

    return Stage(name, lambda: "" if done else "it is new", act, lambda: f"what made {name}")


def test_unfinished_stages_run_and_print_one_line_each(
    monkeypatch: pytest.MonkeyPatch, store: Store, page: Page, capsys: pytest.CaptureFixture[str]
) -> None:
    did: list[str] = []

    code = run_with_stages(monkeypatch, store, [stage("a", done=True, did=did), stage("b", done=False, did=did)])

    out, err = capsys.readouterr()
    assert did == ["b"]
    assert err.splitlines() == [
        "a: already done: what made a",
        "b runs: it is new",
        "b:  50% half",
        "b: b is made",
    ]
    assert out == "serving at http://127.0.0.1:1 (Ctrl-C stops it)\n"
    assert code == 130


def test_again_runs_all_stages(monkeypatch: pytest.MonkeyPatch, store: Store, page: Page) -> None:
    did: list[str] = []

    run_with_stages(monkeypatch, store, [stage("a", done=True, did=did), stage("b", done=True, did=did)], again=True)

    assert did == ["a", "b"]


def test_a_failed_stage_ends_the_run(monkeypatch: pytest.MonkeyPatch, store: Store, page: Page) -> None:
    did: list[str] = []

    def fail(_report: object) -> str:
        raise ExternalError("no")

    with pytest.raises(ExternalError):
        run_with_stages(monkeypatch, store, [Stage("a", lambda: "new", fail), stage("b", done=False, did=did)])

    assert did == []


def test_an_unknown_family_is_rejected_before_the_first_stage(monkeypatch: pytest.MonkeyPatch, store: Store) -> None:
    did: list[str] = []
    config = Config(screening=ScreeningSection(families=["lightgmb"]))

    with pytest.raises(UsageError, match="lightgmb: no such family"):
        run_with_stages(monkeypatch, store, [stage("fetch", done=False, did=did)], config=config)

    assert did == []


def test_once_requests_predictions_of_held_out_repositories(
    monkeypatch: pytest.MonkeyPatch, store: Store, page: Page, capsys: pytest.CaptureFixture[str]
) -> None:
    """A prediction of a training repository would show nothing."""
    code = run_with_stages(monkeypatch, store, [], once=True)

    frame = Bundle.load(store.current).known.set_index("full_name", drop=False)
    held_out = frame[assign_folds(frame["full_name"], FeaturesSection()) == TEST]
    assert code == 0
    assert page.served == 1
    assert len(set(page.requested)) == EXAMPLES
    assert set(page.requested) <= set(held_out.index)
    stars = frame.loc[page.requested, "stars"].tolist()
    assert stars == sorted(stars, reverse=True)
    assert stars[0] == held_out["stars"].max()
    out, err = capsys.readouterr()
    assert all(name in out for name in page.requested)
    assert err == "sent one request to http://127.0.0.1:1\n"


@pytest.mark.thorough
def test_once_with_json_prints_the_predictions(
    monkeypatch: pytest.MonkeyPatch, store: Store, page: Page, capsys: pytest.CaptureFixture[str]
) -> None:
    run_with_stages(monkeypatch, store, [], once=True, as_json=True)

    answers = json.loads(capsys.readouterr().out)
    assert [answer["full_name"] for answer in answers] == page.requested
    assert answers[0]["actual_stars"] is None


@pytest.mark.thorough
def test_a_run_selects_the_same_features_whichever_command_ran_before(tmp_path: Path, sample: pd.DataFrame) -> None:
    """A skipped stage imports other modules than one that runs."""
    sample.head(400).to_parquet(tmp_path / "some.parquet")

    run_only = selected(tmp_path / "alone", "run")
    after_fetch = selected(tmp_path / "after", "fetch", "run")

    assert after_fetch == run_only


def selected(folder: Path, *commands: str) -> dict[str, Any]:
    """Run commands in a folder; return the feature set as soon as it is written."""
    folder.mkdir()
    (folder / "stargaze.toml").write_text(
        '[fetch]\nfiles = ["../some.parquet"]\n[features]\nfolds = 2\nimportance_repeats = 1\n'
    )
    features = folder / "store" / "features.json"
    for command in commands:
        argv = [sys.executable, "-m", "stargaze", command]
        with subprocess.Popen(argv, cwd=folder, env={**os.environ, "XDG_CONFIG_HOME": str(folder)}) as process:
            try:
                wait_for(lambda process=process: process.poll() is not None or features.exists(), 300)
                process.terminate()  # the later stages take minutes
                process.wait(60)
            finally:
                process.kill()
    feature_set: dict[str, Any] = json.loads(features.read_text())
    return feature_set
