"""Time of a deployment that changes the bundle, and of one that changes nothing, compared with `stargaze status` in one run.

    cd FOLDER_OF_THE_CONFIG
    python benchmarks/deploy.py DIGEST_A DIGEST_B [--times 3]

Both bundles are deployed in turns, each twice. Production serves A at the end. With hosts of the tests:

    STARGAZE_KEEP_LAB=/tmp/lab make swarm   # then in /tmp/lab/workspace
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time


def main() -> None:
    """Measure and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("digests", nargs=2, metavar="DIGEST", help="two bundles that may be deployed")
    parser.add_argument("--times", type=int, default=3)
    arguments = parser.parse_args()
    a, b = arguments.digests
    deploy(a)
    changes, repetitions, statuses = [], [], []
    for _ in range(arguments.times):
        for digest in (b, a):
            changes.append(deploy(digest))
            repetitions.append(deploy(digest))
            statuses.append(run("status"))
    status = statistics.median(statuses)
    for name, seconds in (("another bundle", changes), ("the same bundle again", repetitions)):
        median = statistics.median(seconds)
        print(f"{name}: {median:.1f} s, {median / status:.1f} × stargaze status ({status:.1f} s)")


def deploy(digest: str) -> float:
    """Deploy a bundle and return the time that it took [s]; the check of its quality is not the subject."""
    return run("deploy", digest, "--force", "benchmark of deployments")


def run(*argv: str) -> float:
    """Run a command and return the time that it took [s]."""
    begin = time.monotonic()
    subprocess.run([sys.executable, "-m", "stargaze", *argv], stdout=subprocess.DEVNULL, check=True)
    return time.monotonic() - begin


if __name__ == "__main__":
    main()
