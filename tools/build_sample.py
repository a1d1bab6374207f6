"""Build stargaze/data/sample.parquet from the npm package repos-using-electron 1.11.0 (MIT).

    npm pack repos-using-electron@1.11.0
    python tools/build_sample.py repos-using-electron-1.11.0.tgz

The package holds full GitHub REST records of January 2017 in camelCase, not chosen by stars. Forks go, duplicates keep the
newest, and of texts only their lengths stay: names, numbers, dates, languages, licences and switches are facts, sentences are
their authors'. The same package gives the same bytes under the locked pyarrow.
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
from stargaze.features.ingest.from_files import fetch_files
from stargaze.store import Store
from stargaze.system.files import atomic_write, sha256

PACKAGE = "repos-using-electron 1.11.0"
PACKAGE_SHA256 = "332a124c17032f123bb097a92c655d60b168343d153c636e2de8a46650e98b58"
TARGET = Path(__file__).resolve().parents[1] / "stargaze" / "data" / "sample.parquet"
TARGET_SHA256 = "c4d6e988c51e3b905c634b57ea06dba43d7d84b494b9cd65d9995682e79fa63c"
COLLECTED = datetime(2017, 2, 17, tzinfo=UTC)
"""The day the package was packed: nothing in it is later."""
ABOUT = {
    "source": f"npm package {PACKAGE}: GitHub REST records of January 2017, collected by Zeke Sikelianos and contributors",
    "license": "MIT",
    "content": "facts only: names, numbers, dates, language, licence, switches, lengths of texts; forks and duplicates left out",
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
        lines.write_text("\n".join(_records(package)), encoding="utf-8")
        store = Store(Path(folder))
        summary = fetch_files(FetchSection(), store, [lines], COLLECTED)
        repositories = facts(pd.read_parquet(store.repositories))
    with atomic_write(TARGET) as temporary:
        write(repositories, temporary)
    digest = hashlib.sha256(TARGET.read_bytes()).hexdigest()
    print(
        f"{summary.repositories:,} repositories, {summary.invalid_count:,} invalid records, {TARGET.stat().st_size:,} bytes"
    )
    print(f"SHA-256 {digest}")


def facts(repositories: pd.DataFrame) -> pd.DataFrame:
    """Leave out sentences, empty columns, and dates after the day of the figures (releases were collected weeks later)."""
    kept = repositories.drop(columns=TEXTS)
    for name in DATES:
        kept[name] = kept[name].where(~(kept[name] > kept["fetched_at"]))
    return kept.dropna(axis="columns", how="all").sort_values("id").reset_index(drop=True)


def write(repositories: pd.DataFrame, path: Path) -> None:
    """Write the table with its source and licence in the metadata, and nothing that changes from run to run."""
    table = pa.Table.from_pandas(repositories, preserve_index=False).replace_schema_metadata(ABOUT)
    pq.write_table(table, path, compression="zstd", compression_level=19)


def _records(package: Path) -> list[str]:
    """Return one line a record that is not a fork, in the order of the files' names."""
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
