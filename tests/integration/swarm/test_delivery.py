"""A release on its way to two real hosts, and back, while visitors ask. The tests follow one another, as days do."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.integration.swarm.conftest import ADDRESSES, Desk, Load

pytestmark = pytest.mark.swarm


def untouched(counts: dict[str, Any]) -> bool:
    """Say whether visitors noticed nothing: every question was accepted, and every accepted one answered."""
    return counts["accepted"] == counts["asked"] == counts["answered"] > 0


@pytest.fixture(scope="module")
def deployed(desk: Desk) -> Desk:
    """The first release on both hosts."""
    desk.type("deploy", desk.a[:12])
    return desk


def everywhere(digest: str) -> dict[str, str]:
    """Return what both pages should say."""
    return dict.fromkeys(ADDRESSES, digest)


def test_one_command_brings_page_and_workers_to_both_hosts(deployed: Desk) -> None:
    assert deployed.serving() == everywhere(deployed.a)
    status = deployed.type("status", "--json").answer
    services = {row["service"]: (row["running"], row["wanted"], row["state"]) for row in status["services"]}
    assert services == {
        "web": (2, 2, "well"),
        "worker": (2, 2, "well"),
        "broker": (1, 1, "well"),
        "results": (1, 1, "well"),
    }
    assert [(row["machine"], row["role"], row["state"], row["release"], row["page"]) for row in status["machines"]] == [
        ("production1", "manager", "ready", deployed.a[:12], "ready"),
        ("production2", "worker", "ready", deployed.a[:12], "ready"),
    ]


def test_the_same_again_changes_nothing_and_is_quick(deployed: Desk) -> None:
    before, began = deployed.tasks(), time.monotonic()

    done = deployed.type("deploy", deployed.a[:12])

    assert "nothing to do" in done.out
    assert deployed.tasks() == before
    assert time.monotonic() - began < 10


def test_no_secret_is_seen_from_outside_a_container(deployed: Desk) -> None:
    """Neither in a definition, nor in the environment of a container, nor in what is kept here."""
    here = "/run/secrets/broker"
    find = "docker exec $(docker ps -q --filter label=com.docker.swarm.service.name=stargaze_web) cat " + here
    password = deployed.manager.run("sh", "-c", find).stdout.strip()
    shown = deployed.manager.run(
        "sh", "-c", "docker service inspect $(docker service ls -q); docker inspect $(docker ps -q)"
    )

    assert len(password) == 48
    assert password not in shown.stdout
    kept = [path.read_text(errors="replace") for path in (deployed.store.root / "delivery").glob("*")]
    assert kept
    assert not [text for text in kept if password in text]


def test_containers_are_nobodys_and_write_nowhere(deployed: Desk) -> None:
    ids = deployed.manager.run(
        "sh", "-c", "docker ps -q --filter label=com.docker.stack.namespace=stargaze"
    ).stdout.split()
    shown = json.loads(deployed.manager.run("docker", "inspect", *ids).stdout)

    assert len(shown) >= 3
    for one in shown:
        assert one["HostConfig"]["ReadonlyRootfs"], one["Name"]
        assert one["HostConfig"]["CapDrop"] == ["ALL"], one["Name"]
        assert one["HostConfig"]["Memory"] > 0, one["Name"]
        assert one["Config"]["User"] not in ("", "root", "0"), one["Name"]


def test_the_image_is_small_and_builds_nothing(deployed: Desk) -> None:
    web = "docker ps -q --filter label=com.docker.swarm.service.name=stargaze_web"
    image = "docker inspect --format '{{.Image}}' $(" + web + ")"
    size = deployed.manager.run("sh", "-c", "docker image inspect --format '{{.Size}}' $(" + image + ")").stdout
    tools = "docker exec $(" + web + ") sh -c 'command -v python gcc g++ cc make'"
    found = deployed.manager.run("sh", "-c", tools + "; true").stdout.split()

    assert int(size) < 450e6
    assert found == ["/opt/stargaze/bin/python"]


def test_a_model_alone_comes_in_seconds_rolls_no_container_and_no_visitor_notices(deployed: Desk, load: Load) -> None:
    before, began = deployed.tasks(), time.monotonic()

    done = deployed.type("deploy", deployed.b[:12], "--json").answer

    took = time.monotonic() - began
    assert deployed.serving() == everywhere(deployed.b)
    assert deployed.tasks() == before
    counts = load.end()
    assert untouched(counts), counts
    assert done["release"]["digest"] == deployed.b
    assert took < 30, took


def test_the_release_before_serves_again_without_being_noticed(deployed: Desk, load: Load) -> None:
    deployed.type("rollback")

    assert deployed.serving() == everywhere(deployed.a)
    counts = load.end()
    assert untouched(counts), counts
    kinds = [row["kind"] for row in deployed.type("releases", "--json").answer]
    assert kinds[:2] == ["rollback", "deploy"]


def test_a_bundle_that_predicts_falsely_is_refused_and_production_serves_on(deployed: Desk, load: Load) -> None:
    before = deployed.tasks()

    done = deployed.type("deploy", deployed.bad[:12], code=None)

    assert done.code == 5
    assert "for the prototype row" in done.err
    assert deployed.serving() == everywhere(deployed.a)
    assert deployed.tasks() == before
    counts = load.end()
    assert untouched(counts), counts


def test_an_unsigned_push_is_refused_by_the_host_itself(deployed: Desk, load: Load, tmp_path: Path) -> None:
    known = deployed.folder / "store" / "infra" / "stargaze" / "known_hosts"
    ssh = ["ssh", "-i", str(deployed.folder / "key"), "-o", f"UserKnownHostsFile={known}"]
    ssh += ["-o", "HostKeyAlias=production2", "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes"]
    identity = {f"GIT_{who}_{what}": "a@b.invalid" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment = {**os.environ, **identity, "GIT_SSH_COMMAND": shlex.join(ssh), "GIT_CONFIG_GLOBAL": os.devnull}
    url = f"ssh://git@{ADDRESSES['production2']}/srv/stargaze/releases.git"

    def git(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["git", "-C", tmp_path, *words], env=environment, capture_output=True, text=True, check=False
        )

    assert git("clone", "--quiet", url, "clone").returncode == 0
    before = git("ls-remote", url, "main").stdout
    git("-C", "clone", "commit", "--allow-empty", "--message=unsigned")
    pushed = git("-C", "clone", "push", "origin", "HEAD:main")

    assert pushed.returncode != 0
    assert "is not signed by an allowed signer" in pushed.stderr
    assert git("ls-remote", url, "main").stdout == before != ""
    assert deployed.serving() == everywhere(deployed.a)
    counts = load.end()
    assert untouched(counts), counts


def test_services_are_scaled_and_the_next_deploy_takes_the_configs_number(deployed: Desk) -> None:
    rows = deployed.type("scale", "worker=3", "--json").answer
    refused = deployed.type("scale", "web=4", code=2)
    deployed.type("deploy", deployed.a[:12])
    status = deployed.type("status", "--json").answer

    assert {row["service"]: row["running"] for row in rows}["worker"] == 3
    assert "a port of each machine" in refused.err
    assert {row["service"]: row["running"] for row in status["services"]}["worker"] == 2


def test_the_log_of_every_service_is_read(deployed: Desk) -> None:
    assert '"process": "worker"' in deployed.type("logs", "worker").err  # where it says it itself
    assert deployed.type("logs", "broker").code == 0
    assert "Did you mean worker?" in deployed.type("logs", "wroker", code=2).err


def test_services_that_are_not_well_are_put_back_and_the_command_says_so(deployed: Desk, load: Load) -> None:
    """A page that has too little memory never becomes ready; Docker's own command ends well then."""
    before = deployed.type("status", "--json").answer["services"]

    done = deployed.type("deploy", deployed.b[:12], code=None, STARGAZE_DEPLOY_WEB_MEMORY="0.05")

    assert done.code == 5, done.err
    assert "web" in done.err
    assert f"release {deployed.a[:12]} serves as before" in done.err
    counts = load.end()
    assert untouched(counts), counts
    assert deployed.serving() == everywhere(deployed.a)
    assert deployed.type("status", "--json").answer["services"] == before


def test_services_are_changed_one_after_the_other_and_no_visitor_notices(deployed: Desk, load: Load) -> None:
    deployed.type("deploy", deployed.a[:12], STARGAZE_DEPLOY_WEB_MEMORY="0.9", STARGAZE_DEPLOY_WORKER_MEMORY="1.9")

    counts = load.end()
    assert untouched(counts), counts
    assert deployed.serving() == everywhere(deployed.a)


def test_secrets_are_rotated_and_no_accepted_question_is_lost(deployed: Desk, load: Load) -> None:
    deployed.type("deploy", "--rotate-secrets")

    counts = load.end()
    assert counts["lost"] == 0, counts
    assert counts["answered"] == counts["accepted"] > 0, counts
    names = deployed.manager.run("docker", "secret", "ls", "--format", "{{.Name}}").stdout.split()
    assert len({name.rpartition("_")[2] for name in names}) == 1
    assert deployed.serving() == everywhere(deployed.a)
    assert "nothing to do" in deployed.type("deploy", deployed.a[:12]).out
