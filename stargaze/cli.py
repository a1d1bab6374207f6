"""The command line.

Exit codes: 0 done, 1 a check found a difference, 2 usage, config or bad data, 3 a missing input, 4 credentials,
5 an external system, 130 interrupted, 128 + number ended by a signal.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import signal
import sys
import time
from collections.abc import Iterator
from typing import Annotated, Any, TextIO

import typer
from typer.core import TyperGroup

from stargaze import __version__
from stargaze.commands import cluster, data, deployment, hook, images, infra, keys, model, project
from stargaze.diagnostics import SET_CLOCK, find_clock_problem
from stargaze.errors import StargazeError, UsageError
from stargaze.output import Output
from stargaze.system.files import limited_umask
from stargaze.system.isolated_python import ignore_working_directory
from stargaze.system.process import hide_token
from stargaze.system.signals import exit_on_signals

INTERRUPTED = 130
SUBJECTS = (project, data, model, deployment, cluster, images)
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
        except KeyboardInterrupt as interrupt:
            name = ctx.invoked_subcommand
            hint = CONTINUE_HINTS.get(name, f"stargaze {name} starts this step again")
            with _ignore_output_errors():
                Output().note("interrupted: finished work is kept")
                Output().note(f"hint:  {interrupt.args[0] if interrupt.args else hint}")
            raise typer.Exit(INTERRUPTED) from None


app = typer.Typer(
    cls=CommandGroup,
    help="Predict the stars of GitHub repositories, and operate the service that does it.\n\nExample: stargaze run",
    epilog=(__doc__ or "").partition("\n\n")[2].replace("\n", " "),
    add_completion=False,
    rich_markup_mode=None,  # rich would add 100 ms to the start
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for subject in SUBJECTS:
    app.add_typer(subject.app)
app.add_typer(infra.app, name="infra")
app.add_typer(hook.app, name="hook")
app.add_typer(keys.app, name="keys")


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
    if problem := find_clock_problem(time.time()):
        Output().note(f"warning: {problem}; {SET_CLOCK}")


def main(argv: list[str] | None = None) -> None:
    """Run the app; the only place where an error becomes a message and an exit code."""
    _open_standard_streams()
    ignore_working_directory(os.environ)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # for names that the terminal's encoding lacks
    try:
        with exit_on_signals(), hide_token(), limited_umask():
            code = app(argv, prog_name="stargaze", standalone_mode=False)
    except (StargazeError, typer.TyperException) as error:
        problem = error if isinstance(error, StargazeError) else _usage_error(error)
        with _ignore_output_errors():
            Output().error(problem)
        raise SystemExit(problem.exit_code) from error
    except KeyboardInterrupt:
        with _ignore_output_errors():
            print("interrupted: finished work is kept", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None
    except BrokenPipeError:
        raise _end_of_pipe() from None
    except SystemExit as end:
        if end.code == 1 and isinstance(end.__context__, BrokenPipeError):  # of Typer or rich
            raise _end_of_pipe() from None
        _note_end(end, sys.argv[1:] if argv is None else argv)
        raise
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        with _ignore_output_errors():
            print("error: standard output: the disk is full\nhint:  write to another disk", file=sys.stderr)
        _discard(sys.stdout)
        raise SystemExit(5) from None
    raise SystemExit(code or 0)


def _open_standard_streams() -> None:
    """Open /dev/null for closed standard streams, else the next file that is opened would receive what is printed."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
            os.set_inheritable(number, True)
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))


def _note_end(end: SystemExit, argv: list[str]) -> None:
    """State that a stage was ended by a signal, and how to continue."""
    names = {128 + number: number.name for number in (signal.SIGTERM, signal.SIGHUP)}
    command = next((argument for argument in argv if argument in CONTINUE_HINTS), None)
    if command and end.code in names:
        with _ignore_output_errors():
            print(f"ended by {names[end.code]}: finished work of {command} is kept", file=sys.stderr)


@contextlib.contextmanager
def _ignore_output_errors() -> Iterator[None]:
    """Print the last lines if somebody reads them: a closed pipe or terminal does not change the exit code."""
    try:
        yield
    except (OSError, SystemExit):  # SystemExit: rich, at a closed pipe
        _end_of_pipe()


def _end_of_pipe() -> SystemExit:
    """Return the exit code of a command whose output is not read any more, as if SIGPIPE had ended it; discard the rest."""
    _discard(sys.stdout)
    _discard(sys.stderr)
    return SystemExit(128 + signal.SIGPIPE)


def _discard(stream: TextIO) -> None:
    """Redirect a stream to /dev/null, so that flushing it at exit does not fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _usage_error(error: typer.TyperException) -> UsageError:
    """Return the error for an unknown command, option or value."""
    path = getattr(getattr(error, "ctx", None), "command_path", "stargaze")
    return UsageError(" ".join(error.format_message().split()), hint=f"{path} -h shows the options")
