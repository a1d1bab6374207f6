"""Names of repositories: one parser for user input, options and files."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargaze.cli import main
from stargaze.errors import BadDataError
from stargaze.features.ingest.parsing.repository_names import FULL_NAME, parse_name, parse_names


@pytest.mark.parametrize(
    "text",
    [
        *("pallets/flask", " pallets/flask\n", "https://github.com/pallets/flask", "http://github.com/pallets/flask/"),
        *("github.com/pallets/flask", "www.github.com/pallets/flask", "HTTPS://GitHub.com/pallets/flask"),
        *("https://github.com/pallets/flask.git", "https://github.com/pallets/flask/issues?q=is%3Aopen#top"),
        *("https://github.com/pallets/flask#readme", "https://github.com/pallets/flask/tree/main/src/flask"),
        *("https://github.com/pallets/flask?tab=readme-ov-file#contributing", "https://github.com//pallets/flask//"),
        *("https://github.com/pallets/flask/blob/main/a.git", "https://github.com/pallets/flask.git/?x=a/b"),
        *(
            "git@github.com:pallets/flask.git",
            "ssh://git@github.com/pallets/flask.git",
            "git://github.com/pallets/flask",
        ),
        *(
            "ssh://git@ssh.github.com:443/pallets/flask.git",
            "git+ssh://git@github.com/pallets/flask",
            "github:pallets/flask",
        ),
        *("org-12@github.com:pallets/flask.git", "https://user:secret@github.com/pallets/flask.git"),
        *("pallets/flask/", "pallets/flask.git", "pallets/flask.git/", "pallets/flask#readme", "pallets/flask/?tab=x"),
        *(
            "<https://github.com/pallets/flask>",
            "'pallets/flask',",
            '"pallets/flask"',
            "(pallets/flask);",
            "“pallets/flask”",
        ),
        *("pallets/flask@v3.1", "pallets/flask@main,", "https://api.github.com/repos/pallets/flask/issues"),
        *(
            "https://raw.githubusercontent.com/pallets/flask/main/README.md",
            "codeload.github.com/pallets/flask/zip/main",
        ),
        *("/pallets/flask", "//github.com/pallets/flask", "[pallets/flask]"),
        *("[Flask](https://github.com/pallets/flask)", " [](github.com/pallets/flask/issues) "),
    ],
)
def test_a_name_is_parsed_from_names_and_urls(text: str) -> None:
    assert parse_name(text) == "pallets/flask"


@pytest.mark.parametrize(
    "text", ["git@github.com:42/07.git", "ssh://git@github.com:22/42/07", "42/07", "github.com/42/07"]
)
def test_an_owner_of_digits_is_no_port(text: str) -> None:
    assert parse_name(text) == "42/07"


@pytest.mark.parametrize("text", ["a/b.github.io", "https://github.com/a/.github", "https://github.com/a/b..c", "a/b."])
def test_dots_in_a_name_are_kept(text: str) -> None:
    assert parse_name(text) == text.removeprefix("https://github.com/")


@pytest.mark.parametrize(
    "text",
    [
        *("https://gitlab.com/a/b", "gitlab.com/a/b", "git@gitlab.com:a/b.git", "https://gist.github.com/a/b"),
        *("https://github.com.evil.org/a/b", "https://github.com@evil.org/a/b", "ssh://git@evil.org/a/b"),
    ],
)
def test_another_host_is_named_as_the_reason(text: str) -> None:
    with pytest.raises(BadDataError, match=r"is not on github\.com"):
        parse_name(text)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            " ",
            "/",
            "flask",
            "a/b/c",
            "../etc",
            "../../etc/passwd",
            "a/.",
            "a /b",
            "a%2Fb",
            "a/..",
            "a/b\0",
            "a b/c",
            "<script>/x",
            "ä/ö",
        ),
        *(
            "a/.",
            "a /b",
            "a%2Fb",
            "https://gitlab.com/a/b",
            "https://github.com.evil.org/a/b",
            "https://evil.org/github.com/a/b",
        ),
        *("https://github.com@evil.org/a/b", "ftp://github.com/a/b", "file:///etc/passwd", "javascript://x/%0a"),
        *("https://github.com", "https://github.com/pallets", "https://github.com/../../etc", "github.com/a"),
        *("https://github.com/topics/python", "https://github.com/orgs/pallets/repositories", "//evil.org/a/b"),
        *("a" * 40 + "/b", "a" * 40 + "_b/c", "a/" + "b" * 101),
        *("a" * 10_000, "a/" + "b" * 10_000, "https://github.com/a/" + "b" * 10_000, "\x1b[2J/x", "a/b\u202e"),
    ],
)
def test_anything_else_is_an_error_of_one_short_line_with_an_example(text: str) -> None:
    with pytest.raises(BadDataError) as caught:
        parse_name(text)

    assert len(caught.value.message) < 200
    assert caught.value.message.isprintable()
    assert caught.value.hint == "use owner/name, e.g. pallets/flask"


@given(st.text(max_size=40) | st.from_regex(r"(https?://)?(github\.com/)?[a-z./?#-]{0,20}", fullmatch=True))
def test_any_text_is_a_possible_name_on_github_or_rejected(text: str) -> None:
    try:
        name = parse_name(text)
    except BadDataError:
        return
    assert FULL_NAME.fullmatch(name)
    assert parse_name(name) == name


@pytest.mark.parametrize(
    "name", ["pallets/flask", "a/b", "0-0/.github", "Some-One/x_y.z-1", "octo_corp/tool", "a" * 39 + "/" + "b" * 100]
)
def test_a_valid_name_is_returned(name: str) -> None:
    assert parse_name(name) == name


def test_the_names_of_a_column_are_parsed_and_missing_ones_stay_missing() -> None:
    texts = ["a/b", None, "github.com/c/d/", "e/f.GIT", "nothing", "https://codeberg.org/g/h", "nothing"]

    names, problems = parse_names(pd.Series(texts, dtype="str"))

    assert names.isna().tolist() == [False, True, *[False] * 5]
    assert names[[0, 2, 3]].tolist() == ["a/b", "c/d", "e/f"]
    assert {reason: mask.nonzero()[0].tolist() for mask, reason in problems} == {
        "not the name of a repository": [4, 6],
        "not on github.com": [5],
    }


ADDRESSES = {
    "git@github.com:kim/one.git": "kim/one",
    "ssh://git@github.com/kim/two": "kim/two",
    "git+https://github.com/kim/three.git": "kim/three",
    "https://github.com/kim/four/tree/main": "kim/four",
    "HTTPS://WWW.GitHub.com/kim/five/": "kim/five",
    "github:kim/six": "kim/six",
    "kim/seven.git": "kim/seven",
}


@pytest.mark.parametrize("kind", ["csv", "json", "parquet"])
def test_fetch_reads_clone_urls_in_every_format(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"list.{kind}"
    rows = pd.DataFrame({"full_name": [*ADDRESSES, "git@gitlab.com:kim/x.git"], "stars": range(len(ADDRESSES) + 1)})
    write = {"csv": rows.to_csv, "parquet": rows.to_parquet}.get(
        kind, lambda path, **_: rows.to_json(path, orient="records")
    )
    write(path, index=False)

    with pytest.raises(SystemExit) as ended:
        main(["fetch", "--from", str(path), "--store", str(tmp_path / "store")])

    assert ended.value.code == 0
    stored = pd.read_parquet(tmp_path / "store" / "repositories.parquet")
    assert set(stored["full_name"]) == set(ADDRESSES.values())


def test_a_name_of_another_host_is_refused_with_the_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "list.csv"
    path.write_text("full_name,stars\nkim/a,1\nkim/b,2\nhttps://bitbucket.org/kim/c,3\n", encoding="utf-8")

    with pytest.raises(SystemExit):
        main(["fetch", "--from", str(path), "--json", "--store", str(tmp_path / "store")])

    printed = json.loads(capsys.readouterr().out)
    assert "full_name is 'https://bitbucket.org/kim/c': not on github.com" in json.dumps(printed)
