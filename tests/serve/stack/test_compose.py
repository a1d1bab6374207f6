"""The rendered Compose file."""

from __future__ import annotations

import dataclasses
import json
import os
import ssl
from pathlib import Path
from typing import Any

import pytest
import yaml

from stargaze.config import DeploySection, ServeSection
from stargaze.serve.runtime.settings import Sources
from stargaze.serve.stack.compose import SERVICE_LABEL, STACK_LABEL, encode_stack, render_stack, stack_digest
from stargaze.serve.stack.service_options import CONTENT_LABEL, Node, SecretVersions, StackSpec

TWO = (Node("production1", ("10.20.0.21",)), Node("production2", ("10.20.0.22",)))
SPEC = StackSpec(
    DeploySection(to="swarm"),
    ServeSection(github_lookup=False),
    Sources(),
    image="stargaze-serve:1-abc",
    port=80,
    secrets=SecretVersions(2, 1),
    nodes=TWO,
)
APP_SERVICES = ("web", "worker")


def services_with(**keys: Any) -> dict[str, Any]:
    """Return the services of a stack with other settings of ``deploy``."""
    services: dict[str, Any] = render_stack(dataclasses.replace(SPEC, deploy=DeploySection(to="swarm", **keys)))[
        "services"
    ]
    return services


def test_the_complete_web_service() -> None:
    web = render_stack(SPEC)["services"]["web"]
    environment = web.pop("environment")

    assert (
        environment.items()
        >= {
            "STARGAZE_STORE_PATH": "/store",
            "STARGAZE_SERVE_BROKER_URL": "amqps://stargaze_2@broker:5671/stargaze",
            "STARGAZE_SERVE_RESULTS_URL": "rediss://stargaze_2@results:6379/0",
            "STARGAZE_SERVE_HOST": "0.0.0.0",
            "STARGAZE_SERVE_ALLOWED_HOSTS": "production1,10.20.0.21,production2,10.20.0.22",
            "STARGAZE_SERVE_TRACK_RECORD": "false",
            "STARGAZE_BROKER_PASSWORD_FILE": "/run/secrets/broker",
            "STARGAZE_RESULTS_PASSWORD_FILE": "/run/secrets/results",
            "STARGAZE_SESSION_KEY_FILE": "/run/secrets/session",
            "STARGAZE_CA_FILES": "/run/secrets/ca_1:/run/secrets/ca_2",
            "STARGAZE_RELOAD_INTERVAL": "1",
            "STARGAZE_DRAIN_DELAY": "6",
        }.items()
    )
    labels, marks = web.pop("labels"), web["deploy"].pop("labels")
    assert (set(labels), set(marks)) == ({SERVICE_LABEL}, {STACK_LABEL})
    mode = {"uid": "10001", "gid": "10001", "mode": 0o400}
    assert web == {
        "image": "stargaze-serve:1-abc",
        "command": ["web"],
        "user": "10001:10001",
        "read_only": True,
        "cap_drop": ["ALL"],
        "logging": {"driver": "local", "options": {"max-size": "20m", "max-file": "5"}},
        "secrets": [
            {"source": "stargaze_broker_2", "target": "broker", **mode},
            {"source": "stargaze_results_2", "target": "results", **mode},
            {"source": "stargaze_session_2", "target": "session", **mode},
            {"source": "stargaze_ca_1", "target": "ca_1", **mode},
            {"source": "stargaze_ca_2", "target": "ca_2", **mode},
        ],
        "networks": ["page_encrypted", "inside_encrypted"],
        "volumes": [
            {"type": "tmpfs", "target": "/store", "tmpfs": {"size": 256_000_000}},
            {"type": "tmpfs", "target": "/tmp", "tmpfs": {"size": 256_000_000}},
            {"type": "bind", "source": "/srv/stargaze/serving", "target": "/store/serving", "read_only": True},
        ],
        "healthcheck": {
            "test": ["CMD", "python", "-m", "stargaze.serve.runtime.healthcheck"],
            "interval": "5s",
            "timeout": "10s",
            "start_period": "90s",
            "retries": 3,
        },
        "ports": [{"target": 8000, "published": 80, "protocol": "tcp", "mode": "ingress"}],
        "stop_grace_period": "51s",
        "deploy": {
            "mode": "replicated",
            "replicas": 2,
            "endpoint_mode": "vip",
            "placement": {
                "constraints": ["node.labels.stargaze.role == production"],
                "preferences": [{"spread": "node.id"}],
            },
            "resources": {"limits": {"cpus": "1", "memory": "1000000000"}},
            "update_config": {
                "parallelism": 1,
                "delay": "1s",
                "monitor": "15s",
                "max_failure_ratio": 0,
                "order": "start-first",
                "failure_action": "rollback",
            },
            "rollback_config": {
                "parallelism": 1,
                "delay": "1s",
                "monitor": "15s",
                "max_failure_ratio": 0,
                "order": "start-first",
                "failure_action": "pause",
            },
            "restart_policy": {"condition": "any", "delay": "2s"},
        },
    }


