"""What several commands take, and how each of them begins."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stargaze import config
from stargaze.output import Output

if TYPE_CHECKING:
    from stargaze.store import Store

ConfigPath = Annotated[
    Path | None, typer.Option("--config", "-c", help="Config file [default: stargaze.toml if there].")
]
StorePath = Annotated[str | None, typer.Option("--store", help="Folder of all artefacts.")]
OnPlace = Annotated[
    str | None, typer.Option("--on", help="Where it runs: here or cluster, which is that of stargaze infra.")
]
Detach = Annotated[bool, typer.Option("--detach", help="cluster: begin it there, and leave it to itself.")]
Attach = Annotated[
    bool, typer.Option("--attach", help="cluster: follow what was begun there, and bring back what it made.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]


def now() -> datetime:
    """Return the time [UTC]."""
    return datetime.now(UTC)


def open_session(
    path: Path | None, store: str | None, as_json: bool, options: dict[str, Any] | None = None
) -> tuple[Output, config.Config, Store]:
    """Read the config with the options on top, and open the store."""
    from stargaze.store import Store

    settings = config.load(path, options={"store.path": store, **(options or {})})
    return Output(as_json), settings, Store(Path(settings.store.path))
