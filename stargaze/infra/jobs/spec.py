"""The requirements of a stage on the cluster: command, config, input files and output files. Pure."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stargaze.config import Config, render
from stargaze.errors import UsageError
from stargaze.store import Store

JOB_ID = re.compile(r"stargaze-[0-9a-f]{12}")
FILE_NAME = re.compile(
    r"(inputs/[0-9]+/)?[A-Za-z0-9_][A-Za-z0-9._+-]{0,199}"
    r"|bundles/(latest|latest-growth|[0-9a-f]{64}/[A-Za-z0-9._-]{1,100})"
)
"""Names of files in a store that are transferred; no other name is packed or unpacked."""
OUTPUTS = {
    "fetch": ("star_history.parquet", "repositories.parquet"),
    "select-features": ("selection.csv", "selection.svg", "features.json"),
    "screen": ("leaderboard.csv",),
}
PARTIAL_OUTPUTS = {"tune": ("trials.jsonl",)}
"""Files to download after a stop."""
STAGES = (*OUTPUTS, "tune")
LATEST_BUNDLE = {"stars": "bundles/latest", "growth": "bundles/latest-growth"}
TUNED = {
    "stars": ("trials.parquet", "held_out.parquet", LATEST_BUNDLE["stars"]),
    "growth": ("trials.parquet", LATEST_BUNDLE["growth"]),
}
"""The outputs of ``tune`` by target."""


@dataclass(frozen=True)
class JobSpec:
    """A stage that runs as a job on the cluster."""

    stage: str
    argv: tuple[str, ...]
    """Arguments of ``stargaze``."""
    config: str
    """The config of the job in TOML, without secrets and without paths, addresses or names of this machine."""
    inputs: Mapping[str, Path]
    """Path on this machine by name in the store of the job."""
    target: str = ""
    """What is tuned: stars or growth."""


def build_spec(
    stage: str,
    config: Config,
    store: Store,
    *,
    options: Sequence[str] = (),
    files: Sequence[Path] = (),
    resume: bool = False,
) -> JobSpec:
    """Return the spec of a stage.

    ``files`` are the input files of ``fetch``; ``options`` are options that are not keys of the config.
    """
    uploads = {f"inputs/{number}/{_safe_name(path.name)}": path for number, path in enumerate(files)}
    sources = [argument for name in uploads for argument in ("--from", f"store/{name}")]
    return JobSpec(
        stage=stage,
        argv=(stage, *options, *sources),
        config=render(_job_config(config)),
        inputs={**uploads, **_inputs(stage, config, store, resume=resume)},
        target=config.tuning.target if stage == "tune" else "",
    )


def list_outputs(stage: str, target: str) -> tuple[str, ...]:
    """Return the files to download after success, in the order in which they are moved into place.

    A bundle is represented by the file that names it. The last file always exists.
    """
    return OUTPUTS.get(stage) or TUNED[target]


def check_job_id(text: str) -> str:
    """Return the id of a job if it is one; else raise UsageError."""
    if not JOB_ID.fullmatch(text):
        raise UsageError(f"{text[:60]!r} is not the id of a job", hint="stargaze jobs lists them")
    return text


def _inputs(stage: str, config: Config, store: Store, *, resume: bool) -> dict[str, Path]:
    if stage == "tune" and config.tuning.target == "growth":
        history = store.history(config.growth.history_file)
        name = history.name if history == store.star_history else _input_name(str(history))
        repositories = {"repositories.parquet": store.repositories} if store.repositories.exists() else {}
        return {name: history, **repositories}
    if stage == "select-features" and (listed := config.features.test_repositories):
        return {store.repositories.name: store.repositories, _input_name(listed): Path(listed)}
    paths = {
        "fetch": (),
        "select-features": (store.repositories,),
        "screen": (store.repositories, store.features),
        "tune": (store.repositories, store.features, store.leaderboard, *(_journals(store) if resume else [])),
    }[stage]
    return {path.name: path for path in paths}


def _journals(store: Store) -> list[Path]:
    """Return the current journal and the kept ones, which may be of the tuning that is resumed."""
    kept = sorted(store.root.glob(f"{store.journal.stem}-*{store.journal.suffix}"))
    return kept if kept and not store.journal.exists() else [store.journal, *kept]


def _job_config(config: Config) -> Config:
    """Return the sections of the stages, as they apply on the cluster."""
    history, listed = config.growth.history_file, config.features.test_repositories
    return Config(
        fetch=dataclasses.replace(config.fetch, files=[]),
        github=config.github,
        features=dataclasses.replace(config.features, test_repositories=listed and f"store/{_input_name(listed)}"),
        screening=config.screening,
        tuning=dataclasses.replace(config.tuning, on="local"),
        growth=dataclasses.replace(config.growth, history_file=history and f"store/{_input_name(history)}"),
    )


def _input_name(path: str) -> str:
    """Return the name of an input file in the store of the job."""
    return f"inputs/0/{_safe_name(Path(path).name)}"


def _safe_name(name: str) -> str:
    """Return a file name with safe characters only; its suffix, which determines the format, is kept.

    >>> _safe_name("my repos (1).csv.gz")
    'my_repos__1_.csv.gz'
    """
    return re.sub(r"[^A-Za-z0-9._-]", "_", name)[-100:].lstrip(".-") or "file"
