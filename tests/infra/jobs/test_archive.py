"""Archives: unpacked files equal the packed ones, and other files are rejected."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stargaze.errors import ExternalError
from stargaze.infra.jobs.archive import MAX_BYTES, MAX_FILES, pack_files, unpack_files

Accepts = Callable[[str], bool]


def build_archive(entries: Any, content: bytes = b"x") -> io.BytesIO:
    return io.BytesIO(json.dumps(entries).encode() + b"\n" + content)


def entry(name: Any, content: bytes = b"x", **changes: Any) -> list[Any]:
    value = {"name": name, "size": len(content), "digest": hashlib.sha256(content).hexdigest(), **changes}
    return list(value.values())


def accept_all(_name: str) -> bool:
    return True


def test_unpacked_files_equal_the_packed_ones(tmp_path: Path) -> None:
    content = bytes(range(256)) * 10_000
    (tmp_path / "a").write_bytes(content)
    name = f"bundles/{'0' * 64}/model.txt"
    stream = io.BytesIO(b"".join(pack_files({"trials.parquet": tmp_path / "a", name: tmp_path / "a"})))

    names = unpack_files(stream, tmp_path / "there", accept_all)

    assert names == ["trials.parquet", name]
    assert (tmp_path / "there" / name).read_bytes() == content


@pytest.mark.parametrize("name", ["../a", "/etc/passwd", "a/b", ".ssh", "predictions.sqlite", "", None])
def test_a_file_that_was_not_requested_is_rejected_before_anything_is_written(tmp_path: Path, name: Any) -> None:
    with pytest.raises(ExternalError, match="was not requested"):
        unpack_files(build_archive([entry("a"), entry(name)], b"xx"), tmp_path / "there", ["a"].__contains__)

    assert not (tmp_path / "there").exists()


@pytest.mark.parametrize(
    "entries",
    [
        [entry("a", digest="0")],
        [entry("a", size=2)],
        [entry("a", size=-1)],
        [entry("a", size=MAX_BYTES + 1)],
        [entry("a", size=float("inf"))],
        [entry("a"), entry("a")],
        [entry(str(number)) for number in range(MAX_FILES + 1)],
        [["a", 1]],
        {"a": 1},
        7,
    ],
    ids=["changed", "truncated", "negative", "huge", "infinite", "twice", "many", "short", "object", "number"],
)
def test_an_invalid_archive_is_one_clear_error(tmp_path: Path, entries: Any) -> None:
    with pytest.raises(ExternalError, match="files are corrupt"):
        unpack_files(build_archive(entries), tmp_path / "there", accept_all)


def test_a_tar_with_a_link_is_no_archive(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        link = tarfile.TarInfo("a")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)

    with pytest.raises(ExternalError, match="files are corrupt"):
        unpack_files(io.BytesIO(stream.getvalue()), tmp_path, accept_all)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.8])
def test_a_truncated_stream_is_one_clear_error(tmp_path: Path, share: float) -> None:
    (tmp_path / "a").write_bytes(b"x" * 50_000)
    content = b"".join(pack_files({"trials.parquet": tmp_path / "a"}))

    with pytest.raises(ExternalError, match="files are corrupt"):
        unpack_files(io.BytesIO(content[: int(share * len(content))]), tmp_path / "there", accept_all)
