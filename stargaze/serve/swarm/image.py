"""The image of web and worker: built once per content, and transferred to every node that lacks it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import stargaze
from stargaze.config import DeploySection
from stargaze.config.image_reference import parse_reference
from stargaze.errors import ExternalError
from stargaze.serve.swarm.docker import NodeInfo
from stargaze.system.docker import LONG_TIME_LIMIT, DockerEngine, ImageRecipe
from stargaze.system.parallel import map_in_threads
from stargaze.system.progress import Notify
from stargaze.system.source_package import build_context, digest_files
from stargaze.system.ssh import SshHost
from stargaze.system.text import last_line

LOCK_FILE = "requirements-serve.lock"
SMALL_IMAGE, SKOPS_IMAGE = "stargaze-serve", "stargaze-serve-skops"
SKOPS_PACKAGES = ("joblib", "narwhals", "prettytable", "scikit-learn", "scipy", "skops")
"""A third of the image, which only bundles with scikit-learn models need."""
COMPRESSION = "gzip"


@dataclass(frozen=True)
class ImagePlan:
    """The image that a bundle needs, its content digest (empty if it must be built), and the nodes that lack this content."""

    name: str
    content: str
    missing: tuple[NodeInfo, ...]


def plan_image(
    section: DeploySection,
    recipe: ImageRecipe,
    engine: DockerEngine,
    nodes: Sequence[NodeInfo],
    bundle: Path,
    deployed: Mapping[str, str],
) -> ImagePlan:
    """Return which image a bundle needs and where it is missing; nothing is changed.

    Builds are not reproducible and several people deploy: the content that is ``deployed`` by this name on every node is right,
    whichever engine built it; else the builder's, or without one the content that all nodes share.
    """
    image = image_name(section, recipe, bundle)
    contents = {node.image_contents.get(image, "") for node in nodes}
    shared = contents.pop() if len(contents) == 1 else ""
    if shared and deployed.get(image) == shared:
        return ImagePlan(image, shared, ())
    content = engine.content_digest(image) or shared
    return ImagePlan(image, content, _nodes_without(image, content, nodes))


def apply_image_plan(
    plan: ImagePlan, section: DeploySection, recipe: ImageRecipe, engine: DockerEngine, bundle: Path, notify: Notify
) -> str:
    """Build the image if necessary, transfer it to every node that lacks it, and return its content digest."""
    content, missing = plan.content, plan.missing
    if not content:
        notify(f"building the image {plan.name}; this takes minutes")
        engine.build(plan.name, image_files(bundle), recipe, target="serve")
        content = engine.content_digest(plan.name)
        missing = _nodes_without(plan.name, content, missing)
    hosts = [node.host for node in missing]
    if hosts and section.registry:
        notify(f"pushing {plan.name}")
        engine.run(["push", "--quiet", plan.name], seconds=LONG_TIME_LIMIT)
    _distribute(plan.name, None if section.registry else engine, hosts, notify)
    return content


def transfer_public_image(image: str, engine: DockerEngine, hosts: Sequence[SshHost], notify: Notify) -> None:
    """Transfer an image that others published: from the engine here if it has it, else pulled by the hosts.

    An image with a digest is pulled by it, which the engine verifies, and gets a name that survives the transfer.
    """
    reference = parse_reference(image)
    if not reference.digest or not hosts:
        _distribute(image, engine if hosts and engine.content_digest(image) else None, hosts, notify)
        return
    if engine.content_digest(reference.pinned):
        engine.run(["tag", reference.pinned, reference.local_name])
        _distribute(reference.local_name, engine, hosts, notify)
        expected = engine.content_digest(reference.local_name)
        different = [host.name for host in hosts if DockerEngine(host).content_digest(reference.local_name) != expected]
        if different:
            raise ExternalError(f"{', '.join(different)}: {image} has another content", hint="repeat stargaze deploy")
        return
    _distribute(reference.pinned, None, hosts, notify)
    map_in_threads(lambda host: DockerEngine(host).run(["tag", reference.pinned, reference.local_name]), hosts)


def image_fits(image: str, bundle: Path) -> bool:
    """Return whether an image contains every package that a bundle needs."""
    return _base_name(image).startswith(f"{SKOPS_IMAGE}:") or not _needs_skops(bundle)


def is_serve_image(image: str) -> bool:
    """Return whether an image is one of web and worker, by its name; without a tag it is none."""
    name = _base_name(image)
    return name.startswith((f"{SMALL_IMAGE}:", f"{SKOPS_IMAGE}:")) and not name.endswith(":<none>")


def remove_packages(lock: str, names: Collection[str]) -> str:
    r"""Return a lock file without some packages.

    >>> remove_packages("a==1 \\\n    --hash=x\nb==2\n", ["a"])
    'b==2\n'
    """
    entries = re.split(r"^(?=[A-Za-z0-9])", lock, flags=re.MULTILINE)
    return "".join(entry for entry in entries if re.split(r"[=\[ ]", entry, maxsplit=1)[0] not in names)


def image_files(bundle: Path) -> dict[str, bytes]:
    """Return the build context of the image that a bundle needs."""
    files = build_context(LOCK_FILE)
    if not _needs_skops(bundle):
        files["requirements.lock"] = remove_packages(files["requirements.lock"].decode(), SKOPS_PACKAGES).encode()
    return files


def image_name(section: DeploySection, recipe: ImageRecipe, bundle: Path) -> str:
    """Return the image's name, with a digest of its build context."""
    kind = SKOPS_IMAGE if _needs_skops(bundle) else SMALL_IMAGE
    name = f"{kind}:{stargaze.__version__}-{digest_files(image_files(bundle), recipe.base, *recipe.options)}"
    return f"{section.registry.rstrip('/')}/{name}" if section.registry else name


