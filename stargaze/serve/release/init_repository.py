"""Create the release repository of a server, with the same hooks and policy as ``deploy`` creates beside the store.

Ansible calls it as the account that receives pushes.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from stargaze.config import DeploySection
from stargaze.errors import StargazeError
from stargaze.serve.release.repository import HOOKS, POLICY_FILE, HookPolicy, prepare_repository
from stargaze.store import Store


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the path of the release repository and whether anything changed, as JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m stargaze.serve.release.init_repository", description=__doc__.splitlines()[0]
    )
    parser.add_argument("folder", help="the folder of releases, installed bundles and allowed signers")
    parser.add_argument("--max-size", type=float, default=DeploySection().max_release_size, help="of one release [MB]")
    parsed = parser.parse_args(arguments)
    store = Store(Path(parsed.folder))
    before = _read_files(store.releases)
    try:
        prepare_repository(store.releases.resolve(), HookPolicy.for_store(store, parsed.max_size))
    except (StargazeError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    changed = _read_files(store.releases) != before
    sys.stdout.write(json.dumps({"changed": changed, "releases": str(store.releases)}) + "\n")
    return 0


def _read_files(repository: Path) -> dict[Path, tuple[int, bytes]]:
    paths = [repository / name for name in ("config", POLICY_FILE, *(f"hooks/{name}" for name in HOOKS))]
    return {path: (path.stat().st_mode, path.read_bytes()) for path in paths if path.is_file()}


if __name__ == "__main__":
    raise SystemExit(main())
