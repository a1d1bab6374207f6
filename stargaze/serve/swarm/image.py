"""The image of page and workers: built once for each content, and brought to every node that has it not."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import stargaze
from stargaze.config import DeploySection
from stargaze.errors import ExternalError
from stargaze.serve.swarm.docker import HOLDS, SUM, NodeInfo
from stargaze.system.parallel import map_in_threads
from stargaze.system.process import checked_output, run_program
from stargaze.system.progress import Notify
from stargaze.system.source_package import build_context, digest_files, pack_tar
from stargaze.system.ssh import SshHost
from stargaze.system.text import last_line, last_lines

LOCK = "requirements-serve.lock"
SMALL, LARGE = "stargaze-serve", "stargaze-serve-skops"
FOR_SKOPS = ("joblib", "narwhals", "prettytable", "scikit-learn", "scipy", "skops")
"""What only models of scikit-learn want: a third of the image, which a release of other models does without."""
BUILDING = 3600.0
"""Longest for a build, or for an image on its way [s]."""
LOG_LINES = 12
PACK = "gzip"


@dataclass(frozen=True)
class Recipe:
    """How the image is built: on which other, and with which more options."""

    base: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Engine:
    """A Docker engine: this machine's (that of DOCKER_HOST), or another machine's, which is asked over ssh."""

    remote: SshHost | None = None

    def words(self, words: Sequence[str]) -> list[str]:
        """Return the argv that asks it."""
        return ["docker", *words] if self.remote is None else self.remote.argv(["docker", *words], root=True)

    def ask(
        self, words: Sequence[str], stdin: bytes = b"", seconds: float = 120.0
    ) -> subprocess.CompletedProcess[bytes]:
        """Ask; a refusal is an answer."""
        program, *arguments = self.words(words)
        if shutil.which(program) is None:
            raise ExternalError(
                f"the command {program} is not installed here",
                hint='deploy.build_on = "development" builds on the cluster; or: sudo apt install docker.io',
            )
        return run_program(program, *arguments, stdin=stdin, seconds=seconds)

    def has(self, image: str) -> bool:
        """Notify whether it holds an image."""
        return bool(self.content(image))

    def content(self, image: str) -> str:
        """Return what an image holds, as a short digest; empty if it has none of that name."""
        told = self.ask(["image", "inspect", "--format", HOLDS, image])
        return "" if told.returncode else hashlib.sha256(told.stdout.rstrip(b"\n")).hexdigest()[:SUM]


def suits(image: str, bundle: Path) -> bool:
    """Notify whether an image holds all that a bundle wants."""
    return f"/{image}".rpartition("/")[2].startswith(f"{LARGE}:") or not _wants_skops(bundle)


def is_ours(image: str) -> bool:
    """Notify whether an image is one of page and workers, by its name; one that lost its tag has none."""
    last = f"/{image}".rpartition("/")[2]
    return last.startswith((f"{SMALL}:", f"{LARGE}:")) and not last.endswith(":<none>")


def without(lock: str, names: Collection[str]) -> str:
    r"""Return a lock file without some packages.

    >>> without("a==1 \\\n    --hash=x\nb==2\n", ["a"])
    'b==2\n'
    """
    entries = re.split(r"^(?=[A-Za-z0-9])", lock, flags=re.MULTILINE)
    return "".join(entry for entry in entries if re.split(r"[=\[ ]", entry, maxsplit=1)[0] not in names)


def files_for(bundle: Path) -> dict[str, bytes]:
    """Return what the image is made from that a bundle wants."""
    files = build_context(LOCK)
    if not _wants_skops(bundle):
        files["requirements.lock"] = without(files["requirements.lock"].decode(), FOR_SKOPS).encode()
    return files


def _wants_skops(bundle: Path) -> bool:
    return any(bundle.glob("*.skops"))


def name_of(section: DeploySection, recipe: Recipe, bundle: Path) -> str:
    """Return the image's name, which says what it holds."""
    kind = LARGE if _wants_skops(bundle) else SMALL
    name = f"{kind}:{stargaze.__version__}-{digest_files(files_for(bundle), recipe.base, *recipe.options)}"
    return f"{section.registry.rstrip('/')}/{name}" if section.registry else name


