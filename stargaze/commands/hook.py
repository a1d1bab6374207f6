"""The commands of ``stargaze hook``: what a commit sets off."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stargaze.commands.options import AsJson, ConfigPath, StorePath, now, open_session

if TYPE_CHECKING:
    from collections.abc import Callable

EXAMPLES = {
    "hook install": "stargaze hook install",
    "hook remove": "stargaze hook remove",
    "hook begin": "stargaze hook begin",
    "hook run": "stargaze hook run",
    "hook status": "stargaze hook status --json",
}
app = typer.Typer(
    help="Let a commit do the rest: train, compare with production, release.\n\nExample: stargaze hook install",
    rich_markup_mode=None,
    no_args_is_help=True,
)
Folder = Annotated[Path, typer.Argument(help="The git repository; default the one around this folder.")]


def command(name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a command with its example below its help."""
    return app.command(name, epilog=f"Example: {EXAMPLES[f'hook {name}']}")


@command("install")
def install(folder: Folder = Path(), path: ConfigPath = None, store: StorePath = None) -> None:
    """Write a post-commit hook: each commit runs the stages from fetch to deploy, in the background."""
    from stargaze.config import find_config_file
    from stargaze.pipeline.post_commit import install

    out, _, place = open_session(path, store, as_json=False)
    written = install(folder, place, find_config_file(path))
    out.text(f"{written} is written; the next commit is trained, compared and released")


@command("remove")
def remove(folder: Folder = Path()) -> None:
    """Take the post-commit hook away."""
    from stargaze.output import Output
    from stargaze.pipeline.post_commit import remove

    Output().text(f"{remove(folder)} is removed")


@command("begin")
def begin_run(path: ConfigPath = None, store: StorePath = None) -> None:
    """Start the stages apart from this terminal, as the hook does."""
    from stargaze.pipeline import post_commit as on_commit

    out, _, place = open_session(path, store, as_json=False)
    config = ["--config", str(path.resolve())] if path else []
    log = on_commit.begin([*config, "--store", str(place.root.resolve())], place)
    out.text(f"stargaze: what is committed is being trained; stargaze hook status, or tail -f {log}")


@command("run")
def run(path: ConfigPath = None, store: StorePath = None) -> None:
    """Run the stages for the commits that wait; does nothing if they are run already."""
    from stargaze.pipeline import post_commit as on_commit
    from stargaze.pipeline.run import make

    out, settings, place = open_session(path, store, as_json=False)
    on_commit.ask(place)
    on_commit.run(place, lambda: make(settings, place, out, again=False, clock=now), now)


@command("status")
def status(*, path: ConfigPath = None, store: StorePath = None, as_json: AsJson = False) -> None:
    """Notify how the stages of the last commit ended."""
    from stargaze.pipeline.post_commit import outcome

    out, _, place = open_session(path, store, as_json)
    found = outcome(place)
    word = "is under way" if found["under way"] else "ended well" if found["well"] else "failed"
    out.answer(found, f"what began at {found['began']} {word}{': ' * bool(found['said'])}{found['said']}")
