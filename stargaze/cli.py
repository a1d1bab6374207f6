"""The command line.

Exit codes: 0 done, 1 a check found a difference, 2 usage, config or bad data, 3 a missing input, 4 credentials,
5 an external system, 130 interrupted, 128 + number ended by a signal.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from stargaze import __version__
from stargaze.commands import data, deployment, hook, infra, model, project
from stargaze.errors import StargazeError, UsageError
from stargaze.output import Output
from stargaze.system.signals import exit_on_signals

INTERRUPTED = 130
SUBJECTS = (project, data, model, deployment)
EXAMPLES = {name: example for module in SUBJECTS for name, example in module.EXAMPLES.items()}
CONTINUE_HINTS = {
    "fetch": "stargaze fetch starts this step again; cached responses of GitHub are not requested again",
    "tune": "stargaze tune --resume continues",
    "run": "stargaze run continues",
}
"""The hint after Ctrl-C where it is not the same command again."""


class CommandGroup(TyperGroup):
    """Commands in the order of their definition; Ctrl-C becomes exit code 130."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names in the order of their definition."""
        return list(self.commands)

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            name = ctx.invoked_subcommand
            Output().note("interrupted: finished work is kept")
            Output().note(f"hint:  {CONTINUE_HINTS.get(name, f'stargaze {name} starts this step again')}")
            raise typer.Exit(INTERRUPTED) from None


app = typer.Typer(
    cls=CommandGroup,
    help="Predict the stars of GitHub repositories, and operate the service that does it.\n\nExample: stargaze run",
    epilog=(__doc__ or "").split("\n\n")[1].replace("\n", " "),
    add_completion=False,
    rich_markup_mode=None,  # rich would add 100 ms to the start
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for subject in SUBJECTS:
    app.add_typer(subject.app)
app.add_typer(infra.app, name="infra")
app.add_typer(hook.app, name="hook")


@app.callback(invoke_without_command=True)
def root(
    ctx: typer.Context, *, version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False
) -> None:
    """Print the version, or the help where no command is given."""
    if version:
        print(__version__)
        raise typer.Exit
    if ctx.invoked_subcommand is None:
        print(ctx.get_help(), file=sys.stderr)
        raise typer.Exit(UsageError.exit_code)


def main(argv: list[str] | None = None) -> None:
    """Run the app; the only place where an error becomes a message and an exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # for names that the terminal's encoding lacks
    try:
        with exit_on_signals():
            code = app(argv, prog_name="stargaze", standalone_mode=False)
    except (StargazeError, typer.TyperException) as error:
        problem = error if isinstance(error, StargazeError) else _usage_error(error)
        Output().error(problem)
        raise SystemExit(problem.exit_code) from error
    except KeyboardInterrupt:
        print("interrupted: finished work is kept", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None
    except BrokenPipeError:
        _discard_stdout()  # the reader has closed the pipe
        raise SystemExit(0) from None
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        print("error: standard output: the disk is full\nhint:  write to another disk", file=sys.stderr)
        _discard_stdout()
        raise SystemExit(5) from None
    raise SystemExit(code or 0)


def _discard_stdout() -> None:
    """Redirect stdout to /dev/null, so that flushing it at exit does not fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _usage_error(error: typer.TyperException) -> UsageError:
    """Return the error for an unknown command, option or value."""
    path = getattr(getattr(error, "ctx", None), "command_path", "stargaze")
    return UsageError(" ".join(error.format_message().split()), hint=f"{path} -h shows the options")
