"""Build the samples below stargaze/data/ from their sources.

    npm pack repos-using-electron@1.11.0
    python tools/build_sample.py electron repos-using-electron-1.11.0.tgz
    python tools/build_sample.py best-of bestof.parquet

The npm package repos-using-electron (MIT) contains full GitHub REST records of January 2017 in camelCase, not selected by stars;
forks are dropped. The table of the best-of lists (CC-BY-SA 4.0) has the latest row of each repository in the histories that the
lists publish; examples/bestof.toml maps its columns. Of duplicates the newest is kept.

Samples have no texts, which are protected by copyright: names, numbers, dates, languages, licenses and flags are facts, and so is
which words a description has, stored as sorted hashes. The same source gives the same bytes with the locked pyarrow.
"""

from __future__ import annotations

import json
import sys
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from stargaze.config import FetchSection, load
from stargaze.errors import BadDataError
from stargaze.features.encoding.tokens import hash_description
from stargaze.features.extract import extract, find_keywords
from stargaze.features.fetch import fetch_files
from stargaze.features.samples import SAMPLES
from stargaze.store import Store
from stargaze.system.files import atomic_write, sha256

ROOT = Path(__file__).resolve().parents[1]
TEXTS = ["description", "topics"]


@dataclass(frozen=True)
class Source:
    """The file that a sample is built from, how it is read, and what is built."""

    sha256: str
    hint: str
    section: FetchSection
    now: datetime
    """No date of a record is later."""
    keep_facts: Callable[[pd.DataFrame], pd.DataFrame]
    metadata: dict[str, str]
    sample_sha256: str


def main(argv: list[str]) -> None:
    """Build the sample named first in ``argv`` from the file named second."""
    name, path = argv
    source = SOURCES[name]
    if sha256(Path(path)) != source.sha256:
        raise BadDataError(f"{path} is not the source of the sample {name}", hint=source.hint)
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        records = _unpack(Path(path), Path(folder)) if path.endswith(".tgz") else Path(path)
        summary = fetch_files(source.section, store, [records], source.now)
        repositories = source.keep_facts(pd.read_parquet(store.repositories))
    target = target_of(name)
    with atomic_write(target) as temporary:
        write_sample(repositories, source.metadata, temporary)
    size = target.stat().st_size
    print(f"{summary.repositories:,} repositories, {summary.invalid_count:,} invalid records, {size:,} bytes")
    print(f"SHA-256 {sha256(target)}")


def target_of(name: str) -> Path:
    """Return the file of a sample in the repository."""
    return ROOT / "stargaze" / "data" / SAMPLES[name].file


def keep_electron_facts(repositories: pd.DataFrame) -> pd.DataFrame:
    """Drop texts, empty columns, and dates after the day of the figures (releases were collected weeks later)."""
    facts = repositories.drop(columns=TEXTS)
    for name in ("first_commit_at", "first_release_at", "latest_release_at"):
        facts[name] = facts[name].where(~(facts[name] > facts["fetched_at"]))
    return facts.dropna(axis="columns", how="all").sort_values("id").reset_index(drop=True)


def keep_bestof_facts(repositories: pd.DataFrame) -> pd.DataFrame:
    """Replace each description by what features read of it, and drop empty columns."""
    return replace_descriptions(repositories).drop(columns=TEXTS).dropna(axis="columns", how="all")


def replace_descriptions(repositories: pd.DataFrame) -> pd.DataFrame:
    """Return the repositories with the facts of their descriptions instead of the texts."""
    texts = repositories["description"]
    known = texts.notna()
    facts = {
        "description_tokens": pd.Series(map(hash_description, texts[known]), index=texts.index[known], dtype="object"),
        "description_keywords": pd.Series(find_keywords(texts[known]), index=texts.index[known], dtype="object"),
        "description_non_ascii": extract(repositories, ["description_non_ascii"])["description_non_ascii"],
    }
    columns = {name: column.reindex(repositories.index) for name, column in facts.items()}
    return repositories.assign(**columns, description=pd.Series(None, index=repositories.index, dtype="str"))


def write_sample(repositories: pd.DataFrame, metadata: dict[str, str], path: Path) -> None:
    """Write the table with its source and license in the metadata, and nothing that depends on time or machine."""
    table = pa.Table.from_pandas(repositories, preserve_index=False).replace_schema_metadata(metadata)
    pq.write_table(table, path, compression="zstd", compression_level=19)


def _unpack(package: Path, folder: Path) -> Path:
    """Write one line of JSON per record of the package that is not a fork, in the order of the files' names."""
    with tarfile.open(package) as archive:
        members = sorted(
            (item for item in archive if item.isfile() and item.name.startswith("package/repos/")),
            key=lambda item: item.name,
        )
        texts = [stream.read() for item in members if (stream := archive.extractfile(item)) is not None]
    records = [json.loads(text) for text in texts]
    lines = folder / "records.jsonl"
    lines.write_text("\n".join(json.dumps(record) for record in records if not record.get("fork")), encoding="utf-8")
    return lines


SOURCES = {
    "electron": Source(
        sha256="332a124c17032f123bb097a92c655d60b168343d153c636e2de8a46650e98b58",
        hint="npm pack repos-using-electron@1.11.0",
        section=FetchSection(),
        now=datetime(2017, 2, 17, tzinfo=UTC),  # the day on which the package was built
        keep_facts=keep_electron_facts,
        metadata={
            "source": "npm package repos-using-electron 1.11.0: GitHub REST records of January 2017, collected by "
            "Zeke Sikelianos and contributors",
            "license": "MIT",
            "content": "facts only: names, numbers, dates, language, license, flags, lengths of texts; "
            "without forks and duplicates",
        },
        sample_sha256="502f3e94fcfec8315f42b652e85bb63e6ddd189de02e9d554d99302587849fcd",
    ),
    "best-of": Source(
        sha256="5c7c003cbd79510ca3cc2fe28070d23145a0bc67cfb44022bc7ed0ece3073886",
        hint="the latest row of each repository in the histories of the best-of lists, as of August 2026",
        section=load(ROOT / "examples" / "bestof.toml").fetch,
        now=datetime(2026, 8, 31, tzinfo=UTC),
        keep_facts=keep_bestof_facts,
        metadata={
            "source": "histories of the best-of lists of ml-tooling and other authors, January 2023 to August 2026: "
            "see bestof-license.txt",
            "license": "CC-BY-SA-4.0",
            "content": "facts only: names, numbers, dates, license, flags, lengths of texts, words of descriptions as "
            "sorted hashes; the latest row of each repository",
        },
        sample_sha256="d80902735f7428e6c531d299bc9643a1f076189080b31163815efb2084ed41f4",
    ),
}

if __name__ == "__main__":
    main(sys.argv[1:])