def ensured(
    section: DeploySection,
    recipe: Recipe,
    engine: Engine,
    nodes: Sequence[NodeInfo],
    bundle: Path,
    say: Notify,
    known: Mapping[str, str] | None = None,
) -> tuple[str, str]:
    """Return name and content of the image for a bundle, which every node holds then.

    Where all nodes have what is ``known`` to run under that name, that is right, whoever built it: no two builds are the same,
    and several people deliver. Else what the builder has is; where it has none, what all nodes have; else it is built.

    Raises
    ------
    ExternalError
        If it cannot be built, or cannot be brought to a node.
    """
    image = name_of(section, recipe, bundle)
    held = {node.contents.get(image, "") for node in nodes}
    same = held.pop() if len(held) == 1 else ""
    if same and (known or {}).get(image) == same:
        return image, same
    content = engine.content(image) or same
    if not content:
        say(f"building the image {image}; it takes minutes")
        _build(image, recipe, files_for(bundle), engine)
        content = engine.content(image)
    lacking = [node.remote for node in nodes if node.contents.get(image) != content]
    if lacking and section.registry:
        say(f"pushing {image}")
        checked_output("docker push", engine.ask(["push", "--quiet", image], seconds=BUILDING))
    _bring(image, lacking, None if section.registry else engine, say)
    return image, content


def bring(image: str, engine: Engine, nodes: Sequence[NodeInfo], say: Notify) -> None:
    """Have every node hold an image that somebody else made: carried from here if it is here, else pulled by the node."""
    lacking = [node.remote for node in nodes if image not in node.images]
    _bring(image, lacking, engine if lacking and engine.has(image) else None, say)


def _bring(image: str, lacking: Sequence[SshHost], source: Engine | None, say: Notify) -> None:
    """Bring an image to all machines at the same time: from an engine, or from where it says that it comes from."""
    if lacking:
        say(f"bringing {image} to {', '.join(remote.name for remote in lacking)}")
    map_in_threads(lambda remote: _carry(image, source, remote) if source else _pull(image, remote), lacking)


def _build(image: str, recipe: Recipe, files: Mapping[str, bytes], engine: Engine) -> None:
    words = ["build", "--force-rm", "--target=serve", f"--tag={image}", f"--build-arg=BASE={recipe.base}"]
    built = engine.ask([*words, *recipe.options, "-"], pack_tar(files), BUILDING)
    if built.returncode:
        raise ExternalError(
            "the image cannot be built:\n" + last_lines(built.stdout + built.stderr, LOG_LINES),
            hint="screening.base_image and screening.build_options (stargaze init --print) say how it is built",
        )


def _pull(image: str, remote: SshHost) -> None:
    remote.run("docker", "pull", "--quiet", image, root=True, seconds=BUILDING)


def _carry(image: str, engine: Engine, remote: SshHost) -> None:
    """Send an image over ssh, packed: from engine to engine, through here."""
    with (
        subprocess.Popen(engine.words(["save", image]), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as source,
        subprocess.Popen([PACK, "-1"], stdin=source.stdout, stdout=subprocess.PIPE) as pack,
        subprocess.Popen(
            remote.argv(["docker", "load", "--quiet"], root=True),
            stdin=pack.stdout,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        ) as sink,
    ):
        for pipe in (source.stdout, pack.stdout):
            if pipe:
                pipe.close()  # whoever writes hears of it when the reader ends
        try:
            _, refused = sink.communicate(timeout=BUILDING)
        except subprocess.TimeoutExpired as error:
            for process in (source, pack, sink):
                process.kill()
            raise ExternalError(
                f"{image} did not arrive at {remote.name} within {BUILDING:g} s",
                hint="is the network slow? stargaze deploy, again",
            ) from error
        said = source.stderr.read() if source.stderr else b""
    if source.returncode or sink.returncode:
        reason = last_line(said + refused)
        raise ExternalError(f"{image} does not arrive at {remote.name}: {reason}", hint="stargaze deploy, again")
