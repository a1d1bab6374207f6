"""Options that several commands share, and how a command reads the config and opens the store."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from typer.core import TyperCommand

from stargaze.config import Config, load
from stargaze.output import Output
from stargaze.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Command = Callable[..., None]


class Session(NamedTuple):
    """Output, config and store of a command."""

    out: Output
    config: Config
    store: Store


@dataclass(frozen=True)
class ConfigOptions:
    """The options of every command that reads the config."""

    config_path: Annotated[
        Path | None, typer.Option("--config", "-c", help="Config file [default: stargaze.toml if it exists].")
    ] = None
    store_path: Annotated[str | None, typer.Option("--store", help="Folder of all artifacts.")] = None

    def open_session(self, options: Mapping[str, Any] | None = None) -> Session:
        """Load the config with these options, named as its keys, applied; open the store."""
        config = load(self.config_path, options={"store.path": self.store_path, **(options or {})})
        return Session(Output(getattr(self, "as_json", False)), config, Store(Path(config.store.path)))


@dataclass(frozen=True)
class CommonOptions(ConfigOptions):
    """The options of every command that prints a result."""

    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False


@dataclass(frozen=True)
class PlaceOptions:
    """The options of a stage that can run on the cluster."""

    on: Annotated[
        str | None, typer.Option(help="Where it runs: local, or cluster (the machines of stargaze infra).")
    ] = None
    detach: Annotated[bool, typer.Option("--detach", help="cluster: start the job and return at once.")] = False
    attach: Annotated[
        str | None,
        typer.Option(
            "--attach",
            metavar="[ID]",
            help="cluster: follow the job of this store, or the one with this id, and download its results.",
        ),
    ] = None


class CommandWithAttach(TyperCommand):
    """A command whose option --attach may be given without a value, which is then empty."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments."""
        if not any("--attach" in parameter.opts for parameter in self.params):
            return super().parse_args(ctx, args)
        following = [*args[1:], "-"]
        complete = (
            f"{name}=" if name == "--attach" and next_one.startswith("-") else name
            for name, next_one in zip(args, following, strict=False)
        )
        return super().parse_args(ctx, list(complete))


def command_with_example(
    app: typer.Typer, examples: Mapping[str, str], group: str = ""
) -> Callable[..., Callable[[Command], Command]]:
    """Return a decorator that registers a command with its example below its help."""

    def command(name: str, **settings: Any) -> Callable[[Command], Command]:
        register = app.command(
            name, cls=CommandWithAttach, epilog=f"Example: {examples[f'{group} {name}'.strip()]}", **settings
        )
        return lambda function: register(_expand_options(function))

    return command


def _expand_options(function: Command) -> Command:
    """Return a function that has the single options in place of each parameter that is a dataclass of options."""
    hints = typing.get_type_hints(function, include_extras=True)
    groups = {name: dataclasses.fields(hint) for name, hint in hints.items() if dataclasses.is_dataclass(hint)}

    def expanded(**values: Any) -> None:
        values = {name: _expand_home(value) for name, value in values.items()}
        for name, fields in groups.items():
            values[name] = hints[name](**{field.name: values.pop(field.name) for field in fields})
        function(**values)

    parameters = []
    for name, parameter in inspect.signature(function).parameters.items():
        if name in groups:
            types = typing.get_type_hints(hints[name], include_extras=True)
            options = [(field.name, field.default, types[field.name]) for field in groups[name]]
        else:
            options = [(name, parameter.default, hints[name])]
        parameters += [
            inspect.Parameter(option, parameter.KEYWORD_ONLY, default=default, annotation=hint)
            for option, default, hint in options
        ]
    expanded.__doc__ = function.__doc__
    expanded.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    expanded.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return expanded


def _expand_home(value: Any) -> Any:
    """Return paths with the home folder in place of ``~``, which the shell leaves in ``--from=~/x``."""
    if isinstance(value, list):
        return [_expand_home(item) for item in value]
    try:
        return value.expanduser() if isinstance(value, Path) else value
    except RuntimeError:  # of an unknown user: a file may have this name
        return value


def split_names(text: str | None) -> list[str] | None:
    """Return the names of a comma-separated option; None if it is not given.

    >>> split_names("ridge, lightgbm,")
    ['ridge', 'lightgbm']
    """
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def utc_now() -> datetime:
    """Return the current time [UTC]."""
    return datetime.now(UTC)
