"""Options that several commands share, and how a command reads the config and opens the store."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from stargaze.config import Config, load
from stargaze.output import Output

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from stargaze.store import Store

ConfigPath = Annotated[
    Path | None, typer.Option("--config", "-c", help="Config file [default: stargaze.toml if it exists].")
]
StorePath = Annotated[str | None, typer.Option("--store", help="Folder of all artifacts.")]
On = Annotated[
    str | None, typer.Option("--on", help="Where it runs: local, or cluster (the machines of stargaze infra).")
]
Detach = Annotated[bool, typer.Option("--detach", help="cluster: start the job and return at once.")]
Attach = Annotated[bool, typer.Option("--attach", help="cluster: follow the running job and download its results.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


class Session(NamedTuple):
    """What every command needs."""

    out: Output
    config: Config
    store: Store


def open_session(
    config_path: Path | None, store_path: str | None, as_json: bool = False, options: Mapping[str, Any] | None = None
) -> Session:
    """Load the config with the options applied, and open the store."""
    from stargaze.store import Store

    config = load(config_path, options={"store.path": store_path, **(options or {})})
    return Session(Output(as_json), config, Store(Path(config.store.path)))


def command_with_example(
    app: typer.Typer, examples: Mapping[str, str], group: str = ""
) -> Callable[..., Callable[[Callable[..., None]], Callable[..., None]]]:
    """Return a decorator that registers a command with its example below its help."""

    def command(name: str, **settings: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
        return app.command(name, epilog=f"Example: {examples[f'{group} {name}'.strip()]}", **settings)

    return command


def utc_now() -> datetime:
    """Return the current time [UTC]."""
    return datetime.now(UTC)
