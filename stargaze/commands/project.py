"""The commands about the project as a whole: config, the whole pipeline, and the state of everything."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Annotated

import typer

from stargaze.commands.options import CommonOptions, command_with_example, utc_now
from stargaze.config import DEFAULT_PATH, render
from stargaze.errors import DifferenceFoundError, UsageError
from stargaze.output import Output

EXAMPLES = {
    "init": "stargaze init",
    "config": "stargaze config --json",
    "run": "stargaze run --once",
    "status": "stargaze status",
    "doctor": "stargaze doctor --json",
    "backup": "stargaze backup /mnt/disk/stargaze.tar.gz",
}
app = typer.Typer()
command = command_with_example(app, EXAMPLES)


@command("init")
def init(
    path: Annotated[Path, typer.Argument(help="Where to write it.")] = DEFAULT_PATH,
    *,
    print_only: Annotated[bool, typer.Option("--print", help="Print it instead.")] = False,
) -> None:
    """Write the annotated config file with the default of every key."""
    from stargaze.system.files import atomic_write

    if print_only:
        print(render(), end="")
        return
    if path.exists():
        raise UsageError(f"{path} already exists", hint=f"stargaze init --print; or remove {path} first")
    with atomic_write(path) as temporary:
        temporary.write_text(render(), encoding="utf-8")
    Output().answer({}, f"wrote {path}; next: stargaze run")


@command("config")
def show_config(common: CommonOptions) -> None:
    """Print the effective configuration (default, file, environment and option merged)."""
    out, config, _ = common.open_session()
    out.answer(dataclasses.asdict(config), render(config))


@command("run")
def run(
    once: Annotated[
        bool, typer.Option("--once", help="Request one prediction over HTTP, then exit instead of serving.")
    ] = False,
    again: Annotated[bool, typer.Option("--again", help="Run every stage, also the finished ones.")] = False,
    trials: Annotated[int | None, typer.Option(help="Configurations to try.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.")] = None,
    *,
    common: CommonOptions,
) -> None:
    """Run the whole pipeline, from repositories to the web page; finished stages are skipped."""
    from stargaze.pipeline.run import run_pipeline

    options = {"tuning.trials": trials, "serve.port": port}
    out, config, store = common.open_session(options)
    raise typer.Exit(run_pipeline(config, store, out, once=once, again=again, clock=utc_now))


@command("status")
def status(common: CommonOptions) -> None:
    """List every artifact with its contents, date and path; with a Swarm, also its machines and services."""
    from stargaze.pipeline.status import ARTIFACT_COLUMNS, list_artifacts

    session = common.open_session()
    artifacts = list_artifacts(session.store)
    if session.config.deploy.to == "swarm":
        from stargaze.commands.swarm import show_status

        show_status(session, artifacts)
    else:
        session.out.table(artifacts, ARTIFACT_COLUMNS)


@command("doctor")
def doctor(common: CommonOptions) -> None:
    """Check this machine, the cloud and its machines, and show how to fix each problem. Exits with 1 if a check failed."""
    from stargaze.pipeline.doctor import run_checks
    from stargaze.system.process import token_environment

    out, config, store = common.open_session()
    checks = run_checks(config, store, os.environ | token_environment())
    out.table([check.as_row() for check in checks], ["check", "state", "result", "fix"])
    failed = [check.name for check in checks if check.state == "error"]
    if failed:
        raise DifferenceFoundError(
            f"{len(failed)} check{'s' * (len(failed) > 1)} failed: {', '.join(failed)}",
            hint="see the last column for the fix",
        )


@command("backup")
def backup(
    path: Annotated[Path, typer.Argument(help="Archive to write (tar.gz), outside of the store.")],
    *,
    common: CommonOptions,
) -> None:
    """Copy what cannot be created again (keys, machines, releases, track record) to one file."""
    from stargaze.pipeline.backup import write_backup

    out, _, store = common.open_session()
    names = write_backup(store, path, utc_now())
    out.answer(
        {"file": str(path), "artifacts": names},
        f"wrote {path}: {', '.join(names)}; it contains private keys. To restore: tar -xzpf {path} -C STORE",
    )
