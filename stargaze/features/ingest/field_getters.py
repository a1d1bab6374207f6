"""Ways into one of GitHub's records: each returns what it finds there, or None."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from stargaze.errors import BadDataError
from stargaze.features.ingest.deduplicate import decode_node_id

Record = Mapping[str, Any]
Getter = Callable[[Record], Any]

_VERSION = re.compile(r"v?(\d{1,4})\.(\d{1,4})\.(\d{1,4})(?!\d)")


def by_path(path: str) -> Getter:
    """Look at a path; an object (a GraphQL connection, say) is never the value itself."""
    keys = path.split(".")

    def way(record: Record) -> Any:
        value: Any = record
        for key in keys:
            if not isinstance(value, dict):
                return None
            value = value.get(key)
        return None if isinstance(value, dict) else value

    return way


def repository_id(key: str) -> Getter:
    """Look for GitHub's number: as it is, as text, or inside a node id."""

    def way(record: Record) -> Any:
        value = record.get(key)
        if isinstance(value, str):
            return int(value) if value.isascii() and value.isdigit() and len(value) < 16 else decode_node_id(value)
        return value

    return way


def list_length(key: str) -> Getter:
    """Count the members of a list."""
    return lambda record: len(record[key]) if isinstance(record.get(key), list) else None


def has_items(key: str) -> Getter:
    """Tell whether a list has a member."""
    return lambda record: bool(record[key]) if isinstance(record.get(key), list) else None


def is_present(key: str) -> Getter:
    """Tell whether an object is there: GitHub writes null for none."""
    return lambda record: record[key] is not None if key in record else None


def text_length(key: str) -> Getter:
    """Count the characters of a text; GitHub writes null for an empty one."""

    def way(record: Record) -> Any:
        value = record.get(key, 0)
        return len(value) if isinstance(value, str) else 0 if value is None else None

    return way


def url_or_false(*keys: str) -> Getter:
    """Tell whether an address is given: it, or False where a key is there and empty."""

    def way(record: Record) -> Any:
        there = [record[key] for key in keys if key in record]
        return (there[0] or False) if there else None

    return way


def textual_id(key: str) -> Getter:
    """Take a node id only where it is text; REST's ``id`` is a number."""
    return lambda record: record[key] if isinstance(record.get(key), str) and not record[key].isdigit() else None


def joined_full_name(record: Record) -> Any:
    """Put the name together from the owner's and its own."""
    owner = record.get("owner")
    login = owner.get("login") if isinstance(owner, dict) else owner
    name = record.get("name")
    return f"{login}/{name}" if isinstance(login, str) and isinstance(name, str) else None


def owner_id(record: Record) -> Any:
    """Look for the owner's number; GraphQL gives a node id unless asked for the number."""
    owner = record.get("owner")
    found = owner.get("databaseId", owner.get("id")) if isinstance(owner, dict) else None
    return None if isinstance(found, str) else found


def is_mirror(record: Record) -> Any:
    """Tell a mirror by its origin: null means none."""
    there = [record[key] for key in ("mirror_url", "mirrorUrl") if key in record]
    return bool(there[0]) if there else None


def graphql_topics(record: Record) -> Any:
    """List the topics of a GraphQL connection, by nodes or by edges."""
    connection = record.get("repositoryTopics")
    if not isinstance(connection, dict):
        return None
    edges = connection.get("edges")
    nodes = (
        [edge.get("node") for edge in edges if isinstance(edge, dict)]
        if isinstance(edges, list)
        else connection.get("nodes")
    )
    return (
        [by_path("topic.name")(node) for node in nodes if isinstance(node, dict)] if isinstance(nodes, list) else None
    )


def from_releases(read_all: Callable[[list[Record]], Any]) -> Getter:
    """Sum up a list of releases, in either spelling."""

    def way(record: Record) -> Any:
        releases = record.get("releases")
        if not isinstance(releases, list):
            return None
        if not all(isinstance(release, dict) for release in releases):
            raise BadDataError("releases holds something that is no release")
        return read_all(releases)

    return way


def release_assets(release: Record) -> list[Record]:
    """List the files of a release."""
    found = release.get("assets")
    return [asset for asset in found if isinstance(asset, dict)] if isinstance(found, list) else []


def count_downloads(releases: list[Record]) -> int:
    """Sum the downloads of all files of all releases."""
    counts = [asset.get("download_count", asset.get("downloadCount")) for r in releases for asset in release_assets(r)]
    return sum(count for count in counts if isinstance(count, int))


def release_dates(releases: list[Record]) -> list[str]:
    """List when they were published; a draft has only the day it was made."""
    keys = ("published_at", "publishedAt", "created_at", "createdAt")
    dates = [next((release[key] for key in keys if release.get(key)), None) for release in releases]
    return [date for date in dates if isinstance(date, str)]


def from_package(read_one: Callable[[Record], Any]) -> Getter:
    """Read package.json, which its author wrote: whatever is odd there is not known, and no fault of the record."""

    def way(record: Record) -> Any:
        package = record.get("packageJSON")
        return read_one(package) if isinstance(package, dict) else None

    return way


def package_count(key: str) -> Getter:
    """Count what package.json lists under a key."""

    def count(package: Record) -> int:
        value = package.get(key)
        if isinstance(value, str):
            return len(re.findall(r"[^\s,]+", value))
        return len(value) if isinstance(value, (dict, list)) else 0

    return from_package(count)


def package_version(part: int) -> Getter:
    """Take one number of the package's version."""

    def number_of(package: Record) -> int | None:
        text = package.get("version")
        match = _VERSION.match(text) if isinstance(text, str) else None
        return int(match[part]) if match else None

    return from_package(number_of)
