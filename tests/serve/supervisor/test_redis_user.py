"""The next Redis user is created on a small fake Redis that speaks Redis' protocol."""

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

PASSWORD = "the current one"
NEXT = {"user": "stargaze_2", "digest": hashlib.sha256(b"the next one").hexdigest()}


class FakeRedis(socketserver.ThreadingTCPServer):
    """Replies OK to a client that knows the password; ``commands`` has every command."""

    daemon_threads = True
    password = PASSWORD

    def __init__(self) -> None:
        self.commands: list[list[str]] = []
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(socketserver.StreamRequestHandler):
    """One connection: reads arrays of words, writes one line each."""

    server: FakeRedis

    def handle(self) -> None:
        while command := _read_command(self.rfile):
            self.server.commands.append(command)
            wrong = command[0] in ("AUTH", "HELLO") and self.server.password not in command
            self.wfile.write(b"-WRONGPASS invalid username-password pair\r\n" if wrong else b"+OK\r\n")


def _read_command(stream: BinaryIO) -> list[str]:
    count = int(stream.readline()[1:] or 0)
    return [stream.read(int(stream.readline()[1:]) + 2)[:-2].decode() for _ in range(count)]


@pytest.fixture
def redis() -> Iterator[FakeRedis]:
    with FakeRedis() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def environ(redis: FakeRedis, store: Store, tmp_path: Path) -> dict[str, str]:
    """The environment of a web container."""
    file = tmp_path / "results"
    file.write_text(f"{PASSWORD}\n")
    section = ServeSection(results_url=f"redis://stargaze_1@127.0.0.1:{redis.server_address[1]}/0")
    return {**to_environment(section, store), RESULTS_PASSWORD_VARIABLE: str(file)}


def test_the_current_user_creates_the_next_one_by_digest(redis: FakeRedis, environ: dict[str, str]) -> None:
    assert main(json.dumps(NEXT), environ) == 0

    (created,) = [command for command in redis.commands if command[0] == "ACL"]
    assert created == ["ACL", "SETUSER", "stargaze_2", "on", f"#{NEXT['digest']}", "~*", "&*", "+@all"]
    (login,) = [command for command in redis.commands if "stargaze_1" in command]
    assert PASSWORD in login


def test_a_wrong_password_is_an_error_of_one_line(
    redis: FakeRedis, environ: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    redis.password = "another"

    assert main(json.dumps(NEXT), environ) == 1

    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "Redis: invalid username-password pair\n")
    assert not [command for command in redis.commands if command[0] == "ACL"]


def test_an_unreachable_redis_is_an_error_of_one_line(
    redis: FakeRedis, environ: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    redis.server_close()

    assert main(json.dumps(NEXT), environ) == 1

    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("Redis: ")
