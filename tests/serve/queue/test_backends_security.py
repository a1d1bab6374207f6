"""Rights and encryption of a real RabbitMQ and a real Redis with production's settings."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import socket
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError
from redis.retry import Retry

from stargaze.config import ServeSection
from stargaze.errors import ExternalError
from stargaze.serve.queue.celery_app import create_celery_app
from stargaze.serve.queue.celery_queue import CeleryPredictionQueue
from stargaze.serve.runtime.settings import CA_FILES_VARIABLE, results_tls, results_url
from stargaze.serve.stack.backing_services import REDIS_RULES
from stargaze.serve.stack.certificates import issue_certificates
from stargaze.serve.supervisor.supervise import prepare_store
from stargaze.serve.web.api.request_counts import open_request_counts
from stargaze.serve.web.app import make_web
from stargaze.store import Store
from tests.servers import ADMIN_PASSWORD, Servers

if TYPE_CHECKING:
    from tests.serve.fake_queue import FakePredictionQueue

pytestmark = [pytest.mark.servers, pytest.mark.filterwarnings("ignore::ResourceWarning")]

NO_RETRY = Retry(NoBackoff(), 0)
DENIED = (
    *("FLUSHALL", "FLUSHDB", "KEYS *", "SCAN 0", "RANDOMKEY", "DBSIZE", "INFO", "MONITOR", "SAVE", "SHUTDOWN NOSAVE"),
    *(
        "CONFIG GET *",
        "CONFIG SET dir /tmp",
        "CONFIG REWRITE",
        "ACL LIST",
        "ACL SETUSER stargaze_1 +@all",
        "ACL GETUSER admin",
    ),
    *("MODULE LIST", "REPLICAOF NO ONE", "CLIENT LIST", "CLIENT KILL 127.0.0.1:1", "SWAPDB 0 1"),
    *("SCRIPT FLUSH", "FUNCTION LIST", "MIGRATE 127.0.0.1 1 a 0 1", "SORT stargaze-x GET other", "DUMP stargaze-x"),
    *("GET other", "SET other 1", "DEL other", "MGET stargaze-x other", "PUBLISH other 1", "SUBSCRIBE other"),
    *(
        "EVAL \"return redis.call('KEYS','*')\" 0",
        "EVAL \"return redis.call('GET','other')\" 0",
        "EVAL 'return 1' 1 other",
    ),
)
"""Commands and keys that web and workers do not use."""


@pytest.fixture
def section(running_servers: Servers) -> ServeSection:
    return ServeSection(broker_url=running_servers.broker_url, results_url=running_servers.results_url, rate_limit=2)


def connect(section: ServeSection, user: str = "", password: str = "") -> Redis:
    """Connect as web and workers do, or as another user."""
    url = results_url(section, os.environ)
    tls = results_tls(url, os.environ)
    if not user:
        return Redis.from_url(url, retry=NO_RETRY, **tls)
    parts = urlsplit(url)
    return Redis(
        host="localhost", port=parts.port or 0, username=user, password=password, ssl=True, retry=NO_RETRY, **tls
    )


def check_queue(section: ServeSection, store: Store) -> None:
    """Write to the queue and to the result store, as the page's readiness does."""
    prepare_store(store)
    CeleryPredictionQueue(create_celery_app(section, store), section, store).check()


def test_the_user_of_the_page_may_do_nothing_that_the_page_does_not(section: ServeSection) -> None:
    with connect(section) as redis:
        for command in DENIED:
            with pytest.raises((NoPermissionError, RedisError)) as caught:
                redis.execute_command(*shlex.split(command))
            assert "permission" in str(caught.value).lower(), command
        assert redis.ping()


def test_other_users_may_do_even_less(section: ServeSection) -> None:
    with connect(section, "health", "health") as redis:
        assert redis.ping()
        with pytest.raises(NoPermissionError):
            redis.get("stargaze-x")
    with connect(section, "default") as redis, pytest.raises(RedisError):
        redis.ping()
    with connect(section, "stargaze_1", "wrong") as redis, pytest.raises(AuthenticationError):
        redis.ping()


