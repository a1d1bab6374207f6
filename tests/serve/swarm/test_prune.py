"""What deliveries leave behind: what goes is said by pure functions, and it goes from a small Swarm in memory."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from stargaze.serve.stack.compose import render_stack
from stargaze.serve.stack.service_options import StackSpec
from stargaze.serve.swarm.delivery_state import save_verified_stack, send_stack, sent_stacks
from stargaze.serve.swarm.docker import Swarm
from stargaze.serve.swarm.prune import StackReferences, prune_deployments, stale_configs, stale_images, stale_stacks
from stargaze.store import Store
from tests.serve.stack.test_compose import WANTED
from tests.serve.swarm.fake_swarm import FakeSwarm


def of(number: int, *configs: str) -> StackReferences:
    return StackReferences(f"stargaze-serve:{number}", frozenset(configs))


def test_three_stacks_stay() -> None:
    assert stale_stacks([Path(name) for name in "edcba"]) == [Path("b"), Path("a")]


def test_three_different_images_stay_however_often_each_was_sent() -> None:
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
def test_other_peoples_images_stay_and_those_of_any_container(image: str) -> None:
    used = ["stargaze-serve:used", "registry.example/stargaze-serve-skops:used"]

    assert stale_images([image, "registry.example/stargaze-serve-skops:1"], used, [of(2)]) == [
        "registry.example/stargaze-serve-skops:1"
    ]


def test_configs_of_the_stacks_that_stay_do_so_and_other_peoples() -> None:
    ours = [f"stargaze_broker_0000000{number}" for number in range(6)]
    stacks = [of(1, ours[5]), *(of(1, name) for name in reversed(ours))]

    assert stale_configs([*ours, "somebody_broker_00000000", "stargaze_broker"], stacks) == ours[:3]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> FakeSwarm:
    made = FakeSwarm()
    made.enter(monkeypatch)
    return made


def wanted(number: int) -> StackSpec:
    deploy = dataclasses.replace(WANTED.deploy, broker_memory=float(number))
    return dataclasses.replace(WANTED, deploy=deploy, image=f"stargaze-serve:{number}", secrets=1, backing_secrets=1)


@pytest.fixture
def used(small: FakeSwarm, store: Store) -> FakeSwarm:
    """A Swarm to which five stacks were sent, each with an image and configs of its own."""
    small.secrets = dict.fromkeys(render_stack(wanted(1))["secrets"], b"")
    for number in range(1, 6):
        whole = render_stack(wanted(number))
        send_stack(store, Swarm(small.machines[0]), whole)
        os.utime(sent_stacks(store)[0], (number, number))
        save_verified_stack(store, whole)
    every = {f"stargaze-serve:{number}" for number in range(1, 6)}
    small.images = {one.name: {*every, "redis:7"} for one in small.machines}
    small.built = set(every)
    return small


def left(small: FakeSwarm) -> list[set[str]]:
    return [*small.images.values(), small.built]


def test_what_nobody_returns_to_goes_from_every_node_the_builder_the_swarm_and_the_store(
    used: FakeSwarm, store: Store
) -> None:
    said: list[str] = []

    prune_deployments(store, used.target(), Swarm(used.machines[0]), said.append)

    newest = {f"stargaze-serve:{number}" for number in (3, 4, 5)}
    assert left(used) == [{*newest, "redis:7"}, {*newest, "redis:7"}, newest]
    assert set(used.configs) == {name for number in (3, 4, 5) for name in render_stack(wanted(number))["configs"]}
    assert [path.stat().st_mtime for path in sent_stacks(store)] == [5, 4, 3]
    assert said == []


def test_swept_twice_is_swept_once(used: FakeSwarm, store: Store) -> None:
    prune_deployments(store, used.target(), Swarm(used.machines[0]), print)
    used.done.clear()

    prune_deployments(store, used.target(), Swarm(used.machines[0]), print)

    assert used.done == []


def test_the_image_of_a_container_that_has_ended_waits_for_the_next_time(used: FakeSwarm, store: Store) -> None:
    used.ended = ["stargaze-serve:1"]

    prune_deployments(store, used.target(), Swarm(used.machines[0]), print)

    assert ["stargaze-serve:1" in images for images in left(used)] == [True, True, False]


def test_what_cannot_be_removed_is_a_note_and_keeps_nothing_else(used: FakeSwarm, store: Store) -> None:
    used.refuses = {"image rm": "Error response from daemon: conflict"}
    said: list[str] = []

    prune_deployments(store, used.target(), Swarm(used.machines[0]), said.append)

    assert sorted(said) == [
        f"note: old images cannot be deleted: production{number}: docker image rm failed: "
        "Error response from daemon: conflict"
        for number in (1, 2)
    ]
    assert len(used.configs) == len(sent_stacks(store)) == len(used.built) == 3


def test_before_the_first_delivery_nothing_is_asked(small: FakeSwarm, store: Store) -> None:
    small.away = {one.name for one in small.machines}

    prune_deployments(store, small.target(), Swarm(small.machines[0]), pytest.fail)
