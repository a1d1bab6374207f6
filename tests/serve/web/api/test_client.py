"""The API client; test_supervise tests it with the real server."""

from __future__ import annotations

import socket

import pytest

from stargaze.errors import ExternalError
from stargaze.serve.web.api.client import request_predictions


def test_an_unreachable_server_is_an_error_with_a_hint() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"

    with pytest.raises(ExternalError, match="cannot be reached") as excinfo:
        request_predictions(url, ["a/b"])

    assert excinfo.value.hint == "stargaze serve"