def test_the_administrator_creates_the_next_user_with_the_same_rights_and_reads_nothing(section: ServeSection) -> None:
    with connect(section, "admin", ADMIN_PASSWORD) as admin:
        admin.execute_command("ACL", "SETUSER", "stargaze_2", "reset", "on", ">next", *REDIS_RULES)
        with pytest.raises(NoPermissionError):
            admin.get("stargaze-x")
    with connect(section, "stargaze_2", "next") as redis:
        assert redis.set("stargaze-x", 1)
        with pytest.raises(NoPermissionError):
            redis.flushall()


def test_replicas_share_the_rate_limit_with_these_rights(
    section: ServeSection, released_store: Store, queue: FakePredictionQueue
) -> None:
    pages = [make_web(section, released_store, queue).test_client() for _ in range(3)]
    body = {"repositories": ["a/b"]}

    answers = [page.post("/api/v1/predictions", json=body) for page in pages]
    later = pages[0].get(answers[0].headers["Location"])

    accepted, rejected = HTTPStatus.ACCEPTED, HTTPStatus.TOO_MANY_REQUESTS
    assert [answer.status_code for answer in answers] == [accepted, accepted, rejected]
    left = [re.fullmatch(r'"predictions";r=(\d+);t=\d+', answer.headers["RateLimit"]) for answer in (*answers, later)]
    assert [match and match[1] for match in left] == ["1", "0", "0", "0"]


def test_replicas_accept_exactly_as_many_requests_as_the_limit(section: ServeSection, store: Store) -> None:
    replicas = [open_request_counts(section, store, os.environ) for _ in range(4)]

    with ThreadPoolExecutor(16) as pool:
        used = [count.used for count in pool.map(lambda n: replicas[n % 4].count("exact"), range(200))]

    assert sorted(used) == list(range(1, 201))


def test_nothing_is_answered_without_tls(running_servers: Servers) -> None:
    for port, greeting in ((running_servers.broker.port, b"AMQP\0\0\t\1"), (running_servers.results.port, b"PING\r\n")):
        with socket.create_connection(("127.0.0.1", port), 10) as connection:
            connection.sendall(greeting)
            received = b""
            with contextlib.suppress(ConnectionResetError):
                received = connection.recv(100)
        assert received[:1] in (b"", b"\x15"), received  # closed, or a TLS alert


def test_a_broker_with_another_certificate_is_refused(
    section: ServeSection, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_queue(section, store)
    other = tmp_path / "other"
    other.write_bytes(issue_certificates("other", {"broker": ["localhost"]}).ca)
    monkeypatch.setenv(CA_FILES_VARIABLE, str(other))

    with pytest.raises(ExternalError):
        check_queue(section, store)
    with connect(section) as redis, pytest.raises(RedisError, match="certificate"):
        redis.ping()


@pytest.mark.parametrize("changed", ["broker_url", "results_url"])
def test_a_certificate_for_another_host_is_refused(section: ServeSection, store: Store, changed: str) -> None:
    """The certificates are for localhost."""
    urls = {changed: str(getattr(section, changed)).replace("localhost", "127.0.0.1")}

    with pytest.raises(ExternalError):
        check_queue(
            ServeSection(**{"broker_url": section.broker_url, "results_url": section.results_url, **urls}), store
        )


def test_during_a_rotation_both_certificates_are_accepted(
    section: ServeSection, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    next_ca = tmp_path / "next"
    next_ca.write_bytes(issue_certificates("next", {"broker": ["localhost"]}).ca)
    monkeypatch.setenv(CA_FILES_VARIABLE, f"{next_ca}{os.pathsep}{os.environ[CA_FILES_VARIABLE]}")
    prepare_store(store)
    monkeypatch.setenv("STARGAZE_STORE_PATH", str(store.root))

    check_queue(section, store)
