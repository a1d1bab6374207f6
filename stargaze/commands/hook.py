"""The commands of ``stargaze hook``: run the pipeline after each git commit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stargaze.commands.options import CommonOptions, ConfigOptions, command_with_example, utc_now

EXAMPLES = {
    "hook install": "stargaze hook install",
    "hook remove": "stargaze hook remove",
    "hook start": "stargaze hook start",
    "hook run": "stargaze hook run",
    "hook status": "stargaze hook status --json",
}
app = typer.Typer(
    help="Train, compare with production and release after each git commit.\n\nExample: stargaze hook install",
    rich_markup_mode=None,
    no_args_is_help=True,
)
Folder = Annotated[Path, typer.Argument(help="The git repository; default the one of this folder.")]
command = command_with_example(app, EXAMPLES, "hook")


@command("install")
def install(folder: Folder = Path(), *, common: ConfigOptions) -> None:
    """Write a post-commit hook: each commit runs the stages from fetch to deploy in the background."""
    from stargaze.config import find_config_file
    from stargaze.pipeline.commit_hook import install_hook

    out, _, store = common.open_session()
    path = install_hook(folder, store, find_config_file(common.config_path))
    out.text(f"wrote {path}; the next commit is trained, compared and released")


@command("remove")
def remove(folder: Folder = Path()) -> None:
    """Delete the post-commit hook."""
    from stargaze.output import Output
    from stargaze.pipeline.commit_hook import remove_hook

    Output().text(f"removed {remove_hook(folder)}")


@command("start")
def start(common: ConfigOptions) -> None:
    """Start the stages in the background, as the hook does."""
    from stargaze.pipeline.post_commit import start_in_background

    out, _, store = common.open_session()
    config_option = ["--config", str(common.config_path.resolve())] if common.config_path else []
    log = start_in_background([*config_option, "--store", str(store.root.resolve())], store)
    out.text(f"stargaze: training the committed state; see stargaze hook status, or tail -f {log}")


@command("run")
def run(common: ConfigOptions) -> None:
    """Run the stages for the waiting commits; does nothing if they already run."""
    from stargaze.pipeline import post_commit
    from stargaze.pipeline.run import run_stages

    out, config, store = common.open_session()
    post_commit.request_run(store)
    post_commit.run_requested(store, lambda: run_stages(config, store, out, again=False, clock=utc_now), utc_now)


@command("status")
def status(common: CommonOptions) -> None:
    """Show how the stages of the last commit ended."""
    from stargaze.pipeline.post_commit import read_outcome

    out, _, store = common.open_session()
    outcome = read_outcome(store)
    state = "is running" if outcome["running"] else "succeeded" if outcome["succeeded"] else "failed"
    message = f": {outcome['message']}" if outcome["message"] else ""
    out.answer(outcome, f"the run started at {outcome['started']} {state}{message}")
