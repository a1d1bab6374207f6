"""The path of the data as a list of named stages: what ``stargaze run`` walks and ``stargaze status`` looks at."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stargaze.bundle.manifest import read_verified
from stargaze.config import POLICIES, Config, GithubSection
from stargaze.errors import MissingInputError, StargazeError
from stargaze.store import Store
from stargaze.system.files import read_json, sha256, write_json
from stargaze.system.progress import Report


@dataclass(frozen=True)
class Stage:
    """One step: is it done already, and how it is done; ``act`` returns a line about the result."""

    name: str
    is_done: Callable[[], bool]
    act: Callable[[Report], str]


def stages(config: Config, store: Store, clock: Callable[[], datetime]) -> list[Stage]:
    """Return the stages up to ``deploy``, in order; each knows whether its artefact fits the one before it."""
    return [
        Stage("fetch", lambda: _repositories_fit(config, store), lambda report: _fetch(config, store, clock(), report)),
        Stage("select-features", lambda: _features_fit(config, store), lambda report: _select(config, store, report)),
        Stage("screen", lambda: _leaderboard_fits(config, store), lambda report: _screen(config, store, report)),
        Stage("tune", lambda: _bundle_fits(config, store), lambda report: _tune(config, store, clock(), report)),
        Stage(
            "deploy",
            lambda: config.deploy.to == "local" and _is_deployed(store),
            lambda report: _deploy(config, store, clock(), report),
        ),
    ]


def state(store: Store) -> list[dict[str, Any]]:
    """Return a row a noun: where it lies, when it was made, its size and what it holds."""
    there = store.latest_growth.exists()  # beside the path: whoever asks for no growth need not see that there is none
    growth = [_noun("growth bundle", store.latest_growth, "tune", lambda: _latest_growth(store))] if there else []
    return [
        _noun("repositories", store.repositories, "fetch", lambda: _repositories(store)),
        _noun("feature set", store.features, "select-features", lambda: _kept(store)),
        _noun("leaderboard", store.leaderboard, "screen", lambda: _leader(store)),
        _noun("trials", store.trials, "tune", lambda: _trials(store)),
        _noun("bundle", store.latest, "tune", lambda: _latest(store)),
        _noun("release", store.releases, "deploy", lambda: _release(store)),
        *growth,
        _noun("report", store.report, "report", lambda: _report(store)),
    ]


def _fetch(config: Config, store: Store, now: datetime, report: Report) -> str:
    from stargaze.features.fetch import GithubOptions, repositories

    summary = repositories(config, store, [], now, report, GithubOptions(os.environ.get("GITHUB_TOKEN", "")))
    _remember(store, "fetch", _fetch_settings(config))
    return summary.as_line()


def _select(config: Config, store: Store, report: Report) -> str:
    from stargaze.features.selection.select_features import select_features

    kept = select_features(config.features, store, report).feature_set.selected
    return ", ".join(f"{policy} {len(names)}" for policy, names in kept.items()) + " features kept"


def _screen(config: Config, store: Store, report: Report) -> str:
    from stargaze.tuning.screen import screen

    best = screen(config.screening, store, config.features.seed, report).iloc[0]
    _remember(store, "screen", _screen_settings(config))
    return f"best is {best['family']}: RMSLE {best['rmsle']:.3f} ± {best['spread']:.3f} (policy {best['policy']})"


def _tune(config: Config, store: Store, now: datetime, report: Report) -> str:
    try:
        tuned = _tuned(config, store, now, report, resume=store.journal.exists())
    except MissingInputError:  # the journal is of other features or another search: that one is over
        tuned = _tuned(config, store, now, report, resume=False)
    _remember(store, "tune", _tune_settings(config))
    scores = tuned["scores"][config.tuning.estimate_policy]
    return (
        f"{tuned['trials']} trials, best {tuned['best']['family']}: RMSLE {scores['rmsle']:.3f} on held-out repositories, "
        f"intervals cover {scores['coverage']:.1%}"
    )


def _tuned(config: Config, store: Store, now: datetime, report: Report, *, resume: bool) -> dict[str, Any]:
    """Tune where the config says; on the cluster, a tuning of this store that was begun there before is met again."""
    if config.tuning.on == "local":
        from stargaze.tuning.tune import tune

        return dataclasses.asdict(tune(config.tuning, store, now=now, resume=resume, report=report))
    from stargaze.infra.jobs import remote_stage as elsewhere

    if not elsewhere.is_begun("tune", store):
        elsewhere.begin("tune", config, store, now, report, resume=resume)
    found: dict[str, Any] = elsewhere.attend("tune", config, store, report).value
    return found


def _deploy(config: Config, store: Store, now: datetime, report: Report) -> str:
    from stargaze.serve.release.publish import deploy
    from stargaze.serve.release.quality_gate import check_quality

    def gate(challenger: Path, champion: Path) -> None:
        report("comparing it with the release in production", 0.0)
        check_quality(challenger, champion, store)

    report("pushing the release", 0.0)
    if config.deploy.to == "swarm":
        from stargaze.pipeline.production import site_of
        from stargaze.serve.swarm import deploy as delivery

        site = site_of(config, store)
        done = delivery.deploy(config.deploy, store, site, now=now, say=lambda line: report(line, 0.0), gate=gate)
        return f"release {done.release.digest[:12]} serves on {', '.join(done.machines)}"
    release = deploy(config.deploy, store, now=now, gate=gate)
    report("serving it", 1.0)
    return f"release {release.digest[:12]} serves"


def _features_fit(config: Config, store: Store) -> bool:
    from stargaze.features.dataset import read_feature_set

    try:
        found = read_feature_set(store)
    except StargazeError:
        return False
    return found.split == config.features and found.fingerprint == sha256(store.repositories)


def _repositories_fit(config: Config, store: Store) -> bool:
    return store.repositories.exists() and _as_configured(store, "fetch", store.repositories, _fetch_settings(config))


def _fetch_settings(config: Config) -> dict[str, Any]:
    """Return what the repositories depend on: the section, and size and date of every file."""
    there = [Path(name).stat() for name in config.fetch.files if Path(name).exists()]
    github = {} if config.github == GithubSection() else {"github": dataclasses.asdict(config.github)}
    return {**dataclasses.asdict(config.fetch), **github, "state": [[item.st_size, item.st_mtime_ns] for item in there]}


def _screen_settings(config: Config) -> dict[str, Any]:
    """Return what the leaderboard depends on: where its rows are made is not among it."""
    section = dataclasses.asdict(config.screening)
    return {name: section[name] for name in ("families", "max_rows", "time_limit")}


def _tune_settings(config: Config) -> dict[str, Any]:
    """Return what a bundle depends on and does not say of itself."""
    return {
        name: getattr(config.tuning, name) for name in ("finalists", "seed", "ensemble_size", "bundled_repositories")
    }


def _remember(store: Store, stage: str, settings: dict[str, Any]) -> None:
    write_json(store.settings / f"{stage}.json", settings)


def _as_configured(store: Store, stage: str, artefact: Path, settings: dict[str, Any]) -> bool:
    """Tell whether a run made the artefact from these settings; one made by its own command since then is taken as it is."""
    record = store.settings / f"{stage}.json"
    if not record.exists() or artefact.stat().st_mtime > record.stat().st_mtime:
        return True
    try:
        return bool(read_json(record, "run") == json.loads(json.dumps(settings)))
    except StargazeError:
        return False


def _leaderboard_fits(config: Config, store: Store) -> bool:
    from stargaze.features.dataset import read_feature_set
    from stargaze.tuning.screen import read_leaderboard

    try:
        read_leaderboard(store, read_feature_set(store))
    except StargazeError:
        return False
    return _as_configured(store, "screen", store.leaderboard, _screen_settings(config))


def _bundle_fits(config: Config, store: Store) -> bool:
    from stargaze.bundle.star_bundle import FORMAT
    from stargaze.features.dataset import read_feature_set

    tuning = config.tuning
    wanted = {
        "estimate": tuning.estimate_policy,
        "explain": tuning.explanation_policy,
        "coverage": tuning.coverage,
        "format": FORMAT,
    }
    try:
        _, content = read_verified(_bundle(store))
        found = json.loads(content["bundle.json"])
        fits = found.get("asked", found["trials"]) >= config.tuning.trials and found.items() >= wanted.items()
        fits = fits and found["data"]["feature_set"] == read_feature_set(store).digest
        return bool(fits and _as_configured(store, "tune", store.latest, _tune_settings(config)))
    except (StargazeError, ValueError, LookupError, TypeError, AttributeError):
        return False


def _is_deployed(store: Store) -> bool:
    from stargaze.serve.release.publish import installed_digest

    return store.latest.exists() and installed_digest(store) == store.latest.read_text(encoding="utf-8").strip()


def _bundle(store: Store) -> Path:
    name = store.latest.read_text(encoding="utf-8").strip() if store.latest.exists() else "none"
    return store.bundles / name


def _noun(name: str, path: Path, maker: str, holds: Callable[[], str]) -> dict[str, Any]:
    row: dict[str, Any] = {"noun": name, "path": str(path), "made": "", "holds": f"not there yet: stargaze {maker}"}
    if path.exists():
        made = datetime.fromtimestamp(path.stat().st_mtime, tz=UTC)
        try:
            row |= {"made": made.isoformat(timespec="minutes"), "holds": holds()}
        except StargazeError as error:
            row |= {"holds": error.message}
        except (OSError, ValueError, LookupError) as error:
            row |= {"holds": " ".join(f"cannot be read: {error}".split())}
    return row


def _repositories(store: Store) -> str:
    import pyarrow.parquet

    return f"{pyarrow.parquet.read_metadata(store.repositories).num_rows:,} repositories"


def _kept(store: Store) -> str:
    from stargaze.features.dataset import read_feature_set

    found = read_feature_set(store)
    fits = found.fingerprint == sha256(store.repositories)
    counts = ", ".join(f"{policy} {len(found.selected[policy])}" for policy in POLICIES)
    return f"{counts} features{'' if fits else ' (of other repositories: stargaze select-features)'}"


def _leader(store: Store) -> str:
    from stargaze.features.dataset import read_feature_set
    from stargaze.tuning.screen import read_leaderboard

    best = read_leaderboard(store, read_feature_set(store)).iloc[0]
    return f"{best['family']} leads: RMSLE {best['rmsle']:.3f}"


def _trials(store: Store) -> str:
    import pyarrow.parquet

    return f"{pyarrow.parquet.read_metadata(store.trials).num_rows:,} trials"


def _latest(store: Store) -> str:
    folder = _bundle(store)
    there = folder.parent == store.bundles and folder.is_dir()
    return folder.name[:12] if there else "names a bundle that is not there: stargaze tune"


def _latest_growth(store: Store) -> str:
    name = store.latest_growth.read_text(encoding="utf-8").strip()
    return name[:12] if (store.bundles / name).is_dir() else "names a bundle that is not there: stargaze tune"


def _report(store: Store) -> str:
    from stargaze.report.write import bundle_of

    digest, newest = bundle_of(store.report), _bundle(store).name
    return f"of bundle {digest[:12]}{'' if digest == newest else ' (not the newest: stargaze report)'}"


def _release(store: Store) -> str:
    from stargaze.serve.release.publish import installed_digest, list_releases

    serving = installed_digest(store)
    return f"{len(list_releases(store))} releases, {serving[:12] if serving else 'none'} serves"


def walk(todo: list[Stage], *, again: bool = False) -> Iterator[tuple[Stage, bool]]:
    """Yield each stage and whether it is to be done: from the first one that is not, all that follow are."""
    must = again
    for stage in todo:
        must = must or not stage.is_done()
        yield stage, must
