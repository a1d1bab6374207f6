"""What people really have is read, or refused with one clear line; no record disappears without being counted."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stargaze.features import schema
from tests.conftest import Ended

Run = Callable[..., Ended]
DATES = ("created_at", "pushed_at")


@dataclass(frozen=True)
class Fetched:
    """The summary of a fetch and the stored table."""

    summary: dict[str, Any]
    table: pd.DataFrame

    def values(self, field: str) -> list[Any]:
        """Return the values of a field, None where one is missing."""
        return [
            None if not isinstance(value, list) and pd.isna(value) else value
            for value in map(_plain, self.table[field])
        ]

    @property
    def counts(self) -> tuple[int, int]:
        """Return the numbers of records that were read and refused."""
        return self.summary["records"] - self.summary["invalid_count"], self.summary["invalid_count"]

    @property
    def cleared(self) -> dict[str, int]:
        """Return how many values of each field are missing because they could not be used."""
        counts: dict[str, int] = {}
        for item in self.summary["cleared"]:
            counts[item["field"]] = counts.get(item["field"], 0) + item["count"]
        return counts


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value


Fetch = Callable[..., Fetched]


@pytest.fixture
def fetch(tmp_path: Path, run: Run) -> Fetch:
    """Return a function that writes a file, reads it with the command and returns what was stored, in the order of the names."""

    def fetch(name: str, content: bytes | str | object, config: str = "") -> Fetched:
        write(tmp_path, name, content, config)
        ended = run("fetch", "--json", "--from", name)
        assert ended.code == 0, ended.err
        table = schema.conform(pd.read_parquet(tmp_path / "store" / "repositories.parquet"))
        return Fetched(json.loads(ended.out), table)

    return fetch


@pytest.fixture
def refuse(tmp_path: Path, run: Run) -> Callable[..., Ended]:
    """Return a function that reads a file that must be refused, and that checks that the previous table stays."""

    def refuse(name: str, content: bytes | str | object, config: str = "") -> Ended:
        stored = tmp_path / "store" / "repositories.parquet"
        write(tmp_path, "before.csv", "full_name,stars\nold/one,1\n", "")
        assert run("fetch", "--from", "before.csv").code == 0
        before = stored.read_bytes()
        write(tmp_path, name, content, config)
        ended = run("fetch", "--from", name)
        assert ended.code == 2
        assert ended.error
        assert stored.read_bytes() == before
        return ended

    return refuse


def write(folder: Path, name: str, content: bytes | str | object, config: str) -> None:
    """Write an input (bytes and text unchanged, anything else as JSON) and the config."""
    raw = (
        content
        if isinstance(content, bytes)
        else (content if isinstance(content, str) else json.dumps(content)).encode()
    )
    (folder / name).write_bytes(raw)
    (folder / "stargaze.toml").write_text(config)


def rows(first: int, last: int) -> list[str]:
    """Return good lines of a CSV with the columns full_name, stars and note."""
    return [f"port/ship{i:04},{i},cargo {i}" for i in range(first, last)]


def csv_of(*lines: str, header: str = "full_name,stars,note") -> str:
    """Return a CSV."""
    return "\n".join([header, *lines]) + "\n"


# Damaged rows


@pytest.mark.parametrize(
    "damaged",
    [
        'port/x,5,"never closed',
        'port/x,5,"closed" late',
        'port/x,5,a "quote" inside, and a comma',
        "port/x,5",
        "port/x,5,a,b,c",
        '"port/x,5,cargo',
        'port/x,"5,cargo',
    ],
)
@pytest.mark.parametrize("place", [0, 7, 30])
def test_one_damaged_row_is_one_refused_record(damaged: str, place: int, fetch: Fetch) -> None:
    fetched = fetch("ships.csv", csv_of(*rows(0, place), damaged, *rows(place, 30)))

    assert fetched.counts == (30, 1)
    assert fetched.values("stars") == list(range(30))


def test_quotes_that_are_never_closed_in_several_rows_hide_no_other_row(fetch: Fetch) -> None:
    lines = [f'{line[:-1]}"' if i % 9 == 4 else line for i, line in enumerate(rows(0, 90))]
    lines[40] = 'port/ship0040,40,"open'

    fetched = fetch("ships.csv", csv_of(*lines))

    assert sum(fetched.counts) == 90
    assert fetched.counts[1] <= 11


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_field_of_many_lines_and_more_than_128_kib_is_read(delimiter: str, fetch: Fetch) -> None:
    lines = rows(0, 400)
    lines[3] = 'port/ship0003,3,"' + 'a sentence; with ""quotes"",\tand more\n' * 6000 + '"'
    text = csv_of(*lines) if delimiter == "," else csv_of(*lines).replace(",", delimiter)

    fetched = fetch("ships.csv", text)

    assert fetched.counts == (400, 0)
    assert fetched.values("stars") == list(range(400))


def test_a_file_of_which_most_records_are_refused_is_refused(refuse: Callable[..., Ended]) -> None:
    ended = refuse("ships.csv", csv_of(*rows(0, 4), *(f"port/ship{i:04},many,cargo" for i in range(4, 9))))

    assert "5 of 9" in ended.error or "5" in ended.error
    assert "many" in ended.error


def test_half_of_the_records_may_be_refused(fetch: Fetch) -> None:
    assert fetch("ships.csv", csv_of(*rows(0, 4), *(f"port/ship{i:04},many,cargo" for i in range(4, 8)))).counts == (
        4,
        4,
    )


# Optional fields of unexpected shape


@pytest.mark.parametrize(
    ("field", "key", "value", "stored"),
    [
        ("languages", "languages", {"Go": 12, "C": 3, "Awk": 1}, 3),
        ("languages", "languages", [{"size": 9, "node": {"name": "Go"}}], 1),
        ("languages", "languages", [], 0),
        ("contributors", "contributors", [{"login": "ada"}, {"login": "bob"}], 2),
        ("contributors", "contributors", "12", 12),
        ("contributors", "contributors", 12.0, 12),
        ("forks", "forks_count", "7", 7),
        ("is_archived", "archived", "true", 1),
        ("is_archived", "archived", "False", 0),
        ("is_archived", "archived", 1, 1),
        ("pull_requests", "pullRequests", 4, 4),
        ("closed_issues", "closedIssues", "5", 5),
        ("mentionable_users", "mentionableUsers", {"totalCount": 6}, 6),
    ],
)
def test_another_shape_of_an_optional_field_is_understood(
    field: str, key: str, value: Any, stored: Any, fetch: Fetch
) -> None:
    fetched = fetch("one.json", [{"full_name": "oak/leaf", "stargazers_count": 8, key: value}])

    assert (fetched.values("stars"), fetched.values(field)) == ([8], [stored])
    assert fetched.cleared == {}


UNUSABLE = [
    ("contributors", "contributors", 60.6),
    ("contributors", "contributors", "a few"),
    ("contributors", "contributors", {"a": {"b": 1}}),
    ("forks", "forks_count", -4),
    ("forks", "forks_count", 10**30),
    ("is_archived", "archived", "maybe"),
    ("is_fork", "fork", {"id": 3}),
    ("created_at", "created_at", "a while ago"),
    ("created_at", "created_at", "2999-01-01T00:00:00Z"),
    ("created_at", "created_at", ["2015"]),
    ("size_kb", "size", "12 kB"),
    ("license", "license", [1, 2]),
    ("id", "id", "seven"),
]


@pytest.mark.parametrize(("field", "key", "value"), UNUSABLE)
def test_an_unusable_optional_value_is_missing_and_counted(field: str, key: str, value: Any, fetch: Fetch) -> None:
    fetched = fetch(
        "two.json", [{"full_name": "oak/leaf", "stars": 8, key: value}, {"full_name": "oak/tree", "stars": 9}]
    )

    assert fetched.counts == (2, 0)
    assert fetched.values("stars") == [8, 9]
    assert fetched.values(field)[0] is None
    assert fetched.cleared.get(field, 0) <= 1


@pytest.mark.parametrize(
    ("field", "key", "value"), [case for case in UNUSABLE if isinstance(case[2], (str, int, float))]
)
def test_the_same_values_in_a_table_are_missing_and_counted(field: str, key: str, value: Any, fetch: Fetch) -> None:
    fetched = fetch("two.csv", f"full_name,stars,{key}\noak/leaf,8,{value}\noak/tree,9,\n")

    assert fetched.counts == (2, 0)
    assert fetched.values(field)[0] is None or field in ("language", "id")


def test_cleared_values_are_counted_by_file_field_and_reason_with_an_example(
    fetch: Fetch, tmp_path: Path, run: Run
) -> None:
    lines = [f"oak/leaf{i},8,{'few' if i < 30 else i},{'2015-02-31' if i == 3 else '2015-02-03'}" for i in range(100)]

    fetched = fetch("leaves.csv", csv_of(*lines, header="full_name,stars,contributors,created_at"))

    assert fetched.counts == (100, 0)
    assert fetched.cleared == {"contributors": 30, "created_at": 1}
    (item,) = (item for item in fetched.summary["cleared"] if item["field"] == "contributors")
    assert (item["file"], item["count"]) == ("leaves.csv", 30)
    assert "few" in item["example"]
    text = run("fetch", "--from", "leaves.csv").out
    assert "contributors" in text
    assert "30" in text


@pytest.mark.parametrize("record", [{"stars": 5}, {"full_name": "oak/leaf"}, {"full_name": "no name", "stars": 5}])
@pytest.mark.parametrize("stars", [None, "many", -1, 2.5])
def test_a_record_without_name_or_stars_is_refused(record: Mapping[str, Any], stars: Any, fetch: Fetch) -> None:
    wrong = {**record, "stars": stars} if "stars" not in record else dict(record)

    fetched = fetch("some.json", [wrong, *({"full_name": f"oak/tree{i}", "stars": i} for i in range(3))])

    assert fetched.counts == (3, 1)


# Nested values in tables


def nested_items() -> list[dict[str, Any]]:
    """Return items of a search, as Python has them after `response.json()["items"]`."""
    owner = {"login": "glen", "id": 3, "type": "User"}
    license_ = {"key": "gpl-3.0", "name": "GNU General Public License v3.0", "spdx_id": "GPL-3.0"}
    common = {"fork": False, "topics": ["peat"], "owner": owner}
    return [
        {
            **common,
            "full_name": "glen/moor",
            "stargazers_count": 60,
            "homepage": "https://moor.example",
            "mirror_url": None,
            "license": license_,
        },
        {
            **common,
            "full_name": "glen/tarn",
            "stargazers_count": 50,
            "homepage": None,
            "mirror_url": "git://x.example/t.git",
            "license": None,
        },
    ]


def as_csv(frame: pd.DataFrame) -> bytes:
    return frame.to_csv(index=False).encode()


def as_parquet(frame: pd.DataFrame) -> bytes:
    stream = io.BytesIO()
    frame.to_parquet(stream)
    return stream.getvalue()


def as_json_cells(frame: pd.DataFrame) -> bytes:
    """Return a CSV whose objects and lists are JSON."""
    cells = frame.map(lambda value: json.dumps(value) if isinstance(value, (dict, list)) else value)
    return cells.to_csv(index=False).encode()


@pytest.mark.parametrize("form", [as_csv, as_parquet, as_json_cells])
@pytest.mark.parametrize("separator", ["", ".", "_"])
def test_nested_values_of_a_table_are_read_as_in_json(
    form: Callable[[pd.DataFrame], bytes], separator: str, fetch: Fetch
) -> None:
    items = nested_items()
    frame = pd.json_normalize(items, sep=separator) if separator else pd.DataFrame(items)

    fetched = fetch("items.parquet" if form is as_parquet else "items.csv", form(frame))

    assert fetched.values("license") == ["gpl-3.0", None]
    assert fetched.values("owner_type") == ["User", "User"]
    assert fetched.values("has_homepage") == [1, 0]
    assert fetched.values("is_mirror") == [0, 1]
    assert fetched.values("topics") == [["peat"], ["peat"]]


@pytest.mark.parametrize("name", ["items.csv", "items.json"])
def test_objects_of_powershell_are_read(name: str, fetch: Fetch) -> None:
    """`Export-Csv` writes objects in this way, and `ConvertTo-Json` those below its second level."""
    item = {
        "full_name": "glen/moor",
        "stargazers_count": 60,
        "owner": "@{login=glen; id=3; type=Organization; site_admin=False; gravatar_id=}",
        "license": "@{key=gpl-3.0; name=GNU General Public License v3.0; url=https://x.example/?a=b}",
    }
    items = [item, {**item, "full_name": "glen/tarn", "license": ""}]

    fetched = fetch(name, pd.DataFrame(items).to_csv(index=False) if name.endswith("csv") else {"items": items})

    assert fetched.values("license") == ["gpl-3.0", None]
    assert fetched.values("owner_type") == ["Organization"] * 2


@pytest.mark.parametrize("cell", ["System.Object[]", "[object Object],[object Object]", "@{name=peat}"])
def test_a_type_in_place_of_topics_is_missing_and_counted(cell: str, fetch: Fetch) -> None:
    text = csv_of(f'glen/moor,6,"{cell}"', "glen/tarn,5,peat moss", header="full_name,stars,topics")

    fetched = fetch("glen.csv", text)

    assert (fetched.values("topics"), fetched.cleared) == ([None, ["peat", "moss"]], {"topics": 1})


@pytest.mark.parametrize(
    "cell",
    [
        "{'key': 'mit'",
        "__import__('os').getcwd()",
        "[" * 3000,
        "{'key': open('x')}",
        "{'key': 'mit'} and more",
        "{1: 2}",
    ],
)
def test_a_cell_that_only_looks_like_an_object_is_never_run(cell: str, fetch: Fetch) -> None:
    frame = pd.DataFrame(
        {"full_name": ["glen/moor", "glen/tarn"], "stars": [1, 2], "license": [cell, "{'key': 'mit'}"]}
    )

    fetched = fetch("cells.csv", as_csv(frame))

    assert fetched.values("stars") == [1, 2]
    assert fetched.values("license")[1] == "mit"
    assert fetched.values("license")[0] in ("other", None)


def test_unused_columns_are_listed_with_the_field_that_each_resembles(tmp_path: Path, run: Run) -> None:
    write(tmp_path, "x.csv", "full_name,stars,num_forks,contributor_count,color\na/b,1,2,3,red\n", "")

    text = run("fetch", "--from", "x.csv").out

    for word in ("num_forks", "forks", "contributor_count", "contributors", "color"):
        assert word in text


def test_an_unused_column_without_a_name_is_listed(tmp_path: Path, run: Run) -> None:
    """Row numbers of R and pandas have no name; the list had nothing in their place."""
    write(tmp_path, "x.csv", '"","full_name","stars","color"\n1,a/b,1,red\n', "")

    assert "(no name), color" in run("fetch", "--from", "x.csv").out


def test_a_policy_without_a_feature_of_its_own_is_a_warning(tmp_path: Path, run: Run) -> None:
    write(tmp_path, "x.csv", "full_name,stars,forks,language\n" + "".join(f"a/b{i},{i},2,Go\n" for i in range(5)), "")

    ended = run("fetch", "--from", "x.csv")

    assert "activity" in ended.out + ended.err
    assert ended.code == 0


# Missing values and dates


@pytest.mark.parametrize(
    "spelling",
    ["", "NaN", "nan", r"\N", "null", "NULL", "None", "N/A", "<NA>", "none", "-", "?", "[NULL]", "<null>", "#VALUE!"],
)
def test_a_spelling_of_missing_is_not_a_value(spelling: str, fetch: Fetch) -> None:
    line = f"fen/reed,4,{spelling},{spelling},{spelling},{spelling}"
    text = csv_of(line, "fen/rush,5,7,true,2015-06-07,Go", header="full_name,stars,forks,archived,created_at,language")

    fetched = fetch("fen.csv", text)

    assert fetched.cleared == {}
    for field in ("forks", "is_archived", "created_at", "language"):
        assert fetched.values(field)[0] is None
        assert fetched.values(field)[1] is not None


@pytest.mark.parametrize("spelling", ["NULL", "[NULL]", r"\N", "-", "#REF!"])
def test_a_missing_address_or_description_is_known_to_be_absent(spelling: str, fetch: Fetch) -> None:
    header = "full_name,stars,homepage,mirror_url,license,description,topics"
    text = csv_of(f"fen/reed,4{f',{spelling}' * 5}", "fen/rush,5,https://fen.example,,MIT,- - -,-moss", header=header)

    fetched = fetch("fen.csv", text)

    assert (fetched.values("has_homepage"), fetched.values("is_mirror")) == ([0, 1], [0, 0])
    assert (fetched.values("description"), fetched.values("description_length")) == ([None, "- - -"], [0, 5])
    assert (fetched.values("license")[1], fetched.values("topics")[1]) == ("mit", ["-moss"])
    assert not fetched.values("topics")[0]


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_a_constant_of_python_in_json_is_missing(constant: str, fetch: Fetch) -> None:
    keys = ("mirror_url", "homepage", "language", "forks_count", "license", "created_at", "topics", "owner")
    values = "".join(f', "{key}": {constant}' for key in keys)
    text = f'[{{"full_name": "fen/reed", "stargazers_count": 4{values}}}, {{"full_name": "fen/rush", "stargazers_count": 5}}]'

    fetched = fetch("fen.json", text)

    assert fetched.counts == (2, 0)
    for field in ("is_mirror", "has_homepage", "language", "forks", "license", "created_at", "topics", "owner_type"):
        assert fetched.values(field)[0] is None, field


MOMENT = pd.Timestamp("2017-08-09T10:11:12Z")


@pytest.mark.parametrize(
    "text",
    [
        "2017-08-09T10:11:12Z",
        "2017-08-09 10:11:12",
        "2017-08-09 10:11:12 UTC",
        "2017-08-09 10:11:12.500 UTC",
        "2017-08-09 10:11:12.000000 UTC",
        "2017-08-09T12:11:12+02:00",
        "1502273472",
        "1502273472000",
        "Wed Aug 09 2017 12:11:12 GMT+0200 (Central European Summer Time)",
        "Wed Aug 09 2017 10:11:12 GMT+0000 (Coordinated Universal Time)",
    ],
)
def test_a_form_of_a_date_is_read(text: str, fetch: Fetch) -> None:
    fetched = fetch("fen.csv", f"full_name,stars,created_at\nfen/reed,4,{text}\nfen/rush,5,\n")

    assert fetched.values("created_at") == [MOMENT, None]
    assert fetched.cleared == {}


@pytest.mark.parametrize("number", [1502273472, 1502273472000, 1502273472.0])
def test_a_date_in_json_may_be_a_number(number: float, fetch: Fetch) -> None:
    assert fetch("fen.json", [{"full_name": "fen/reed", "stars": 4, "created_at": number}]).values("created_at") == [
        MOMENT
    ]


@pytest.mark.parametrize(
    "text",
    [
        "0000-00-00",
        "0000-00-00 00:00:00",
        "0001-01-01T00:00:00Z",
        "1970-01-01T00:00:00Z",
        "1970-01-01 00:00:00 UTC",
        "0",
    ],
)
def test_a_date_that_databases_write_for_none_is_missing(text: str, fetch: Fetch) -> None:
    fetched = fetch(
        "fen.csv", f"full_name,stars,created_at,pushed_at\nfen/reed,4,{text},{text}\nfen/rush,5,2015-06-07,2016-06-07\n"
    )

    assert fetched.values("created_at")[0] is None
    assert fetched.values("pushed_at")[0] is None
    assert fetched.cleared == {}


# Thousands


@pytest.mark.parametrize(
    ("texts", "stars"),
    [
        (["1.234.567", "7.000", "950"], [1234567, 7000, 950]),
        (["1,234,567", "7,000", "950"], [1234567, 7000, 950]),
        (["12.345", "7.000", "950"], [12345, 7000, 950]),
        (["12.0", "7.0", "950.0"], [12, 7, 950]),
        (["12.000", "7.00", "950"], [12, 7, 950]),
    ],
)
def test_separators_are_decided_from_all_values_of_the_column(texts: list[str], stars: list[int], fetch: Fetch) -> None:
    lines = [f"hill/top{i};{text}" for i, text in enumerate(texts)]

    assert fetch("hill.csv", csv_of(*lines, header="full_name;stars")).values("stars") == stars


@pytest.mark.parametrize("mark", [".", ","])
def test_an_undecidable_column_is_refused_with_the_key_that_decides(mark: str, refuse: Callable[..., Ended]) -> None:
    ended = refuse("hill.csv", f"full_name;stars\nhill/a;12{mark}000\nhill/b;7{mark}000\nhill/c;950\n")

    assert "stars" in ended.error
    assert "fetch.thousands" in ended.hint


@pytest.mark.parametrize(("key", "stars"), [(".", [12000, 7000, 950]), ("", [12, 7, 950])])
def test_the_key_decides(key: str, stars: list[int], fetch: Fetch) -> None:
    text = "full_name;stars\nhill/a;12.000\nhill/b;7.000\nhill/c;950\n"

    assert fetch("hill.csv", text, f'[fetch]\nthousands = "{key}"\n').values("stars") == stars


# Text


@pytest.mark.parametrize("half", [r"\ud83d", r"\ude00", r"a\ud800b", r"\ud83d\ud83d"])
@pytest.mark.parametrize("key", ["topics", "description", "language", "license", "default_branch", "node_id"])
def test_half_a_character_is_replaced(half: str, key: str, fetch: Fetch) -> None:
    value = f'["ok", "{half}"]' if key == "topics" else f'"{half}"'

    fetched = fetch(
        "half.json",
        f'[{{"full_name": "elm/bark", "stars": 3, "{key}": {value}}}, {{"full_name": "elm/root", "stars": 4}}]',
    )

    assert fetched.counts == (2, 0)


@pytest.mark.parametrize("column", ["stars", "full_name", "forks", "note"])
def test_a_parquet_column_that_is_there_twice_is_named(column: str, tmp_path: Path, run: Run) -> None:
    names = ["full_name", "stars", "forks", "note"]
    arrays = {name: pa.array(["elm/bark"] if name in ("full_name", "note") else [3]) for name in names}
    pq.write_table(
        pa.Table.from_arrays([*arrays.values(), arrays[column]], names=[*names, column]), tmp_path / "twice.parquet"
    )

    ended = run("fetch", "--from", "twice.parquet")

    assert ended.code == (0 if column == "note" else 2)
    assert column == "note" or column in ended.error


# JSON of other forms


@pytest.mark.parametrize(
    "content",
    [
        {"data": [{"full_name": "ash/key", "stars": 3}]},
        {"data": {"full_name": "ash/key", "stars": 3}},
        {"repositories": [{"full_name": "ash/key", "stars": 3}]},
        [{"starred_at": "2020-01-01T00:00:00Z", "repo": {"full_name": "ash/key", "stars": 3}}],
        '{"items": [{"full_name": "ash/key", "stars": 3}]}{"items": []}',
        '[{"full_name": "ash/key", "stars": 3}]\n[]\n',
        '{"full_name": "ash/key", "stars": 3}{"full_name": "ash/key", "stars": 3}',
        'null\n{"full_name": "ash/key", "stars": 3}\n{"full_name": "ash/key", "stars": 3}\n',
        [{"full_name": "ash/key", "stars": "3"}],
        [{"full_name": "ash/key", "stargazers_count": "3", "archived": "false", "size": "5"}],
    ],
)
def test_the_records_are_found(content: Any, fetch: Fetch) -> None:
    fetched = fetch("ash.json", content)

    assert (fetched.values("full_name"), fetched.values("stars")) == (["ash/key"], [3])


def test_a_mapping_applies_to_json_too(fetch: Fetch) -> None:
    content = {"count": 1, "items": [{"title": {"slug": "ash/key"}, "popularity": {"now": 31}, "watching": 4}]}
    config = '[fetch.columns]\nfull_name = "title.slug"\nstars = "popularity.now"\nsubscribers = "watching"\n'

    fetched = fetch("ash.json", content, config)

    assert (fetched.values("full_name"), fetched.values("stars"), fetched.values("subscribers")) == (
        ["ash/key"],
        [31],
        [4],
    )


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"full_name": ["ash/key", "ash/log"], "stargazers_count": 3}, "full_name is a list: not a text"),
        ({"full_name": "ash/key", "stargazers_count": None}, "stars is missing"),
    ],
)
def test_a_key_that_exists_is_not_called_missing(
    record: Mapping[str, Any], reason: str, refuse: Callable[..., Ended]
) -> None:
    """The hint was to map the key to itself."""
    ended = refuse("ash.json", [record, record])

    assert reason in ended.error
    assert "map it" not in ended.error
    assert not any(f'"{key}"' in ended.hint for key in record)


def test_values_that_r_writes_as_lists_are_read(fetch: Fetch) -> None:
    """`jsonlite::write_json` does so with what `gh::gh` returns."""
    record = {
        "full_name": ["ash/key"],
        "stargazers_count": [3],
        "fork": [False],
        "homepage": {},
        "owner": {"login": ["ash"], "type": ["User"]},
        "license": {"key": ["mit"]},
        "topics": [["wing"], ["seed"]],
    }

    fetched = fetch("ash.json", [record, {**record, "full_name": ["ash/log"], "topics": [["oak"]], "license": {}}])

    assert (fetched.values("stars"), fetched.cleared) == ([3, 3], {})
    assert (fetched.values("is_fork"), fetched.values("owner_type")) == ([0, 0], ["User"] * 2)
    assert (fetched.values("license"), fetched.values("topics")) == (["mit", None], [["wing", "seed"], ["oak"]])


def test_the_hint_of_json_with_other_names_is_a_mapping(refuse: Callable[..., Ended]) -> None:
    ended = refuse("ash.json", {"items": [{"name": "ash/key", "stargazers": 31}]})

    assert "[fetch.columns]" in ended.hint


def test_errors_beside_data_are_refused_records_with_githubs_words(fetch: Fetch) -> None:
    message = "Could not resolve to a Repository with the name 'ash/gone'."
    content = {
        "data": {"first": {"nameWithOwner": "ash/key", "stargazerCount": 31}, "second": None},
        "errors": [{"type": "NOT_FOUND", "path": ["second"], "message": message}],
    }

    fetched = fetch("ash.json", content)

    assert fetched.counts == (1, 1)
    assert message in fetched.summary["invalid"][0][2]


# Names


@pytest.mark.parametrize(
    "name",
    [
        "git@github.com:yew/bow.git",
        "ssh://git@github.com/yew/bow",
        "git+https://github.com/yew/bow.git",
        "git://github.com/yew/bow.git",
        "https://github.com/yew/bow/",
        "https://github.com/yew/bow/tree/main/docs",
        "HTTPS://GitHub.com/yew/bow",
        "www.github.com/yew/bow",
        "github.com/yew/bow.git/",
        " yew/bow ",
    ],
)
@pytest.mark.parametrize("name_of_file", ["yew.csv", "yew.json"])
def test_a_name_may_be_any_address_of_the_repository(name: str, name_of_file: str, fetch: Fetch) -> None:
    record = {"full_name": name, "stars": 6}

    fetched = fetch(name_of_file, [record] if name_of_file == "yew.json" else f"full_name,stars\n{name},6\n")

    assert fetched.values("full_name") == ["yew/bow"]


def test_an_address_of_another_host_is_refused(refuse: Callable[..., Ended]) -> None:
    assert "gitlab" in refuse("yew.csv", "full_name,stars\nhttps://gitlab.com/yew/bow,6\n").error


# Preview


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_preview_writes_nothing_and_shows_what_would_happen(options: list[str], tmp_path: Path, run: Run) -> None:
    write(
        tmp_path,
        "x.csv",
        "full_name,stargazers_count,num_forks,contributors\na/b,1,2,few\nc/d,many,2,3\ne/f,2,2,3\n",
        "",
    )

    ended = run("fetch", "--dry-run", "--from", "x.csv", *options)

    assert ended.code == 0, ended.err
    assert not (tmp_path / "store" / "repositories.parquet").exists()
    for word in ("stargazers_count", "num_forks", "contributors", "many"):
        assert word in ended.out
    if options:
        json.loads(ended.out)


# Forms of tables, and hints


@pytest.mark.parametrize(
    "text",
    [
        "sep=;\nfull_name;stars\nhill/top;5\n",
        '"sep=,"\r\nfull_name,stars\r\nhill/top,5\r\n',
        "full_name|stars\nhill/top|5\n",
        "full_name,stars,note\nhill/top,5,a\0b\n" + "hill/top,5,\n" * 20,
    ],
)
def test_a_table_of_excel_or_with_other_delimiters_is_read(text: str, fetch: Fetch) -> None:
    fetched = fetch("hill.csv", text)

    assert (fetched.values("full_name"), fetched.values("stars")) == (["hill/top"], [5])


@pytest.mark.parametrize(
    ("name", "content", "hint"),
    [
        ("hill.yaml", "- full_name: hill/top\n  stars: 5\n", "commas, semicolons"),
        ("hill.csv", "'full_name','stars'\n'hill/top','5'\n", """stars = "'stars'\""""),
        ("hill.json", '[{"full_name": "hill/top", "stars": 5},]', "last value"),
        ("hill.json", "[{'full_name': 'hill/top', 'stars': 5}]", "double quotes"),
        ("hill.json", '[{"full_name": "hill/top", "stars": 5}, {"full_n', "truncated"),
        ("hill.jsonl", '{"message": "Bad credentials", "status": "401"}\n' * 3, "again"),
        ("hill.csv", '"hill/top",5,"Go",true\n"hill/foot",6,,false\n', "names the columns"),
        ("hill.csv", "5;https://github.com/hill/top\n6;https://github.com/hill/foot\n", "names the columns"),
        ("hill.csv", "5;https://api.github.com/repos/hill/top\n6;https://github.com/hill/foot\n", "names the columns"),
        ("hill.csv", '"full_name,stars"\n"hill/top,5"\n', "remove the quotes"),
        ("hill.csv", "Table 1,\nfull_name,stars\nhill/top,5\n", "remove the lines before"),
        ("hill.csv", "version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 9000\n", "git lfs pull"),
    ],
)
def test_the_hint_fits_the_file(name: str, content: str, hint: str, refuse: Callable[..., Ended]) -> None:
    ended = refuse(name, content)

    assert hint in ended.error + ended.hint
    assert 'full_name = "full_name' not in ended.hint


