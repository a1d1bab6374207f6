"""A skops file that is the same wherever the same model was fitted: skops names what it holds by its place in memory."""

from __future__ import annotations

import io
import re
import zipfile

SCHEMA = "schema.json"
FIRST = 1_000_000_000
"""Numbers of one length: how many objects are one and the same differs between processes, the size shall not."""
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest date that a zip file can hold."""


def steadied(content: bytes) -> bytes:
    """Return a skops file with its objects and members numbered as they come, without the hour at which it was written."""
    with zipfile.ZipFile(io.BytesIO(content)) as source:
        members = {name: source.read(name) for name in source.namelist()}
    schema = members.pop(SCHEMA).decode()
    places: dict[str, int] = {}
    schema = re.sub(
        r'"__id__": (\d+)', lambda found: f'"__id__": {places.setdefault(found[1], FIRST + len(places))}', schema
    )
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as target:
        for place, (name, data) in enumerate(members.items()):
            steady = f"{place}.{name.rpartition('.')[2]}"
            schema = schema.replace(f'"{name}"', f'"{steady}"')
            target.writestr(zipfile.ZipInfo(steady, EPOCH), data)
        target.writestr(zipfile.ZipInfo(SCHEMA, EPOCH), schema)
    return stream.getvalue()
