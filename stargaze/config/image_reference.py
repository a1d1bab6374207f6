"""References of container images: ``registry/name:tag@sha256:digest``, where tag and digest may be missing."""

from __future__ import annotations

import re
from dataclasses import dataclass

_REFERENCE = re.compile(
    r"(?P<name>[a-z0-9][a-zA-Z0-9._:/-]*?)(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
SHORT_DIGEST = 12


@dataclass(frozen=True)
class ImageReference:
    """A parsed reference; tag and digest are empty if it has none."""

    name: str
    tag: str
    digest: str

    @property
    def pinned(self) -> str:
        """The reference by its digest alone, as the engine names what it pulled."""
        return f"{self.name}@{self.digest}"

    @property
    def local_name(self) -> str:
        """The name under which the nodes have the image: a digest, which does not survive a transfer, becomes part of the tag."""
        if not self.digest:
            return f"{self.name}:{self.tag}" if self.tag else self.name
        return f"{self.name}:{self.tag or 'pinned'}-{self.digest.removeprefix('sha256:')[:SHORT_DIGEST]}"


def parse_reference(text: str) -> ImageReference:
    """Parse a reference, or raise a ValueError.

    >>> parse_reference("localhost:5000/a/redis:8.8")
    ImageReference(name='localhost:5000/a/redis', tag='8.8', digest='')
    >>> parse_reference("redis:8.8@sha256:" + 64 * "a").local_name
    'redis:8.8-aaaaaaaaaaaa'
    """
    match = _REFERENCE.fullmatch(text)
    if match is None or "//" in text:
        raise ValueError("should be an image, as redis:8.8 or redis:8.8@sha256: and 64 hexadecimal digits")
    name, tag, digest = match["name"], match["tag"] or "", match["digest"] or ""
    return ImageReference(name, tag, digest)


def local_name(image: str) -> str:
    """Return the name under which the nodes have an image."""
    return parse_reference(image).local_name
