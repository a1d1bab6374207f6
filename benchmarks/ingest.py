"""Time and memory of reading a million rows of CSV, and 300,000 of JSON lines and Parquet.

    python benchmarks/ingest.py
    python benchmarks/ingest.py --other CHECKOUT     also the same files with another version, alternately

Each reading is a process of its own: `fetch_files` from the file to `repositories.parquet`, and pandas (for JSON lines, Python's
parser) from the file to memory. Times are compared within one run, as the median of the ratios of neighboring runs.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

HERE = Path(__file__).parent.parent
N_CSV, N_OTHERS = 1_000_000, 300_000
BATCH = 50_000
FETCH = """
import resource, sys, tempfile, time
from datetime import UTC, datetime
from pathlib import Path
from stargaze.config import FetchSection
from stargaze.features.fetch import fetch_files
from stargaze.store import Store
with tempfile.TemporaryDirectory() as folder:
    start = time.perf_counter()
    summary = fetch_files(FetchSection(), Store(Path(folder)), [Path(sys.argv[1])], datetime(2026, 3, 1, tzinfo=UTC))
    seconds = time.perf_counter() - start
assert summary.repositories == summary.records == int(sys.argv[2]), summary
print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6)
"""
NEUTRAL = """
import json, resource, sys, time
import pandas as pd
start = time.perf_counter()
if sys.argv[1].endswith(".csv"):
    rows = pd.read_csv(sys.argv[1])
elif sys.argv[1].endswith(".parquet"):
    rows = pd.read_parquet(sys.argv[1])
else:
    rows = [json.loads(line) for line in open(sys.argv[1], encoding="utf-8")]
seconds = time.perf_counter() - start
assert len(rows) == int(sys.argv[2])
print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6)
"""


@dataclass(frozen=True)
class Reading:
    """Duration [s] and peak memory [GB]."""

    seconds: float
    peak: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--other", type=Path, help="checkout of another version")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the rows")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        for write, suffix, count in (
            (_write_csv, "csv", N_CSV),
            (_write_lines, "jsonl", N_OTHERS),
            (_write_parquet, "parquet", N_OTHERS),
        ):
            path, rows = Path(name) / f"rows.{suffix}", int(count * options.scale)
            write(path, rows)
            _compare(path, rows, options.other, options.repeats)
            path.unlink()


def _compare(path: Path, rows: int, other: Path | None, repeats: int) -> None:
    """Read the file alternately in each way, and print the medians."""
    readings: dict[str, list[Reading]] = {"this": [], "neutral": [], **({"other": []} if other else {})}
    for _ in range(repeats):
        readings["this"].append(_read(FETCH, path, rows, HERE))
        readings["neutral"].append(_read(NEUTRAL, path, rows, HERE))
        if other:
            readings["other"].append(_read(FETCH, path, rows, other.resolve()))
    this = readings["this"]
    seconds, peak = statistics.median(reading.seconds for reading in this), max(reading.peak for reading in this)
    size, parser = path.stat().st_size / 1e6, "json.loads" if path.suffix == ".jsonl" else "pandas"
    print(f"{path.suffix[1:]:8}{rows:>10,} rows, {size:,.0f} MB: {seconds:.1f} s, {peak:.2f} GB", end="; ", flush=True)
    print(f"{_ratio(this, readings['neutral']):.1f} × {parser}", end="")
    if other:
        peak = max(reading.peak for reading in readings["other"])
        print(
            f"; {_ratio(this, readings['other']):.2f} × the time of the other version, which needs {peak:.2f} GB",
            end="",
        )
    print(flush=True)


def _ratio(ours: list[Reading], theirs: list[Reading]) -> float:
    return statistics.median(a.seconds / b.seconds for a, b in zip(ours, theirs, strict=True))


def _read(script: str, path: Path, rows: int, checkout: Path) -> Reading:
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    argv = [sys.executable, "-c", script, str(path), str(rows)]
    seconds, peak = subprocess.run(
        argv, check=True, capture_output=True, text=True, env=environment, cwd=checkout
    ).stdout.split()
    return Reading(float(seconds), float(peak))


def _records(count: int) -> Any:
    """Yield records whose values are as different as those of real repositories."""
    generator = random.Random(0)  # noqa: S311 - the same file in each run
    words = ["".join(generator.choices("abcdefghijklmnopqrstuvwxyz", k=generator.randint(2, 9))) for _ in range(3000)]
    for number in range(count):
        description = " ".join(generator.choices(words, k=generator.randint(0, 14)))
        yield {
            "id": number + 1,
            "full_name": f"{generator.choice(words)}{number % 997}/{generator.choice(words)}-{number}",
            "stargazers_count": int(generator.paretovariate(0.7)) % 1_000_000,
            "forks_count": generator.randint(0, 500),
            "size": generator.randint(0, 100_000),
            "open_issues_count": generator.randint(0, 90),
            "language": generator.choice(("Go", "Rust", "Python", "TypeScript", None)),
            "license": generator.choice(("mit", "apache-2.0", "gpl-3.0", None)),
            "topics": generator.choices(words, k=generator.randint(0, 4)),
            "archived": generator.random() < 0.1,
            "homepage": generator.choice((None, "https://site.example")),
            "description": description,
            "created_at": f"20{generator.randint(10, 24)}-0{generator.randint(1, 9)}-1{generator.randint(0, 9)}T10:11:12Z",
            "pushed_at": f"2025-0{generator.randint(1, 9)}-1{generator.randint(0, 9)}T10:11:12Z",
        }


def _write_csv(path: Path, count: int) -> None:
    _in_batches(path, count, lambda records, first: _flat(records).to_csv(index=False, header=first))


def _write_lines(path: Path, count: int) -> None:
    """Write records as GitHub's REST API has them, with nested objects."""

    def lines(records: list[dict[str, Any]], _first: object) -> str:
        nested = [
            {
                **record,
                "owner": {"login": "x", "id": 3, "type": "User"},
                "license": record["license"] and {"key": record["license"]},
            }
            for record in records
        ]
        return "".join(json.dumps(record) + "\n" for record in nested)

    _in_batches(path, count, lines)


def _write_parquet(path: Path, count: int) -> None:
    pd.DataFrame(list(_records(count))).to_parquet(path, index=False)


def _flat(records: list[dict[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame([{**record, "topics": ", ".join(record["topics"])} for record in records])


def _in_batches(path: Path, count: int, text_of: Callable[[list[dict[str, Any]], bool], str]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        batch: list[dict[str, Any]] = []
        is_first = True
        for record in _records(count):
            batch.append(record)
            if len(batch) == BATCH:
                file.write(text_of(batch, is_first))
                batch, is_first = [], False
        if batch:
            file.write(text_of(batch, is_first))


if __name__ == "__main__":
    main()
