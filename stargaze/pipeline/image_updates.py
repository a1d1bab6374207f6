"""Write the digests of the images that others publish into the config: a tag is never pulled again, a digest is verified."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path

from stargaze.config import Config
from stargaze.config.image_reference import ImageReference, parse_reference
from stargaze.errors import ConfigError, ExternalError
from stargaze.system.docker import LONG_TIME_LIMIT, DockerEngine
from stargaze.system.files import atomic_write
from stargaze.system.progress import Notify


def configured_images(config: Config) -> dict[str, str]:
    """Return the images in use by config key."""
    deploy = config.deploy
    images = {"screening.base_image": config.screening.base_image}
    images |= {"deploy.broker_image": deploy.broker_image, "deploy.results_image": deploy.results_image}
    images |= {"deploy.flower_image": deploy.flower_image} if deploy.flower else {}
    return images | ({"deploy.prometheus_image": deploy.prometheus_image} if deploy.prometheus else {})


def find_updates(images: dict[str, str], engines: Sequence[DockerEngine], notify: Notify) -> list[dict[str, str]]:
    """Pull the tag of each image and return one row per key: the image in the config and the one of today.

    ``engines`` are tried one after the other; ExternalError if none of them reaches the registry.
    """
    rows = []
    for key, image in images.items():
        reference = parse_reference(image)
        tagged = f"{reference.name}:{reference.tag or 'latest'}"
        notify(f"pulling {tagged}")
        digest = _pull(reference, tagged, engines)
        rows.append({"key": key, "image": image, "update": f"{tagged}@{digest}"})
    return rows


def write_updates(path: Path, updates: dict[str, str]) -> None:
    """Change the values of keys in a config file; comments and everything else stay."""
    text = path.read_text(encoding="utf-8")
    for dotted, value in updates.items():
        section, key = dotted.split(".")
        text = _set_key(text, section, key, value)
    try:
        table = tomllib.loads(text)
        written = all(table[name.split(".")[0]][name.split(".")[1]] == value for name, value in updates.items())
    except (tomllib.TOMLDecodeError, KeyError, TypeError):
        written = False
    if not written:
        lines = "; ".join(f'{key} = "{value}"' for key, value in updates.items())
        raise ConfigError(f"{path}: cannot be changed by a program", hint=f"write into it: {lines}")
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _pull(reference: ImageReference, tagged: str, engines: Sequence[DockerEngine]) -> str:
    reasons = []
    for engine in engines:
        try:
            engine.run(["pull", "--quiet", tagged], seconds=LONG_TIME_LIMIT)
            found = json.loads(engine.run(["image", "inspect", "--format", "{{json .RepoDigests}}", tagged]))
        except ExternalError as error:
            reasons.append(error.message)
            continue
        digests = [parse_reference(text) for text in found or ()]
        same = [other.digest for other in digests if f"/{other.name}".endswith(f"/{reference.name.rpartition('/')[2]}")]
        if same:
            return same[0]
        reasons.append(f"{tagged}: the engine names no digest")
    raise ExternalError(
        f"{tagged} cannot be pulled: {'; '.join(reasons)}", hint="repeat it where a registry is reachable"
    )


def _set_key(text: str, section: str, key: str, value: str) -> str:
    header = re.search(rf"^\[{section}\][ \t]*(?:#.*)?$\n?", text, re.MULTILINE)
    if header is None:
        return f'{text.rstrip()}\n\n[{section}]\n{key} = "{value}"\n'.lstrip()
    following = re.compile(r"^\[", re.MULTILINE).search(text, header.end())
    end = following.start() if following else len(text)
    body, count = re.subn(
        rf"^([ \t]*{key}[ \t]*=[ \t]*)(\"[^\"\n]*\"|'[^'\n]*')",
        rf'\g<1>"{value}"',
        text[header.end() : end],
        flags=re.MULTILINE,
    )
    if not count:
        body = f'{key} = "{value}"\n{body}'
    return text[: header.end()] + body + text[end:]
