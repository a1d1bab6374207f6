"""Random changes of bundle files, each a function of the content and a random generator."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
import pandas as pd

Mutate = Callable[[bytes, Random], bytes]
NUMBERS: list[Any] = [
    *(0, 1, -1, 2, 3, 7, 37, 255, 256, 65535, 2**31 - 1, 2**31, -(2**31), 2**32, 2**53, 2**63, 10**30, 10**400),
    *(0.5, -0.0, 1e-320, 1e38, 1e39, 1e300, -1e308, float("nan"), float("inf"), float("-inf")),
]
VALUES: list[Any] = [
    *NUMBERS,
    None,
    True,
    False,
    "",
    "x",
    "0",
    "../x",
    "\ud800",
    "\u2028",
    "é" * 500,
    [],
    {},
    [None],
    [[1]],
    {"a": 1},
]


def mutate_bytes(content: bytes, random: Random) -> bytes:
    """Flip, replace, delete, repeat or splice bytes."""
    data = bytearray(content)
    for _ in range(random.choice((1, 1, 1, 2, 8))):
        place, other = random.randrange(len(data) + 1), random.randrange(len(data) + 1)
        size = random.choice((1, 1, 2, 8, 64, 4096))
        match random.randrange(7):
            case 0 if place < len(data):
                data[place] ^= 1 << random.randrange(8)
            case 1 if place < len(data):
                data[place] = random.randrange(256)
            case 2:
                del data[place : place + size]
            case 3:
                data[place:place] = data[other : other + size]
            case 4:
                data[place : place + size] = data[other : other + size]
            case 5 if random.random() < 0.2:
                del data[place:]
            case _:
                data[place:place] = bytes(random.randrange(256) for _ in range(min(size, 8)))
    return bytes(data)


def mutate_json(content: bytes, random: Random) -> bytes:
    """Change one or a few values of a JSON document, or its text."""
    if random.random() < 0.15:
        return mutate_bytes(content, random)
    try:
        document = json.loads(content)
    except ValueError:  # a text that was changed before
        return mutate_bytes(content, random)
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        document = _mutate_value(document, random)
    text = json.dumps(document, indent=random.choice((None, 1)))
    if random.random() < 0.03:
        text = text.replace('": ', '": 1, "x": ', 1)
    encoded: bytes = text.encode(random.choice(("utf-8",) * 30 + ("utf-8-sig", "utf-16", "utf-32")))
    return encoded


def _mutate_value(value: Any, random: Random) -> Any:
    """Walk down a random path and change what is there."""
    if isinstance(value, dict) and value and random.random() < 0.93:
        return _mutate_object(value, random)
    if isinstance(value, list) and value and random.random() < 0.9:
        return _mutate_list(value, random)
    if isinstance(value, str) and re.fullmatch(r"-?[\d.]+", value) and random.random() < 0.7:
        return str(random.choice(NUMBERS))
    if type(value) in {int, float} and random.random() < 0.7:
        return random.choice((value + 1, value - 1, -value, value * 10, value // 2, random.choice(NUMBERS)))
    return random.choice(VALUES)


def _mutate_object(value: dict[str, Any], random: Random) -> dict[str, Any]:
    key, other = random.choice(sorted(value)), random.choice(sorted(value))
    choice = random.randrange(12)
    if choice == 0:
        return {name: item for name, item in value.items() if name != key}
    if choice == 1:
        return value | {key + random.choice(("x", " ", "\u2028")): value[key]}
    return value | {key: value[other] if choice == 2 else _mutate_value(value[key], random)}


def _mutate_list(value: list[Any], random: Random) -> list[Any]:
    i, j, choice = random.randrange(len(value)), random.randrange(len(value)), random.randrange(10)
    before, item, after = value[:i], value[i], value[i + 1 :]
    changed = {0: [], 1: [value[j], item], 2: [value[j]]}.get(choice)
    if choice == 3:
        return before
    return [*before, *([_mutate_value(item, random)] if changed is None else changed), *after]


def mutate_lightgbm(content: bytes, random: Random) -> bytes:
    """Change numbers and lines of a model's text; mostly with correct sizes of the trees."""
    if random.random() < 0.1:
        return mutate_bytes(content, random)
    lines = content.decode().split("\n")
    end = next((i for i, line in enumerate(lines) if line == "parameters:"), len(lines))
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        i = random.randrange(min(end, len(lines)))
        numbers = [match.span() for match in re.finditer(r"-?[\d.][\d.e+-]*", lines[i])]
        if random.random() < 0.75 and numbers:
            begin, stop = random.choice(numbers)
            lines[i] = lines[i][:begin] + _mutate_number(lines[i][begin:stop], random) + lines[i][stop:]
        elif random.random() < 0.5:
            del lines[i]
        else:
            lines.insert(i, lines[random.randrange(len(lines))])
    text = "\n".join(lines)
    return (_with_tree_sizes(text) if random.random() < 0.9 else text).encode()


