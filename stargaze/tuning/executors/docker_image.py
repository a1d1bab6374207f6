"""The image that families run in: built from the project's Dockerfile, named by what it holds, built once per engine."""

from __future__ import annotations

import stargaze
from stargaze.config import ScreeningSection
from stargaze.errors import ExternalError
from stargaze.system.progress import Notify
from stargaze.system.source_package import build_context, digest_files, pack_tar
from stargaze.system.text import last_lines
from stargaze.tuning.executors.docker_cli import Engine

LOG_LINES = 12
"""Of a build that fails, the end of the log is shown: it says why."""


def ensured(engine: Engine, section: ScreeningSection, say: Notify, *, optional: bool) -> str:
    """Return the name of the image, after building it if the engine does not hold it.

    ``optional`` says whether it needs what the optional families need.

    Raises
    ------
    ExternalError
        If it cannot be built; the message holds the end of the log.
    """
    files = build_context("requirements-optional.lock" if optional else "requirements.lock")
    name = f"stargaze:{stargaze.__version__}-{digest_files(files, section.base_image, *section.build_options)}"
    if engine.ask(["image", "inspect", name]).returncode == 0:
        return name
    say(f"building the image {name}, once for this engine; it takes minutes")
    # A step that fails leaves its container to older engines, unless they are told not to.
    arguments = ["--force-rm", f"--tag={name}", f"--build-arg=BASE={section.base_image}", *section.build_options]
    built = engine.ask(["build", *arguments, "-"], pack_tar(files))
    if built.returncode:
        raise ExternalError(
            "the image cannot be built:\n" + last_lines(built.stdout + built.stderr, LOG_LINES),
            hint="screening.base_image and screening.build_options (stargaze init --print) say how it is built",
        )
    return name
