"""The web server's socket and its errors."""

from __future__ import annotations

import threading

import pytest

from stargaze.errors import UsageError
from stargaze.serve.supervisor.supervise import listen, url_of


def test_a_port_in_use_is_an_error_with_a_hint() -> None:
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(UsageError) as excinfo:
            listen("127.0.0.1", port)

    assert excinfo.value.message == f"port {port} on 127.0.0.1 is in use"
    assert "stargaze serve --port" in excinfo.value.hint


def test_a_port_is_awaited_while_another_process_stops() -> None:
    first = listen("127.0.0.1", 0)
    port = first.getsockname()[1]
    threading.Timer(0.2, first.close).start()

    with listen("127.0.0.1", port, patience=30.0) as second:
        assert second.getsockname()[1] == port


def test_port_0_takes_a_free_port() -> None:
    with listen("127.0.0.1", 0) as listener:
        assert url_of(listener) == f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_the_url_of_any_address_is_loopback() -> None:
    with listen("0.0.0.0", 0) as listener:
        assert url_of(listener).startswith("http://127.0.0.1:")


@pytest.mark.parametrize("host", ["no such host", "192.0.2.1", "::1"])
def test_an_unavailable_address_is_an_error_with_a_hint(host: str) -> None:
    with pytest.raises(UsageError) as excinfo:
        listen(host, 0)

    assert "127.0.0.1" in excinfo.value.hint
