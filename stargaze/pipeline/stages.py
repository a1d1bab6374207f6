"""The stages of the pipeline as a list of named steps, each with a check whether it is done."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from stargaze.bundle.ensemble_families import format_families
from stargaze.bundle.manifest import STAR_FORMAT, read_verified
from stargaze.config import Config
from stargaze.errors import ExternalError, MissingInputError, StargazeError
from stargaze.pipeline.stage_records import (
    MISSING,
    begin_stage,
    describe_record,
    record_end,
    record_stage,
    record_start,
    why_outdated,
)
from stargaze.serve.release.release_folder import short_name, verify_release
from stargaze.store import Store
from stargaze.system.process import github_token
from stargaze.system.progress import Report


@dataclass(frozen=True)
class Stage:
    """One step; ``run`` returns one line about the result."""

    name: str
    why_outdated: Callable[[], str]
    """Why it must run; empty if its artifacts are those of the keys and inputs in force."""
    run: Callable[[Report], str]
    describe: Callable[[], str] = str
    """What it reuses if it need not run."""


def build_stages(config: Config, store: Store, clock: Callable[[], datetime]) -> list[Stage]:
    """Return the stages up to ``deploy`` in order."""
    actions: dict[str, Callable[[Report], str]] = {
        "fetch": lambda report: _fetch(config, store, clock(), report),
        "select-features": lambda report: _select(config, store, report),
        "screen": lambda report: _screen(config, store, report),
        "tune": lambda report: _tune(config, store, clock(), report),
    }

    def stage(name: str, action: Callable[[Report], str]) -> Stage:
        def run(report: Report) -> str:
            keys = begin_stage(name, config, store)
            line = action(report)
            if name != "tune" or config.tuning.on == "local":
                record_stage(name, store, keys, clock())
            return line

        return Stage(name, lambda: _why_outdated(name, config, store), run, lambda: describe_record(name, store))

    return [
        *(stage(name, action) for name, action in actions.items()),
        Stage(
            "deploy",
            lambda: _why_not_deployed(config, store),
            lambda report: _deploy(config, store, clock(), report),
            lambda: _describe_installed(store),
        ),
    ]


def plan_stages(stages: Sequence[Stage], *, again: bool = False) -> Iterator[tuple[Stage, str]]:
    """Yield each stage and why it must run, empty if it is done; after the first that runs all others run too."""
    reason = "--again" if again else ""
    for stage in stages:
        must_run = reason or stage.why_outdated()
        yield stage, must_run
        reason = must_run and (reason or f"{stage.name} ran")


def _fetch(config: Config, store: Store, now: datetime, report: Report) -> str:
    from stargaze.features.fetch import GithubOptions, fetch_repositories

    summary = fetch_repositories(config, store, [], now, report, GithubOptions(github_token()))
    return summary.as_line()


def _select(config: Config, store: Store, report: Report) -> str:
    from stargaze.features.selection.select_features import select_features

    selection = select_features(config.features, store, report)
    counts = [f"{policy} {len(names)}" for policy, names in selection.feature_set.selected.items()]
    return "; ".join(filter(None, [f"{', '.join(counts)} features selected", selection.test_set]))


def _screen(config: Config, store: Store, report: Report) -> str:
    from stargaze.tuning.screen import screen

    best = screen(config.screening, store, config.features.seed, report).iloc[0]
    return f"{best['family']} leads: RMSLE {best['rmsle']:.3f} ± {best['spread']:.3f} (policy {best['policy']})"


def _tune(config: Config, store: Store, now: datetime, report: Report) -> str:
    try:
        tuned = _run_tuning(config, store, now, report, resume=store.journal.exists())
    except MissingInputError:  # the journal belongs to other features or another search
        tuned = _run_tuning(config, store, now, report, resume=False)
    scores = tuned["scores"][config.tuning.estimate_policy]
    return (
        f"{tuned['trials']} trials; {format_families(scores['families'])}: RMSLE {scores['rmsle']:.3f} on held-out repositories, "
        f"intervals cover {scores['coverage']:.1%}"
    )


def _run_tuning(config: Config, store: Store, now: datetime, report: Report, *, resume: bool) -> dict[str, Any]:
    """Tune where the config says; attach to a tuning of this store that already runs on the cluster."""
    if config.tuning.on == "local":
        from stargaze.tuning.tune import tune

        return dataclasses.asdict(tune(config.tuning, store, resume=resume, report=report))
    from stargaze.infra.jobs.remote_stage import attach_stage, is_started, start_stage

    if not is_started("tune", config, store):
        start_stage("tune", config, store, now, report, resume=resume)
        record_start("tune", store, begin_stage("tune", config, store))
    tuned: dict[str, Any] = attach_stage("tune", config, store, report, "", use_in_sandbox).value
    record_end("tune", store, now)
    return tuned


def use_in_sandbox(folder: Path) -> None:
    """Use a bundle of another machine as a release is used: in a process that cannot do harm."""
    from stargaze.serve.release.pre_receive import load_in_sandbox
    from stargaze.serve.release.repository import HookPolicy

    folder = folder.resolve()  # the sandbox has another working directory
    load_in_sandbox(folder, HookPolicy(folder, folder))


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
        return f"release {short_name(result.release.name)} serves on {', '.join(result.machines)}"
    notes: list[str] = []
    release = publish_release(config.deploy, store, now=now, gate=gate, notify=notes.append)
    report("serving it", 1.0)
    return "; ".join([f"release {short_name(release.name)} serves", *notes])


def _why_outdated(name: str, config: Config, store: Store) -> str:
    if reason := why_outdated(name, config, store):
        return reason
    try:
        _check_readable(name, store)
    except (StargazeError, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        return error.message if isinstance(error, StargazeError) else f"its artifacts cannot be read: {error}"
    return ""


def _check_readable(name: str, store: Store) -> None:
    """Raise if this version cannot read the artifacts of a stage, which another version may have written."""
    from stargaze.features.dataset import read_feature_set

    if name == "select-features":
        read_feature_set(store)
    elif name == "screen":
        from stargaze.tuning.screen import read_leaderboard

        read_leaderboard(store, read_feature_set(store))
    elif name == "tune":
        _, files = read_verified(store.bundles / store.latest.read_text(encoding="utf-8").strip())
        metadata = json.loads(files["bundle.json"])
        if metadata["format"] != STAR_FORMAT or metadata["data"]["feature_set"] != read_feature_set(store).digest:
            raise ExternalError("the bundle is of another version or feature set", hint="stargaze tune")


def _describe_installed(store: Store) -> str:
    from stargaze.serve.release.publish import installed_release

    return f"release {short_name(installed_release(store) or 'none')} is installed"


def _why_not_deployed(config: Config, store: Store) -> str:
    """Return why ``deploy`` must run; the Swarm is always compared with the config."""
    from stargaze.serve.release.choose_bundles import next_release_name
    from stargaze.serve.release.publish import installed_release, list_releases

    if config.deploy.to != "local":
        return "the Swarm is compared with the config"
    installed = installed_release(store)
    if not installed:
        return MISSING
    try:
        newest = next_release_name(store)
        if installed != newest:
            return "other bundles are installed"
        if verify_release(store.current.resolve()) != newest or list_releases(store)[0].name != newest:
            return "the installed bundles are not the newest release"
    except (StargazeError, LookupError, OSError) as error:
        return error.message if isinstance(error, StargazeError) else "there is no release, or a bundle of it"
    return ""
