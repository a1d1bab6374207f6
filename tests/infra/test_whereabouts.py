"""From where we come, as the cloud sees it."""

from __future__ import annotations

from typing import Self

import pytest

from stargaze.infra import whereabouts
from stargaze.infra.whereabouts import from_here


def test_beside_the_cloud_it_is_this_machine_alone() -> None:
    assert from_here("127.0.0.1") == (["127.0.0.1/32"], ())


def test_a_name_that_nobody_knows_is_said() -> None:
    ranges, (missing,) = from_here("no-such-host.invalid")

    assert ranges == []
    assert "cannot be looked up" in missing.what
    assert "infra.ssh_from" in missing.hint


def test_behind_a_translated_address_it_must_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    class Socket:
        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def connect(self, target: object) -> None:
            pass

        def getsockname(self) -> tuple[str, int]:
            return "192.168.1.7", 0

    monkeypatch.setattr(whereabouts.socket, "socket", lambda *_: Socket())

    ranges, (missing,) = from_here("8.8.8.8")

    assert ranges == []
    assert "the cloud does not see 192.168.1.7" in missing.what
