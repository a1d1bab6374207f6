"""The folder of an installed release: the files of its star bundle, and in ``growth/`` those of its growth bundle.

Its name is the digest of the star bundle, followed by that of the growth bundle if the release has one. So the link
``current`` switches both at once, and whoever resolves it knows which two bundles belong together.
"""

from __future__ import annotations

import re
from pathlib import Path

from stargaze.bundle.manifest import GROWTH_FOLDER, BadBundleError, verify_files

RELEASE_NAME = re.compile(r"([0-9a-f]{64})(?:-([0-9a-f]{64}))?")
HINT = "stargaze deploy installs it again"


def release_name(digest: str, growth_digest: str | None) -> str:
    """Return the name of a release.

    >>> release_name("5e" * 32, None) == "5e" * 32, release_name("5e" * 32, "a1" * 32)[60:70]
    (True, '5e5e-a1a1a')
    """
    return f"{digest}-{growth_digest}" if growth_digest else digest


def split_release_name(name: str) -> tuple[str, str | None]:
    """Return the digests of the star bundle and of the growth bundle, None if there is none.

    >>> split_release_name("a-b"), split_release_name("a")
    (('a', 'b'), ('a', None))
    """
    digest, _, growth_digest = name.partition("-")
    return digest, growth_digest or None


def short_name(name: str) -> str:
    """Return the name of a release for people: the first characters of each digest.

    >>> short_name("5e" * 32), short_name("5e" * 32 + "-" + "a1" * 32)
    ('5e5e5e5e5e5e', '5e5e5e5e5e5e-a1a1a1a1a1a1')
    """
    return "-".join(part[:12] for part in name.split("-"))


def growth_folder(folder: Path) -> Path | None:
    """Return the folder of a release's growth bundle, None if the release has none.

    BadBundleError if the name of the release and the folder disagree about that.
    """
    has_growth, growth = (folder / GROWTH_FOLDER).exists(), folder / GROWTH_FOLDER
    if (named := RELEASE_NAME.fullmatch(folder.name)) and bool(named[2]) != has_growth:
        state = "has a growth bundle that its name lacks" if has_growth else "lacks its growth bundle"
        raise BadBundleError(f"release {short_name(folder.name)} {state}", hint=HINT)
    return growth if has_growth else None


def check_release_name(folder: Path, digest: str, growth_digest: str | None) -> None:
    """Raise BadBundleError if a release has other bundles than its name says; other folders may have any name."""
    if RELEASE_NAME.fullmatch(folder.name) and folder.name != release_name(digest, growth_digest):
        raise BadBundleError(f"release {short_name(folder.name)} contains other bundles", hint=HINT)


def verify_release(folder: Path) -> str:
    """Check all files of a release against the two manifests and return the name that it must have."""
    growth = growth_folder(folder)
    return release_name(verify_files(folder), verify_files(growth) if growth else None)
