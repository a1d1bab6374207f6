"""What has to be done so that a cloud holds what is wanted: computed before anything is touched, and shown as it is."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from stargaze.infra.plan.offers import Limit
from stargaze.infra.plan.resolve import Problem, ResolvedOffers
from stargaze.infra.plan.resources import BROKEN, ActualResource, DesiredResource, preference

Action = Literal["create", "keep", "repair", "replace", "delete"]
ASLEEP = ("SHUTOFF", "PAUSED", "SUSPENDED", "STOPPED", "SHELVED", "SHELVED_OFFLOADED")
ROOMS = ("network", "subnet", "router", "interface")
UNASKED = "no longer asked for"
CHANGEABLE = {
    "subnet": ("nameservers",),
    "router": ("outside",),
    "rules": ("rules",),
    "port": ("groups",),
    "floating IP": ("port",),
}
"""What of a thing that stands is changed in place."""
FIXED = {"keypair": ("public_key",), "subnet": ("cidr",), "server": ("image", "flavor name"), "port": ("network",)}
"""What is not: it would take something away that is in use."""


CANNOT = {
    "subnet": (
        "has other addresses than infra.cidr",
        "stargaze infra down first: addresses do not change under machines",
    ),
    "keypair": (
        "holds another key than this machine's",
        "bring up from where it was made, set infra.name to another name, or delete that keypair",
    ),
}
"""Kinds with which nothing goes on where they differ."""


@dataclass(frozen=True)
class Step:
    """One thing that is done, or that needs nothing done."""

    verb: Action
    kind: str
    name: str
    why: str = ""
    resource: DesiredResource | None = None
    """What is wanted; None if it goes."""
    found: ActualResource | None = None
    """What stands; None if it is made."""

    @property
    def key(self) -> str:
        """Name it among all kinds."""
        return f"{self.kind} {self.name}"


@dataclass(frozen=True)
class Plan:
    """All steps, and what is missing before any of them can be taken."""

    steps: tuple[Step, ...]
    missing: tuple[Problem, ...] = ()

    @property
    def changes(self) -> tuple[Step, ...]:
        """The steps that do something."""
        return tuple(step for step in self.steps if step.verb != "keep")

    def count(self, verb: Action) -> int:
        """Count the steps of one verb."""
        return sum(step.verb == verb for step in self.steps)


def plan_changes(
    wanted: Sequence[DesiredResource],
    found: Sequence[ActualResource],
    choice: ResolvedOffers,
    limits: Mapping[str, Limit],
    missing: Iterable[Problem] = (),
) -> Plan:
    """Compare what is wanted with what stands.

    Parameters
    ----------
    found : sequence of Found
        All that carries our mark, and what has a name that must be ours alone.
    limits : mapping
        What the project may have of each thing.
    missing : iterable of Missing
        What was already seen to be missing.
    """
    lacking = list(missing)
    standing: dict[str, list[ActualResource]] = defaultdict(list)
    for one in found:
        standing[one.key].append(one)
    steps: list[Step] = []
    for resource in wanted:
        ours = sorted(standing.pop(resource.key, []), key=preference)
        steps.append(
            _step(resource, ours[0], lacking) if ours else Step("create", resource.kind, resource.name, "", resource)
        )
        steps += [Step("delete", one.kind, one.name, "there are two of it", None, one) for one in ours[1:]]
    steps += [
        Step("delete", one.kind, one.name, UNASKED, None, one)
        for several in standing.values()
        for one in several
        if _goes(one)
    ]
    lacking += _cut_off(steps)
    lacking += _too_little(steps, choice, limits)
    return Plan(tuple(steps), tuple(lacking))


def plan_teardown(found: Sequence[ActualResource]) -> Plan:
    """Delete all that is ours."""
    return Plan(tuple(Step("delete", one.kind, one.name, "", None, one) for one in found if _goes(one)))


def _goes(found: ActualResource) -> bool:
    """Say whether a thing is deleted by itself: it carries our mark, and is not the rules of a group, which go with it."""
    return not found.unlike and not found.foreign and found.kind != "rules"


def _step(resource: DesiredResource, found: ActualResource, lacking: list[Problem]) -> Step:
    """Say what is done with a thing that stands."""
    kind, name = resource.kind, resource.name
    if found.unlike:
        lacking.append(Problem(f"{kind} {name}: {found.unlike}", "set infra.name to another name, or remove that one"))
        return Step("keep", kind, name, found.unlike, resource, found)
    if found.state in BROKEN:
        return Step("replace", kind, name, f"is in {found.state}{found.fault and f': {found.fault}'}", resource, found)
    if found.state in ASLEEP:
        return Step("repair", kind, name, f"is {found.state.lower()}: it is started", resource, found)
    fixed = [part for part in FIXED.get(kind, ()) if _differs(part, resource.spec, found.spec)]
    if fixed and kind in CANNOT:
        lacking.append(Problem(f"{kind} {name} {CANNOT[kind][0]}", CANNOT[kind][1]))
    changed = [part for part in CHANGEABLE.get(kind, ()) if _differs(part, resource.spec, found.spec)]
    if changed:
        return Step("repair", kind, name, _said(changed[0], resource.spec, found.spec), resource, found)
    if found.spec.get("untagged"):
        return Step("repair", kind, name, "its tag is missing", resource, found)
    why = f"has another {' and '.join(fixed)} than the config says, and keeps it" if fixed else ""
    return Step("keep", kind, name, why, resource, found)


def _differs(part: str, wanted: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    """Return whether a part is known of both, asked for, and not the same."""
    return part in found and wanted.get(part) not in ("", None) and wanted[part] != found[part]


def _said(part: str, wanted: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """Report in a few words what differs."""
    if isinstance(wanted[part], (list, tuple)):
        gone = [one for one in wanted[part] if one not in found[part]]
        extra = [one for one in found[part] if one not in wanted[part]]
        words = ", ".join([*(f"lacks {one}" for one in gone), *(f"has {one}" for one in extra)])
        return words or f"other {part}"
    return f"{part}: {found[part] or 'none'} instead of {wanted[part]}"


def _cut_off(steps: Sequence[Step]) -> list[Problem]:
    """Say which networks would be taken from under machines that stay."""
    stays = any(step.kind == "server" and step.verb in ("keep", "repair") for step in steps)
    taken = [step.key for step in steps if step.verb == "delete" and step.kind in ROOMS and step.why == UNASKED]
    if not stays or not taken:
        return []
    return [
        Problem(
            f"{', '.join(taken)}: no longer asked for, and machines are in it",
            "stargaze infra down first: a network does not change under machines",
        )
    ]


def _too_little(steps: Iterable[Step], choice: ResolvedOffers, limits: Mapping[str, Limit]) -> list[Problem]:
    """Say of which things the project may not have as many more as are made."""
    needed: Counter[str] = Counter()
    for step in steps:
        change = {"create": 1, "delete": -1}.get(step.verb, 0)
        needed[plural(step.kind)] += change
        if step.kind == "rules" and step.resource and step.verb == "create":
            needed["security group rules"] += len(step.resource.spec["rules"])
        if step.kind == "server" and choice.flavor:
            needed["cores"] += change * choice.flavor.cpus
            needed["memory"] += change * choice.flavor.memory  # type: ignore[assignment]  # GB need not be whole
    return [
        Problem(
            f"{needed[name]:g} more {name} are needed, {limit.left:g} are left of {limit.most:g}",
            "ask for a larger quota, free something, or ask for less in [infra]",
        )
        for name, limit in limits.items()
        if needed[name] > limit.left
    ]


def plural(kind: str) -> str:
    """Name several of a kind.

    >>> plural("security group"), plural("rules")
    ('security groups', 'rules')
    """
    return kind if kind.endswith("s") else f"{kind}s"
