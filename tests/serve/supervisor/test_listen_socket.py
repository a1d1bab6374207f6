"""The socket is taken before anything starts."""

from __future__ import annotations

import pytest

from stargaze.errors import UsageError
from stargaze.serve.supervisor.listen_socket import listen, url_of


def test_a_port_in_use_is_one_clear_line() -> None:
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(UsageError) as caught:
            listen("127.0.0.1", port)

    assert caught.value.message == f"port {port} on 127.0.0.1 is in use"
    assert "stargaze serve --port" in caught.value.hint


def test_port_0_takes_a_free_one() -> None:
    with listen("127.0.0.1", 0) as listener:
        assert url_of(listener) == f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_the_url_of_any_address_is_one_that_a_browser_takes() -> None:
    with listen("0.0.0.0", 0) as listener:
        assert url_of(listener).startswith("http://127.0.0.1:")


@pytest.mark.parametrize("host", ["no such host", "192.0.2.1", "::1"])
def test_an_address_that_is_not_ours_is_one_clear_line(host: str) -> None:
    with pytest.raises(UsageError) as caught:
        listen(host, 0)

    assert "127.0.0.1" in caught.value.hint
