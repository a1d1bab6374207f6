"""RabbitMQ and Redis for the tests of both backends."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers import Servers, servers


@pytest.fixture(scope="module")
def running_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Both servers, in the environment of one module."""
    with servers(tmp_path_factory.mktemp("servers")) as both, pytest.MonkeyPatch.context() as patch:
        for name, value in both.environment.items():
            patch.setenv(name, value)
        yield both