# Objects in place of plain values


@pytest.mark.parametrize(
    "field", ["created_at", "forks_count", "archived", "contributors", "size", "open_issues", "description"]
)
def test_an_object_in_place_of_a_value_is_missing_and_counted(field: str, fetch: Fetch) -> None:
    records = [
        {"full_name": "port/one", "stargazers_count": 3, field: {"seen": 4, "by": "us"}},
        {"full_name": "port/two", "stargazers_count": 4, field: {}},
        {"full_name": "port/six", "stargazers_count": 5, field: None},
    ]

    fetched = fetch("objects.json", records)

    assert fetched.counts == (3, 0)
    assert sum(fetched.cleared.values()) == 1


def test_an_object_of_which_another_field_is_read_is_not_counted(fetch: Fetch) -> None:
    record = {"nameWithOwner": "port/one", "stargazerCount": 3, "watchers": {"totalCount": 7}, "forks": {"nodes": []}}

    fetched = fetch("graph.json", [record])

    assert fetched.values("subscribers") == [7]
    assert fetched.cleared == {}


def test_dates_and_numbers_of_mongodb_are_read(fetch: Fetch) -> None:
    lines = [
        '{"_id": {"$oid": "5f1"}, "full_name": "port/one", "stars": 3, "created_at": {"$date": "2018-03-04T05:06:07Z"}}',
        '{"full_name": "port/two", "stars": {"$numberLong": "4"}, "created_at": {"$date": {"$numberLong": "1520139967000"}}}',
    ]

    fetched = fetch("dump.json", "\n".join(lines))

    assert fetched.values("stars") == [3, 4]
    assert fetched.values("created_at") == [pd.Timestamp("2018-03-04 05:06:07+00:00")] * 2
    assert fetched.cleared == {}


