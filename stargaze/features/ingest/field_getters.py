"""Getters for the fields of a GitHub record; each returns None where the field is absent."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from stargaze.features.ingest.derive import decode_node_id, is_url

Record = Mapping[str, Any]
Read = Callable[[Record], Any]

RELEASES, PACKAGE = "releases", "packageJSON"
_SCALARS = frozenset({"$date", "$numberLong", "$numberInt", "$numberDouble"})
_VERSION = re.compile(r"v?(\d{1,4})\.(\d{1,4})\.(\d{1,4})(?!\d)")


class Getter(NamedTuple):
    """A function of a record, and the keys of the record that it reads.

    ``label`` is the path for messages. The values of a flat getter are texts and numbers: ``{`` in them begins no object.
    """

    read: Read
    roots: tuple[str, ...]
    label: str
    is_flat: bool = False


def by_path(path: str) -> Getter:
    """Return the value at a path such as ``owner.login``; an object (a GraphQL connection, say) is not a value."""
    keys = path.split(".")

    def get(record: Record) -> Any:
        value: Any = record
        for key in keys:
            if not isinstance(value, dict):
                return None
            value = value.get(key)
        return _scalar_of(value) if isinstance(value, dict) else value

    return Getter(get, (keys[0],), path, is_flat=len(keys) == 1)


def _scalar_of(value: Record) -> Any:
    """Return the date or number in an object of MongoDB's exports, as ``{"$date": …}``; None for any other object."""
    inner: object = value
    while isinstance(inner, dict):
        inner = next(iter(inner.values())) if len(inner) == 1 and not _SCALARS.isdisjoint(inner) else None
    return inner


def unknown_object(key: str, known: frozenset[str]) -> Getter:
    """Return an object in place of a plain value, so that validation counts it; None if it has one of the ``known`` keys."""
    read = unread_object(key).read

    def get(record: Record) -> Any:
        value = record.get(key)
        return read(record) if isinstance(value, dict) and known.isdisjoint(value) else None

    return Getter(get, (key,), key, is_flat=True)


def unread_object(key: str) -> Getter:
    """Return an object in which no other getter found a value, so that validation counts it; None if it has no values."""

    def get(record: Record) -> Any:
        value = record.get(key)
        return value if isinstance(value, dict) and any(inner is not None for inner in value.values()) else None

    return Getter(get, (key,), key)


def repository_id(key: str) -> Getter:
    """Return GitHub's numeric id, from a number, a text or a node id."""

    def get(record: Record) -> Any:
        value = record.get(key)
        if isinstance(value, str):
            return int(value) if value.isascii() and value.isdigit() and len(value) < 16 else decode_node_id(value)
        return value

    return Getter(get, (key,), key, is_flat=True)


def textual_id(key: str) -> Getter:
    """Return a node id; the ``id`` of GitHub's REST API is a number."""

    def get(record: Record) -> Any:
        value = record.get(key)
        return value if isinstance(value, str) and not value.isdigit() else None

    return Getter(get, (key,), key, is_flat=True)


def list_length(key: str) -> Getter:
    """Return the length of a list; the nodes of a GraphQL connection may be one page of many."""
    return Getter(lambda record: len(record[key]) if isinstance(record.get(key), list) else None, (key,), key)


def has_items(key: str) -> Getter:
    """Return whether a list has items."""
    return Getter(lambda record: bool(record[key]) if isinstance(record.get(key), list) else None, (key,), key)


def is_present(key: str) -> Getter:
    """Return whether an object is present: GitHub writes null for none."""
    return Getter(lambda record: record[key] is not None if key in record else None, (key,), key)


def text_length(key: str) -> Getter:
    """Return the length of a text; GitHub writes null for an empty one."""
    return Getter(lambda record: _length_or_none(record.get(key, 0)), (key,), key, is_flat=True)


def _length_or_none(value: object) -> int | None:
    return len(value) if isinstance(value, str) else 0 if value is None else None


def url_or_false(*keys: str) -> Getter:
    """Return the URL under the first existing key, or False if it is empty."""

    def get(record: Record) -> Any:
        values = [record[key] for key in keys if key in record]
        return (values[0] or False) if values else None

    return Getter(get, keys, keys[0], is_flat=True)


def mirror_flag(value: object) -> Any:
    """Return True for the URL of a mirrored origin, False for an empty one, and another value unchanged."""
    if isinstance(value, str):
        return True if is_url(value) else value.strip() or False
    return False if value is None else value


def is_mirror(*keys: str) -> Getter:
    """Return whether the repository has a mirrored origin; null means none."""

    def get(record: Record) -> Any:
        values = [record[key] for key in keys if key in record]
        return mirror_flag(values[0]) if values else None

    return Getter(get, keys, keys[0], is_flat=True)


def _owner_login(record: Record) -> Any:
    owner = record.get("owner")
    return owner.get("login") if isinstance(owner, dict) else owner


def _join_full_name(record: Record) -> Any:
    login, name = _owner_login(record), record.get("name")
    return f"{login}/{name}" if isinstance(login, str) and isinstance(name, str) else None


def _owner_id(record: Record) -> Any:
    """Return the owner's numeric id; GraphQL's ``id`` is a node id, and some databases have only the number."""
    owner = record.get("owner")
    if isinstance(owner, dict):
        owner = owner.get("databaseId", owner.get("id"))
    if isinstance(owner, bool) or (isinstance(owner, float) and not math.isfinite(owner)):
        return None
    return owner if isinstance(owner, (int, float)) else None


joined_full_name = Getter(_join_full_name, ("owner", "name"), "owner, name")
owner_id = Getter(_owner_id, ("owner",), "owner.id")


def topic_names(key: str) -> Getter:
    """Return the topics of a list of names or of objects, or of a GraphQL connection; a text unchanged."""

    def get(record: Record) -> Any:
        value = record.get(key)
        items = _items_of(value)
        if items is None:
            return [] if value == {} else None if _has_only(value, "totalCount") else value
        return [name for name in map(_topic_name, items) if name]

    return Getter(get, (key,), key)


def topic_count(key: str) -> Getter:
    """Return the number of topics; the ``gh`` command writes null for none."""

    def get(record: Record) -> Any:
        items = _items_of(record.get(key))
        return None if items is None else sum(1 for item in items if _topic_name(item))

    return Getter(get, (key,), key)


def empty_if_null(key: str, empty: Callable[[], Any]) -> Getter:
    """Return an empty value for null, where null means none."""
    return Getter(lambda record: empty() if key in record and record[key] is None else None, (key,), key)


def _topic_name(item: object) -> Any:
    """Return the name of a topic: a text, ``{"name": …}`` or ``{"topic": {"name": …}}``."""
    for _ in range(2):
        if isinstance(item, dict):
            item = item.get("topic", item.get("name"))
    return item if isinstance(item, str) else None


def _items_of(value: object) -> list[Any] | None:
    """Return the items of a list, or the nodes of a GraphQL connection; None for anything else."""
    if isinstance(value, dict):
        edges = value.get("edges")
        if isinstance(edges, list):
            return [edge.get("node") for edge in edges if isinstance(edge, dict)]
        value = value.get("nodes", value.get("names"))
    return value if isinstance(value, list) else None


def _is_first_page(connection: Record) -> bool:
    page = connection.get("pageInfo")
    return isinstance(page, dict) and page.get("hasNextPage") is True


def _has_only(value: object, key: str) -> bool:
    return isinstance(value, dict) and all(name == key or inner is None for name, inner in value.items())


def language_count(key: str) -> Getter:
    """Return the number of languages of a list, of a GraphQL connection, or of an object of languages and their sizes."""

    def get(record: Record) -> Any:
        value = record.get(key)
        items = _items_of(value)
        if items is not None:
            return None if isinstance(value, dict) and _is_first_page(value) else len(items)
        if not isinstance(value, dict) or "totalCount" in value or "totalSize" in value:
            return None
        sizes = [size for size in value.values() if size is not None]
        return len(sizes) if all(isinstance(size, (int, float)) for size in sizes) else value

    return Getter(get, (key,), key)


def from_releases(summarize: Callable[[list[Record]], Any]) -> Getter:
    """Return a summary of the list of releases; the list itself if an item is not a release."""

    def get(record: Record) -> Any:
        releases = record.get(RELEASES)
        if not isinstance(releases, list):
            return None
        if not all(isinstance(release, dict) for release in releases):
            return releases  # validation says that a list is no value of the field
        return summarize(releases)

    return Getter(get, (RELEASES,), RELEASES)


def release_assets(release: Record) -> list[Record]:
    """Return the files of a release."""
    assets = release.get("assets")
    return [asset for asset in assets if isinstance(asset, dict)] if isinstance(assets, list) else []


def count_downloads(releases: list[Record]) -> int:
    """Return the number of downloads of all files of all releases."""
    assets = [asset for release in releases for asset in release_assets(release)]
    counts = [asset.get("download_count", asset.get("downloadCount")) for asset in assets]
    return sum(count for count in counts if isinstance(count, int))


def count_notes(releases: list[Record]) -> int:
    """Return the length of all release notes."""
    return sum(_length_or_none(release.get("body")) or 0 for release in releases)


def release_dates(releases: list[Record]) -> list[str]:
    """Return the publication dates; a draft has only a creation date."""
    keys = ("published_at", "publishedAt", "created_at", "createdAt")
    dates = [next((release[key] for key in keys if release.get(key)), None) for release in releases]
    return [date for date in dates if isinstance(date, str)]


def from_package(get_value: Callable[[Record], Any]) -> Getter:
    """Return a value of package.json; its author wrote it, so an unexpected value is missing, not an error."""

    def get(record: Record) -> Any:
        package = record.get(PACKAGE)
        return get_value(package) if isinstance(package, dict) else None

    return Getter(get, (PACKAGE,), PACKAGE)


def package_text_length(key: str) -> Getter:
    """Return the length of a text in package.json."""
    return from_package(lambda package: _length_or_none(package.get(key)) or 0)


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
