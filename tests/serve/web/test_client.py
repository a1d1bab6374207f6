"""Asking a page as a program does; that it is answered is tested with the real page, in test_processes."""

from __future__ import annotations

import socket

import pytest

from stargaze.errors import ExternalError
from stargaze.serve.web.client import ask_once


def test_a_page_that_is_not_there_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"

    with pytest.raises(ExternalError, match="cannot be reached") as caught:
        ask_once(url, ["a/b"])

    assert caught.value.hint == "stargaze serve"