# Beginnings of files, and hints


@pytest.mark.parametrize("begin", ["\n\n", "\r\n", "\ufeff\n", "\nsep=,\n", "sep=,\n\n"])
def test_empty_lines_before_the_names_of_the_columns_are_skipped(begin: str, fetch: Fetch) -> None:
    assert fetch("late.csv", begin + csv_of(*rows(0, 3))).counts == (3, 0)


@pytest.mark.parametrize("header", ['"full_name,stars,note', 'full_name,stars,"note'])
def test_a_quote_that_the_first_line_leaves_open_is_named(header: str, refuse: Callable[..., Ended]) -> None:
    ended = refuse("open.csv", csv_of(*rows(0, 60), header=header))

    assert "a quote in the first line is not closed" in ended.err
    assert "close the quote" in ended.err


def test_a_column_without_a_name_is_what_the_hint_speaks_of(refuse: Callable[..., Ended]) -> None:
    """R's write.table has a column for the row names, and no name for it."""
    lines = [f'"{i}","port/ship{i}",{i}' for i in range(9)]

    assert "name every column in the first line" in refuse("r.csv", csv_of(*lines, header="full_name,stars")).err


def test_the_hint_prefers_a_column_of_addresses_to_one_of_bare_names(refuse: Callable[..., Ended]) -> None:
    text = csv_of("ship,https://github.com/port/ship,4", header="Name,URL,Stars")

    assert 'full_name = "URL", stars = "Stars"' in refuse("list.csv", text).err


