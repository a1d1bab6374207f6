"""``python -m stargaze`` is ``stargaze``."""

from __future__ import annotations

import sys

if not sys.flags.safe_path:
    del sys.path[0]  # the working directory, which contains only data

from stargaze.cli import main

main()
