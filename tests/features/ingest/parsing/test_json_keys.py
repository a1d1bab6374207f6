"""JSON is mapped like a table: wrong paths, missing fields and unused keys are named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stargaze.errors import BadDataError, ConfigError
from stargaze.features.ingest.field_mapping import map_record
from stargaze.features.ingest.parsing.json_keys import KeyUse
from tests.conftest import Ended
from tests.features.ingest.parsing.conftest import Fetched

RECORDS: list[dict[str, Any]] = [
    {
        "slug": "fir/one",
        "score": {"stars": 8, "forks": 2},
        "langs": {"Zig": 1, "C": 2},
        "lic": {"key": "isc"},
        "issues": 5,
    },
    {"slug": "fir/two", "score": {"stars": "9"}, "langs": ["Zig"], "lic": None, "issues": 6},
]
MAPPING = """full_name = "slug"
stars = "score.stars"
forks = "score.forks"
languages = "langs"
license = "lic"
open_issues = "issues"
"""


def test_paths_of_json_are_mapped(fetch: Callable[..., Fetched]) -> None:
    fetched = fetch("own.json", json.dumps(RECORDS), MAPPING)

    assert fetched.values("stars") == [8, 9]
    assert fetched.values("forks") == [2, None]
    assert fetched.values("languages") == [2, 1]
    assert fetched.values("license") == ["isc", None]


def test_a_mapped_key_is_not_read_for_the_field_of_its_name(fetch: Callable[..., Fetched]) -> None:
    fetched = fetch("own.json", json.dumps(RECORDS), MAPPING)

    assert fetched.values("open_issues") == [5, 6]
    assert fetched.values("issues") == [None, None]


def test_the_name_is_joined_from_mapped_parts(fetch: Callable[..., Fetched]) -> None:
    record = {"by": {"login": "fir"}, "title": "one", "n": 3}

    fetched = fetch("own.jsonl", json.dumps(record), 'owner = "by.login"\nname = "title"\nstars = "n"')

    assert fetched.values("full_name") == ["fir/one"]


@pytest.mark.parametrize("line", ['stars = "score.starz"', 'stars = "score.stars"\nlicense = "lic.kez"'])
def test_a_path_that_no_record_has_is_a_mistake_in_the_config(line: str, fetch: Callable[..., Fetched]) -> None:
    fetched = fetch("own.json", json.dumps(RECORDS), f'full_name = "slug"\n{line}')

    assert fetched.ended.code == 2
    assert "own.json has no key" in fetched.ended.err
    assert fetched.table.empty


def test_a_path_with_a_typing_error_has_a_suggestion() -> None:
    keys = KeyUse("f.json", {"stars": "score.starz"})
    for record in RECORDS:
        keys.add(record, {"full_name": "fir/one"})

    with pytest.raises(ConfigError) as caught:
        keys.check()

    assert caught.value.message == "fetch.columns.stars: f.json has no key 'score.starz'"
    assert caught.value.hint == "Did you mean score.stars?"


def test_a_path_below_null_exists() -> None:
    keys = KeyUse("f.json", {"license": "lic.key"})
    keys.add({"full_name": "a/b", "stars": 1, "lic": None}, {"full_name": "a/b", "stars": 1})

    keys.check()


def test_records_without_name_and_stars_are_explained_with_a_mapping(fetch: Callable[..., Fetched]) -> None:
    fetched = fetch(
        "own.json", json.dumps([{"repo_name": "fir/one", "star_count": 8}, {"repo_name": "fir/two", "star_count": 8}])
    )

    assert fetched.ended.code != 0
    assert "own.json: no key for full_name and stars; its records have repo_name, star_count" in fetched.ended.err
    assert '[fetch.columns] full_name = "repo_name", stars = "star_count"' in fetched.ended.hint


@pytest.mark.parametrize(
    ("record", "suggestion"),
    [
        ({"repo_name": "fir/one", "stars": 8}, 'full_name = "repo_name"'),
        ({"full_name": "fir/one", "star_count": 8}, 'stars = "star_count"'),
    ],
)
def test_a_single_record_is_explained_too(
    record: dict[str, Any], suggestion: str, fetch: Callable[..., Fetched]
) -> None:
    fetched = fetch("own.json", json.dumps(record))

    assert fetched.ended.code != 0
    assert suggestion in fetched.ended.err


def test_a_path_that_a_single_record_lacks_must_be_in_another_file(run: Callable[..., Ended], tmp_path: Path) -> None:
    (tmp_path / "stargaze.toml").write_text('[fetch.columns]\nforks = "score.forks"\n')
    for i, score in enumerate([{"forks": 3}, {}, {"fork": 4}]):
        record = {"full_name": f"fir/r{i}", "stars": 1, "score": score}
        (tmp_path / f"{i}.json").write_text(json.dumps(record))

    assert run("fetch", "--from", "0.json", "1.json", "2.json").code == 0
    ended = run("fetch", "--from", "1.json", "2.json")
    assert ended.code == 2
    assert "fetch.columns.forks: 1.json has no key 'score.forks'" in ended.err
    assert run("fetch", "--from", "2.json").hint == "Did you mean score.fork?"


def test_an_answer_without_a_repository_is_tolerated_among_others() -> None:
    keys = KeyUse("f.json", {"license": "lic.key"})
    keys.add({"message": "Not Found"}, {})

    keys.check()


def test_the_source_of_each_field_and_unused_keys_are_described() -> None:
    record = {
        "full_name": "a/b",
        "stargazers_count": 1,
        "owner": {"type": "User"},
        "num_forks": 3,
        "team": "red",
        "stars_per_day": 2,
    }
    keys = KeyUse("f.json", {})
    keys.add(record, map_record(record))

    use = keys.describe()

    assert use.fields == {"full_name": "full_name", "stars": "stargazers_count", "owner_type": "owner.type"}
    assert use.unused == (("num_forks", "forks"),)


def test_the_key_inside_of_an_object_is_suggested(fetch: Callable[..., Fetched]) -> None:
    fetched = fetch("own.json", json.dumps([{"full_name": "fir/one", "stars": {"count": 3}}]))

    assert 'stars is missing; map it: stars = "stars.count"' in fetched.ended.err


def test_keys_of_github_without_a_value_are_not_unused(fetch: Callable[..., Fetched]) -> None:
    record = {"full_name": "fir/one", "stars": 3, "languages": None, "owner": {"login": "fir"}, "license": None}

    assert "unused" not in fetch("own.json", json.dumps([record])).ended.out


def test_half_a_character_in_a_key_does_not_stop_the_summary(fetch: Callable[..., Fetched]) -> None:
    fetched = fetch("own.json", '[{"full_name": "fir/one", "stars": 3, "fork_count\\ud800": 3, "num_forks": 1}]')

    assert fetched.ended.code == 0
    assert "num_forks" in fetched.ended.out


def test_thousands_of_different_keys_are_not_remembered() -> None:
    keys = KeyUse("f.json", {})
    for i in range(5000):
        keys.add({f"key {i}": 1}, {})

    with pytest.raises(BadDataError) as caught:
        keys.check()

    assert len(caught.value.message) < 2000


def test_fields_are_described_in_the_order_in_which_they_were_read() -> None:
    """Two previews of one file are equal."""
    names = ["id", "full_name", "stars", "forks", "size_kb", "language", "license", "created_at"]
    keys = KeyUse("f.json", {})

    keys.add(dict.fromkeys(names, 1), dict.fromkeys(names, 1))
    keys.add({"commits": 8, "id": 2}, {"commits": 8, "id": 2})

    assert list(keys.describe().fields) == [*names, "commits"]


def test_the_hint_has_the_paths_of_the_record_as_it_is(fetch: Callable[..., Fetched]) -> None:
    """The address was named as `url`, and the stars beside the object were not found."""
    record = {"name": "fir", "repository": {"type": "git", "url": "git+https://github.com/fir/one.git"}, "stars": 3}

    ended = fetch("own.json", json.dumps([record, record])).ended
    mapped = fetch("own.json", json.dumps([record]), 'full_name = "repository.url"')

    assert 'full_name = "repository.url"' in ended.err
    assert mapped.values("stars") == [3]
