"""Count the records of a file independently of its reader, where the count is certain."""

from __future__ import annotations

import codecs
import gzip
import io
import json
import re
from pathlib import Path

import pyarrow.parquet as pq

from tests.fuzz.use import LaterFailureError

CONTAINERS = (
    "items",
    "data",
    "nodes",
    "edges",
    "errors",
    "repo",
    "repository",
    "repositories",
    "node",
    "schema",
    "columns",
)
"""Keys below which a reader looks for records."""


def check_record_count(path: Path, records: int) -> None:
    """Raise LaterFailureError if the file certainly has another number of records."""
    content = path.read_bytes()
    if content[:2] == b"\x1f\x8b":
        content = gzip.decompress(content)
    if content[:4] == b"PAR1":
        least = most = pq.ParquetFile(path if path.suffix != ".gz" else io.BytesIO(content)).metadata.num_rows
    else:
        encoding = "utf-16" if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
        text = content.decode(encoding, "replace")
        if text.lstrip()[:1] in ("[", "{") or ".jsonl" in path.name:
            least, most = _count_json(text, is_lines=".jsonl" in path.name)
        else:
            least, most = _count_csv(text)
    if not least <= records <= most:
        raise LaterFailureError(f"{records} records instead of {least} to {most}")


def _count_csv(text: str) -> tuple[int, int]:
    """Return the least and the largest number of rows: a quoted field may contain line breaks, a line of blanks may be a row."""
    lines = re.split(r"\r\n|\r|\n", text)[1:]
    filled = sum(bool(line.strip()) for line in lines)
    return (1 if '"' in text else filled), sum(bool(line) for line in lines)


def _count_json(text: str, *, is_lines: bool) -> tuple[int, int]:
    """Return the number of records of plain lists and lines; anything where a reader must search is not certain."""
    anything = (0, len(text))
    if any(f'"{key}"' in text for key in CONTAINERS):
        return anything
    try:
        if is_lines:
            values = [json.loads(line) if line.strip() else None for line in text.split("\n")]
            is_certain = all(value is None or isinstance(value, dict) for value in values)
            count = sum(bool(line.strip()) for line in text.split("\n"))
        else:
            values = json.loads(text)
            is_certain = isinstance(values, list) and not any(isinstance(value, list) for value in values)
            count = len(values)
    except (ValueError, RecursionError):
        return anything
    return (count, count) if is_certain else anything
