"""Build stargaze/data/electron.parquet from the npm package repos-using-electron 1.11.0 (MIT).

    npm pack repos-using-electron@1.11.0
    python tools/build_sample.py repos-using-electron-1.11.0.tgz

The package contains full GitHub REST records of January 2017 in camelCase, not selected by stars. Forks and texts are dropped,
the newest of duplicates is kept: names, numbers, dates, languages, licenses and flags are facts, texts are protected by
copyright. The same package gives the same bytes with the locked pyarrow.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tarfile
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from stargaze.config import FetchSection
from stargaze.errors import BadDataError
from stargaze.features.fetch import fetch_files
from stargaze.store import Store
from stargaze.system.files import atomic_write, sha256

PACKAGE = "repos-using-electron 1.11.0"
PACKAGE_SHA256 = "332a124c17032f123bb097a92c655d60b168343d153c636e2de8a46650e98b58"
TARGET = Path(__file__).resolve().parents[1] / "stargaze" / "data" / "electron.parquet"
TARGET_SHA256 = "502f3e94fcfec8315f42b652e85bb63e6ddd189de02e9d554d99302587849fcd"
COLLECTED = datetime(2017, 2, 17, tzinfo=UTC)
"""Day on which the package was built: no date in it is later."""
METADATA = {
    "source": f"npm package {PACKAGE}: GitHub REST records of January 2017, collected by Zeke Sikelianos and contributors",
    "license": "MIT",
    "content": "facts only: names, numbers, dates, language, license, flags, lengths of texts; without forks and duplicates",
}
TEXTS = ["description", "topics"]
DATES = ["first_commit_at", "first_release_at", "latest_release_at"]


def main(argv: list[str]) -> None:
    """Build the sample from the package named in ``argv``."""
    package = Path(argv[0])
    if sha256(package) != PACKAGE_SHA256:
        raise BadDataError(f"{package} is not {PACKAGE}", hint="npm pack repos-using-electron@1.11.0")
    with tempfile.TemporaryDirectory() as folder:
        lines = Path(folder) / "records.jsonl"
        lines.write_text("\n".join(_read_records(package)), encoding="utf-8")
        store = Store(Path(folder))
        summary = fetch_files(FetchSection(), store, [lines], COLLECTED)
        repositories = keep_facts(pd.read_parquet(store.repositories))
    with atomic_write(TARGET) as temporary:
        write_sample(repositories, temporary)
    digest = hashlib.sha256(TARGET.read_bytes()).hexdigest()
    size = TARGET.stat().st_size
    print(f"{summary.repositories:,} repositories, {summary.invalid_count:,} invalid records, {size:,} bytes")
    print(f"SHA-256 {digest}")


def keep_facts(repositories: pd.DataFrame) -> pd.DataFrame:
    """Drop texts, empty columns, and dates after the day of the figures (releases were collected weeks later)."""
    facts = repositories.drop(columns=TEXTS)
    for name in DATES:
        facts[name] = facts[name].where(~(facts[name] > facts["fetched_at"]))
    return facts.dropna(axis="columns", how="all").sort_values("id").reset_index(drop=True)


def write_sample(repositories: pd.DataFrame, path: Path) -> None:
    """Write the table with its source and license in the metadata, and nothing that depends on time or machine."""
    table = pa.Table.from_pandas(repositories, preserve_index=False).replace_schema_metadata(METADATA)
    pq.write_table(table, path, compression="zstd", compression_level=19)


def _read_records(package: Path) -> list[str]:
    """Return one line of JSON per record that is not a fork, in the order of the files' names."""
    with tarfile.open(package) as archive:
        members = sorted(
            (item for item in archive if item.isfile() and item.name.startswith("package/repos/")),
            key=lambda item: item.name,
        )
        texts = [stream.read() for item in members if (stream := archive.extractfile(item)) is not None]
    records = [json.loads(text) for text in texts]
    return [json.dumps(record) for record in records if not record.get("fork")]


if __name__ == "__main__":
    main(sys.argv[1:])
