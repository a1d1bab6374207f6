"""Deliveries to two real hosts and rollbacks, under load. Each test starts from the state that the one before it left."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.integration.swarm.conftest import ADDRESSES, Load, Workspace

pytestmark = pytest.mark.swarm


def all_answered(counts: dict[str, Any]) -> bool:
    """Return whether every request was accepted and every accepted one answered."""
    return counts["accepted"] == counts["sent"] == counts["answered"] > 0


@pytest.fixture(scope="module")
def deployed_release(workspace: Workspace) -> Workspace:
    """The first release on both hosts."""
    workspace.run("deploy", workspace.a[:12])
    return workspace


def on_both_hosts(digest: str) -> dict[str, str]:
    """Return the result of `served_bundles` when both hosts serve this bundle."""
    return dict.fromkeys(ADDRESSES, digest)


def test_one_command_starts_page_and_workers_on_both_hosts(deployed_release: Workspace) -> None:
    assert deployed_release.served_bundles() == on_both_hosts(deployed_release.a)
    status = deployed_release.run("status", "--json").json
    services = {row["service"]: (row["running"], row["desired"], row["state"]) for row in status["services"]}
    assert services == {
        "web": (2, 2, "ok"),
        "worker": (2, 2, "ok"),
        "broker": (1, 1, "ok"),
        "results": (1, 1, "ok"),
    }
    assert [(row["machine"], row["role"], row["state"], row["release"], row["page"]) for row in status["machines"]] == [
        ("production1", "manager", "ready", deployed_release.a[:12], "ready"),
        ("production2", "worker", "ready", deployed_release.a[:12], "ready"),
    ]


def test_a_second_deploy_changes_nothing(deployed_release: Workspace) -> None:
    before = deployed_release.tasks()

    completed = deployed_release.run("deploy", deployed_release.a[:12])

    assert "nothing to do" in completed.out
    assert deployed_release.tasks() == before


def test_no_secret_is_visible_outside_a_container(deployed_release: Workspace) -> None:
    """Neither in a service definition, nor in the environment of a container, nor in the local files of the delivery."""
    path = "/run/secrets/broker"
    find = "docker exec $(docker ps -q --filter label=com.docker.swarm.service.name=stargaze_web) cat " + path
    password = deployed_release.manager.run("sh", "-c", find).stdout.strip()
    inspected = deployed_release.manager.run(
        "sh", "-c", "docker service inspect $(docker service ls -q); docker inspect $(docker ps -q)"
    )

    assert len(password) == 48
    assert password not in inspected.stdout
    texts = [path.read_text(errors="replace") for path in (deployed_release.store.root / "delivery").glob("*")]
    assert texts
    assert not [text for text in texts if password in text]


def test_containers_run_without_privileges_on_a_read_only_root(deployed_release: Workspace) -> None:
    ids = deployed_release.manager.run(
        "sh", "-c", "docker ps -q --filter label=com.docker.stack.namespace=stargaze"
    ).stdout.split()
    containers = json.loads(deployed_release.manager.run("docker", "inspect", *ids).stdout)

    assert len(containers) >= 3
    for container in containers:
        assert container["HostConfig"]["ReadonlyRootfs"], container["Name"]
        assert container["HostConfig"]["CapDrop"] == ["ALL"], container["Name"]
        assert container["HostConfig"]["Memory"] > 0, container["Name"]
        assert container["Config"]["User"] not in ("", "root", "0"), container["Name"]


def test_the_image_is_small_and_has_no_compiler(deployed_release: Workspace) -> None:
    web = "docker ps -q --filter label=com.docker.swarm.service.name=stargaze_web"
    image = "docker inspect --format '{{.Image}}' $(" + web + ")"
    size = deployed_release.manager.run("sh", "-c", "docker image inspect --format '{{.Size}}' $(" + image + ")").stdout
    tools = "docker exec $(" + web + ") sh -c 'command -v python gcc g++ cc make'"
    result = deployed_release.manager.run("sh", "-c", tools + "; true").stdout.split()

    assert int(size) < 450e6
    assert result == ["/opt/stargaze/bin/python"]


def test_a_new_bundle_is_served_without_restarts_or_failed_requests(deployed_release: Workspace, load: Load) -> None:
    before = deployed_release.tasks()

    completed = deployed_release.run("deploy", deployed_release.b[:12], "--json").json

    assert deployed_release.served_bundles() == on_both_hosts(deployed_release.b)
    assert deployed_release.tasks() == before
    counts = load.end()
    assert all_answered(counts), counts
    assert completed["release"]["digest"] == deployed_release.b


def test_a_dry_run_names_the_release_and_changes_no_task(deployed_release: Workspace) -> None:
    before = deployed_release.tasks()

    changes = deployed_release.run("deploy", deployed_release.a[:12], "--dry-run", "--json").json

    actions = {row["resource"]: row["action"] for row in changes}
    assert actions[f"release of bundle {deployed_release.a[:12]}"] == "create"
    assert (deployed_release.tasks(), deployed_release.served_bundles()) == (before, on_both_hosts(deployed_release.b))


def test_a_rollback_fails_no_request(deployed_release: Workspace, load: Load) -> None:
    deployed_release.run("rollback")

    assert deployed_release.served_bundles() == on_both_hosts(deployed_release.a)
    counts = load.end()
    assert all_answered(counts), counts
    kinds = [row["kind"] for row in deployed_release.run("releases", "--json").json]
    assert kinds[:2] == ["rollback", "deploy"]


def test_a_growth_bundle_is_served_and_rolled_back_with_its_release_without_failed_requests(
    deployed_release: Workspace, load: Load, growth_bundle_folder: Path
) -> None:
    """Deploy compares the release of every process with what it sent, so no process keeps the star bundle alone."""
    star, growth = deployed_release.a[:12], growth_bundle_folder.name[:12]
    shutil.copytree(growth_bundle_folder, deployed_release.store.bundles / growth_bundle_folder.name)
    before = deployed_release.tasks()

    deployed_release.run("deploy", star, "--growth", growth, "--force", "another test rolled its release back")
    deployed = {row["release"] for row in deployed_release.run("status", "--json").json["machines"]}
    deployed_release.run("rollback")
    restored = {row["release"] for row in deployed_release.run("status", "--json").json["machines"]}

    assert (deployed, restored) == ({f"{star}-{growth}"}, {star})
    assert deployed_release.tasks() == before
    counts = load.end()
    assert all_answered(counts), counts


def test_a_bundle_with_wrong_predictions_is_rejected_and_production_does_not_change(
    deployed_release: Workspace, load: Load
) -> None:
    before = deployed_release.tasks()

    completed = deployed_release.run("deploy", deployed_release.bad[:12], code=None)

    assert completed.code == 5
    assert "for the prototype row" in completed.err
    assert deployed_release.served_bundles() == on_both_hosts(deployed_release.a)
    assert deployed_release.tasks() == before
    counts = load.end()
    assert all_answered(counts), counts


def test_an_unsigned_push_is_rejected_by_the_host_itself(
    deployed_release: Workspace, load: Load, tmp_path: Path
) -> None:
    known = deployed_release.folder / "store" / "infra" / "stargaze" / "known_hosts"
    ssh = ["ssh", "-i", str(deployed_release.key), "-o", f"UserKnownHostsFile={known}"]
    ssh += ["-o", "HostKeyAlias=production2", "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes"]
    identity = {f"GIT_{who}_{what}": "a@b.invalid" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment = {**os.environ, **identity, "GIT_SSH_COMMAND": shlex.join(ssh), "GIT_CONFIG_GLOBAL": os.devnull}
    url = f"ssh://git@{ADDRESSES['production2']}/srv/stargaze/releases.git"

    def git(*argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["git", "-C", tmp_path, *argv], env=environment, capture_output=True, text=True, check=False
        )

    assert git("clone", "--quiet", url, "clone").returncode == 0
    before = git("ls-remote", url, "main").stdout
    git("-C", "clone", "commit", "--allow-empty", "--message=unsigned")
    pushed = git("-C", "clone", "push", "origin", "HEAD:main")

    assert pushed.returncode != 0
    assert "is not signed by an allowed signer" in pushed.stderr
    assert git("ls-remote", url, "main").stdout == before != ""
    assert deployed_release.served_bundles() == on_both_hosts(deployed_release.a)
    counts = load.end()
    assert all_answered(counts), counts


def test_scale_changes_a_service_and_the_next_deploy_restores_the_configured_number(
    deployed_release: Workspace,
) -> None:
    rows = deployed_release.run("scale", "worker=3", "--json").json
    rejected = deployed_release.run("scale", "web=4", code=2)
    deployed_release.run("deploy", deployed_release.a[:12])
    status = deployed_release.run("status", "--json").json

    assert {row["service"]: row["running"] for row in rows}["worker"] == 3
    assert "one replica per node" in rejected.err
    assert {row["service"]: row["running"] for row in status["services"]}["worker"] == 2


def test_comparing_a_service_with_its_definition_again_keeps_its_tasks(deployed_release: Workspace) -> None:
    """A deploy sends this command when a task waits forever."""
    before = deployed_release.tasks()

    deployed_release.manager.run("docker", "service", "update", "--detach", "stargaze_web")

    deployed_release.run("deploy", deployed_release.a[:12])
    assert deployed_release.tasks() == before


def test_logs_of_services_can_be_read(deployed_release: Workspace) -> None:
    assert '"process": "worker"' in deployed_release.run("logs", "worker").err  # written by the process itself
    assert deployed_release.run("logs", "broker").code == 0
    assert "Did you mean worker?" in deployed_release.run("logs", "wroker", code=2).err


def test_services_that_do_not_become_ready_are_rolled_back_and_the_command_fails(
    deployed_release: Workspace, load: Load
) -> None:
    """A page with too little memory never becomes ready, although the command of Docker succeeds."""
    before = deployed_release.run("status", "--json").json["services"]

    completed = deployed_release.run(
        *("deploy", deployed_release.b[:12], "--force", "it was rolled back by another test"),
        code=None,
        STARGAZE_DEPLOY_WEB_MEMORY="0.05",
    )

    assert completed.code == 5, completed.err
    assert "web" in completed.err
    assert f"release {deployed_release.a[:12]} serves as before" in completed.err
    counts = load.end()
    assert all_answered(counts), counts
    assert deployed_release.served_bundles() == on_both_hosts(deployed_release.a)
    assert deployed_release.run("status", "--json").json["services"] == before


def test_changed_services_are_updated_one_after_the_other_without_failed_requests(
    deployed_release: Workspace, load: Load
) -> None:
    deployed_release.run(
        "deploy", deployed_release.a[:12], STARGAZE_DEPLOY_WEB_MEMORY="0.9", STARGAZE_DEPLOY_WORKER_MEMORY="1.9"
    )

    counts = load.end()
    assert all_answered(counts), counts
    assert deployed_release.served_bundles() == on_both_hosts(deployed_release.a)


def test_rotating_secrets_loses_no_accepted_request(deployed_release: Workspace, load: Load) -> None:
    user, password = broker_login(deployed_release)
    assert broker_accepts(deployed_release, user, password)

    deployed_release.run("deploy", "--rotate-secrets")

    assert not broker_accepts(deployed_release, user, password)
    assert broker_accepts(deployed_release, *broker_login(deployed_release))
    counts = load.end()
    assert counts["lost"] == 0, counts
    assert counts["answered"] == counts["accepted"] > 0, counts
    names = deployed_release.manager.run("docker", "secret", "ls", "--format", "{{.Name}}").stdout.split()
    assert len({name.rpartition("_")[2] for name in names}) == 1
    assert deployed_release.served_bundles() == on_both_hosts(deployed_release.a)
    assert "nothing to do" in deployed_release.run("deploy", deployed_release.a[:12]).out


IN_CONTAINER = """
id=$(docker ps --quiet --filter "label=com.docker.swarm.service.name=stargaze_$1" | head -n 1)
shift
exec docker exec "$id" "$@"
"""


def broker_login(workspace: Workspace) -> tuple[str, str]:
    """Read the user and the password with which a page logs in to RabbitMQ."""
    script = "env; echo password=$(cat /run/secrets/broker)"
    output = workspace.manager.run("sh", "-c", IN_CONTAINER, "-", "web", "sh", "-c", script).stdout
    return re.findall(r"(stargaze_\d+)@broker", output)[0], re.findall(r"^password=(\w+)$", output, re.MULTILINE)[0]


def broker_accepts(workspace: Workspace, user: str, password: str) -> bool:
    argv = ["rabbitmqctl", "--quiet", "authenticate_user", user, password]
    return workspace.manager.run("sh", "-c", IN_CONTAINER, "-", "broker", *argv, check=False).returncode == 0
