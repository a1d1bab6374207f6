"""Archives: unpacked files equal the packed ones, and other files are rejected."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from stargaze.errors import ExternalError
from stargaze.infra.jobs.archive import CHECKSUMS, pack_files, unpack_files


def build_archive(*entries: tuple[tarfile.TarInfo, bytes]) -> io.BytesIO:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for entry, content in entries:
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return io.BytesIO(stream.getvalue())


def announced(**names: str) -> tuple[tarfile.TarInfo, bytes]:
    return tarfile.TarInfo(CHECKSUMS), json.dumps(
        {name.replace("__", "/"): digest for name, digest in names.items()}
    ).encode()


def link(name: str, target: str) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = tarfile.SYMTYPE, target
    return entry


def test_unpacked_files_equal_the_packed_ones(tmp_path: Path) -> None:
    content = bytes(range(256)) * 10_000
    (tmp_path / "a").write_bytes(content)
    digest = "0" * 64
    name = f"bundles/{digest}/model.txt"

    names = unpack_files(
        io.BytesIO(pack_files({"trials.parquet": tmp_path / "a", name: tmp_path / "a"})), tmp_path / "there"
    )

    assert names == ["trials.parquet", name]
    assert (tmp_path / "there" / name).read_bytes() == content


@pytest.mark.parametrize(
    "name", ["../a", "/etc/passwd", "a/b", "bundles/../a", ".ssh", "bundles/latest/a", "inputs/1/../a", ""]
)
def test_a_name_that_is_not_a_file_of_a_store_is_rejected(tmp_path: Path, name: str) -> None:
    checksums_entry = (tarfile.TarInfo(CHECKSUMS), json.dumps({name: "0"}).encode())

    with pytest.raises(ExternalError, match="is not a file of a store"):
        unpack_files(build_archive(checksums_entry, (tarfile.TarInfo(name), b"x")), tmp_path / "there")

    assert not (tmp_path / "there").exists()


def test_a_file_without_a_checksum_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(ExternalError, match="has no checksum"):
        unpack_files(build_archive(announced(a="0"), (tarfile.TarInfo("b"), b"x")), tmp_path)
    with pytest.raises(ExternalError, match="is not the first entry"):
        unpack_files(build_archive((tarfile.TarInfo("b"), b"x")), tmp_path)


def test_a_link_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(ExternalError, match="is not a plain file"):
        unpack_files(build_archive(announced(a="0"), (link("a", "/etc/passwd"), b"")), tmp_path)


def test_a_changed_or_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ExternalError, match="files are corrupt"):
        unpack_files(build_archive(announced(a="0"), (tarfile.TarInfo("a"), b"x")), tmp_path)
    with pytest.raises(ExternalError, match="files are corrupt"):
        unpack_files(build_archive(announced(a="0")), tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.8])
def test_a_truncated_stream_is_one_clear_error(tmp_path: Path, share: float) -> None:
    (tmp_path / "a").write_bytes(b"x" * 50_000)
    content = pack_files({"trials.parquet": tmp_path / "a"})

    with pytest.raises(ExternalError, match="files are corrupt"):
        unpack_files(io.BytesIO(content[: int(share * len(content))]), tmp_path / "there")
