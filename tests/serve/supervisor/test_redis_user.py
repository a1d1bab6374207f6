"""Redis is told who comes next: a small Redis on loopback hears it, in Redis's own protocol."""

from __future__ import annotations

import hashlib
import json
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from stargaze.config import ServeSection
from stargaze.serve.runtime.settings import RESULTS_PASSWORD_VARIABLE, to_environment
from stargaze.serve.supervisor.redis_user import main
from stargaze.store import Store

PASSWORD = "the present one"
NEXT = {"user": "stargaze_2", "digest": hashlib.sha256(b"the next one").hexdigest()}


class SmallRedis(socketserver.ThreadingTCPServer):
    """Says OK to whoever knows the password; ``heard`` is all that it was told."""

    daemon_threads = True
    password = PASSWORD

    def __init__(self) -> None:
        self.heard: list[list[str]] = []
        super().__init__(("127.0.0.1", 0), Talk)


class Talk(socketserver.StreamRequestHandler):
    """One connection: arrays of words come in, a line each goes out."""

    server: SmallRedis

    def handle(self) -> None:
        while words := _words(self.rfile):
            self.server.heard.append(words)
            wrong = words[0] in ("AUTH", "HELLO") and self.server.password not in words
            self.wfile.write(b"-WRONGPASS invalid username-password pair\r\n" if wrong else b"+OK\r\n")


def _words(stream: BinaryIO) -> list[str]:
    count = int(stream.readline()[1:] or 0)
    return [stream.read(int(stream.readline()[1:]) + 2)[:-2].decode() for _ in range(count)]


@pytest.fixture
def redis() -> Iterator[SmallRedis]:
    with SmallRedis() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def environ(redis: SmallRedis, store: Store, tmp_path: Path) -> dict[str, str]:
    """What a page's container knows of itself."""
    file = tmp_path / "results"
    file.write_text(f"{PASSWORD}\n")
    section = ServeSection(results_url=f"redis://stargaze_1@127.0.0.1:{redis.server_address[1]}/0")
    return {**to_environment(section, store), RESULTS_PASSWORD_VARIABLE: str(file)}


def test_the_next_user_is_made_by_the_present_one_and_known_by_a_digest(
    redis: SmallRedis, environ: dict[str, str]
) -> None:
    assert main(json.dumps(NEXT), environ) == 0

    (made,) = [words for words in redis.heard if words[0] == "ACL"]
    assert made == ["ACL", "SETUSER", "stargaze_2", "on", f"#{NEXT['digest']}", "~*", "&*", "+@all"]
    (shown,) = [words for words in redis.heard if "stargaze_1" in words]
    assert PASSWORD in shown


def test_who_is_not_let_in_any_more_says_so_in_one_line(
    redis: SmallRedis, environ: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    redis.password = "another"

    assert main(json.dumps(NEXT), environ) == 1

    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "Redis: invalid username-password pair\n")
    assert not [words for words in redis.heard if words[0] == "ACL"]


def test_a_redis_that_is_away_is_one_line_too(
    redis: SmallRedis, environ: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    redis.server_close()

    assert main(json.dumps(NEXT), environ) == 1

    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("Redis: ")
