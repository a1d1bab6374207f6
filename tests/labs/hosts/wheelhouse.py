"""The wheels of the lock file for the Python of the lab's hosts, which is rarely the one that runs the tests.

``python -m tests.labs.hosts.wheelhouse`` fills ``.hosts/wheelhouse``. pip asks markers of the Python that it runs in, whatever
``--python-version`` says, so that the lock file's markers are answered here.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from packaging.markers import Marker

from tests.labs.hosts.lab import FOLDER, PROJECT

LOCK = PROJECT / "requirements.lock"


def fill(folder: Path, template: Path, lock: Path = LOCK) -> Path:
    """Return a folder with the wheels of the lock file for the template's Python; what is there is not fetched again."""
    code = "import platform; print(platform.python_version())"
    version = subprocess.run(
        ["chroot", str(template), "python3", "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()
    wanted, stamp = wanted_by(lock.read_text(encoding="utf-8"), version), folder / "wanted.txt"
    if not stamp.is_file() or stamp.read_text(encoding="utf-8") != wanted:
        folder.mkdir(parents=True, exist_ok=True)
        asked = folder / "asked.txt"
        asked.write_text(wanted, encoding="utf-8")
        words = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet"]
        words += ["--no-deps", "--require-hashes", "--only-binary=:all:"]
        words += [f"--python-version={version}", f"--requirement={asked}", f"--dest={folder}"]
        subprocess.run(words, check=True)
        asked.rename(stamp)
    return folder


def wanted_by(lock: str, version: str) -> str:
    """Return the entries of a lock file that a Python of this version on this machine installs, without their markers."""
    python = {"python_version": ".".join(version.split(".")[:2]), "python_full_version": version}
    kept = []
    for entry in re.split(r"\n(?=[A-Za-z0-9])", lock):
        first, *hashes = entry.split("\n")
        requirement, _, marker = first.rstrip(" \\").partition(" ; ")
        if not marker or Marker(marker).evaluate(python):
            kept.append("\n".join([f"{requirement} \\" if hashes else requirement, *hashes]))
    return "\n".join(kept)


if __name__ == "__main__":
    fill(FOLDER / "wheelhouse", FOLDER / "template")
