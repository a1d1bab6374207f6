"""Docker on the cluster; fake programs ``ssh`` and ``docker`` replace network and engine."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import MappingProxyType

import pytest

from stargaze.config import DeploySection
from stargaze.errors import ExternalError
from stargaze.serve.swarm.docker import Container, NodeInfo, Swarm, SwarmState, inspect_node, survey_node
from stargaze.serve.swarm.image import (
    LOCK_FILE,
    SKOPS_PACKAGES,
    apply_image_plan,
    image_files,
    image_fits,
    image_name,
    plan_image,
    transfer_public_image,
)
from stargaze.serve.swarm.service_status import node_mismatches
from stargaze.system.docker import DockerEngine, ImageRecipe
from stargaze.system.source_package import find_recipe
from stargaze.system.ssh import SshHost

pytestmark = pytest.mark.thorough  # the fakes of docker and ssh are programs

MACHINE = SshHost("production1", "production", "10.20.0.13", "10.20.0.13", "root", ())
HOST = SshHost("production1", "production", "127.0.0.1", "127.0.0.1", "root", ())
SSH = """#!/bin/sh
for last; do :; done
exec sh -c "$last"
"""
DOCKER = """#!/bin/sh
echo "$*" >>"$FAKE/commands"
case "$1 $2" in
"info --format") cat "$FAKE/info" ;;
"image ls") printf 'redis:7\\nstargaze-serve:1\\n' ;;
"image inspect") test -f "$FAKE/held" && sed -n "s/^$5=//p" "$FAKE/held" | grep . ;;
"ps "*) cat "$FAKE/running" ;;
"exec "*) case $2 in c2) exit 1 ;; *) echo '["aa"]' ;; esac ;;
"inspect --format") case $3 in *Labels*) cat "$FAKE/sent" ;; *) echo "image-of-$4" ;; esac ;;
"secret ls") echo stargaze_broker_1 ;;
"secret create" | "config create") cat >"$FAKE/$3" ;;
"config ls") echo stargaze_broker_old ;;
"build "*) cat >/dev/null; test ! -f "$FAKE/broken" || { echo "no such base" >&2; exit 1; }
  for word; do case $word in --tag=*) echo "${word#--tag=}=layers" >>"$FAKE/held" ;; esac; done ;;
"save "*) printf image ;;
"load "*) gzip -d >"$FAKE/loaded" ;;
"stack services") ;;
"node ls") test ! -f "$FAKE/leaderless" || { echo "Error response from daemon: $(cat "$FAKE/leaderless")" >&2; exit 1; } ;;
"node inspect") echo "[]" ;;
esac
"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in (("ssh", SSH), ("docker", DOCKER)):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(text)
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FAKE", str(tmp_path))
    swarm = {"NodeID": "n1", "ControlAvailable": True}
    (tmp_path / "info").write_text(json.dumps({"Name": "host1", "Swarm": swarm}) + "\n")
    (tmp_path / "commands").touch()
    (tmp_path / "sent").write_text("\n")
    return tmp_path


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    folder.mkdir()
    return folder


def commands(fake: Path) -> list[str]:
    return (fake / "commands").read_text().splitlines()


def programs(fake: Path, skip: int = 0) -> list[str]:
    """Return the first word of each docker command; ``save`` and ``load`` are one pipeline and start in any order."""
    argv = " ".join(line.split()[0] for line in commands(fake)[skip:])
    return argv.replace("load save", "save load").split()


def content(holds: str = "layers") -> str:
    return hashlib.sha256(holds.encode()).hexdigest()[:12]


def node(*images: str, holds: str = "layers") -> NodeInfo:
    contents = dict.fromkeys(images, content(holds))
    return NodeInfo(
        MACHINE,
        "host1",
        "n1",
        True,
        frozenset(images),
        release_commit="",
        installed_release="",
        allowed_signers=(),
        image_contents=contents,
    )


def ensure(
    section: DeploySection,
    recipe: ImageRecipe,
    nodes: list[NodeInfo],
    bundle: Path,
    deployed: Mapping[str, str] = MappingProxyType({}),
) -> tuple[str, str]:
    """Plan and apply the image of a bundle; return its name and content digest."""
    plan = plan_image(section, recipe, DockerEngine(), nodes, bundle, deployed)
    return plan.name, apply_image_plan(plan, section, recipe, DockerEngine(), bundle, print)


