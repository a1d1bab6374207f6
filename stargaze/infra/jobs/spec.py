"""What is to be done elsewhere: which command, on which files, with which settings, and what of it comes back. Pure."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stargaze.config import Config, render
from stargaze.store import Store

NAME = re.compile(
    r"(given/[0-9]+/)?[A-Za-z0-9_][A-Za-z0-9._+-]{0,199}"
    r"|bundles/(latest|latest-growth|[0-9a-f]{64}/[A-Za-z0-9._-]{1,100})"
)
"""Files of a store, as they travel; no other name is packed or unpacked."""
BUNDLES = {"stars": "bundles/latest", "growth": "bundles/latest-growth"}


@dataclass(frozen=True)
class JobSpec:
    """A command that is carried out elsewhere."""

    stage: str
    words: tuple[str, ...]
    """What follows ``stargaze`` on the command line there."""
    settings: str
    """The config there, in TOML; it holds no secret, and nothing of this machine's."""
    sends: Mapping[str, Path]
    """What it needs: name in the store there, file here."""
    brings: tuple[str, ...]
    """What comes back when it ended well, in the order in which it is put in place; a bundle by the file that names it."""
    keeps: tuple[str, ...] = ()
    """What comes back when it was stopped."""


def errand(
    stage: str,
    config: Config,
    store: Store,
    *,
    words: Sequence[str] = (),
    files: Sequence[Path] = (),
    resume: bool = False,
) -> JobSpec:
    """Return what a stage takes along and brings back.

    ``files`` are those that ``fetch`` is given; ``words`` are options that are no keys of the config.
    """
    given = {f"given/{number}/{_plain(path.name)}": path for number, path in enumerate(files)}
    sends = {**given, **_inputs(stage, config, store, resume=resume)}
    more = [word for name in given for word in ("--from", f"store/{name}")]
    return JobSpec(
        stage,
        (stage, *words, *more),
        render(_settings(config)),
        sends,
        _brings(stage, config),
        ("trials.jsonl",) if stage == "tune" else (),
    )


def _inputs(stage: str, config: Config, store: Store, *, resume: bool) -> dict[str, Path]:
    growth = stage == "tune" and config.tuning.target == "growth"
    needs = {
        "fetch": (),
        "select-features": (store.repositories,),
        "screen": (store.repositories, store.features),
        "tune": (store.repositories, store.features, store.leaderboard, *([store.journal] if resume else [])),
    }[stage]
    if growth:
        history = store.history(config.growth.history_file)
        return {
            "star_history.parquet" if history == store.star_history else f"given/0/{_plain(history.name)}": history
        } | ({"repositories.parquet": store.repositories} if store.repositories.exists() else {})
    return {path.name: path for path in needs}


def _brings(stage: str, config: Config) -> tuple[str, ...]:
    return {
        "fetch": ("star_history.parquet", "repositories.parquet"),
        "select-features": ("selection.csv", "selection.svg", "features.json"),
        "screen": ("leaderboard.csv",),
        "tune": ("trials.parquet", BUNDLES[config.tuning.target]),
    }[stage]


def _settings(config: Config) -> Config:
    """Return the config as it is in force there: the sections of the stages; no path, address or name of this machine's."""
    history = Path(config.growth.history_file)
    growth = dataclasses.replace(
        config.growth, history_file=f"store/given/0/{_plain(history.name)}" if config.growth.history_file else ""
    )
    return Config(
        fetch=dataclasses.replace(config.fetch, files=[]),
        github=config.github,
        features=config.features,
        screening=config.screening,
        tuning=dataclasses.replace(config.tuning, on="local"),
        growth=growth,
    )


def _plain(name: str) -> str:
    """Return a file's name without what a name there must not hold; its ending says what is in it.

    >>> _plain("my repos (1).csv.gz")
    'my_repos__1_.csv.gz'
    """
    return re.sub(r"[^A-Za-z0-9._-]", "_", name)[-100:].lstrip(".-") or "file"
