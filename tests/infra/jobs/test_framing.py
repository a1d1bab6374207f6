"""Answers between other lines: only those to this request and about this job are read."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest

from stargaze.errors import ExternalError
from stargaze.infra.jobs.framing import AnswerWriter, DataReader, create_mark, parse_answer

MARK = create_mark("17")


def written(job: str, *values: dict[str, Any], before: bytes = b"") -> list[bytes]:
    stream = io.BytesIO()
    stream.write(before)
    for value in values:
        AnswerWriter(stream, "17", job).write(value)
    return stream.getvalue().splitlines(keepends=True)


@pytest.mark.parametrize(
    "before", [b"", b"motd\n", b"no newline", b"+ python 17 begin\n", b'{"exit_code": 0}\n', b"\xff\x00"]
)
def test_lines_of_a_shell_are_ignored(before: bytes) -> None:
    answers = [parse_answer(line, MARK, "j") for line in written("j", {"a": "ü\n"}, before=before)]

    assert [answer for answer in answers if answer] == [{"a": "ü\n", "job_id": "j"}]


@pytest.mark.parametrize("line", [MARK + b'{"a": 1', MARK + b"[]", MARK + b'{"a": 1}', *written("other", {"a": 1})[1:]])
def test_an_answer_about_another_job_or_a_broken_one_is_an_error(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_answer(line, MARK, "j")


def test_bytes_are_read_as_they_were_written() -> None:
    content = bytes(range(256)) * 5_000
    stream = io.BytesIO()
    AnswerWriter(stream, "17", "j").write_data([b"line\n", content])

    def answers() -> Iterator[dict[str, Any]]:
        yield from filter(None, (parse_answer(line, MARK, "j") for line in stream.getvalue().splitlines()))

    reader = DataReader(answers())
    line, parts = reader.readline(100), list(iter(lambda: reader.read(100_000), b""))

    assert (line, b"".join(parts)) == (b"line\n", content)
    with pytest.raises(ExternalError, match="corrupt"):
        DataReader(iter([{"data": "?"}])).read(1)