def _base_name(image: str) -> str:
    """Return the name without the registry."""
    return f"/{image}".rpartition("/")[2]


def _needs_skops(bundle: Path) -> bool:
    return any(bundle.glob("*.skops"))


def _nodes_without(image: str, content: str, nodes: Sequence[NodeInfo]) -> tuple[NodeInfo, ...]:
    return tuple(node for node in nodes if not content or node.image_contents.get(image) != content)


def _distribute(image: str, source: DockerEngine | None, hosts: Sequence[SshHost], notify: Notify) -> None:
    """Copy an image from an engine to all hosts at the same time; without one, the hosts pull it."""
    pull = ["pull", "--quiet", image]
    if hosts:
        notify(f"transferring {image} to {', '.join(host.name for host in hosts)}")
    if source:
        map_in_threads(lambda host: _copy(image, source, host), hosts)
    else:
        map_in_threads(lambda host: DockerEngine(host).run(pull, seconds=LONG_TIME_LIMIT), hosts)


def _copy(image: str, engine: DockerEngine, host: SshHost) -> None:
    """Stream an image from engine to engine through this machine, compressed."""
    with (
        subprocess.Popen(engine.argv(["save", image]), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as source,
        subprocess.Popen([COMPRESSION, "-1"], stdin=source.stdout, stdout=subprocess.PIPE) as compressor,
        subprocess.Popen(
            DockerEngine(host).argv(["load", "--quiet"]),
            stdin=compressor.stdout,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        ) as sink,
    ):
        for pipe in (source.stdout, compressor.stdout):
            if pipe:
                pipe.close()  # a writer gets SIGPIPE when its reader ends
        try:
            _, sink_error = sink.communicate(timeout=LONG_TIME_LIMIT)
        except subprocess.TimeoutExpired as error:
            for process in (source, compressor, sink):
                process.kill()
            message = f"the transfer of {image} to {host.name} took longer than {LONG_TIME_LIMIT:g} s"
            raise ExternalError(message, hint="check the network, then repeat stargaze deploy") from error
        source_error = source.stderr.read() if source.stderr else b""
    if source.returncode or sink.returncode:
        reason = last_line(source_error + sink_error)
        raise ExternalError(f"the transfer of {image} to {host.name} failed: {reason}", hint="repeat stargaze deploy")
