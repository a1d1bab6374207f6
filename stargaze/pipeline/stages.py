"""The stages of the pipeline as a list of named steps, each with a check whether it is done."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from stargaze.bundle.manifest import STAR_FORMAT, read_verified
from stargaze.config import Config, GithubSection
from stargaze.errors import MissingInputError, StargazeError
from stargaze.store import Store
from stargaze.system.files import read_json, sha256, write_json
from stargaze.system.progress import Report


@dataclass(frozen=True)
class Stage:
    """One step; ``run`` returns one line about the result."""

    name: str
    is_done: Callable[[], bool]
    run: Callable[[Report], str]


def build_stages(config: Config, store: Store, clock: Callable[[], datetime]) -> list[Stage]:
    """Return the stages up to ``deploy`` in order; a stage is done if its artifact fits the config and the one before it."""
    return [
        Stage("fetch", lambda: _is_fetched(config, store), lambda report: _fetch(config, store, clock(), report)),
        Stage("select-features", lambda: _is_selected(config, store), lambda report: _select(config, store, report)),
        Stage("screen", lambda: _is_screened(config, store), lambda report: _screen(config, store, report)),
        Stage("tune", lambda: _is_tuned(config, store), lambda report: _tune(config, store, clock(), report)),
        Stage(
            "deploy",
            lambda: config.deploy.to == "local" and _is_deployed(store),
            lambda report: _deploy(config, store, clock(), report),
        ),
    ]


def plan_stages(stages: Sequence[Stage], *, again: bool = False) -> Iterator[tuple[Stage, bool]]:
    """Yield each stage and whether to run it: the first unfinished stage and all after it; with ``again`` all of them."""
    must_run = again
    for stage in stages:
        must_run = must_run or not stage.is_done()
        yield stage, must_run


def _fetch(config: Config, store: Store, now: datetime, report: Report) -> str:
    from stargaze.features.fetch import GithubOptions, fetch_repositories

    summary = fetch_repositories(config, store, [], now, report, GithubOptions(os.environ.get("GITHUB_TOKEN", "")))
    _record_settings(store, "fetch", _fetch_settings(config))
    return summary.as_line()


def _select(config: Config, store: Store, report: Report) -> str:
    from stargaze.features.selection.select_features import select_features

    selected = select_features(config.features, store, report).feature_set.selected
    return ", ".join(f"{policy} {len(names)}" for policy, names in selected.items()) + " features selected"


def _screen(config: Config, store: Store, report: Report) -> str:
    from stargaze.tuning.screen import screen

    best = screen(config.screening, store, config.features.seed, report).iloc[0]
    _record_settings(store, "screen", _screen_settings(config))
    return f"best is {best['family']}: RMSLE {best['rmsle']:.3f} ± {best['spread']:.3f} (policy {best['policy']})"


def _tune(config: Config, store: Store, now: datetime, report: Report) -> str:
    try:
        tuned = _run_tuning(config, store, now, report, resume=store.journal.exists())
    except MissingInputError:  # the journal belongs to other features or another search
        tuned = _run_tuning(config, store, now, report, resume=False)
    _record_settings(store, "tune", _tune_settings(config))
    scores = tuned["scores"][config.tuning.estimate_policy]
    return (
        f"{tuned['trials']} trials, best {tuned['best']['family']}: RMSLE {scores['rmsle']:.3f} on held-out repositories, "
        f"intervals cover {scores['coverage']:.1%}"
    )


def _run_tuning(config: Config, store: Store, now: datetime, report: Report, *, resume: bool) -> dict[str, Any]:
    """Tune where the config says; attach to a tuning of this store that already runs on the cluster."""
    if config.tuning.on == "local":
        from stargaze.tuning.tune import tune

        return dataclasses.asdict(tune(config.tuning, store, now=now, resume=resume, report=report))
    from stargaze.infra.jobs.remote_stage import attach_stage, is_started, start_stage

    if not is_started("tune", store):
        start_stage("tune", config, store, now, report, resume=resume)
    tuned: dict[str, Any] = attach_stage("tune", config, store, report).value
    return tuned


def _deploy(config: Config, store: Store, now: datetime, report: Report) -> str:
    from stargaze.serve.release.publish import publish_release
    from stargaze.serve.release.quality_gate import check_quality

    def gate(challenger: Path, champion: Path) -> None:
        report("comparing with the release in production", 0.0)
        check_quality(challenger, champion, store)

    report("pushing the release", 0.0)
    if config.deploy.to == "swarm":
        from stargaze.pipeline.production import production_target
        from stargaze.serve.swarm.deploy import deploy as deploy_to_swarm

        target = production_target(config, store)
        result = deploy_to_swarm(
            config.deploy, store, target, now=now, notify=lambda line: report(line, 0.0), gate=gate
        )
        return f"release {result.release.digest[:12]} serves on {', '.join(result.machines)}"
    release = publish_release(config.deploy, store, now=now, gate=gate)
    report("serving it", 1.0)
    return f"release {release.digest[:12]} serves"


def _is_fetched(config: Config, store: Store) -> bool:
    return store.repositories.exists() and _has_settings(store, "fetch", store.repositories, _fetch_settings(config))


def _is_selected(config: Config, store: Store) -> bool:
    from stargaze.features.dataset import read_feature_set

    try:
        feature_set = read_feature_set(store)
    except StargazeError:
        return False
    return feature_set.split == config.features and feature_set.fingerprint == sha256(store.repositories)


def _is_screened(config: Config, store: Store) -> bool:
    from stargaze.features.dataset import read_feature_set
    from stargaze.tuning.screen import read_leaderboard

    try:
        read_leaderboard(store, read_feature_set(store))
    except StargazeError:
        return False
    return _has_settings(store, "screen", store.leaderboard, _screen_settings(config))


def _is_tuned(config: Config, store: Store) -> bool:
    from stargaze.features.dataset import read_feature_set

    tuning = config.tuning
    expected = {
        "estimate_policy": tuning.estimate_policy,
        "explanation_policy": tuning.explanation_policy,
        "coverage": tuning.coverage,
        "format": STAR_FORMAT,
    }
    try:
        _, files = read_verified(store.bundles / store.latest.read_text(encoding="utf-8").strip())
        metadata = json.loads(files["bundle.json"])
        fits = metadata["requested_trials"] >= tuning.trials and metadata.items() >= expected.items()
        fits = fits and metadata["data"]["feature_set"] == read_feature_set(store).digest
        return bool(fits and _has_settings(store, "tune", store.latest, _tune_settings(config)))
    except (StargazeError, OSError, ValueError, LookupError, TypeError, AttributeError):
        return False


def _is_deployed(store: Store) -> bool:
    from stargaze.serve.release.publish import installed_digest

    return store.latest.exists() and installed_digest(store) == store.latest.read_text(encoding="utf-8").strip()


def _fetch_settings(config: Config) -> dict[str, Any]:
    """Return everything the repositories depend on: the config, and size and date of every file."""
    states = [Path(name).stat() for name in config.fetch.files if Path(name).exists()]
    github = {} if config.github == GithubSection() else {"github": dataclasses.asdict(config.github)}
    return {
        **dataclasses.asdict(config.fetch),
        **github,
        "state": [[item.st_size, item.st_mtime_ns] for item in states],
    }


def _screen_settings(config: Config) -> dict[str, Any]:
    """Return everything the leaderboard depends on."""
    return {name: getattr(config.screening, name) for name in ("families", "max_rows", "time_limit")}


def _tune_settings(config: Config) -> dict[str, Any]:
    """Return everything a bundle depends on, except the values in its metadata."""
    names = ("finalists", "seed", "ensemble_size", "bundled_repositories")
    return {name: getattr(config.tuning, name) for name in names}


def _record_settings(store: Store, stage: str, settings: dict[str, Any]) -> None:
    write_json(store.settings / f"{stage}.json", settings)


def _has_settings(store: Store, stage: str, artifact: Path, settings: dict[str, Any]) -> bool:
    """Return whether a run created the artifact with these settings, or a command created it later."""
    record = store.settings / f"{stage}.json"
    if not record.exists() or artifact.stat().st_mtime > record.stat().st_mtime:
        return True
    try:
        return bool(read_json(record, "run") == json.loads(json.dumps(settings)))
    except StargazeError:
        return False