def test_the_survey_of_a_node(fake: Path) -> None:
    (fake / "held").write_text("stargaze-serve:1=layers\n")

    result = survey_node(MACHINE)

    assert (result.hostname, result.node_id, result.is_manager) == ("host1", "n1", True)
    assert result.images == {"redis:7", "stargaze-serve:1"}
    assert result.image_contents == {"stargaze-serve:1": content()}
    assert (result.release_commit, result.installed_release, result.allowed_signers) == ("", "", ())
    assert result.as_node().addresses == ("production1", "10.20.0.13")


@pytest.mark.parametrize(
    ("message", "lacks"),
    [
        ("Error: Requested type not found.", True),
        ("Error: Requested AEAD algorithm not found.", True),
        ("RTNETLINK answers: Protocol not supported", True),
        ("sh: 1: ip: not found", False),
        ("", False),
    ],
)
def test_a_kernel_without_esp_is_noticed(fake: Path, message: str, lacks: bool) -> None:
    program = fake / "bin" / "unshare"
    program.write_text(f"#!/bin/sh\necho '{message}' >&2\nexit 2\n")
    program.chmod(0o755)

    assert survey_node(MACHINE).lacks_esp == lacks


@pytest.mark.parametrize(
    ("output", "message"),
    [('{"Name": "h", "Swarm": {}}', "is not part of a Swarm"), ("", "the Docker engine does not answer")],
)
def test_a_machine_outside_of_a_swarm_is_named(fake: Path, output: str, message: str) -> None:
    (fake / "info").write_text(f"{output}\n")

    with pytest.raises(ExternalError, match=message):
        survey_node(MACHINE)


@pytest.fixture
def page() -> Iterator[Page]:
    with Page() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


class Page(HTTPServer):
    """The server on a machine's port."""

    answer = (200, '{"status": "ready"}')

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)


class Answers(BaseHTTPRequestHandler):
    server: Page

    def do_GET(self) -> None:
        status, body = self.server.answer
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None: ...


def test_the_inspection_of_a_node_returns_containers_and_page(fake: Path, page: Page) -> None:
    (fake / "held").write_text("image:1=layers\nimage-of-c1=layers\nimage-of-c2=others\n")
    (fake / "running").write_text("c1 stargaze_web\nc2 stargaze_worker\nc3 stargaze_broker\n")

    result = inspect_node(HOST, "image:1", page.server_port)

    assert result.containers == (
        Container("web", True, ["aa"]),
        Container("worker", False, None),
        Container("broker", False, []),
    )
    assert (result.name, result.installed_release, result.page_response) == (
        "production1",
        "",
        '200 {"status": "ready"}',
    )


@pytest.mark.parametrize(("sent", "as_sent"), [("layers", True), ("what the builder made", False)])
def test_a_container_is_compared_with_the_labeled_content(fake: Path, page: Page, sent: str, as_sent: bool) -> None:
    (fake / "held").write_text("image:1=layers\nimage-of-c1=layers\n")
    (fake / "running").write_text("c1 stargaze_web\n")
    (fake / "sent").write_text(f"{content(sent)}\n")

    result = inspect_node(HOST, "image:1", page.server_port)

    assert result.containers == (Container("web", as_sent, ["aa"]),)


@pytest.mark.parametrize("status", [200, 404])
def test_a_foreign_page_is_reported_in_one_line(fake: Path, page: Page, status: int) -> None:
    (fake / "running").write_text("")
    page.answer = (status, "<html>\n\n<h1>It works!</h1>\n</html>\n")

    result = inspect_node(HOST, "image:1", page.server_port)

    assert (result.containers, result.page_response) == ((), f"{status} <html> <h1>It works!</h1> </html>")
    assert "production1: its page " in node_mismatches(result, "a" * 64)[-1]


def test_a_closed_port_is_an_empty_response(fake: Path, page: Page) -> None:
    (fake / "running").write_text("")
    page.server_close()

    assert inspect_node(HOST, "image:1", page.server_port).page_response == ""


def test_a_secret_is_standard_input_and_never_an_argument(fake: Path) -> None:
    Swarm(MACHINE).create_secret("stargaze_broker_1", b"hidden")

    assert (fake / "stargaze_broker_1").read_bytes() == b"hidden"
    assert not [line for line in commands(fake) if "hidden" in line]


def test_an_existing_config_is_not_created_again(fake: Path) -> None:
    Swarm(MACHINE).deploy_stack({"x-configs": {"stargaze_broker_old": "a", "stargaze_broker_new": "b"}})

    assert [line for line in commands(fake) if line.startswith("config create")] == [
        "config create stargaze_broker_new -"
    ]


def test_the_state_before_the_first_deploy_is_empty(fake: Path) -> None:
    assert Swarm(MACHINE).read_state() == SwarmState([], [], [])


