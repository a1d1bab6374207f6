"""Files on the way: what arrives is what was sent, and nothing else can be unpacked."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from stargaze.errors import ExternalError
from stargaze.infra.jobs.archive import SUMS, pack, unpack


def parcel(*entries: tuple[tarfile.TarInfo, bytes]) -> io.BytesIO:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for entry, content in entries:
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return io.BytesIO(stream.getvalue())


def announced(**names: str) -> tuple[tarfile.TarInfo, bytes]:
    return tarfile.TarInfo(SUMS), json.dumps(
        {name.replace("__", "/"): digest for name, digest in names.items()}
    ).encode()


def link(name: str, target: str) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = tarfile.SYMTYPE, target
    return entry


def test_files_arrive_as_they_were(tmp_path: Path) -> None:
    content = bytes(range(256)) * 10_000
    (tmp_path / "a").write_bytes(content)
    digest = "0" * 64
    name = f"bundles/{digest}/model.txt"

    names = unpack(io.BytesIO(pack({"trials.parquet": tmp_path / "a", name: tmp_path / "a"})), tmp_path / "there")

    assert names == ["trials.parquet", name]
    assert (tmp_path / "there" / name).read_bytes() == content


@pytest.mark.parametrize(
    "name", ["../a", "/etc/passwd", "a/b", "bundles/../a", ".ssh", "bundles/latest/a", "given/1/../a", ""]
)
def test_a_name_that_is_no_file_of_a_store_is_refused(tmp_path: Path, name: str) -> None:
    told = (tarfile.TarInfo(SUMS), json.dumps({name: "0"}).encode())

    with pytest.raises(ExternalError, match="is no file of a store"):
        unpack(parcel(told, (tarfile.TarInfo(name), b"x")), tmp_path / "there")

    assert not (tmp_path / "there").exists()


def test_what_was_not_announced_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExternalError, match="was not announced"):
        unpack(parcel(announced(a="0"), (tarfile.TarInfo("b"), b"x")), tmp_path)
    with pytest.raises(ExternalError, match="does not begin with"):
        unpack(parcel((tarfile.TarInfo("b"), b"x")), tmp_path)


def test_a_link_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExternalError, match="is no plain file"):
        unpack(parcel(announced(a="0"), (link("a", "/etc/passwd"), b"")), tmp_path)


def test_a_file_that_changed_or_is_missing_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(ExternalError, match="not what was sent"):
        unpack(parcel(announced(a="0"), (tarfile.TarInfo("a"), b"x")), tmp_path)
    with pytest.raises(ExternalError, match="not what was sent"):
        unpack(parcel(announced(a="0")), tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.8])
def test_a_stream_that_was_cut_off_is_one_clear_error(tmp_path: Path, share: float) -> None:
    (tmp_path / "a").write_bytes(b"x" * 50_000)
    whole = pack({"trials.parquet": tmp_path / "a"})

    with pytest.raises(ExternalError, match="not what was sent"):
        unpack(io.BytesIO(whole[: int(share * len(whole))]), tmp_path / "there")