def _mutate_number(number: str, random: Random) -> str:
    place = random.randrange(len(number))
    return random.choice(
        (
            number[:place] + str(random.randrange(10)) + number[place + 1 :],
            number[:place] + number[place + 1 :],
            number + str(random.randrange(10)),
            "-" + number,
            str(random.randrange(-40, 40)),
            str(random.choice(NUMBERS)),
            number + " " + number,
        )
    )


def _with_tree_sizes(text: str) -> str:
    head, *trees = re.split(r"(?=Tree=)", text.partition("end of trees")[0])
    sizes = " ".join(str(len(tree)) for tree in trees)
    tail = "".join(text.partition("end of trees")[1:])
    return re.sub(r"tree_sizes=.*", f"tree_sizes={sizes}", head, count=1) + "".join(trees) + tail


def mutate_zip(content: bytes, random: Random) -> bytes:
    """Change the schema or one array of a skops or npz file, or its bytes."""
    if random.random() < 0.1:
        return mutate_bytes(content, random)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    for _ in range(random.choice((1, 1, 1, 2))):
        schema = "schema.json" in members and random.random() < 0.4
        name = "schema.json" if schema else random.choice(sorted(members))
        if name.endswith(".npy"):
            members[name] = mutate_array(members[name], random)
        else:
            members[name] = mutate_json(members[name], random)
        if random.random() < 0.03:
            del members[name]
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as target:
        for name, data in members.items():
            target.writestr(name, data)
    return stream.getvalue()


def mutate_array(content: bytes, random: Random) -> bytes:
    """Change values, shape or type of an array."""
    if random.random() < 0.1:
        return mutate_bytes(content, random)
    try:
        array = np.load(io.BytesIO(content), allow_pickle=False)
    except Exception:  # noqa: BLE001 - an array of objects, or an earlier mutation has damaged it
        return mutate_bytes(content, random)
    changed = _mutate_array(array.copy(), random)
    stream = io.BytesIO()
    np.save(stream, changed, allow_pickle=False)
    return stream.getvalue()


def _mutate_array(array: np.ndarray, random: Random) -> np.ndarray:
    choice = random.randrange(8)
    if choice < 5 and array.size:  # one value, of one field if it has fields
        flat = array.reshape(-1)
        column = flat[random.choice(array.dtype.names)] if array.dtype.names else flat
        with np.errstate(all="ignore"):
            try:
                place = random.randrange(len(column))
                column[place] = random.choice((*NUMBERS, column[place] + 1, column[place] - 1))
            except (OverflowError, TypeError, ValueError):
                return np.frombuffer(
                    mutate_bytes(array.tobytes(), random)[: array.nbytes].ljust(array.nbytes), array.dtype
                )
        return array
    if choice == 5:
        return array[: random.randrange(len(array))] if array.ndim and len(array) else array.reshape(1, *array.shape)
    if choice == 6:
        return np.concatenate([array, array]) if array.ndim else array.reshape(1)
    if array.dtype.names:
        return array.view("uint8")
    return array.astype(random.choice(("float32", "float64", "int32", "int64", "uint8", "float16")), casting="unsafe")


def mutate_table(content: bytes, random: Random) -> bytes:
    """Change cells, columns or rows of a Parquet file, or its bytes."""
    if random.random() < 0.4:
        return mutate_bytes(content, random)
    frame = pd.read_parquet(io.BytesIO(content))
    for _ in range(random.choice((1, 1, 2))):
        column = random.choice(("full_name", "stars", *map(str, frame.columns)))
        match random.randrange(6):
            case 0:
                frame = frame.drop(columns=column, errors="ignore")
            case 1:
                frame = frame.head(random.choice((0, 1, 2)))
            case 2:
                frame = pd.concat([frame, frame.tail(1)], ignore_index=True)
            case 3 if column in frame:
                frame[column] = random.choice((None, 1, "x", 1.5, [[1]] * len(frame)))
            case _ if column in frame and len(frame):
                values = frame[column].astype("object")
                values.iloc[random.randrange(len(values))] = random.choice(
                    (*NUMBERS[:12], None, -5.0, float("inf"), "", "x", "a/b/c", " / ", "é/é", "a/" + "b" * 10_000)
                )
                frame[column] = values
    stream = io.BytesIO()
    try:
        frame.to_parquet(stream)
    except (OverflowError, TypeError, ValueError):  # a column of several types
        return mutate_bytes(content, random)
    return stream.getvalue()


def mutate_manifest(content: bytes, random: Random) -> bytes:
    """Change the text of a manifest so that it may mean the same, or its values."""
    match random.randrange(6):
        case 0:
            return content.decode().encode(random.choice(("utf-8-sig", "utf-16", "utf-32", "utf-16-le")))
        case 1:
            return json.dumps(json.loads(content), indent=random.choice((None, 1, 2))).encode()
        case 2:
            return re.sub(rb'("\w+": [^,{}]+)(,?)', rb"\1, \1\2", content, count=random.choice((1, 3)))
        case 3:
            return content + random.choice((b" ", b"\n", b"\0", b"{}"))
        case _:
            return mutate_json(content, random)