def test_a_swarm_without_majority_is_an_error_and_not_empty(fake: Path) -> None:
    (fake / "leaderless").write_text("rpc error: The swarm does not have a leader.")

    with pytest.raises(ExternalError, match=r"production1: .*The swarm does not have a leader"):
        Swarm(MACHINE).read_state()


def test_an_image_is_built_and_transferred_only_where_it_is_missing(fake: Path, bundle: Path) -> None:
    section, recipe = DeploySection(), ImageRecipe("python:3")
    name = image_name(section, recipe, bundle)

    assert ensure(section, recipe, [node(name)], bundle) == (name, content())
    assert programs(fake) == ["image"]

    ensure(section, recipe, [node(name), node()], bundle)
    assert programs(fake, skip=1) == ["image", "build", "image", "save", "load"]
    assert (fake / "loaded").read_text() == "image"


def test_a_deployed_image_of_another_builder_is_kept(fake: Path, bundle: Path) -> None:
    section, recipe = DeploySection(), ImageRecipe("python:3")
    name = image_name(section, recipe, bundle)
    nodes = [node(name, holds="another builder's"), node(name, holds="another builder's")]
    (fake / "held").write_text(f"{name}=layers\n")
    known = {name: content("another builder's")}

    assert ensure(section, recipe, nodes, bundle, known) == (name, content("another builder's"))
    assert commands(fake) == []
    assert ensure(section, recipe, [*nodes, node()], bundle, known) == (name, content())


def test_a_node_with_other_content_gets_the_image_of_the_builder(fake: Path, bundle: Path) -> None:
    section, recipe = DeploySection(), ImageRecipe("python:3")
    name = image_name(section, recipe, bundle)
    (fake / "held").write_text(f"{name}=layers\n")

    result = ensure(section, recipe, [node(name, holds="something else")], bundle)

    assert result == (name, content())
    assert programs(fake) == ["image", "save", "load"]


def test_an_image_is_built_again_if_the_nodes_have_different_ones(fake: Path, bundle: Path) -> None:
    section, recipe = DeploySection(), ImageRecipe("python:3")
    name = image_name(section, recipe, bundle)

    ensure(section, recipe, [node(name), node(name, holds="something else")], bundle)

    assert programs(fake) == ["image", "build", "image", "save", "load"]


def test_an_image_is_pushed_once_to_the_registry_and_pulled_by_the_nodes(fake: Path, bundle: Path) -> None:
    name, _ = ensure(DeploySection(registry="registry.example/team/"), ImageRecipe("x"), [node()], bundle)

    assert name.startswith("registry.example/team/stargaze-serve:")
    assert programs(fake) == ["image", "build", "image", "push", "pull"]


def test_a_failed_build_shows_the_reason(fake: Path, bundle: Path) -> None:
    (fake / "broken").touch()

    with pytest.raises(ExternalError, match="no such base"):
        ensure(DeploySection(), ImageRecipe("x"), [node()], bundle)


def test_public_images_are_transferred_from_the_builder_or_pulled(fake: Path) -> None:
    (fake / "held").write_text("redis:7=layers\n")
    for image in ("redis:7", "rabbitmq:3"):
        transfer_public_image(image, DockerEngine(), [MACHINE], print)

    assert programs(fake) == ["image", "save", "load", "image", "pull"]


def test_an_image_with_a_digest_is_pulled_by_it_and_gets_a_name_that_survives_a_transfer(fake: Path) -> None:
    digest = f"sha256:{'a' * 64}"
    (fake / "held").write_text(f"redis@{digest}=layers\nredis:8-{'a' * 12}=layers\n")
    for image in (f"redis:8@{digest}", f"rabbitmq:4@{digest}"):
        transfer_public_image(image, DockerEngine(), [MACHINE], print)

    sent = ["image", "tag", "save", "load", "image", "image"]  # the last two compare the contents
    assert programs(fake) == [*sent, "image", "pull", "tag"]


def test_a_bundle_without_scikit_learn_models_has_an_image_without_scikit_learn(bundle: Path) -> None:
    reduced, full = image_files(bundle)["requirements.lock"].decode(), find_recipe(LOCK_FILE).read_text()
    (bundle / "model-all-1.skops").touch()

    assert image_files(bundle)["requirements.lock"].decode() == full
    assert all(f"\n{name}==" in full and f"\n{name}==" not in reduced for name in SKOPS_PACKAGES)
    assert reduced.count("==") + 7 == full.count("==")  # scipy has two, by the version of Python
    assert image_fits("registry.example/stargaze-serve-skops:1", bundle)
    assert not image_fits("stargaze-serve:1", bundle)
