"""Getters for the fields of a GitHub record; each returns None where the field is absent."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from stargaze.features.ingest.derive import decode_node_id

Record = Mapping[str, Any]
Getter = Callable[[Record], Any]

_VERSION = re.compile(r"v?(\d{1,4})\.(\d{1,4})\.(\d{1,4})(?!\d)")


def by_path(path: str) -> Getter:
    """Return the value at a path such as ``owner.login``; an object (a GraphQL connection, say) is not a value."""
    keys = path.split(".")

    def get(record: Record) -> Any:
        value: Any = record
        for key in keys:
            if not isinstance(value, dict):
                return None
            value = value.get(key)
        return None if isinstance(value, dict) else value

    return get


def repository_id(key: str) -> Getter:
    """Return GitHub's numeric id, from a number, a text or a node id."""

    def get(record: Record) -> Any:
        value = record.get(key)
        if isinstance(value, str):
            return int(value) if value.isascii() and value.isdigit() and len(value) < 16 else decode_node_id(value)
        return value

    return get


def list_length(key: str) -> Getter:
    """Return the length of a list."""
    return lambda record: len(record[key]) if isinstance(record.get(key), list) else None


def has_items(key: str) -> Getter:
    """Return whether a list has items."""
    return lambda record: bool(record[key]) if isinstance(record.get(key), list) else None


def is_present(key: str) -> Getter:
    """Return whether an object is present: GitHub writes null for none."""
    return lambda record: record[key] is not None if key in record else None


def text_length(key: str) -> Getter:
    """Return the length of a text; GitHub writes null for an empty one."""

    def get(record: Record) -> Any:
        value = record.get(key, 0)
        return len(value) if isinstance(value, str) else 0 if value is None else None

    return get


def url_or_false(*keys: str) -> Getter:
    """Return the URL under the first existing key, or False if it is empty."""

    def get(record: Record) -> Any:
        values = [record[key] for key in keys if key in record]
        return (values[0] or False) if values else None

    return get


def textual_id(key: str) -> Getter:
    """Return a node id; the ``id`` of GitHub's REST API is a number."""
    return lambda record: record[key] if isinstance(record.get(key), str) and not record[key].isdigit() else None


def joined_full_name(record: Record) -> Any:
    """Return ``owner/name`` from its parts."""
    owner = record.get("owner")
    login = owner.get("login") if isinstance(owner, dict) else owner
    name = record.get("name")
    return f"{login}/{name}" if isinstance(login, str) and isinstance(name, str) else None


def owner_id(record: Record) -> Any:
    """Return the owner's numeric id; GraphQL's ``id`` is a node id."""
    owner = record.get("owner")
    value = owner.get("databaseId", owner.get("id")) if isinstance(owner, dict) else None
    return None if isinstance(value, str) else value


def is_mirror(record: Record) -> Any:
    """Return whether the repository has a mirrored origin; null means none."""
    values = [record[key] for key in ("mirror_url", "mirrorUrl") if key in record]
    return bool(values[0]) if values else None


def graphql_topics(record: Record) -> Any:
    """Return the topics of a GraphQL connection, from its nodes or edges."""
    connection = record.get("repositoryTopics")
    if not isinstance(connection, dict):
        return None
    edges = connection.get("edges")
    nodes = connection.get("nodes")
    if isinstance(edges, list):
        nodes = [edge.get("node") for edge in edges if isinstance(edge, dict)]
    get_name = by_path("topic.name")
    return [get_name(node) for node in nodes if isinstance(node, dict)] if isinstance(nodes, list) else None


def from_releases(summarize: Callable[[list[Record]], Any]) -> Getter:
    """Return a summary of the list of releases; the list itself if an item is not a release."""

    def get(record: Record) -> Any:
        releases = record.get("releases")
        if not isinstance(releases, list):
            return None
        if not all(isinstance(release, dict) for release in releases):
            return releases  # validation says that a list is no value of the field
        return summarize(releases)

    return get


def release_assets(release: Record) -> list[Record]:
    """Return the files of a release."""
    assets = release.get("assets")
    return [asset for asset in assets if isinstance(asset, dict)] if isinstance(assets, list) else []


def count_downloads(releases: list[Record]) -> int:
    """Return the number of downloads of all files of all releases."""
    assets = [asset for release in releases for asset in release_assets(release)]
    counts = [asset.get("download_count", asset.get("downloadCount")) for asset in assets]
    return sum(count for count in counts if isinstance(count, int))


def release_dates(releases: list[Record]) -> list[str]:
    """Return the publication dates; a draft has only a creation date."""
    keys = ("published_at", "publishedAt", "created_at", "createdAt")
    dates = [next((release[key] for key in keys if release.get(key)), None) for release in releases]
    return [date for date in dates if isinstance(date, str)]


def from_package(get_value: Callable[[Record], Any]) -> Getter:
    """Return a value of package.json; its author wrote it, so an unexpected value is missing, not an error."""

    def get(record: Record) -> Any:
        package = record.get("packageJSON")
        return get_value(package) if isinstance(package, dict) else None

    return get


def package_count(key: str) -> Getter:
    """Return the number of items that package.json lists under a key."""

    def count(package: Record) -> int:
        value = package.get(key)
        if isinstance(value, str):
            return len(re.findall(r"[^\s,]+", value))
        return len(value) if isinstance(value, (dict, list)) else 0

    return from_package(count)


def package_version(part: int) -> Getter:
    """Return one number of the package's version."""

    def parse(package: Record) -> int | None:
        text = package.get("version")
        match = _VERSION.match(text) if isinstance(text, str) else None
        return int(match[part]) if match else None

    return from_package(parse)
