"""Where repositories come from: files, GitHub, or the shipped sample; the config says which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from stargaze.config import Config
from stargaze.errors import ConfigError
from stargaze.features.github.crawl.crawl import is_asked
from stargaze.features.github.crawl.entry import foresee as plan_ahead
from stargaze.features.github.crawl.entry import gather
from stargaze.features.github.crawl.estimate import Plan
from stargaze.features.github.crawl.summary import GatherSummary
from stargaze.features.ingest.fetch_summary import FetchSummary
from stargaze.features.ingest.from_files import fetch_files
from stargaze.store import Store
from stargaze.system.progress import Notify, Report

NOTHING = "say what to gather in [github], or as stargaze fetch --stars '>=1000'"


@dataclass(frozen=True)
class GithubOptions:
    """How GitHub is asked: with which token, whether anew, and who hears of each request."""

    token: str = ""
    update: bool = False
    tell: Notify | None = None


def repositories(
    config: Config, store: Store, files: Sequence[Path], now: datetime, report: Report, way: GithubOptions
) -> FetchSummary | GatherSummary:
    """Make ``repositories.parquet`` from what is asked for: the files given here, else what the config names.

    Raises
    ------
    ConfigError
        If the config names both files and something to gather, or a refresh of what is none of GitHub's.
    """
    if _from_github(config, files):
        return gather(
            config.github, config.fetch, store, now, token=way.token, update=way.update, tell=way.tell, report=report
        )
    if way.update:
        raise ConfigError("--update asks GitHub anew, and nothing is asked of it", hint=NOTHING)
    return fetch_files(config.fetch, store, files, now, report)


def foresee(config: Config, store: Store, files: Sequence[Path], report: Report, way: GithubOptions) -> Plan:
    """Notify what it would take to gather what the config asks of GitHub.

    Raises
    ------
    ConfigError
        If it asks nothing of GitHub.
    """
    if not _from_github(config, files):
        raise ConfigError("--dry-run tells of requests, and nothing is asked of GitHub", hint=NOTHING)
    return plan_ahead(config.github, store, token=way.token, update=way.update, tell=way.tell, report=report)


def _from_github(config: Config, files: Sequence[Path]) -> bool:
    asked = is_asked(config.github)
    if asked and config.fetch.files and not files:
        raise ConfigError("fetch.files and [github] both say where repositories come from", hint="keep one of them")
    return asked and not files
