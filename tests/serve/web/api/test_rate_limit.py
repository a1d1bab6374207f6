"""The rate limit of a visitor."""

from __future__ import annotations

import collections
import contextlib
import logging
import re
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests
from flask import Flask
from flask.testing import FlaskClient

from stargaze.config import ServeSection
from stargaze.serve.runtime.settings import to_environment, web_server_command
from stargaze.serve.supervisor.child_process import start_child
from stargaze.serve.supervisor.supervise import listen, prepare_store, url_of
from stargaze.serve.web.api.rate_limit import PAUSE, RateLimitedError, RateLimiter
from stargaze.serve.web.api.request_counts import Count, SqliteCounts
from stargaze.serve.web.app import make_web
from stargaze.serve.web.pages import exports
from stargaze.store import Store
from tests.waiting import not_blocked

if TYPE_CHECKING:
    from tests.serve.fake_queue import FakePredictionQueue

PATH = "/api/v1/predictions"
Open = Callable[[ServeSection], FlaskClient]


@pytest.fixture(autouse=True)
def _pictures_wait_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "MAX_WAIT", 0.0)


@pytest.fixture
def visit(released_store: Store, queue: FakePredictionQueue) -> Open:
    return lambda section: make_web(section, released_store, queue).test_client()


def submit(page: FlaskClient, number: int, **options: object) -> int:
    return page.post(PATH, json={"repositories": [f"a/b{number}"]}, **options).status_code


def test_above_the_rate_limit_is_429_with_retry_after(visit: Open) -> None:
    page = visit(ServeSection(rate_limit=3))

    answers = [page.post(PATH, json={"repositories": [f"a/b{number}"]}) for number in range(4)]

    assert [answer.status_code for answer in answers] == [202, 202, 202, 429]
    assert 0 < int(answers[3].headers["Retry-After"]) <= 60
    assert answers[3].json["code"] == "rate_limited"
    assert answers[3].json["detail"].startswith("too many requests: try again in ")


def test_reading_is_not_limited(visit: Open) -> None:
    page = visit(ServeSection(rate_limit=2))

    assert [page.get("/").status_code for _ in range(5)] == [200] * 5


def test_each_address_is_counted_separately(visit: Open) -> None:
    page = visit(ServeSection(rate_limit=1, trusted_proxies=1))

    answers = [submit(page, number, headers={"X-Forwarded-For": f"10.0.0.{number}"}) for number in (1, 2, 1)]

    assert answers == [202, 202, 429]


def test_forwarded_addresses_are_used_only_behind_a_proxy(visit: Open) -> None:
    page = visit(ServeSection(rate_limit=1))

    assert [submit(page, number, headers={"X-Forwarded-For": f"10.0.0.{number}"}) for number in (1, 2)] == [202, 429]


def test_zero_disables_the_rate_limit(visit: Open) -> None:
    page = visit(ServeSection(rate_limit=0))

    assert {submit(page, number) for number in range(20)} == {202}


def test_an_unreachable_redis_rejects_nobody(visit: Open, caplog: pytest.LogCaptureFixture) -> None:
    page = visit(ServeSection(rate_limit=50, results_url="redis://127.0.0.1:1/0"))

    with caplog.at_level(logging.WARNING):
        assert [submit(page, number) for number in range(3)] == [202] * 3
    assert any("storage" in record.getMessage().lower() for record in caplog.records)


def test_without_the_counts_of_all_each_process_has_the_limit(visit: Open) -> None:
    pages = [visit(ServeSection(rate_limit=3, results_url="redis://127.0.0.1:1/0")) for _ in range(2)]

    answers = [pages[number % 2].post(PATH, json={"repositories": [f"a/b{number}"]}) for number in range(10)]

    assert [answer.status_code for answer in answers] == [202] * 6 + [429] * 4
    assert not any("RateLimit" in answer.headers for answer in answers)
    assert all(0 < int(answer.headers["Retry-After"]) <= 60 for answer in answers[6:])


