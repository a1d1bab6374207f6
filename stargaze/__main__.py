"""``python -m stargaze`` is ``stargaze``: both start here, and import the command line only when nothing can go wrong."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command line. While it is imported, Ctrl-C ends the process without a traceback."""
    if not all(map(os.path.isabs, os.environ.get("PYTHONPATH", "/").split(os.pathsep))):
        sys.path[:] = [path for path in sys.path if path not in ("", os.getcwd())]  # noqa: PTH109 - pathlib could be one of them
    _keep_docstrings()
    import signal

    previous = signal.getsignal(signal.SIGINT)
    if previous is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from stargaze import cli

    signal.signal(signal.SIGINT, previous)
    cli.main()


def _keep_docstrings() -> None:
    """Start again without ``-OO`` or PYTHONOPTIMIZE=2: the help consists of docstrings, and LightGBM changes its own."""
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONOPTIMIZE"}
    arguments = [sys.executable, *_without_optimization(sys.orig_argv[1:])]
    is_changed = len(environ) < len(os.environ) or arguments[1:] != sys.orig_argv[1:]
    if sys.flags.optimize >= 2 and sys.executable and is_changed:
        os.execve(sys.executable, arguments, environ)  # noqa: S606 - the same command


def _without_optimization(arguments: list[str]) -> list[str]:
    """Return the arguments of Python without the options ``-O``, which come before the script or the module.

    >>> _without_optimization(["-OOP", "-W", "error", "-O", "-m", "stargaze", "config", "-O"])
    ['-P', '-W', 'error', '-m', 'stargaze', 'config', '-O']
    """
    kept: list[str] = []
    for i, argument in enumerate(arguments):
        is_value = kept[-1:] in (["-W"], ["-X"]) or argument.startswith(("-W", "-X", "--"))
        option = argument if is_value else argument.replace("O", "")
        if not is_value and (not argument.startswith("-") or "m" in argument):
            return [*kept, option if argument.startswith("-") else argument, *arguments[i + 1 :]]
        kept += [option] if option != "-" else []
    return kept


if __name__ == "__main__":
    if not sys.flags.safe_path:
        del sys.path[0]  # the working directory, which contains only data
    main()