def test_host_mode_has_one_web_replica_per_node_which_stops_first() -> None:
    web = services_with(publish_mode="host", endpoint_mode="dnsrr", web_replicas=5)["web"]["deploy"]

    assert (web["mode"], web.get("replicas"), web["endpoint_mode"]) == ("global", None, "dnsrr")
    assert web["update_config"]["order"] == web["rollback_config"]["order"] == "stop-first"


@pytest.mark.parametrize("name", ["web", "worker", "broker", "results", "flower", "prometheus"])
def test_every_service_is_limited_unprivileged_and_rolls_back(name: str) -> None:
    service = services_with(flower=True, prometheus=True)[name]

    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["user"] not in ("root", "0", "0:0")
    assert service["healthcheck"].keys() == {"test", "interval", "timeout", "start_period", "retries"}
    assert service["logging"]["options"] == {"max-size": "20m", "max-file": "5"}
    assert service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory"}
    assert service["deploy"]["update_config"]["failure_action"] == "rollback"
    assert service["deploy"]["restart_policy"]["condition"] == "any"
    assert ("ports" in service) == (name == "web")


def test_only_web_and_github_lookups_reach_the_outside() -> None:
    known = render_stack(SPEC)
    with_lookup = render_stack(dataclasses.replace(SPEC, serve=ServeSection(github_lookup=True)))

    inside, page = "inside_encrypted", "page_encrypted"
    assert known["networks"][inside]["internal"]
    assert known["services"]["worker"]["networks"] == [inside]
    assert with_lookup["services"]["worker"]["networks"] == [page, inside]
    assert set(known["services"]["broker"]["networks"]) == set(known["services"]["results"]["networks"]) == {inside}


def test_networks_are_encrypted_unless_the_config_says_otherwise() -> None:
    """Docker changes no existing network, so the names differ."""
    plain = render_stack(dataclasses.replace(SPEC, deploy=DeploySection(to="swarm", encrypt_networks=False)))
    encrypted = render_stack(SPEC)

    assert all(network["driver_opts"] == {"encrypted": ""} for network in encrypted["networks"].values())
    assert plain["networks"] == {"page": {"driver": "overlay"}, "inside": {"driver": "overlay", "internal": True}}
    for stack in (plain, encrypted):
        used = {name for service in stack["services"].values() for name in service["networks"]}
        assert used == set(stack["networks"])


def test_no_service_listens_without_tls() -> None:
    rendered = render_stack(SPEC)
    (text,) = rendered["x-configs"].values()

    assert {"listeners.tcp = none", "management.tcp.ip = 127.0.0.1", "prometheus.tcp.ip = 127.0.0.1"} <= set(
        text.split("\n")
    )
    assert {"listeners.ssl.default = 5671", "ssl_options.versions.2 = tlsv1.2"} <= set(text.split("\n"))


@pytest.mark.parametrize(
    ("versions", "trusted"),
    [
        (SecretVersions(1, 1), [1]),
        (SecretVersions(2, 1), [1, 2]),
        (SecretVersions(2, 2, retired=1), [1, 2]),
        (SecretVersions(2, 2), [2]),
    ],
)
def test_clients_trust_the_certificates_that_servers_may_have(versions: SecretVersions, trusted: list[int]) -> None:
    services = render_stack(dataclasses.replace(SPEC, secrets=versions))["services"]
    mounted = {secret["source"] for name in APP_SERVICES for secret in services[name]["secrets"]}

    assert sorted(name for name in mounted if "_ca_" in name) == [f"stargaze_ca_{version}" for version in trusted]
    assert "ca" in {secret["target"] for secret in services["broker"]["secrets"]}


def test_a_change_of_broker_and_results_alone_replaces_no_web_container() -> None:
    """The second step of a rotation."""
    before, after = (
        render_stack(dataclasses.replace(SPEC, secrets=versions))["services"]
        for versions in (SecretVersions(2, 1), SecretVersions(2, 2, retired=1))
    )

    assert [name for name in before if before[name]["labels"] != after[name]["labels"]] == ["broker", "results"]


def test_two_nodes_have_one_broker_and_three_a_cluster() -> None:
    three = render_stack(dataclasses.replace(SPEC, nodes=(*TWO, Node("production3"))))
    brokers = {name: service for name, service in three["services"].items() if name.startswith("broker")}
    text = next(text for name, text in three["x-configs"].items() if name.startswith("stargaze_broker_"))

    assert [name for name in services_with() if name.startswith("broker")] == ["broker"]
    assert list(brokers) == ["broker1", "broker2", "broker3"]
    assert [broker["deploy"]["placement"]["constraints"] for broker in brokers.values()] == [
        ["node.hostname == production1"],
        ["node.hostname == production2"],
        ["node.hostname == production3"],
    ]
    assert all(broker["networks"]["inside_encrypted"]["aliases"] == ["broker"] for broker in brokers.values())
    assert "cluster_formation.classic_config.nodes.3 = rabbit@broker3" in text
    assert "stargaze_cookie" in three["secrets"]


