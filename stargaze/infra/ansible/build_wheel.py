"""Build a wheel of the running package, so that the machines install exactly this code."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import stargaze
from stargaze.system.files import atomic_write
from stargaze.system.source_package import digest_files, package_files

WHEEL = "Wheel-Version: 1.0\nGenerator: stargaze\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time in a zip file, used for every file: the same content gives the same bytes."""


def build_wheel(folder: Path) -> Path:
    """Write the wheel unless it exists, and return its path, ``stargaze-VERSION+DIGEST-py3-none-any.whl``."""
    files = package_files()
    version = f"{stargaze.__version__}+{digest_files(files)}"
    path = folder / f"stargaze-{version}-py3-none-any.whl"
    if not path.is_file():
        with atomic_write(path) as temporary:
            _write_wheel(temporary, files, version)
    return path


def _write_wheel(path: Path, package: Mapping[str, bytes], version: str) -> None:
    folder = f"stargaze-{version}.dist-info"
    distribution = metadata.distribution("stargaze")
    old, new = f"\nVersion: {distribution.version}\n", f"\nVersion: {version}\n"
    files = {
        **package,
        f"{folder}/METADATA": (distribution.read_text("METADATA") or "").replace(old, new, 1).encode(),
        f"{folder}/WHEEL": WHEEL.encode(),
        f"{folder}/entry_points.txt": (distribution.read_text("entry_points.txt") or "").encode(),
    }
    rows = [f"{name},sha256={_hash(content)},{len(content)}" for name, content in files.items()]
    files[f"{folder}/RECORD"] = "\n".join([*rows, f"{folder}/RECORD,,", ""]).encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED)


def _hash(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
