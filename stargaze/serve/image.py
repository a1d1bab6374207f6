"""The image of page and workers: built once for each content, and brought to every node that has it not."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import stargaze
from stargaze.config import DeploySection
from stargaze.errors import OutsideError
from stargaze.package import context, digest, packed
from stargaze.programs import answer, good
from stargaze.remote import Remote
from stargaze.serve.swarm import Surveyed

LOCK = "requirements-serve.lock"
BUILDING = 3600.0
"""Longest for a build, or for an image on its way [s]."""
LOG_LINES = 12
PACK = "gzip"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Recipe:
    """How the image is built: on which other, and with which more options."""

    base: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Engine:
    """A Docker engine: this machine's (that of DOCKER_HOST), or another machine's, which is asked over ssh."""

    remote: Remote | None = None

    def words(self, words: Sequence[str]) -> list[str]:
        """Return the argv that asks it."""
        return ["docker", *words] if self.remote is None else self.remote.words(["docker", *words], root=True)

    def ask(
        self, words: Sequence[str], stdin: bytes = b"", seconds: float = 120.0
    ) -> subprocess.CompletedProcess[bytes]:
        """Ask; a refusal is an answer."""
        program, *arguments = self.words(words)
        if shutil.which(program) is None:
            raise OutsideError(
                f"the command {program} is not installed here",
                hint='deploy.build_on = "development" builds on the cluster; or: sudo apt install docker.io',
            )
        return answer(program, *arguments, stdin=stdin, seconds=seconds)

    def has(self, image: str) -> bool:
        """Say whether it holds an image."""
        return self.ask(["image", "inspect", "--format", "{{.Id}}", image]).returncode == 0


def name_of(section: DeploySection, recipe: Recipe) -> str:
    """Return the image's name, which says what it holds."""
    name = f"stargaze-serve:{stargaze.__version__}-{digest(context(LOCK), recipe.base, *recipe.options)}"
    return f"{section.registry.rstrip('/')}/{name}" if section.registry else name


def ensured(section: DeploySection, recipe: Recipe, engine: Engine, nodes: Sequence[Surveyed], say: Say) -> str:
    """Return the name of the image, which every node holds then; it is built only if it is needed anywhere.

    Raises
    ------
    OutsideError
        If it cannot be built, or cannot be brought to a node.
    """
    image = name_of(section, recipe)
    lacking = [node.remote for node in nodes if image not in node.images]
    if lacking and not engine.has(image):
        say(f"building the image {image}; it takes minutes")
        _build(image, recipe, engine)
    if lacking and section.registry:
        say(f"pushing {image}")
        good("docker push", engine.ask(["push", "--quiet", image], seconds=BUILDING))
    for remote in lacking:
        say(f"bringing {image} to {remote.name}")
        _pull(image, remote) if section.registry else _carry(image, engine, remote)
    return image


def bring(image: str, engine: Engine, nodes: Sequence[Surveyed], say: Say) -> None:
    """Have every node hold an image that somebody else made: carried from here if it is here, else pulled by the node."""
    lacking = [node.remote for node in nodes if image not in node.images]
    held = bool(lacking) and engine.has(image)
    for remote in lacking:
        say(f"bringing {image} to {remote.name}")
        _carry(image, engine, remote) if held else _pull(image, remote)


def _build(image: str, recipe: Recipe, engine: Engine) -> None:
    words = ["build", "--force-rm", "--target=serve", f"--tag={image}", f"--build-arg=BASE={recipe.base}"]
    built = engine.ask([*words, *recipe.options, "-"], packed(context(LOCK)), BUILDING)
    if built.returncode:
        log = (built.stdout + built.stderr).decode(errors="replace").strip().splitlines()[-LOG_LINES:]
        raise OutsideError(
            "the image cannot be built:\n" + "\n".join(log),
            hint="screening.base_image and screening.build_options (stargaze init --print) say how it is built",
        )


def _pull(image: str, remote: Remote) -> None:
    remote.run("docker", "pull", "--quiet", image, root=True, seconds=BUILDING)


def _carry(image: str, engine: Engine, remote: Remote) -> None:
    """Send an image over ssh, packed: from engine to engine, through here."""
    with (
        subprocess.Popen(engine.words(["save", image]), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as source,
        subprocess.Popen([PACK, "-1"], stdin=source.stdout, stdout=subprocess.PIPE) as pack,
        subprocess.Popen(
            remote.words(["docker", "load", "--quiet"], root=True),
            stdin=pack.stdout,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        ) as sink,
    ):
        for pipe in (source.stdout, pack.stdout):
            if pipe:
                pipe.close()  # whoever writes hears of it when the reader ends
        _, refused = sink.communicate(timeout=BUILDING)
        said = source.stderr.read() if source.stderr else b""
    if source.returncode or sink.returncode:
        lines = (said + refused).decode(errors="replace").strip().splitlines() or ["no reason given"]
        raise OutsideError(f"{image} does not arrive at {remote.name}: {lines[-1]}", hint="stargaze deploy, again")
