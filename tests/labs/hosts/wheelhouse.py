"""The locked packages for the Python of the test hosts: as a folder of wheels, and installed as a disk layer.

``python -m tests.labs.hosts.wheelhouse`` creates both in ``.hosts``. pip evaluates the markers of the lock file for the Python
that it runs in, whatever ``--python-version`` is, so they are evaluated here.
"""

from __future__ import annotations

import fcntl
import hashlib
import re
import subprocess
import sys
from pathlib import Path

from packaging.markers import Marker

from tests.labs.hosts.lab import FOLDER, HERE, PROJECT

LOCK = PROJECT / "requirements.lock"
TEMPLATE = FOLDER / "template"
WHEELHOUSE = FOLDER / "wheelhouse"


def fill_wheelhouse() -> Path:
    """Return a folder with the wheels of the lock file for the template's Python; wheels that it holds are not downloaded."""
    code = "import platform; print(platform.python_version())"
    version = subprocess.run(
        ["chroot", str(TEMPLATE), "python3", "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()
    requirements = locked_requirements(LOCK.read_text(encoding="utf-8"), version)
    WHEELHOUSE.mkdir(parents=True, exist_ok=True)
    stamp = WHEELHOUSE / "downloaded.txt"
    with (FOLDER / "wheelhouse.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two suites may run this at the same time
        if not stamp.is_file() or stamp.read_text(encoding="utf-8") != requirements:
            draft = WHEELHOUSE / "requirements.txt"
            draft.write_text(requirements, encoding="utf-8")
            argv = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet"]
            argv += ["--no-deps", "--require-hashes", "--only-binary=:all:"]
            argv += [f"--python-version={version}", f"--requirement={draft}", f"--dest={WHEELHOUSE}"]
            subprocess.run(argv, check=True)
            draft.rename(stamp)
    return WHEELHOUSE


def package_layer() -> Path:
    """Return a disk layer with the locked packages in ``/opt/stargaze``, created if the lock file or the template has changed."""
    script = HERE / "packages.sh"
    parts = (LOCK.read_bytes(), script.read_bytes(), (TEMPLATE / "etc" / "stargaze-lab").read_bytes())
    layer, stamp = FOLDER / "packages", FOLDER / "packages.txt"
    version = hashlib.sha256(b"".join(parts)).hexdigest()
    with (FOLDER / "packages.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.is_file() or stamp.read_text(encoding="ascii") != version:
            stamp.unlink(missing_ok=True)
            uv = Path(sys.prefix, "bin", "uv")
            subprocess.run(["bash", script, TEMPLATE, WHEELHOUSE, LOCK, uv, layer], check=True)
            stamp.write_text(version, encoding="ascii")
    return layer


def locked_requirements(lock: str, version: str) -> str:
    """Return the entries of a lock file that a Python of this version on this machine installs, without their markers."""
    python = {"python_version": ".".join(version.split(".")[:2]), "python_full_version": version}
    entries = []
    for entry in re.split(r"\n(?=[A-Za-z0-9])", lock):
        first, *hashes = entry.split("\n")
        requirement, _, marker = first.rstrip(" \\").partition(" ; ")
        if not marker or Marker(marker).evaluate(python):
            entries.append("\n".join([f"{requirement} \\" if hashes else requirement, *hashes]))
    return "\n".join(entries)


if __name__ == "__main__":
    fill_wheelhouse()
    package_layer()