def test_each_config_is_valid_for_its_service() -> None:
    rendered = render_stack(dataclasses.replace(SPEC, deploy=DeploySection(to="swarm", flower=True, prometheus=True)))
    texts = {name.split("_")[1]: text for name, text in rendered["x-configs"].items()}
    read_by = {
        name: [(item["source"].split("_")[1], item["target"]) for item in service["configs"]]
        for name, service in rendered["services"].items()
        if "configs" in service
    }

    assert read_by == {
        "broker": [("broker", "/etc/rabbitmq/conf.d/20-stargaze.conf")],
        "flower": [("flower", "/etc/stargaze/stargaze_flower.py")],
        "prometheus": [("prometheus", "/etc/prometheus/prometheus.yml")],
    }
    assert texts.keys() == {"broker", "flower", "prometheus"}
    assert compile(texts["flower"], "flower", "exec")
    assert all(" = " in line for line in texts["broker"].splitlines())
    jobs = {item["job_name"]: item for item in yaml.safe_load(texts["prometheus"])["scrape_configs"]}
    assert jobs["rabbitmq"]["dns_sd_configs"] == [{"names": ["tasks.broker"], "type": "A", "port": 15692}]


def test_backing_services_may_have_older_secrets_during_a_rotation() -> None:
    services = render_stack(SPEC)["services"]

    assert services["broker"]["secrets"][0]["source"] == "stargaze_broker_conf_1"
    assert services["results"]["secrets"][0]["source"] == "stargaze_results_conf_1"


def test_the_stack_contains_no_secret() -> None:
    text = encode_stack(render_stack(dataclasses.replace(SPEC, deploy=DeploySection(to="swarm", flower=True)))).decode()

    assert "default_pass" not in text
    assert "PRIVATE KEY" not in text


def test_flower_reads_the_password_from_its_file_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The module is executed as Celery does it."""
    rendered = render_stack(dataclasses.replace(SPEC, deploy=DeploySection(to="swarm", flower=True)))
    flower = rendered["services"]["flower"]
    text = rendered["x-configs"][flower["configs"][0]["source"]]
    for name in ("broker", "flower", "ca_1", "ca_2"):
        (tmp_path / name).write_text(f"hidden{name}\n")
    monkeypatch.delenv("CELERY_BROKER_URL", raising=False)
    before = dict(os.environ)
    module: dict[str, Any] = {}
    exec(text.replace("/run/secrets", str(tmp_path)).replace("/tmp/ca.pem", str(tmp_path / "joined")), module)

    uri = module["app"].connection().as_uri(include_password=True)
    assert uri == "amqps://stargaze_2:hiddenbroker@broker:5671/stargaze"
    tls = module["app"].conf.broker_use_ssl
    assert (tls["server_hostname"], tls["cert_reqs"]) == ("broker", ssl.CERT_REQUIRED)
    assert Path(tls["ca_certs"]).read_text() == "hiddenca_1\nhiddenca_2"
    assert module["basic_auth"] == ["stargaze:hiddenflower"]
    assert dict(os.environ) == before
    assert flower["entrypoint"] == [
        "celery",
        "--app=stargaze_flower",
        "flower",
        "--port=5555",
        "--conf=/etc/stargaze/stargaze_flower.py",
    ]
    assert flower["environment"] == {"PYTHONPATH": "/etc/stargaze"}


def test_equal_specs_render_equal_stacks() -> None:
    other = dataclasses.replace(SPEC, deploy=DeploySection(to="swarm", worker_replicas=3))
    first, second = render_stack(SPEC), render_stack(other)

    assert encode_stack(render_stack(SPEC)) == encode_stack(first)
    assert stack_digest(first) != stack_digest(second)
    assert first["services"]["web"]["labels"] == second["services"]["web"]["labels"]  # which is not rolled
    assert json.loads(encode_stack(first)) == first


def test_other_content_of_the_same_image_name_replaces_web_and_worker() -> None:
    first, second = (
        render_stack(dataclasses.replace(SPEC, image_content=content))["services"] for content in ("aa", "bb")
    )

    assert [first[name]["labels"][CONTENT_LABEL] for name in APP_SERVICES] == ["aa", "aa"]
    assert {
        name for name in first if first[name]["labels"][SERVICE_LABEL] != second[name]["labels"][SERVICE_LABEL]
    } == set(APP_SERVICES)
    assert {name for name in first if CONTENT_LABEL in first[name]["labels"]} == set(APP_SERVICES)


def test_the_number_of_replicas_changes_no_container() -> None:
    first, second = services_with(worker_replicas=2)["worker"], services_with(worker_replicas=3)["worker"]

    assert first["labels"] == second["labels"]


def test_each_config_has_the_text_of_its_service() -> None:
    rendered = render_stack(dataclasses.replace(SPEC, deploy=DeploySection(to="swarm", prometheus=True)))
    texts = {source: rendered["x-configs"][source] for source in rendered["configs"]}

    def read_by(name: str) -> str:
        (config,) = rendered["services"][name]["configs"]
        return str(texts.pop(config["source"]))

    assert read_by("broker").startswith("vm_memory_high_watermark.absolute")
    job, _ = json.loads(read_by("prometheus"))["scrape_configs"]
    assert job["job_name"] == "rabbitmq"
    assert texts == {}
