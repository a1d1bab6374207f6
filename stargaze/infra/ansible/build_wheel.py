"""The package that runs here, as a wheel: so that the machines run the very same, from a checkout or an installation alike."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from importlib import metadata
from pathlib import Path

import stargaze
from stargaze.system.files import atomic_write
from stargaze.system.source_package import digest, source

WHEEL = "Wheel-Version: 1.0\nGenerator: stargaze\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The oldest that a zip can tell: the same files make the same bytes."""


def build_wheel(folder: Path) -> Path:
    """Write the wheel (PyPA's binary distribution format) unless it is there; its local version says what is in it.

    Returns
    -------
    Path
        ``stargaze-VERSION+DIGEST-py3-none-any.whl``
    """
    files = source()
    version = f"{stargaze.__version__}+{digest(files)}"
    path = folder / f"stargaze-{version}-py3-none-any.whl"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as temporary:
            _write(temporary, files, version)
    return path


def _write(path: Path, files: dict[str, bytes], version: str) -> None:
    about = f"stargaze-{version}.dist-info"
    told = metadata.distribution("stargaze")
    head = (told.read_text("METADATA") or "").replace(f"\nVersion: {told.version}\n", f"\nVersion: {version}\n", 1)
    files = {
        **files,
        f"{about}/METADATA": head.encode(),
        f"{about}/WHEEL": WHEEL.encode(),
        f"{about}/entry_points.txt": (told.read_text("entry_points.txt") or "").encode(),
    }
    rows = [f"{name},sha256={_hash(content)},{len(content)}" for name, content in files.items()]
    files[f"{about}/RECORD"] = "\n".join([*rows, f"{about}/RECORD,,", ""]).encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED)


def _hash(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
