"""Time and memory of computing the features of a million repositories (the sample, repeated).

    python benchmarks/extraction.py

Prints the time, its ratio to the time of copying the same rows, and the process's peak memory.
"""

from __future__ import annotations

import importlib.resources
import resource
import time

import pandas as pd

from stargaze.features import schema
from stargaze.features.extract import extract

N_RECORDS = 1_000_000


def main() -> None:
    """Measure and print."""
    with importlib.resources.as_file(importlib.resources.files("stargaze") / "data" / "electron.parquet") as path:
        sample = pd.read_parquet(path)
    start = time.perf_counter()
    records = schema.conform(pd.concat([sample] * (N_RECORDS // len(sample) + 1), ignore_index=True).iloc[:N_RECORDS])
    copied = time.perf_counter()
    features = extract(records)
    end = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{len(records):,} records × {features.shape[1]} features: {end - copied:.1f} s, peak memory {peak:.2f} GB")
    print(f"that is {(end - copied) / (copied - start):.1f} × the time of copying the records in memory")


if __name__ == "__main__":
    main()
