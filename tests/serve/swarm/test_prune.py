"""Old images, configs and stacks: which are deleted, by pure functions and from a fake Swarm."""

from __future__ import annotations

import dataclasses
import os

import pytest

from stargaze.serve.stack.compose import render_stack
from stargaze.serve.stack.service_options import SecretVersions, StackSpec
from stargaze.serve.swarm.delivery_state import save_verified_stack, send_stack, sent_stacks
from stargaze.serve.swarm.docker import Swarm
from stargaze.serve.swarm.prune import StackReferences, prune_deployments, stale_configs, stale_images
from stargaze.store import Store
from tests.serve.stack.test_compose import SPEC
from tests.serve.swarm.fake_swarm import FakeSwarm


def of(number: int, *configs: str) -> StackReferences:
    return StackReferences(f"stargaze-serve:{number}", frozenset(configs))


def test_three_different_images_are_kept_however_often_each_was_deployed() -> None:
    stacks = [of(5), of(5), of(5), of(4), of(4), of(3), of(2), of(1)]

    assert stale_images([f"stargaze-serve:{number}" for number in range(1, 6)], [], stacks) == [
        "stargaze-serve:1",
        "stargaze-serve:2",
    ]


@pytest.mark.parametrize(
    "image",
    [
        "redis:7",
        "stargaze:1",
        "other/stargaze-server:1",
        "stargaze-serve:<none>",
        "stargaze-serve:used",
        "registry.example/stargaze-serve-skops:used",
    ],
)
def test_other_images_and_images_in_use_are_kept(image: str) -> None:
    used = ["stargaze-serve:used", "registry.example/stargaze-serve-skops:used"]

    assert stale_images([image, "registry.example/stargaze-serve-skops:1"], used, [of(2)]) == [
        "registry.example/stargaze-serve-skops:1"
    ]


def test_configs_of_kept_stacks_and_other_configs_are_kept() -> None:
    configs = [f"stargaze_broker_0000000{number}" for number in range(6)]
    stacks = [of(1, configs[5]), *(of(1, name) for name in reversed(configs))]

    assert stale_configs([*configs, "somebody_broker_00000000", "stargaze_broker"], stacks) == configs[:3]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeSwarm:
    fake_swarm = FakeSwarm()
    fake_swarm.install(monkeypatch)
    return fake_swarm


def spec(number: int) -> StackSpec:
    deploy = dataclasses.replace(SPEC.deploy, broker_memory=float(number))
    return dataclasses.replace(SPEC, deploy=deploy, image=f"stargaze-serve:{number}", secrets=SecretVersions(1, 1))


@pytest.fixture
def used_swarm(fake: FakeSwarm, store: Store) -> FakeSwarm:
    """A fake Swarm with five deployed stacks, each with its own image and configs."""
    fake.secrets = dict.fromkeys(render_stack(spec(1))["secrets"], b"")
    for number in range(1, 6):
        stack = render_stack(spec(number))
        send_stack(store, Swarm(fake.machines[0]), stack)
        os.utime(sent_stacks(store)[0], (number, number))
        save_verified_stack(store, stack)
    images = {f"stargaze-serve:{number}" for number in range(1, 6)}
    fake.images = {machine.name: {*images, "redis:7"} for machine in fake.machines}
    fake.built = set(images)
    return fake


def remaining_images(fake: FakeSwarm) -> list[set[str]]:
    return [*fake.images.values(), fake.built]


def test_prune_deletes_from_nodes_builder_swarm_and_store(used_swarm: FakeSwarm, store: Store) -> None:
    messages: list[str] = []

    prune_deployments(store, used_swarm.target(), Swarm(used_swarm.machines[0]), messages.append)

    newest = {f"stargaze-serve:{number}" for number in (3, 4, 5)}
    assert remaining_images(used_swarm) == [{*newest, "redis:7"}, {*newest, "redis:7"}, newest]
    assert set(used_swarm.configs) == {name for number in (3, 4, 5) for name in render_stack(spec(number))["configs"]}
    assert [path.stat().st_mtime for path in sent_stacks(store)] == [5, 4, 3]
    assert messages == []


def test_a_second_prune_does_nothing(used_swarm: FakeSwarm, store: Store) -> None:
    prune_deployments(store, used_swarm.target(), Swarm(used_swarm.machines[0]), print)
    used_swarm.changes.clear()

    prune_deployments(store, used_swarm.target(), Swarm(used_swarm.machines[0]), print)

    assert used_swarm.changes == []


def test_the_image_of_an_ended_container_is_kept(used_swarm: FakeSwarm, store: Store) -> None:
    used_swarm.ended_images = ["stargaze-serve:1"]

    prune_deployments(store, used_swarm.target(), Swarm(used_swarm.machines[0]), print)

    assert ["stargaze-serve:1" in images for images in remaining_images(used_swarm)] == [True, True, False]


def test_a_failed_deletion_is_a_note_and_the_rest_is_deleted(used_swarm: FakeSwarm, store: Store) -> None:
    used_swarm.failures = {"image rm": "Error response from daemon: conflict"}
    messages: list[str] = []

    prune_deployments(store, used_swarm.target(), Swarm(used_swarm.machines[0]), messages.append)

    assert sorted(messages) == [
        f"note: old images cannot be deleted: production{number}: docker image rm failed: "
        "Error response from daemon: conflict"
        for number in (1, 2)
    ]
    assert len(used_swarm.configs) == len(sent_stacks(store)) == len(used_swarm.built) == 3


def test_prune_before_the_first_deploy_does_nothing(fake: FakeSwarm, store: Store) -> None:
    fake.unreachable = {machine.name for machine in fake.machines}

    prune_deployments(store, fake.target(), Swarm(fake.machines[0]), pytest.fail)
