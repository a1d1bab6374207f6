"""Digests of images are found with an engine and written into the config."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from stargaze.config import Config, DeploySection, load
from stargaze.errors import ConfigError, ExternalError
from stargaze.pipeline.image_updates import configured_images, find_updates, write_updates
from stargaze.system.docker import DockerEngine

DIGEST = "sha256:" + "5" * 64
NEW = f"rabbitmq:4.3-management@{DIGEST}"


class FakeEngine:
    def __init__(self, *digests: str, reachable: bool = True) -> None:
        self.digests, self.reachable, self.pulled = digests, reachable, list[str]()

    def run(self, arguments: Sequence[str], stdin: bytes = b"", seconds: float = 0) -> bytes:
        if not self.reachable:
            raise ExternalError("no route to the registry", hint="")
        if arguments[0] == "pull":
            self.pulled.append(arguments[-1])
        return json.dumps(self.digests).encode()


def engines(*fakes: Any) -> list[DockerEngine]:
    return cast("list[DockerEngine]", list(fakes))


def test_only_images_in_use_are_updated() -> None:
    assert set(configured_images(Config())) == {
        "screening.base_image",
        "deploy.broker_image",
        "deploy.results_image",
    }
    assert "deploy.flower_image" in configured_images(Config(deploy=DeploySection(flower=True)))


@pytest.mark.parametrize("image", ["rabbitmq:4.3-management", "rabbitmq:4.3-management@sha256:" + "0" * 64])
def test_the_tag_is_pulled_again_where_a_registry_is_reachable(image: str) -> None:
    offline, engine = FakeEngine(reachable=False), FakeEngine(f"mirror/other@{DIGEST[:-1]}6", f"rabbitmq@{DIGEST}")

    rows = find_updates({"deploy.broker_image": image}, engines(offline, engine), lambda _: None)

    assert rows == [{"key": "deploy.broker_image", "image": image, "update": NEW}]
    assert engine.pulled == ["rabbitmq:4.3-management"]


@pytest.mark.parametrize("engine", [FakeEngine(reachable=False), FakeEngine()], ids=["unreachable", "without a digest"])
def test_an_image_that_cannot_be_pulled_is_an_error(engine: FakeEngine) -> None:
    with pytest.raises(ExternalError, match=r"redis:8\.8 cannot be pulled"):
        find_updates({"deploy.results_image": "redis:8.8"}, engines(engine), lambda _: None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", f'[deploy]\nbroker_image = "{NEW}"\n'),
        ("# mine\n[serve]\nport = 1\n", f'# mine\n[serve]\nport = 1\n\n[deploy]\nbroker_image = "{NEW}"\n'),
        (
            '[deploy]  # x\n# a\nbroker_image = "a:1"  # b\nto = "swarm"\n',
            f'[deploy]  # x\n# a\nbroker_image = "{NEW}"  # b\nto = "swarm"\n',
        ),
        ("[deploy]\nbroker_image='a:1'\n[infra]\n", f'[deploy]\nbroker_image="{NEW}"\n[infra]\n'),
        ('[deploy]\nto = "local"\n', f'[deploy]\nbroker_image = "{NEW}"\nto = "local"\n'),
    ],
)
def test_only_the_value_changes_in_the_config(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "stargaze.toml"
    path.write_text(text)

    write_updates(path, {"deploy.broker_image": NEW})

    assert path.read_text() == expected
    assert load(path).deploy.broker_image == NEW


@pytest.mark.parametrize("text", ['deploy.broker_image = "a:1"\n', "deploy = {to = 'local'}\n"])
def test_a_config_of_another_form_is_not_changed(tmp_path: Path, text: str) -> None:
    path = tmp_path / "stargaze.toml"
    path.write_text(text)

    with pytest.raises(ConfigError) as excinfo:
        write_updates(path, {"deploy.broker_image": NEW})

    assert NEW in str(excinfo.value.hint)
    assert path.read_text() == text


@pytest.mark.parametrize("image", ["redis:8@sha256:123", "redis@md5:1", "redis 8", "-x", "redis:8@sha256:" + "G" * 64])
def test_a_malformed_image_is_refused(tmp_path: Path, image: str) -> None:
    path = tmp_path / "stargaze.toml"
    path.write_text(f'[deploy]\nresults_image = "{image}"\n')

    with pytest.raises(ConfigError, match="results_image"):
        load(path)
