"""Random changes of the files and requests that people send, each a function of the content and a random generator."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
from decimal import Decimal
from random import Random
from typing import Any
from urllib.parse import parse_qsl, quote_from_bytes, urlencode

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tests.fuzz.mutations import mutate_bytes
from tests.fuzz.reader_values import CELLS, ENCODINGS, NAMES, TOKENS, pick, pick_cell


def mutate_text(text: str, random: Random) -> str:
    """Replace, delete, insert, repeat or swap tokens."""
    parts = re.findall(r'"(?:[^"\\\n]|\\.)*"|[\w.+-]+|\s+|.', text)
    for _ in range(random.choice((1, 1, 1, 2, 5))):
        place, other = random.randrange(len(parts) + 1), random.randrange(len(parts) + 1)
        match random.randrange(6):
            case 0:
                parts[place : place + 1] = [random.choice(TOKENS)]
            case 1:
                parts[place:place] = [random.choice((*TOKENS, *CELLS))]
            case 2:
                del parts[place : place + random.choice((1, 1, 2, 30))]
            case 3:
                parts[place:place] = parts[other : other + random.choice((1, 5, 50))]
            case 4 if place < len(parts):
                parts[place] = f'"{pick_cell(random)}"'
            case _:
                parts[place : place + 1] = parts[other : other + 1]
    return "".join(parts)


def encode_text(text: str, random: Random) -> bytes:
    """Encode a text, mostly as UTF-8, sometimes with other line ends."""
    if random.random() < 0.1:
        text = text.replace("\n", random.choice(("\r\n", "\r", "\n\n", "\r\r\n")))
    encoding = random.choice(ENCODINGS) if random.random() < 0.08 else "utf-8"
    return text.encode(encoding, "surrogatepass" if encoding.startswith("utf-8") else "replace")


def compress(content: bytes, random: Random) -> bytes:
    """Return gzip, half of it damaged, truncated, with two members or with something behind it."""
    packed = gzip.compress(content, 1, mtime=0)
    match random.randrange(8):
        case 0:
            return packed[: random.randrange(1, len(packed))]
        case 1:
            return mutate_bytes(packed, random)
        case 2:
            return packed + random.choice((b"\0" * 100, b"rest", packed, gzip.compress(b"")))
        case 3:
            return gzip.compress(packed)
        case _:
            return packed


def mutate_document(value: Any, random: Random) -> Any:
    """Walk down a random path and replace, remove, rename, repeat or wrap what is there."""
    if isinstance(value, dict) and value and random.random() < 0.9:
        return _mutate_members(value, random)
    if isinstance(value, list) and value and random.random() < 0.9:
        i, choice = random.randrange(len(value)), random.randrange(8)
        changes = {0: value[:i], 1: value[:i] + value[i + 1 :], 2: value + [value[i]] * random.choice((1, 1, 40))}
        return (
            changes[choice] if choice in changes else [*value[:i], mutate_document(value[i], random), *value[i + 1 :]]
        )
    return random.choice(([value], {"a": value}, str(value), pick(random), pick(random), pick(random)))


def _mutate_members(value: dict[str, Any], random: Random) -> dict[str, Any]:
    name, other = random.choice(sorted(value)), random.choice(NAMES)
    match random.randrange(9):
        case 0:
            return {key: item for key, item in value.items() if key != name}
        case 1:
            return value | {other: value[name]}
        case 2:
            return value | {other: pick(random)}
        case _:
            return value | {name: mutate_document(value[name], random)}


def mutate_json_text(content: bytes, random: Random) -> bytes:
    """Change the values of JSON documents, their text, or their form: one document, lines, pages one after the other."""
    if random.random() < 0.1:
        return mutate_bytes(content, random)
    text = content.decode()
    if random.random() < 0.35:
        return encode_text(mutate_text(text, random), random)
    documents = read_documents(text)
    for _ in range(random.choice((0, 1, 1, 2, 4))):
        documents = mutate_document(documents, random)
    if not isinstance(documents, list) or not documents:
        documents = [documents]
    indent = random.choice((None, None, 1))
    between = "\n" if "\n{" in text else random.choice(("", "\n", " ", ",")) if len(documents) > 1 else ""
    changed = between.join(json.dumps(item, indent=None if between == "\n" else indent) for item in documents)
    if random.random() < 0.1:
        changed = re.sub(r'("\w+": [^,{}\[\]]+)(,?)', r"\1, \1\2", changed, count=3)  # a key that is there twice
    return encode_text(changed, random)


def read_documents(text: str) -> list[Any]:
    """Return all JSON documents of a text."""
    decoder, documents, at = json.JSONDecoder(), [], 0
    while at < len(text):
        value, at = decoder.raw_decode(text, at)
        documents.append(value)
        at += len(text[at:]) - len(text[at:].lstrip())
    return documents


def mutate_csv(content: bytes, random: Random) -> bytes:
    """Change cells, columns, rows, quotes, the delimiter or the text of a CSV."""
    if random.random() < 0.1:
        return mutate_bytes(content, random)
    text = content.decode()
    if random.random() < 0.3:
        return encode_text(mutate_text(text, random), random)
    delimiter = max(",;\t", key=text.split("\n", 1)[0].count)
    rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    if random.random() < 0.4:
        rows += [[*row] for row in rows[1:]] * random.choice((1, 10, 30))
    for _ in range(random.choice((1, 1, 2, 5, 20))):
        _mutate_rows(rows, random)
    stream = io.StringIO(newline="")
    delimiter = random.choice((delimiter,) * 12 + (",", ";", "\t", "|"))
    quoting = random.choice((csv.QUOTE_MINIMAL, csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
    csv.writer(stream, delimiter=delimiter, quoting=quoting, lineterminator="\n").writerows(rows)
    changed = stream.getvalue()
    if random.random() < 0.3:
        place = random.randrange(len(changed) + 1)
        changed = changed[:place] + random.choice(('"', '"', '""', "\n", '"\n', ',"', "\0", "\r")) + changed[place:]
    return encode_text(changed, random)


def _mutate_rows(rows: list[list[str]], random: Random) -> None:
    """Change a table in place."""
    i = random.randrange(len(rows))
    row = rows[i]
    j = random.randrange(len(row) + 1)
    match random.randrange(12):
        case 0:
            row[j:j] = [pick_cell(random)]
        case 1:
            del row[j : j + 1]
        case 2 if len(rows) > 1:
            del rows[i]
        case 3:
            rows[i:i] = [[]] if random.random() < 0.5 else [random.choice(rows)]
        case 4 if rows[0]:
            rows[0][random.randrange(len(rows[0]))] = random.choice((*NAMES, *rows[0]))
        case 5:  # a column more
            name, cells = random.choice(NAMES), random.choices([cell for cell in CELLS if len(cell) < 300], k=3)
            for number, values in enumerate(rows):
                values.append(name if number == 0 else random.choice(cells))
        case _ if j < len(row):
            row[j] = pick_cell(random)


def mutate_parquet(content: bytes, random: Random) -> bytes:
    """Change cells, types, names or the bytes of a Parquet file."""
    if random.random() < 0.3:
        return mutate_bytes(content, random)
    table = pq.read_table(io.BytesIO(content))
    for _ in range(random.choice((1, 1, 2, 4))):
        table = _mutate_arrow(table, random)
    stream = io.BytesIO()
    try:
        options: dict[str, Any] = {"compression": random.choice(("snappy", "zstd", "none", "gzip"))}
        pq.write_table(table, stream, row_group_size=random.choice((1, 1000)), **options)
    except (pa.ArrowException, ValueError, TypeError):  # a type that Parquet lacks
        return mutate_bytes(content, random)
    return stream.getvalue()


def _mutate_arrow(table: pa.Table, random: Random) -> pa.Table:
    """Change the columns, the rows or the values of a table."""
    if not table.num_columns:
        return table
    i, names = random.randrange(table.num_columns), table.column_names
    match random.randrange(10):
        case 0:
            return table.remove_column(i)
        case 1:
            return table.append_column(random.choice((*NAMES, *names)), table.column(i))
        case 2:
            return pa.concat_tables([table] * random.choice((2, 50))).slice(0, random.choice((0, 1, 1000)))
        case 3:
            return table.rename_columns([random.choice(NAMES) if k == i else name for k, name in enumerate(names)])
        case _:
            return table.set_column(i, names[i], _mutate_column(table.column(i).to_pylist(), random))


def _mutate_column(values: list[Any], random: Random) -> pa.Array:
    """Return the values with another type, with missing ones, or with one that is changed."""
    match random.randrange(6):
        case 0:
            values = [_convert(value, random) for value in values]
        case 1:
            kinds = (_as_bytes, _as_decimal, _as_date, str, lambda value: [value], lambda value: {"key": value})
            kind = random.choice(kinds)
            values = [None if value is None else kind(value) for value in values]
        case _ if values:
            values[random.randrange(len(values))] = pick(random)
    try:
        column = pa.array(values)
        return column.dictionary_encode() if random.random() < 0.1 else column
    except (pa.ArrowException, OverflowError, ValueError, TypeError):
        return pa.array([None if value is None else str(value).encode("utf-8", "replace").decode() for value in values])


def _convert(value: Any, random: Random) -> Any:
    return random.choice((value, value, None, float("nan"), str(value)))


def _as_bytes(value: Any) -> bytes:
    return str(value).encode() + b"\xff"


def _as_decimal(value: Any) -> Decimal:
    return Decimal(len(str(value)))


def _as_date(value: Any) -> pd.Timestamp:
    return pd.Timestamp(hash(str(value)[:1]) % 2_000_000_000, unit="s")


def mutate_toml(content: bytes, random: Random) -> bytes:
    """Change values, keys, sections or the text of a config."""
    if random.random() < 0.1:
        return mutate_bytes(content, random)
    lines = content.decode().split("\n")
    for _ in range(random.choice((1, 1, 2, 4))):
        i = random.randrange(len(lines))
        key, equals, _ = lines[i].lstrip("# ").partition(" = ")
        match random.randrange(8):
            case 0:
                lines[i:i] = [random.choice(lines)]
            case 1:
                del lines[i : i + random.choice((1, 3))]
            case 2:
                lines[i] = mutate_text(lines[i], random)
            case 3:
                lines[i:i] = [
                    random.choice(
                        ("[x]", "[[fetch]]", "fetch = 1", "a.b.c = 1", '"" = 1', "[fetch.columns.x]", "é = 1")
                    )
                ]
            case _ if equals:
                lines[i] = f"{key} = {_toml_value(random)}"
        lines = lines or [""]
    return encode_text("\n".join(lines), random)


def _toml_value(random: Random) -> str:
    """Return a value of TOML, mostly valid."""
    fixed = (
        "nan",
        "inf",
        "-inf",
        "1e400",
        "0x7fffffffffffffffffff",
        "9" * 5000,
        "2015-01-02",
        "07:32:00",
        "[[]]",
        "{}",
        "true",
    )
    if random.random() < 0.5:
        return random.choice(
            (*fixed, "[" * 2000, "{a = " * 2000, '["a", 1]', "[1, 2]", '{a = "b"}', "'''x'''", '""', "-1", "0")
        )
    return json.dumps(pick(random)).replace("NaN", "nan").replace("null", '""')


def mutate_form(content: bytes, random: Random) -> bytes:
    """Change names and values of a form or a query."""
    if random.random() < 0.15:
        return mutate_bytes(content, random)
    pairs = parse_qsl(content.decode(), keep_blank_values=True)
    for _ in range(random.choice((1, 1, 2, 5))):
        i = random.randrange(len(pairs) + 1)
        match random.randrange(6):
            case 0:
                pairs[i:i] = [(random.choice(NAMES), pick_cell(random))]
            case 1:
                pairs[i : i + 1] = []
            case 2:
                pairs += pairs[i : i + 1] * random.choice((1, 1, 150))
            case _ if i < len(pairs):
                pairs[i] = (
                    pairs[i][0],
                    pick_cell(random) if random.random() < 0.8 else mutate_text(pairs[i][1], random),
                )
    return urlencode(pairs, errors="surrogatepass").encode()


def mutate_target(content: bytes, random: Random) -> bytes:
    """Change the path or the query of a request."""
    path, _, query = content.partition(b"?")
    if random.random() < 0.5 and query:
        return path + b"?" + mutate_form(query, random)
    parts = path.split(b"/")
    i = random.randrange(1, len(parts))
    text = pick_cell(random)[:2000] if random.random() < 0.6 else mutate_text(parts[i].decode(), random)[:2000]
    raw = text.encode("utf-8", "surrogatepass")
    parts[i] = quote_from_bytes(raw if random.random() < 0.8 else mutate_bytes(raw, random)).encode()
    return b"/".join(parts) + (b"?" + query if query else b"")


def mutate_line(content: bytes, random: Random) -> bytes:
    """Change a short text."""
    text = content.decode()
    for _ in range(random.choice((1, 1, 2))):
        text = random.choice((text + pick_cell(random), pick_cell(random) + text, mutate_text(text, random)))
    return text[:100_000].encode("utf-8", "surrogatepass")
