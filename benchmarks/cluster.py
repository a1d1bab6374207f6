"""Speed-up by a second node: ``tune --trials 200 --on cluster`` on one Ray node of one core, and on two.

    python benchmarks/cluster.py [--trials 200] [--rows 30000]

Everything runs on this machine, which should have two idle cores: Ray nodes with a token behind a real ssh server on loopback.
Measured are the whole command, with upload, start and download, and the trials alone, by the journal. The repositories are the
sample's, some of them several times under other names. Both runs must find the same trials: the search does not depend on the
number of nodes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402

from tests.labs.cluster import Cluster, cluster  # noqa: E402

CONFIG = "[features]\nimportance_repeats = 1\n"
CONFIG += '[screening]\nmax_rows = 1500\nfamilies = ["lightgbm"]\n[tuning]\nfinalists = 1\nseed = 0\n'
Found = dict[str, Any]


def main() -> None:
    """Run both and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--rows", type=int, default=30_000)
    arguments = parser.parse_args()
    print(f"load before: {os.getloadavg()[0]:.1f} on {len(os.sched_getaffinity(0))} cores", flush=True)
    with tempfile.TemporaryDirectory() as folder, cluster() as nodes:
        prepare(Path(folder), nodes, arguments.rows)
        alone = run_tuning(Path(folder), nodes, arguments.trials)
        nodes.start_worker()
        both = run_tuning(Path(folder), nodes, arguments.trials)
    for nodes, found in ((1, alone), (2, both)):
        gain, pure = alone["took"] / found["took"], alone["search"] / found["search"]
        print(
            f"{nodes} node{'s' * (nodes > 1)}: {found['took']:.1f} s, speed-up {gain:.2f}, efficiency {gain / nodes:.0%}; "
            f"trials alone {found['search']:.1f} s, speed-up {pure:.2f}, efficiency {pure / nodes:.0%}; "
            f"{found['trials']} trials, best {found['best']:.6f}"
        )
    print("the same trials" if alone["found"] == both["found"] else "OTHER TRIALS")


def prepare(folder: Path, nodes: Cluster, rows: int) -> None:
    """Create a store with everything that tuning needs."""
    (folder / "stargaze.toml").write_text(CONFIG + nodes.config, encoding="utf-8")
    sample = pd.read_parquet(HERE.parent / "stargaze" / "data" / "sample.parquet")
    copies = [sample.assign(full_name=sample["full_name"] + "-" * copy) for copy in range(-(-rows // len(sample)))]
    whole = pd.concat(copies, ignore_index=True).head(rows)
    whole["id"] = np.arange(1.0, len(whole) + 1.0)
    (folder / "store").mkdir()
    whole.to_parquet(folder / "store" / "repositories.parquet")
    for stage in ("select-features", "screen"):
        run_command(folder, nodes, stage)


def run_tuning(folder: Path, nodes: Cluster, trials: int) -> Found:
    """Tune on the cluster; return the time of the command and of the trials [s], and the trials."""
    start = time.perf_counter()
    answer = json.loads(run_command(folder, nodes, "tune", "--trials", str(trials), "--on", "cluster", "--json"))
    took = time.perf_counter() - start
    table = pd.read_parquet(folder / "store" / "trials.parquet")
    first = (table["at"] - table["seconds"]).min()
    return {
        "took": took,
        "search": float(table["at"].max() - first),
        "trials": answer["trials"],
        "best": answer["best"]["rmsle"],
        "found": sorted(zip(table["family"], table["parameters"], table["rmsle"].round(9), strict=True)),
    }


def run_command(folder: Path, nodes: Cluster, *argv: str) -> str:
    """Run a stargaze command; return its output."""
    done = subprocess.run(
        [sys.executable, "-m", "stargaze", *argv],
        cwd=folder,
        env=nodes.environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout


if __name__ == "__main__":
    main()
