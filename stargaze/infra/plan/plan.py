"""The plan: the steps that turn the actual resources of the cloud into the desired ones, computed before anything changes."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from stargaze.infra.plan.offers import Limit, Problem, ResolvedOffers
from stargaze.infra.plan.resources import FAILED_STATES, ActualResource, DesiredResource, preference

Action = Literal["create", "keep", "update", "replace", "delete"]
STOPPED_STATES = ("SHUTOFF", "PAUSED", "SUSPENDED", "STOPPED", "SHELVED", "SHELVED_OFFLOADED")
NETWORK_KINDS = ("network", "subnet", "router", "interface")
NOT_IN_CONFIG = "no longer in the config"
UPDATABLE = {
    "subnet": ("nameservers",),
    "router": ("external_network",),
    "rules": ("rules",),
    "port": ("groups",),
    "floating IP": ("port",),
}
"""Values that are updated in place."""
IMMUTABLE = {"keypair": ("public_key",), "subnet": ("cidr",), "server": ("image", "flavor"), "port": ("network",)}
"""Values that are not: the resource would have to be deleted while it is in use."""
REQUIRED = {
    "subnet": (
        "has another address range than infra.cidr",
        "run stargaze infra down first: running machines keep their addresses",
    ),
    "keypair": (
        "has another public key than this machine",
        "run this where the keypair was created, change infra.name, or delete the keypair",
    ),
}
"""Kinds whose immutable values must match, with the message and the hint if they do not."""


@dataclass(frozen=True)
class Step:
    """One entry of a plan: an action on a resource."""

    action: Action
    kind: str
    name: str
    reason: str = ""
    desired: DesiredResource | None = None
    """None if it is deleted."""
    actual: ActualResource | None = None
    """None if it is created."""

    @property
    def key(self) -> str:
        """Kind and name."""
        return f"{self.kind} {self.name}"


@dataclass(frozen=True)
class Plan:
    """All steps, and the problems that must be solved before any of them is applied."""

    steps: tuple[Step, ...]
    problems: tuple[Problem, ...] = ()

    @property
    def changes(self) -> tuple[Step, ...]:
        """The steps that change something."""
        return tuple(step for step in self.steps if step.action != "keep")

    def count(self, action: Action) -> int:
        """Count the steps with an action."""
        return sum(step.action == action for step in self.steps)

    def as_rows(self) -> list[dict[str, Any]]:
        """Return a row per change, and per resource that stays although it differs from the config."""
        return [
            {"action": step.action, "resource": step.kind, "name": step.name, "detail": step.reason}
            for step in self.steps
            if step.action != "keep" or step.reason
        ]


def plan_changes(
    desired: Sequence[DesiredResource],
    actual: Sequence[ActualResource],
    resolved: ResolvedOffers,
    limits: Mapping[str, Limit],
    problems: Iterable[Problem] = (),
) -> Plan:
    """Compare the desired resources with the actual ones; of duplicates, which a killed run may leave, the best is kept.

    ``limits`` are the quotas by the plural of a kind, and "cores" and "memory" [GB]; ``problems`` are those known already.
    """
    all_problems = list(problems)
    existing: dict[str, list[ActualResource]] = defaultdict(list)
    for actual_resource in actual:
        existing[actual_resource.key].append(actual_resource)
    steps: list[Step] = []
    for resource in desired:
        candidates = sorted(existing.pop(resource.key, []), key=preference)
        if candidates:
            steps.append(_compare(resource, candidates[0], all_problems))
        else:
            steps.append(Step("create", resource.kind, resource.name, "", resource))
        steps += [_delete(duplicate, "duplicate") for duplicate in candidates[1:]]
    steps += [_delete(other, NOT_IN_CONFIG) for rest in existing.values() for other in rest if _is_deletable(other)]
    all_problems += _attached_networks(steps)
    all_problems += _exceeded_quotas(steps, resolved, limits)
    return Plan(tuple(steps), tuple(all_problems))


def plan_teardown(actual: Sequence[ActualResource]) -> Plan:
    """Delete all owned resources."""
    return Plan(tuple(_delete(resource, "") for resource in actual if _is_deletable(resource)))


def _delete(resource: ActualResource, reason: str) -> Step:
    return Step("delete", resource.kind, resource.name, reason, None, resource)


def _is_deletable(resource: ActualResource) -> bool:
    """Return whether a resource is owned and deleted on its own; rules are deleted with their security group."""
    return not resource.conflict and not resource.is_foreign and resource.kind != "rules"


def _compare(desired: DesiredResource, actual: ActualResource, problems: list[Problem]) -> Step:
    """Return the step for a resource that already exists."""
    kind, name = desired.kind, desired.name

    def step(action: Action, reason: str = "") -> Step:
        return Step(action, kind, name, reason, desired, actual)

    if actual.conflict:
        problems.append(Problem(f"{kind} {name}: {actual.conflict}", "change infra.name, or delete that resource"))
        return step("keep", actual.conflict)
    if actual.state in FAILED_STATES:
        return step("replace", f"is in {actual.state}{actual.fault and f': {actual.fault}'}")
    if actual.state in STOPPED_STATES:
        return step("update", f"is {actual.state.lower()} and will be started")
    fixed = [field for field in IMMUTABLE.get(kind, ()) if _differs(field, desired.spec, actual.spec)]
    if fixed and kind in REQUIRED:
        message, hint = REQUIRED[kind]
        problems.append(Problem(f"{kind} {name} {message}", hint))
    changed = [field for field in UPDATABLE.get(kind, ()) if _differs(field, desired.spec, actual.spec)]
    if changed:
        return step("update", _describe_difference(changed[0], desired.spec, actual.spec))
    if actual.spec.get("untagged"):
        return step("update", "its tag is missing")
    return step("keep", f"keeps its {' and '.join(fixed)}, which differs from the config" if fixed else "")


def _differs(field: str, desired: Mapping[str, Any], actual: Mapping[str, Any]) -> bool:
    """Return whether a value is specified, known, and different."""
    return field in actual and desired.get(field) not in ("", None) and desired[field] != actual[field]


def _describe_difference(field: str, desired: Mapping[str, Any], actual: Mapping[str, Any]) -> str:
    if isinstance(desired[field], (list, tuple)):
        missing = [f"missing {item}" for item in desired[field] if item not in actual[field]]
        extra = [f"unexpected {item}" for item in actual[field] if item not in desired[field]]
        return ", ".join([*missing, *extra]) or f"other order of {field}"
    return f"{field} is {actual[field] or 'none'}, not {desired[field]}"


def _attached_networks(steps: Sequence[Step]) -> list[Problem]:
    """Return a problem if networks are deleted to which remaining machines are attached."""
    has_servers = any(step.kind == "server" and step.action in ("keep", "update") for step in steps)
    deleted = [
        step.key
        for step in steps
        if step.action == "delete" and step.kind in NETWORK_KINDS and step.reason == NOT_IN_CONFIG
    ]
    if not has_servers or not deleted:
        return []
    return [
        Problem(
            f"{', '.join(deleted)}: removed from the config, but machines are still attached",
            "run stargaze infra down first: running machines keep their network",
        )
    ]


def _exceeded_quotas(steps: Iterable[Step], resolved: ResolvedOffers, limits: Mapping[str, Limit]) -> list[Problem]:
    needed: Counter[str] = Counter()
    for step in steps:
        change = {"create": 1, "delete": -1}.get(step.action, 0)
        needed[plural(step.kind)] += change
        if step.kind == "rules" and step.desired and step.action == "create":
            needed["security group rules"] += len(step.desired.spec["rules"])
        if step.kind == "server" and resolved.flavor:
            needed["cores"] += change * resolved.flavor.cpus
            needed["memory"] += change * resolved.flavor.memory  # type: ignore[assignment]  # GB may be fractional
    return [
        Problem(
            f"quota exceeded: {needed[name]:g} more {name} needed, {limit.available:g} of {limit.maximum:g} available",
            "request a larger quota, delete something, or reduce [infra]",
        )
        for name, limit in limits.items()
        if needed[name] > limit.available
    ]


def plural(kind: str) -> str:
    """Return the plural of a kind.

    >>> plural("security group"), plural("rules")
    ('security groups', 'rules')
    """
    return kind if kind.endswith("s") else f"{kind}s"
