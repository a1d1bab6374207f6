"""CPU time to index a table of a million star counts, compared with sorting it by name and date; best of three each.

python benchmarks/histories.py
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.append(str(Path(__file__).resolve().parent.parent))
from stargaze.serve.lookup.star_history import HistoryTable

N_NAMES, N_WEEKS, N_RUNS = 10_000, 100, 3


def main() -> None:
    """Measure and print."""
    frame = make_table()
    sort = min(_cpu(lambda: frame.sort_values(["full_name", "date"])) for _ in range(N_RUNS))
    index = min(_cpu(lambda: HistoryTable.from_frame(frame)) for _ in range(N_RUNS))
    print(f"{len(frame):,} counts: {index:.1f} s of CPU, {index / sort:.2f} × the {sort:.1f} s of sorting")


def make_table() -> pd.DataFrame:
    """Return weekly counts in random order, as they may be in a file."""
    names = np.repeat([f"own{number % 99}/Name{number}" for number in range(N_NAMES)], N_WEEKS)
    dates = np.tile(pd.date_range("2022-01-03", periods=N_WEEKS, freq="7D", tz="UTC"), N_NAMES)
    stars = np.tile(np.arange(N_WEEKS, dtype=float), N_NAMES)
    order = np.random.default_rng(1).permutation(len(names))
    frame = pd.DataFrame({"full_name": names, "date": dates, "stars": stars}).iloc[order]
    return frame.astype({"full_name": "str"})


def _cpu(function: Callable[[], object]) -> float:
    begin = time.process_time()
    function()
    return time.process_time() - begin


if __name__ == "__main__":
    main()
