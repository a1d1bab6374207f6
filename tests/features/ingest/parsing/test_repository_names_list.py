"""A file of names: one per line, with comments, as names or URLs; anything else is refused with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from stargaze.errors import BadDataError, MissingInputError, StargazeError
from stargaze.features.ingest.parsing import repository_names
from stargaze.features.ingest.parsing.repository_names import read_name_list

TEXT = """\ufeff# test repositories
pallets/flask
https://github.com/psf/requests#readme   # with a fragment

- [N1](https://github.com/nylas/N1)
* git@github.com:bevacqua/dragula.git,
\t"PALLETS/Flask"
"""


def test_each_name_is_read_once_in_lower_case_and_in_order(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text(TEXT, encoding="utf-8")

    assert read_name_list(path) == ("bevacqua/dragula", "nylas/n1", "pallets/flask", "psf/requests")


def test_lines_of_windows_and_without_an_end_are_read(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_bytes(b"a/b\r\n#x\r\n\r\nc/d")

    assert read_name_list(path) == ("a/b", "c/d")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a/b\nfull_name,stars\n", "names.txt, line 2: 'full_name,stars' is not the name of a repository"),
        (b"a/b\n\nhttps://gitlab.com/a/b\n", "names.txt, line 3: 'https://gitlab.com/a/b' is not on github.com"),
        (b"a/b c/d\n", "names.txt, line 1: 'a/b c/d' is not the name of a repository"),
        (b"x" * 3_000, "names.txt, line 1: 'xxxx"),
        (b"# only a comment\n", "names.txt: contains no name"),
        (b"", "names.txt: contains no name"),
        (b"a/b\n\xff\xfe\n", "names.txt: is not a text in UTF-8"),
        (b"PAR1\0\0\0", "names.txt, line 1: "),
    ],
)
def test_a_file_of_something_else_is_refused_in_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "names.txt"
    path.write_bytes(content)
    with pytest.raises(BadDataError) as caught:
        read_name_list(path)

    assert message in caught.value.message
    assert len(caught.value.message) < 400
    assert "\n" not in caught.value.message
    assert caught.value.hint


def test_a_comment_may_be_longer_than_a_line_that_is_read(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    long = "words of a comment " * 200
    path.write_text(f"# {long}\na/b # {long}\n{'-' * 3_000}# {long}\n")
    with pytest.raises(BadDataError, match=r"names\.txt, line 3: "):
        read_name_list(path)
    path.write_text(f"# {long}\n{' ' * 990}name/of-a-repository\n")
    with pytest.raises(BadDataError, match=r"names\.txt, line 2: "):
        read_name_list(path)
    path.write_text(f"# {long}\na/b # {long}\nc/d")

    assert read_name_list(path) == ("a/b", "c/d")


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match=r"none\.txt: no such file"):
        read_name_list(tmp_path / "none.txt")
    with pytest.raises(StargazeError, match="cannot be read"):
        read_name_list(tmp_path)


def test_the_number_of_names_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repository_names, "MAX_LISTED", 2)
    path = tmp_path / "names.txt"
    path.write_text("a/b\nA/B\nc/d\n")

    assert len(read_name_list(path)) == 2
    path.write_text("a/b\nc/d\ne/f\n")
    with pytest.raises(BadDataError, match="more than 2 names"):
        read_name_list(path)
