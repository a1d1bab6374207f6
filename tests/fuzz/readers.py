"""Every reader of files and requests, with valid inputs of each kind, and their mutation."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from urllib.parse import urlencode

import pandas as pd

from stargaze.config.sections import render
from tests.exports import EXPORTS, ITEMS, Export
from tests.fuzz import reader_mutations as mutations
from tests.fuzz.mutations import Mutate
from tests.histories import histories

CONFIG = "stargaze.toml"
"""The config that a case of a table or of records is read with."""
MAX_BYTES = 2_000_000
"""Size of an input: thirty times as much memory is far below the limit [B]."""
FETCH_CONFIGS = (
    "",
    '[fetch.columns]\nfull_name = "name"\nstars = "stargazers"\n',
    '[fetch.columns]\nfull_name = "repo_name"\nstars = "watch_count"\nlanguages = "language"\n',
    '[fetch.columns]\nstars = "forks_count"\nlicense = "license.key"\n',
    '[fetch]\nsince = "2015-01-01"\n',
)


@dataclass(frozen=True)
class Seed:
    """One valid input: its file name, its content, and a config."""

    name: str
    content: bytes
    config: str = ""


@dataclass(frozen=True)
class Reader:
    """One reader: valid inputs, which the cases use in turn, and how they are changed."""

    name: str
    kind: str
    """What reads it: repositories, history, config, environment, api, form, target or name."""
    seeds: Sequence[Seed]
    mutate: Mutate
    is_file: bool = True
    """Whether it is a file that may be compressed."""

    @property
    def uses_page(self) -> bool:
        """Whether the page reads it, which needs a bundle."""
        return self.kind in {"api", "form", "target"}

    def write(self, number: int, seed: int, folder: Path) -> Path:
        """Write the input of a case, and the config that it is read with."""
        random = Random(f"{seed}/{self.name}/{number}")
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.iterdir():
            path.unlink()
        valid = self.seeds[number % len(self.seeds)]
        content = self.mutate(valid.content, random)[:MAX_BYTES]
        name = valid.name
        if self.is_file and random.random() < 0.15:
            content, name = mutations.compress(content, random), f"{name}.gz"
        (folder / name).write_bytes(content)
        if self.kind == "repositories":
            config = valid.config if random.random() < 0.8 else random.choice(FETCH_CONFIGS)
            (folder / CONFIG).write_text(config)
        return folder


def create_readers() -> list[Reader]:
    """Return all readers."""
    files = [(export, _content(export)) for exports in EXPORTS.values() for export in exports]

    def repositories(name: str, is_kind: Callable[[bytes], bool], mutate: Mutate, suffix: str) -> Reader:
        seeds = [Seed(f"input{suffix}", content, _config(export)) for export, content in files if is_kind(content)]
        assert seeds, name
        return Reader(name, "repositories", seeds, mutate)

    return [
        Reader(
            "config",
            "config",
            [Seed(CONFIG, text.encode()) for text in _configs()],
            mutations.mutate_toml,
            is_file=False,
        ),
        Reader("environment", "environment", _environments(), mutations.mutate_form, is_file=False),
        repositories("JSON documents", _is_document, mutations.mutate_json_text, ".json"),
        repositories("JSON lists", lambda content: content[:1] == b"[", mutations.mutate_json_text, ".json"),
        repositories("JSON lines", _is_lines, mutations.mutate_json_text, ".jsonl"),
        repositories("CSV", lambda content: _is_csv(content, b","), mutations.mutate_csv, ".csv"),
        repositories("TSV", lambda content: _is_csv(content, b"\t"), mutations.mutate_csv, ".tsv"),
        repositories("Parquet", lambda content: content[:4] == b"PAR1", mutations.mutate_parquet, ".parquet"),
        Reader("history CSV", "history", _history_tables("csv"), mutations.mutate_csv),
        Reader("history Parquet", "history", _history_tables("parquet"), mutations.mutate_parquet),
        Reader("history JSON", "history", _history_tables("json"), mutations.mutate_json_text),
        Reader(
            "API bodies",
            "api",
            [Seed("body.json", json.dumps(body).encode()) for body in _bodies()],
            mutations.mutate_json_text,
            is_file=False,
        ),
        Reader("forms", "form", _forms(), mutations.mutate_form, is_file=False),
        Reader("paths and queries", "target", _targets(), mutations.mutate_target, is_file=False),
        Reader("names", "name", _names(), mutations.mutate_line, is_file=False),
    ]


def _content(export: Export) -> bytes:
    """Return the content of an export without compression."""
    return gzip.decompress(export.content) if export.content[:2] == b"\x1f\x8b" else export.content


def _config(export: Export) -> str:
    lines = [f"{field} = {json.dumps(column)}" for field, column in export.mapping.items()]
    return "\n".join(["[fetch.columns]", *lines, ""]) if lines else ""


def _is_document(content: bytes) -> bool:
    return content[:1] == b"{"


def _is_lines(content: bytes) -> bool:
    return content[:1] == b"{" and b"\n{" in content


def _is_csv(content: bytes, delimiter: bytes) -> bool:
    first = content.split(b"\n", 1)[0]
    return content[:1] not in b"{[P" and max((b",", b";", b"\t"), key=first.count) == delimiter


def _configs() -> list[str]:
    examples = sorted((Path(__file__).parents[2] / "examples").glob("*.toml"))
    return [render(), render(), *FETCH_CONFIGS[1:], *(path.read_text() for path in examples)]


def _environments() -> list[Seed]:
    variables = [
        {
            "STARGAZE_TUNING_TRIALS": "8",
            "STARGAZE_FETCH_FILES": "a.csv,b.json",
            "STARGAZE_FETCH_COLUMNS": "stars=n,full_name=r",
        },
        {
            "STARGAZE_SERVE_RATE_LIMIT": "10",
            "STARGAZE_SERVE_HOSTS": "a.example,b.example",
            "STARGAZE_TUNING_COVERAGE": "0.8",
        },
        {
            "STARGAZE_GROWTH_HORIZONS": "30,90",
            "STARGAZE_GROWTH_TRAIN_UNTIL": "2024-01-01",
            "STARGAZE_TUNING_RACING": "false",
        },
    ]
    return [Seed("variables", urlencode(values).encode()) for values in variables]


def _history_tables(suffix: str) -> list[Seed]:
    """Return histories as fetch writes them, of dates and counts, and as other tools write them."""
    counts = histories(number=2, weeks=12)
    dates = pd.to_datetime(counts["date"])
    star_history = pd.DataFrame(
        {
            "Repository": counts["full_name"],
            "Date": dates.dt.strftime("%a %b %d %Y %H:%M:%S GMT+0200 (Central European Summer Time)"),
            "Stars": counts["stars"].astype("int64"),
        }
    )
    gains = pd.DataFrame(
        {"full_name": counts["full_name"], "week": dates, "stars": 3, "days": [[0, 1, 0, 0, 1, 1, 0]] * len(counts)}
    )
    plain = pd.DataFrame(
        {"full_name": counts["full_name"], "date": dates.dt.strftime("%Y-%m-%d"), "stars": counts["stars"]}
    )
    return [Seed(f"history.{suffix}", _write(table, suffix)) for table in (counts, plain, star_history, gains)]


def _write(table: pd.DataFrame, suffix: str) -> bytes:
    stream = io.BytesIO()
    if suffix == "parquet":
        table.to_parquet(stream)
        return stream.getvalue()
    if suffix == "json":
        return json.dumps(json.loads(table.to_json(orient="records", date_format="iso"))).encode()
    return table.to_csv(index=False).encode()


def _bodies() -> list[object]:
    return [
        {"repositories": ["electron/electron", "https://github.com/atom/atom"]},
        {
            "figures": [
                {
                    "full_name": "me/mine",
                    "forks": 12,
                    "license": "mit",
                    "topics": ["a", "b"],
                    "created_at": "2015-01-02",
                }
            ]
        },
        {"repositories": ["a/b"], "what_if": {"license": "mit", "topics": "a, b", "has_wiki": True}, "explain": False},
        {
            "figures": [{"language": "Go", "has_homepage": "true", "contributors": "1,200", "description": "a tool"}],
            "explain": True,
        },
    ]


def _forms() -> list[Seed]:
    values = [
        {"repositories": "electron/electron\nhttps://github.com/atom/atom, a/b"},
        {
            "full_name": "me/mine",
            "forks": "12",
            "license": "mit",
            "created_at": "2015-01-02",
            "language": "Go",
            "topics": "a, b",
        },
        {
            "contributors": "1,200",
            "has_wiki": "true",
            "description_length": "7k",
            "repositories": "a/b",
            "size_kb": "3.5k",
        },
    ]
    return [
        Seed(f"form-{'names' if number == 0 else 'figures'}", urlencode(pairs).encode())
        for number, pairs in enumerate(values)
    ]


def _targets() -> list[Seed]:
    paths = [
        *(
            "/?repositories=a/b",
            "/search?q=editor&page=2",
            "/repositories?q=a",
            "/figures?forks=3&license=mit",
            "/try?x=1",
        ),
        *(
            "/repositories/electron/electron?license=mit&forks=9",
            "/compare/electron/electron,atom/atom",
            "/model",
            "/privacy",
        ),
        *(
            "/api/v1/repositories/electron/electron?license=mit",
            "/api/v1/predictions/0123456789abcdef",
            "/predictions/abc.csv",
        ),
        *(
            "/badge/electron/electron.svg?label=x",
            "/card/electron/electron.png",
            "/predictions/abc.json",
            "/api/v1/openapi.json",
        ),
    ]
    return [Seed("target", path.encode()) for path in paths]


def _names() -> list[Seed]:
    names = [
        *(
            "acme/one",
            "https://github.com/acme/one/issues?q=1#x",
            "git@github.com:acme/one.git",
            "git+ssh://git@github.com/acme/one",
        ),
        *(
            "<https://www.github.com/acme/one/>,",
            "github:acme/one",
            "acme/one@v4",
            "https://api.github.com/repos/acme/one",
        ),
        *(item["html_url"] for item in ITEMS),
    ]
    return [Seed("name", name.encode()) for name in names]
