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

NAMES = {"full_name", "nameWithOwner"}
"""An object with one of these keys is certainly one record."""


def check_record_count(path: Path, records: int) -> None:
    """Raise LaterFailureError if the file certainly has another number of records."""
    content = path.read_bytes()
    if content[:2] == b"\x1f\x8b":
        content = gzip.decompress(content)
    if content[:4] == b"PAR1":
        least = most = pq.ParquetFile(path if path.suffix != ".gz" else io.BytesIO(content)).metadata.num_rows
    else:
        text = content.decode(_find_encoding(content), "replace")
        if text.lstrip().startswith(("[", "{", "null")) or ".jsonl" in path.name:
            least, most = _count_json(text, is_lines=".jsonl" in path.name)
        else:
            least, most = _count_csv(text)
    if not least <= records <= most:
        raise LaterFailureError(f"{records} records instead of {least} to {most}")


def _find_encoding(content: bytes) -> str:
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if content[1:2] == b"\0":
        return "utf-16-le"
    return "utf-16-be" if content[:1] == b"\0" else "utf-8-sig"


def _count_csv(text: str) -> tuple[int, int]:
    """Return the least and the largest number of rows behind the first line that is not empty.

    A quoted field may contain line breaks, a line of blanks may be a row.
    """
    lines = re.split(r"\r\n|\r|\n", text.lstrip("\r\n"))[1:]
    filled = sum(bool(line.strip()) for line in lines)
    return (1 if '"' in text else filled), sum(bool(line) for line in lines)


def _count_json(text: str, *, is_lines: bool) -> tuple[int, int]:
    """Return the number of records of plain lists and lines; where a reader must search for records it is not certain."""
    try:
        values = [json.loads(line) for line in text.split("\n") if line.strip()] if is_lines else json.loads(text)
    except (ValueError, RecursionError):
        return 0, len(text)
    if isinstance(values, list) and all(isinstance(value, dict) and NAMES & set(value) for value in values):
        return len(values), len(values)
    return 0, len(text)
