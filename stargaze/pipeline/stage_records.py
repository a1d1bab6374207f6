"""What each stage ran with: every command that runs a stage records it, and ``run`` compares it with what is in force.

A record has the keys and inputs that its artifacts depend on, and the checksums of these artifacts.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stargaze.config import POLICIES, SAMPLES, Config
from stargaze.errors import StargazeError, UsageError
from stargaze.features.samples import open_sample
from stargaze.store import Store
from stargaze.system.files import read_json, sha256, write_json

MISSING = "missing"
"""The reason of a stage that has not run in this store."""
TUNING_KEYS = (
    *("trials", "finalists", "time_budget", "racing", "seed", "ensemble_size", "coverage"),
    *("estimate_policy", "metric", "bundled_repositories"),
)
OWN_KEYS = ("extra", "extra_kinds", "extra_policies", "exclude")
"""The keys of ``fetch`` about own columns and columns that are not read."""


def begin_stage(stage: str, config: Config, store: Store, *, files: Sequence[Path] = ()) -> dict[str, Any]:
    """Return what a stage is about to run with: a file that changes meanwhile is read again by the next run.

    ``files`` are those that ``fetch`` reads instead of the config's. In a store without its artifacts, it is recorded that the
    stage runs: artifacts of a killed one are of nobody else.
    """
    if not any(path.exists() for path in (_record_file(store, stage), *_artifacts(stage, store))):
        write_json(_record_file(store, stage), {"keys": {}, "artifacts": {}, "made": "", "typed": False})
    try:
        return _keys_in_force(stage, config, store, files)
    except StargazeError:  # an input that cannot be read: the stage reports it
        return {}


def record_stage(stage: str, store: Store, keys: Mapping[str, Any], now: datetime, *, typed: bool = False) -> None:
    """Record what a stage that has just succeeded ran with; ``typed`` says that options named the source of ``fetch``."""
    artifacts = {path.name: _checksum(path) for path in _artifacts(stage, store) if path.exists()}
    made = now.astimezone(UTC).isoformat(timespec="seconds")
    write_json(_record_file(store, stage), {"keys": keys, "artifacts": artifacts, "made": made, "typed": typed})


def record_start(stage: str, store: Store, keys: Mapping[str, Any], *, typed: bool = False) -> None:
    """Record what a stage runs with that was started on the cluster, until its artifacts are downloaded."""
    write_json(_started_file(store, stage), {"keys": keys, "typed": typed})


def record_end(stage: str, store: Store, now: datetime) -> None:
    """Record what a stage ran with that was started earlier, possibly by another command with other options."""
    path = _started_file(store, stage)
    if path.exists():
        started = read_json(path, stage)
        record_stage(stage, store, started["keys"], now, typed=started["typed"])
        path.unlink()


def why_outdated(stage: str, config: Config, store: Store) -> str:
    """Return in a few words why a stage must run; empty if its artifacts are those of the keys and inputs in force."""
    record = _read_record(store, stage)
    if record is None:
        return _why_unrecorded(stage, config, store)
    if reason := _compare_artifacts(record["artifacts"], _artifacts(stage, store, config)):
        return reason
    if stage == "fetch" and record["typed"] and not _names_source(config):
        return _compare_typed_fetch(record, config)
    try:
        expected = json.loads(json.dumps(_keys_in_force(stage, config, store, ())))
    except StargazeError as error:
        return error.message
    names = sorted(expected.keys() | record["keys"].keys())
    differing = [name for name in names if expected.get(name) != record["keys"].get(name)]
    return f"other {', '.join(differing)}" if differing else ""


def describe_record(stage: str, store: Store) -> str:
    """Return which artifact a skipped stage reuses, when it was made, and from what."""
    record = _read_record(store, stage) or {"keys": {}, "made": "?", "typed": False}
    keys, made = record["keys"], record["made"]
    if stage == "fetch":
        by_hand = ", as typed by hand (the config names no source)" if record["typed"] else ""
        return f"{store.repositories.name} of {made}, from {describe_source(keys)}{by_hand}"
    if stage == "select-features":
        return f"{store.features.name} of {made}, from repositories {str(keys.get('repositories'))[:12]}"
    if stage == "screen":
        return f"{store.leaderboard.name} of {made}, from feature set {keys.get('feature set')}"
    digest = store.latest.read_text(encoding="utf-8").strip()[:12]
    return f"bundle {digest} of {made}, from feature set {keys.get('feature set')}"


def describe_source(keys: Mapping[str, Any]) -> str:
    """Return where the repositories of a record of ``fetch`` came from."""
    files = [name for name, _ in keys.get("fetch.files", [])]
    sample = f"the included sample {keys.get('fetch.sample', '')}".rstrip()
    return "GitHub" if keys.get("github") else ", ".join(files) or sample


def _read_record(store: Store, stage: str) -> dict[str, Any] | None:
    try:
        record: dict[str, Any] = read_json(_record_file(store, stage), stage)
        is_valid = isinstance(record["keys"], dict) and isinstance(record["artifacts"], dict)
        return record if is_valid and isinstance(record["made"], str) and isinstance(record["typed"], bool) else None
    except (StargazeError, LookupError, TypeError):
        return None


def _artifacts(stage: str, store: Store, config: Config | None = None) -> list[Path]:
    """Return the files that a stage writes; with a config, without those that it does not request."""
    history = [store.star_history] if config is None or config.github.star_history else []
    return {
        "fetch": [store.repositories, *history],
        "select-features": [store.features, store.selection, store.selection_plot],
        "screen": [store.leaderboard],
        "tune": [store.latest, store.trials, store.held_out],
    }[stage]


def _keys_in_force(stage: str, config: Config, store: Store, files: Sequence[Path]) -> dict[str, Any]:
    """Return everything the artifacts of a stage depend on, by the name under which a difference is reported."""
    keys: dict[str, Callable[[], dict[str, Any]]] = {
        "fetch": lambda: _fetch_keys(config, files),
        "select-features": lambda: {
            **_selection_keys(config),
            **_test_list(config),
            "repositories": _checksum(store.repositories),
        },
        "screen": lambda: {
            "screening.families": sorted(set(config.screening.families)),
            "screening.max_rows": config.screening.max_rows,
            "screening.time_limit": config.screening.time_limit,
            "screening.time_budget": config.screening.time_budget,
            "features.seed": config.features.seed,
            "feature set": _feature_set_digest(store),
        },
        "tune": lambda: {
            **{f"tuning.{name}": getattr(config.tuning, name) for name in TUNING_KEYS},
            "feature set": _feature_set_digest(store),
            "leaderboard": _ranking(store),
        },
    }
    return keys[stage]()


def _selection_keys(config: Config) -> dict[str, Any]:
    keys = {f"features.{name}": value for name, value in dataclasses.asdict(config.features).items()}
    if config.features.policies == list(POLICIES):  # records of earlier versions do not have the key
        del keys["features.policies"]
    return keys


def _fetch_keys(config: Config, files: Sequence[Path]) -> dict[str, Any]:
    keys: dict[str, Any] = {"fetch.since": config.fetch.since}
    own = {f"fetch.{name}": getattr(config.fetch, name) for name in OWN_KEYS}
    keys |= {name: value for name, value in own.items() if value}  # records of earlier versions have none of them
    if _crawls_github(config) and not files:
        return {**keys, "github": dataclasses.asdict(config.github)}
    if paths := [*files] or [Path(name) for name in config.fetch.files]:
        states = [[path.name, _checksum(path)] for path in paths]
        if config.fetch.thousands != "auto":
            keys["fetch.thousands"] = config.fetch.thousands
        return {**keys, "fetch.files": states, "fetch.columns": config.fetch.columns}
    with open_sample(config.fetch.sample) as path:
        return {**keys, "fetch.sample": config.fetch.sample, "sample": _checksum(path)}


def _test_list(config: Config) -> dict[str, Any]:
    """Return the path and the checksum of the file that lists the test set, if there is one."""
    path = config.features.test_repositories
    return {"features.test_repositories": [path, _checksum(Path(path))]} if path else {}


def _names_source(config: Config) -> bool:
    return bool(config.fetch.files) or _crawls_github(config) or config.fetch.sample != SAMPLES[0]


def _crawls_github(config: Config) -> bool:
    from stargaze.features.github.crawl.crawl import is_github_configured

    return is_github_configured(config.github)


def _why_unrecorded(stage: str, config: Config, store: Store) -> str:
    """Return why a stage without a record must run; refuse to replace repositories that nothing else can make again."""
    artifact = _artifacts(stage, store)[0]
    if not artifact.exists():
        return MISSING
    if stage == "fetch" and not _names_source(config):
        raise UsageError(
            f"{artifact}: it is not recorded where they come from, and the config names no source",
            hint="stargaze fetch; or name the source in fetch.files or [github]",
        )
    return f"it is not recorded what {artifact.name} was made from"


def _compare_artifacts(checksums: Mapping[str, str], artifacts: Sequence[Path]) -> str:
    """Return how the artifacts differ from those that the stage wrote."""
    absent = [path.name for path in artifacts if not path.exists()]
    if not checksums:
        return MISSING if absent else "it was interrupted"
    changed = [path.name for path in artifacts if checksums.get(path.name) != _checksum(path)]
    return f"{absent[0]} was deleted" if absent else f"{changed[0]} was changed by something else" if changed else ""


def _compare_typed_fetch(record: Mapping[str, Any], config: Config) -> str:
    """Accept repositories whose source was typed by hand while the config names none: the sample must not replace them."""
    if record["keys"].get("fetch.since") == config.fetch.since:
        return ""
    source = describe_source(record["keys"])
    raise UsageError(
        f"the repositories were fetched by hand from {source}, with another fetch.since, and the config names no source",
        hint="repeat that stargaze fetch, or name the source in fetch.files or [github]",
    )


def _feature_set_digest(store: Store) -> str:
    from stargaze.features.dataset import read_feature_set

    return read_feature_set(store).digest


def _ranking(store: Store) -> list[list[Any]]:
    """Return what the finalists depend on; times differ between equal runs."""
    from stargaze.features.dataset import read_feature_set
    from stargaze.tuning.screen import read_leaderboard

    board = read_leaderboard(store, read_feature_set(store))
    return [[*map(str, row)] for row in board[["policy", "family", "status", "rmsle"]].itertuples(index=False)]


def _checksum(path: Path) -> str | None:
    """Return the SHA-256 of a file; None for a pipe, which is read only once, and for a file that the stage will report."""
    try:
        return sha256(path) if path.is_file() else None
    except OSError:
        return None


def _record_file(store: Store, stage: str) -> Path:
    return store.settings / f"{stage}.json"


def _started_file(store: Store, stage: str) -> Path:
    return store.settings / f"{stage}.started.json"
