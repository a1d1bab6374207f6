"""Speed-up by a second node: ``tune --trials 200 --on cluster`` on one Ray node of one core, and on two.

    python benchmarks/cluster.py [--trials 200] [--rows 30000]

Everything runs on this machine, which should have two idle cores: Ray nodes with a token behind a real ssh server on loopback.
Two times are measured: the whole command, with upload, start and download, and the trials alone. The
repositories are those of the sample, some of them several times under other names. Both runs must find the same trials: the
search does not depend on the number of nodes.
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

FOLDER = Path(__file__).resolve().parent
sys.path.append(str(FOLDER.parent))
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402

from tests.labs.cluster import Cluster, cluster  # noqa: E402

CONFIG = "[features]\nimportance_repeats = 1\n"
CONFIG += '[screening]\nmax_rows = 1500\nfamilies = ["lightgbm"]\n[tuning]\nfinalists = 1\nseed = 0\n'
Result = dict[str, Any]


def main() -> None:
    """Run both and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--rows", type=int, default=30_000)
    arguments = parser.parse_args()
    print(f"load before: {os.getloadavg()[0]:.1f} on {len(os.sched_getaffinity(0))} cores", flush=True)
    with tempfile.TemporaryDirectory() as folder, cluster() as nodes:
        prepare(Path(folder), nodes, arguments.rows)
        one_node = run_tuning(Path(folder), nodes, arguments.trials)
        nodes.start_worker()
        two_nodes = run_tuning(Path(folder), nodes, arguments.trials)
    for nodes, result in ((1, one_node), (2, two_nodes)):
        speed_up, search_speed_up = one_node["seconds"] / result["seconds"], one_node["search"] / result["search"]
        print(
            f"{nodes} node{'s' * (nodes > 1)}: {result['seconds']:.1f} s, "
            f"speed-up {speed_up:.2f}, efficiency {speed_up / nodes:.0%}; "
            f"trials alone {result['search']:.1f} s, speed-up {search_speed_up:.2f}, efficiency {search_speed_up / nodes:.0%}; "
            f"{result['trials']} trials, best {result['best']:.6f}"
        )
    print("the same trials" if one_node["table"] == two_nodes["table"] else "DIFFERENT TRIALS")


def prepare(folder: Path, nodes: Cluster, rows: int) -> None:
    """Create a store with everything that tuning needs."""
    (folder / "stargaze.toml").write_text(CONFIG + nodes.config, encoding="utf-8")
    sample = pd.read_parquet(FOLDER.parent / "stargaze" / "data" / "electron.parquet")
    copies = [sample.assign(full_name=sample["full_name"] + "-" * copy) for copy in range(-(-rows // len(sample)))]
    whole = pd.concat(copies, ignore_index=True).head(rows)
    whole["id"] = np.arange(1.0, len(whole) + 1.0)
    (folder / "store").mkdir()
    whole.to_parquet(folder / "store" / "repositories.parquet")
    for stage in ("select-features", "screen"):
        run_command(folder, nodes, stage)


def run_tuning(folder: Path, nodes: Cluster, trials: int) -> Result:
    """Tune on the cluster; return the time of the command and of the trials [s], and the trials."""
    start = time.perf_counter()
    answer = json.loads(run_command(folder, nodes, "tune", "--trials", str(trials), "--on", "cluster", "--json"))
    seconds = time.perf_counter() - start
    table = pd.read_parquet(folder / "store" / "trials.parquet")
    first = (table["at"] - table["seconds"]).min()
    return {
        "seconds": seconds,
        "search": float(table["at"].max() - first),
        "trials": answer["trials"],
        "best": answer["best_trial"]["rmsle"],
        "table": sorted(zip(table["family"], table["parameters"], table["rmsle"].round(9), strict=True)),
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
