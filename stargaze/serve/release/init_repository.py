"""Make the place on a server that releases are pushed to, as ``deploy`` makes it beside the store.

Ansible calls it, as the account that receives pushes: so that git, hooks and rules are the same in both places.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from stargaze.config import DeploySection
from stargaze.errors import StargazeError
from stargaze.serve.release.repository import FILE, HOOKS, HookPolicy, prepare
from stargaze.serve.release.signing import allowed_signers
from stargaze.store import Store

WRITTEN = ("config", FILE, *(f"hooks/{name}" for name in HOOKS))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print, as JSON, where releases are pushed to and whether anything had to be changed there."""
    asked = _parser().parse_args(arguments)
    try:
        changed = receive_at(Store(Path(asked.folder)), max_size=asked.max_size)
    except (StargazeError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(json.dumps({"changed": changed, "releases": str(Store(Path(asked.folder)).releases)}) + "\n")
    return 0


def receive_at(store: Store, *, max_size: float) -> bool:
    """Make a store ready to receive releases of up to ``max_size`` [MB]; say whether anything changed."""
    rules = HookPolicy(serving=store.serving, allowed_signers=allowed_signers(store), max_bytes=int(max_size * 1e6))
    before = _written(store.releases)
    prepare(store.releases.resolve(), rules)
    return _written(store.releases) != before


def _written(repository: Path) -> dict[str, tuple[int, bytes]]:
    paths = [repository / name for name in WRITTEN]
    return {path.name: (path.stat().st_mode, path.read_bytes()) for path in paths if path.is_file()}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m stargaze.serve.release.init_repository", description=__doc__.splitlines()[0]
    )
    parser.add_argument("folder", help="where releases, what they install and the list of signers lie")
    parser.add_argument("--max-size", type=float, default=DeploySection().max_size, help="of one release [MB]")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