class WatchedCounts(SqliteCounts):
    """Remembers whether two threads used the file at the same time, for whose lock SQLite would let them compete."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.using, self.competed = threading.Lock(), False

    def _run(self, action: Callable[[sqlite3.Connection], Any]) -> Any:
        if not self.using.acquire(blocking=False):
            self.competed = True
            return super()._run(action)
        try:
            return super()._run(action)
        finally:
            self.using.release()


def test_threads_of_a_process_take_turns_at_the_file(tmp_path: Path) -> None:
    counts = WatchedCounts(tmp_path / "counts.sqlite")

    with ThreadPoolExecutor(32) as pool:
        used = [count.used for count in pool.map(lambda _: counts.count("a"), range(400))]

    assert sorted(used) == list(range(1, 401))
    assert not counts.competed


@pytest.mark.parametrize("path", ["/repositories/a/b{}", "/badge/a/b{}.svg", "/card/a/b{}.png"])
def test_paths_that_submit_jobs_are_limited(visit: Open, path: str) -> None:
    page = visit(ServeSection(rate_limit=2))

    answers = [page.get(path.format(number)) for number in range(3)]

    assert [answer.status_code == 429 for answer in answers] == [False, False, True]
    assert "text/html" in answers[2].content_type


@pytest.mark.parametrize("path", ["/repositories/{}", "/badge/{}.svg", "/card/{}.png"])
def test_what_is_stored_does_not_count(visit: Open, queue: FakePredictionQueue, path: str) -> None:
    """Neither while the job is waiting, nor when it is finished."""
    page = visit(ServeSection(rate_limit=1))
    name = queue.bundle.known["full_name"].iloc[0]

    waiting = [page.get(path.format(name)) for _ in range(3)]
    queue.work()
    finished = [page.get(path.format(name)) for _ in range(3)]

    assert 429 not in {answer.status_code for answer in (*waiting, *finished)}
    assert submit(page, 1) == 429


def test_polling_a_job_does_not_count_and_says_what_is_left(visit: Open) -> None:
    page = visit(ServeSection(rate_limit=2))
    url = page.post(PATH, json={"repositories": ["a/b"]}).headers["Location"]

    answers = [page.get(url) for _ in range(5)]

    assert {answer.headers["RateLimit"] for answer in answers} <= {f'"predictions";r=1;t={t}' for t in range(1, 61)}
    assert submit(page, 1) == 202


def test_the_headers_have_the_form_of_the_draft_and_agree_with_retry_after(visit: Open) -> None:
    page = visit(ServeSection(rate_limit=2))

    answers = [page.post(PATH, json={"repositories": [f"a/b{number}"]}) for number in range(4)]

    assert {answer.headers["RateLimit-Policy"] for answer in answers} == {'"predictions";q=2;w=60'}
    states = [re.fullmatch(r'"predictions";r=(\d+);t=(\d+)', answer.headers["RateLimit"]) for answer in answers]
    assert [state and int(state[1]) for state in states] == [1, 0, 0, 0]
    assert states[3]
    assert answers[3].headers["Retry-After"] == states[3][2]
    assert not {name for name, _ in answers[3].headers if name.startswith("X-RateLimit")}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("DELETE", PATH, 405),
        ("GET", PATH, 405),
        ("POST", "/api/v1/repositories/a/b", 405),
        ("GET", "/api/v1/predictions/unknown", 404),
        ("GET", "/api/v1/nothing", 404),
        ("GET", "/api/", 404),
        ("POST", PATH, 415),
        ("GET", "/api/v1/repositories/a/b?stars=1", 400),
        ("OPTIONS", PATH, 200),
        ("HEAD", "/api/v1/openapi.json", 200),
    ],
)
def test_every_response_of_the_api_says_what_is_left(visit: Open, method: str, path: str, status: int) -> None:
    page = visit(ServeSection(rate_limit=2))

    answer = page.open(path, method=method)

    assert answer.status_code == status
    assert answer.headers["RateLimit-Policy"] == '"predictions";q=2;w=60'
    assert answer.headers["RateLimit"].startswith('"predictions";r=2;t=')
    assert "RateLimit" not in page.open("/nothing", method=method).headers


def test_an_invalid_request_does_not_count(visit: Open) -> None:
    page = visit(ServeSection(rate_limit=1))

    assert [page.post(PATH, json={"repositories": ["?"]}).status_code for _ in range(3)] == [400] * 3
    assert submit(page, 1) == 202


def test_an_identical_request_counts(visit: Open) -> None:
    page = visit(ServeSection(rate_limit=1))

    assert [submit(page, 1), submit(page, 1)] == [202, 429]


def test_addresses_of_one_ipv6_network_are_one_client(visit: Open) -> None:
    page = visit(ServeSection(rate_limit=1, trusted_proxies=1))
    addresses = ["2001:db8::1", "2001:db8::ffff", "2001:db8:0:1::1", "::ffff:192.0.2.1", "192.0.2.1", "192.0.2.2"]

    answers = [submit(page, i, headers={"X-Forwarded-For": address}) for i, address in enumerate(addresses)]

    assert answers == [202, 429, 202, 202, 429, 202]


def test_addresses_are_not_stored(visit: Open, released_store: Store) -> None:
    submit(visit(ServeSection(rate_limit=1, trusted_proxies=1)), 1, headers={"X-Forwarded-For": "203.0.113.77"})

    files = list(released_store.root.glob(f"{released_store.request_counts.name}*"))
    assert files
    assert not any(b"203.0.113.77" in path.read_bytes() for path in files)


def test_the_limit_is_that_of_all_processes(visit: Open) -> None:
    pages = [visit(ServeSection(rate_limit=3)) for _ in range(2)]

    assert [submit(pages[number % 2], number) for number in range(5)] == [202, 202, 202, 429, 429]


@pytest.mark.parametrize("fault", ["deleted", "damaged", "folder"])
def test_the_limit_is_applied_again_after_the_file_was_lost(visit: Open, released_store: Store, fault: str) -> None:
    page = visit(ServeSection(rate_limit=1))
    assert [submit(page, 1), submit(page, 2)] == [202, 429]
    path = released_store.request_counts
    if fault == "damaged":
        path.write_bytes(b"not a database " * 1000)
        Path(f"{path}-wal").write_bytes(b"x" * 10_000)
    else:
        for file in released_store.root.glob(f"{path.name}*"):
            file.unlink()
    if fault == "folder":
        path.mkdir()

    answers = [submit(page, number) for number in range(3, 8)]

    assert set(answers) <= {202, 429}
    assert answers[-1] == 429


class BrokenCounts:
    """Fails until ``works``; remembers how often it was asked."""

    def __init__(self) -> None:
        self.works, self.calls = False, 0

    def count(self, _client: str) -> Count:
        self.calls += 1
        if not self.works:
            raise sqlite3.OperationalError("disk I/O error")
        return Count(self.calls)

    read = count


def test_an_outage_is_logged_once_and_asked_again_after_a_pause(caplog: pytest.LogCaptureFixture) -> None:
    now, counts, web = [100.0], BrokenCounts(), Flask("web")
    limiter = RateLimiter(6, counts, b"key", lambda: now[0])

    def count() -> int:
        with web.test_request_context():
            try:
                limiter.count()
            except RateLimitedError:
                return 429
            return 200

    with caplog.at_level(logging.WARNING):
        before = [count() for _ in range(5)]
        now[0] += PAUSE
        before.append(count())
        counts.works = True
        before.append(count())
        calls = counts.calls
        now[0] += PAUSE
        after = [count(), count()]

    assert (before, calls) == ([200] * 6 + [429], 2)  # the process counts alone
    assert after == [200, 200]  # which counts on from the two calls before
    assert [record.getMessage() for record in caplog.records] == [
        "the rate limit is that of each process until its storage is available: disk I/O error",
        "requests are counted again",
    ]


def test_a_window_ends_and_a_clock_that_was_set_back_blocks_nobody(tmp_path: Path) -> None:
    now = [1000.0]
    counts = SqliteCounts(tmp_path / "counts.sqlite", lambda: now[0])

    assert [counts.count("a"), counts.count("a")] == [Count(1, 60.0), Count(2, 60.0)]
    now[0] += 59.0
    assert (counts.read("a"), counts.count("a")) == (Count(2, 1.0), Count(3, 1.0))
    now[0] += 1.0
    assert (counts.read("a"), counts.count("a")) == (Count(), Count(1, 60.0))
    now[0] -= 500.0
    assert (counts.read("a"), counts.count("a")) == (Count(), Count(1, 60.0))


def test_expired_counts_are_removed(tmp_path: Path) -> None:
    now, path = [1000.0], tmp_path / "counts.sqlite"
    counts = SqliteCounts(path, lambda: now[0])
    for number in range(10):
        counts.count(str(number))
    now[0] += 61.0

    SqliteCounts(path, lambda: now[0]).count("new")

    with contextlib.closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT client FROM counts").fetchall() == [("new",)]


@pytest.mark.real  # it starts gunicorn
def test_processes_accept_exactly_as_many_as_the_limit(released_store: Store) -> None:
    """Two gunicorns with two processes each, as many requests at once as they have threads for."""
    prepare_store(released_store)
    section = ServeSection(rate_limit=50, github_lookup=False, web_processes=2)
    with contextlib.ExitStack() as stack:
        urls = []
        for number in range(2):
            listener = stack.enter_context(contextlib.closing(listen("127.0.0.1", 0)))
            command = web_server_command(section, f"fd://{listener.fileno()}", grace=5)
            folder = released_store.root
            child = start_child(
                *("web", command, to_environment(section, released_store), folder / f"log{number}", folder),
                pass_fds=(listener.fileno(),),
            )
            stack.callback(child.wait_or_kill)
            stack.callback(child.terminate)
            urls.append(url_of(listener))

        def post(number: int) -> requests.Response:
            body = {"repositories": [f"a/b{number}"]}
            return requests.post(f"{urls[number % 2]}{PATH}", json=body, timeout=120)

        with ThreadPoolExecutor(20) as pool:
            answers = list(pool.map(post, range(120)))

    assert collections.Counter(answer.status_code for answer in answers) == {202: 50, 429: 70}
    left = [int(answer.headers["RateLimit"].split(";r=")[1].split(";")[0]) for answer in answers if answer.ok]
    assert sorted(left) == list(range(50))
    refused = [answer.headers for answer in answers if not answer.ok]
    assert all(headers["RateLimit"] == f'"predictions";r=0;t={headers["Retry-After"]}' for headers in refused)


@pytest.mark.real  # it waits for seconds
def test_a_redis_that_does_not_answer_delays_by_seconds_at_most(visit: Open) -> None:
    """It accepts connections and sends nothing."""
    with listen("127.0.0.1", 0) as silent:
        page = visit(ServeSection(rate_limit=50, results_url=f"redis://127.0.0.1:{silent.getsockname()[1]}/0"))

        with not_blocked():
            assert [submit(page, number) for number in range(3)] == [202] * 3


@pytest.mark.parametrize(
    ("path", "field", "kept"),
    [("/", "repositories", ">a/b1</textarea>"), ("/figures", "forks", 'name="forks" type="number" value="1"')],
)
def test_the_form_above_the_rate_limit_keeps_its_input(visit: Open, path: str, field: str, kept: str) -> None:
    page = visit(ServeSection(rate_limit=1))
    token = re.search(r'name="token" value="([^"]+)"', page.get(path).text)
    assert token
    values = ("a/b0", "a/b1") if field == "repositories" else ("0", "1")

    answers = [page.post(path, data={field: value, "token": token[1]}) for value in values]

    assert [answer.status_code for answer in answers] == [303, 429]
    assert int(answers[1].headers["Retry-After"]) > 0
    assert re.search(r"<strong>Too many requests: try again in \d+ s</strong>", answers[1].text)
    assert kept in answers[1].text


def test_only_rejected_requests_have_retry_after(visit: Open) -> None:
    page = visit(ServeSection(rate_limit=1))

    answers = [page.post(PATH, json={"repositories": [f"a/b{number}"]}) for number in range(2)]

    assert "Retry-After" not in answers[0].headers
    assert "Retry-After" in answers[1].headers


def test_a_rejection_has_the_request_id(visit: Open) -> None:
    page = visit(ServeSection(rate_limit=1))
    submit(page, 1)

    answer = page.post(PATH, json={"repositories": ["a/b2"]}, headers={"X-Request-ID": "mine-1234"})

    assert (answer.status_code, answer.headers["X-Request-ID"]) == (429, "mine-1234")
