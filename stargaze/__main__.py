"""``python -m stargaze`` is ``stargaze``: both start here, and import the command line only when nothing can go wrong."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command line. While it is imported, Ctrl-C ends the process without a traceback."""
    if not all(map(os.path.isabs, os.environ.get("PYTHONPATH", "/").split(os.pathsep))):
        sys.path[:] = [path for path in sys.path if path not in ("", os.getcwd())]  # noqa: PTH109 - pathlib could be one of them
    import signal

    previous = signal.getsignal(signal.SIGINT)
    if previous is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from stargaze import cli

    signal.signal(signal.SIGINT, previous)
    cli.main()


if __name__ == "__main__":
    if not sys.flags.safe_path:
        del sys.path[0]  # the working directory, which contains only data
    main()
