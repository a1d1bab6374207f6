"""Day to day: numbers of replicas that can be, and rows that say what is not well."""

from __future__ import annotations

from typing import Any

import pytest

from stargaze.artifacts import Store
from stargaze.config import DeploySection, ServeSection
from stargaze.errors import OutsideError, UsageError
from stargaze.remote import Remote
from stargaze.serve import operating
from stargaze.serve.image import Engine, Recipe
from stargaze.serve.settings import Sources
from stargaze.serve.site import Site
from stargaze.serve.swarm import Seen, State, Surveyed, Swarm

MACHINES = tuple(Remote(f"production{n}", "production", f"10.0.0.{n}", f"10.0.0.{n}", "me", ()) for n in (1, 2))
SITE = Site(MACHINES, Engine(), Recipe("base"), ServeSection(), Sources(), 80)


def test_numbers_are_read() -> None:
    assert operating.numbers(["web=4", "worker=8"], DeploySection()) == {"web": 4, "worker": 8}


@pytest.mark.parametrize(
    ("words", "keys", "said"),
    [
        ("wroker=2", {}, "not a service to scale"),
        ("broker=2", {}, "not a service to scale"),
        ("worker", {}, "wants a number"),
        ("worker=0", {}, "wants a number"),
        ("worker=x", {}, "wants a number"),
        ("web=4", {"publish": "host"}, "a port of each machine"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(words: str, keys: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        operating.numbers([words], DeploySection(**keys))


def survey(remote: Remote) -> Surveyed:
    if remote.name == "production2":
        raise OutsideError("production2 does not let us in by ssh: no route")
    return Surveyed(remote, "host1", "n1", True, frozenset(), "c" * 40, "a" * 64, ())


def test_a_machine_that_is_away_is_a_row_and_no_end(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    node = {
        "ID": "n1",
        "Description": {"Hostname": "host1"},
        "Status": {"State": "ready"},
        "Spec": {"Availability": "drain"},
    }
    monkeypatch.setattr(operating, "survey", survey)
    monkeypatch.setattr(operating, "look", lambda remote, *_: Seen(remote.name, "a" * 64, (), "200 {}"))
    monkeypatch.setattr(Swarm, "state", lambda _: State([node], [], []))

    machines, services = operating.status(store, SITE)

    assert [(row["machine"], row["state"], row["page"]) for row in machines] == [
        ("production1", "drain", "ready"),
        ("production2", "production2 does not let us in by ssh: no route", "?"),
    ]
    assert services == []


def test_without_a_manager_the_reason_is_that_of_the_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(remote: Remote) -> Surveyed:
        raise OutsideError(f"{remote.name} is away")

    monkeypatch.setattr(operating, "survey", away)

    with pytest.raises(OutsideError, match="production1 is away; production2 is away"):
        operating.log_words(SITE, "web", lines=10, follow=False)


def test_a_log_is_printed_by_docker_on_a_manager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operating, "survey", survey)
    monkeypatch.setattr(Swarm, "state", lambda _: State([], [{"Spec": {"Name": "stargaze_web"}}], []))

    argv = operating.log_words(SITE, "web", lines=7, follow=True)

    assert argv[-1] == "sudo -n docker service logs --timestamps --tail=7 --follow stargaze_web"
    ends = operating.log_words(SITE, "web", lines=7, follow=False)
    assert ends[-1] == "sudo -n timeout 60 docker service logs --timestamps --tail=7 stargaze_web"
    with pytest.raises(UsageError, match="no such service"):
        operating.log_words(SITE, "wep", lines=7, follow=True)
