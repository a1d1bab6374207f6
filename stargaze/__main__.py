"""``python -m stargaze`` is ``stargaze``."""

from __future__ import annotations

from stargaze.cli import main

main()
