"""The image that families run in: built from the project's Dockerfile, named by what it holds, built once per engine."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable

import stargaze
from stargaze.config import ScreeningSection
from stargaze.errors import OutsideError
from stargaze.package import digest, recipe, source
from stargaze.tuning.executors.engine import Engine
from stargaze.tuning.executors.port import Say

LOG_LINES = 12
"""Of a build that fails, the end of the log is shown: it says why."""


def ensured(engine: Engine, section: ScreeningSection, say: Say, *, optional: bool) -> str:
    """Return the name of the image, after building it if the engine does not hold it.

    ``optional`` says whether it needs what the optional families need.

    Raises
    ------
    OutsideError
        If it cannot be built; the message holds the end of the log.
    """
    files = context(optional=optional)
    name = f"stargaze:{stargaze.__version__}-{digest(files, section.base_image, *section.build_options)}"
    if engine.ask(["image", "inspect", name]).returncode == 0:
        return name
    say(f"building the image {name}, once for this engine; it takes minutes")
    # A step that fails leaves its container to older engines, unless they are told not to.
    arguments = ["--force-rm", f"--tag={name}", f"--build-arg=BASE={section.base_image}", *section.build_options]
    built = engine.ask(["build", *arguments, "-"], packed(files))
    if built.returncode:
        log = (built.stdout + built.stderr).decode(errors="replace").strip().splitlines()[-LOG_LINES:]
        raise OutsideError(
            "the image cannot be built:\n" + "\n".join(log),
            hint="screening.base_image and screening.build_options (stargaze init --print) say how it is built",
        )
    return name


def context(*, optional: bool) -> dict[str, bytes]:
    """Return all that the image is made from: Dockerfile, lock and source, by name."""
    lock = "requirements-optional.lock" if optional else "requirements.lock"
    return {
        "Dockerfile": recipe("Dockerfile").read_bytes(),
        "requirements.lock": recipe(lock).read_bytes(),
        **source(),
    }


def packed(files: dict[str, bytes] | Iterable[tuple[str, bytes]]) -> bytes:
    """Return a tar that anybody may read and nobody write; always the same for the same files."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in dict(files).items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o444
            archive.addfile(entry, io.BytesIO(content))
    return stream.getvalue()