def test_lines_of_joined_files_may_begin_with_a_byte_order_mark(fetch: Fetch) -> None:
    lines = [f'\ufeff{{"full_name": "port/ship{i}", "stars": {i}}}\n' for i in range(3)]

    assert fetch("joined.jsonl", "".join(lines)).counts == (3, 0)


def test_the_hint_names_the_columns_of_owner_and_name(refuse: Callable[..., Ended]) -> None:
    text = csv_of("port,ship,4", header="Owner,Repo,Stars")

    assert '(or owner = "Owner" and name = "Repo")' in refuse("parts.csv", text).err


def test_the_parts_of_a_name_have_no_spaces_around_them(fetch: Fetch) -> None:
    fetched = fetch("spaced.csv", csv_of("port, ship ,4", " port , boat,5", header="owner,name,stars"))

    assert fetched.values("full_name") == ["port/boat", "port/ship"]


def test_separators_within_quotes_of_the_first_line_do_not_count(fetch: Fetch) -> None:
    text = csv_of("port/ship;4;7", header='full_name;stars;"forks, of all, by us, and others"')

    assert fetch("semicolons.csv", text).values("stars") == [4]


def test_topics_of_databases_and_of_r_are_lists(fetch: Fetch) -> None:
    lines = [
        'a/one,1,"{cli,tool}"',
        "a/two,2,{}",
        'b/one,3,"c(""cli"", ""tool"")"',
        "b/two,4,character(0)",
        "c/one,5,cli tool",
    ]

    fetched = fetch("topics.csv", csv_of(*lines, header="full_name,stars,topics"))

    assert fetched.values("topics") == [["cli", "tool"], [], ["cli", "tool"], [], ["cli", "tool"]]
    assert fetched.values("topic_count") == [2, 0, 2, 0, 2]


def test_units_of_sizes_are_not_those_of_counts(fetch: Fetch) -> None:
    """12K is 12 kB in a column of kilobytes, and 12,000 in a column of counts."""
    fetched = fetch("sizes.csv", csv_of("a/one,1,12K,12K", "b/two,2,700,5", header="full_name,stars,size,forks"))

    assert fetched.values("size_kb") == [None, 700]
    assert fetched.values("forks") == [12_000, 5]
    assert fetched.cleared == {"size_kb": 1}


@pytest.mark.parametrize("around", ["\ufeff\ufeff", "\u200b", "\N{NO-BREAK SPACE}"])
def test_spaces_that_cannot_be_seen_do_not_change_the_name_of_a_column(around: str, fetch: Fetch) -> None:
    assert fetch("invisible.csv", csv_of(*rows(0, 3), header=f"{around}full_name,stars,note")).counts == (3, 0)


def test_texts_of_json_may_have_unescaped_line_breaks(fetch: Fetch) -> None:
    text = '[{"full_name": "a/one", "stars": 1, "description": "two\nlines\tand a tab"}]'

    assert fetch("raw.json", text).values("description") == ["two\nlines\tand a tab"]


def test_row_numbers_of_two_tables_are_no_ids_of_repositories(tmp_path: Path, run: Run) -> None:
    for owner in ("oak", "elm"):
        lines = [f"{i},{owner}/leaf{i},{i}" for i in range(1, 31)]
        write(tmp_path, f"{owner}.csv", csv_of(*lines, header="id,full_name,stars"), "")

    summary = json.loads(run("fetch", "--json", "--from", "oak.csv", "elm.csv").out)

    assert (summary["repositories"], summary["duplicates"]) == (60, 0)
    assert [(item["file"], item["field"], item["count"]) for item in summary["cleared"]] == [
        ("oak.csv", "id", 30),
        ("elm.csv", "id", 30),
    ]


def test_a_number_that_many_names_share_is_no_id_of_a_repository(fetch: Fetch) -> None:
    """A column `id` of a list or a category made one repository of all of its rows."""
    rows = [f"{7 + i % 3},fen/reed{i},{i}" for i in range(30)]

    fetched = fetch("fen.csv", csv_of(*rows, header="id,full_name,stars"))

    assert (len(fetched.table), fetched.counts, fetched.cleared) == (30, (30, 0), {"id": 30})


def test_ids_of_github_are_kept_and_join_renamed_repositories(fetch: Fetch) -> None:
    lines = [f"{i * i + 7},oak/leaf{i},{i}" for i in range(20)]

    fetched = fetch("leaves.csv", csv_of(*lines, "7,elm/leaf0,9", header="id,full_name,stars"))

    assert fetched.cleared == {}
    assert len(fetched.table) == 20
