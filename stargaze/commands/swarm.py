"""What the deployment commands do where production is a Swarm."""

from __future__ import annotations

import dataclasses
import os
import sys
from typing import TYPE_CHECKING

from stargaze.commands.options import Session, utc_now
from stargaze.errors import DifferenceFoundError, UsageError
from stargaze.pipeline.production import lock_production, page_addresses, production_target
from stargaze.pipeline.status import ARTIFACT_COLUMNS
from stargaze.serve.swarm import deploy as delivery
from stargaze.serve.swarm import drill as drills
from stargaze.serve.swarm import operations
from stargaze.serve.swarm import rotate_secrets as rotation
from stargaze.serve.swarm.production import ProductionTarget, survey_all

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from stargaze.serve.release.publish import QualityGate


def deploy(session: Session, *, digest: str | None, gate: QualityGate, force_reason: str) -> None:
    """Deploy a bundle."""
    out, config, store = session
    target = production_target(config, store)
    with lock_production(store):
        delivered = delivery.deploy(
            config.deploy, store, target, now=utc_now(), say=out.note, digest=digest, gate=gate, forced=force_reason
        )
    _show_release(session, delivered, "serves" if delivered.changed else "already serves: nothing to do")


def rotate_secrets(session: Session) -> None:
    """Replace all passwords and keys."""
    out, config, store = session
    target = production_target(config, store)
    with lock_production(store):
        version = rotation.rotate(config.deploy, store, target, say=out.note)
    out.answer({"secrets": version}, f"the secrets have version {version}; the old ones are deleted")


def rollback(session: Session, *, to: str | None) -> None:
    """Return to a release."""
    out, config, store = session
    with lock_production(store):
        target = production_target(config, store)
        delivered = delivery.rollback(config.deploy, store, target, now=utc_now(), to=to, say=out.note)
    _show_release(session, delivered, "serves again")


def show_status(session: Session, artifacts: Sequence[dict[str, Any]]) -> None:
    """Print artifacts, machines and services.

    Raises
    ------
    DifferenceFoundError
        If something does not run as it should.
    """
    out, config, store = session
    machines, services = operations.production_status(store, production_target(config, store))
    if out.as_json:
        out.answer({"artifacts": list(artifacts), "machines": machines, "services": services})
    else:
        out.table(artifacts, ARTIFACT_COLUMNS)
        out.table(machines, ["machine", "role", "state", "release", "page"], "Production")
        out.table(services, ["service", "running", "wanted", "state", "machines", "image", "why"], "Services")
    failed = [row["machine"] for row in machines if row["state"] != "ready" or row["page"] != "ready"]
    failed += [row["service"] for row in services if row["state"] != "well"]
    if failed:
        raise DifferenceFoundError(f"not ok: {', '.join(failed)}", hint="stargaze logs SERVICE; stargaze deploy")


def logs(session: Session, service: str, *, lines: int, follow: bool) -> None:
    """Replace this process by the one that prints a log."""
    argv = operations.log_words(_swarm_target(session), service, lines=lines, follow=follow)
    os.execvp(argv[0], argv)  # noqa: S606 - a list of our own, no shell


def scale(session: Session, replicas: Sequence[str]) -> None:
    """Set the numbers of replicas."""
    out, config, store = session
    numbers = operations.numbers(replicas, config.deploy)
    with lock_production(store):
        services = operations.scale(config.deploy, _swarm_target(session), numbers, out.note)
    out.table(services, ["service", "running", "wanted", "machines"])
    keys = ", ".join(f"deploy.{operations.KEYS[name]} = {number}" for name, number in numbers.items())
    out.note(f"the next deploy sets the numbers of the config; to keep these: {keys}")


def drill(session: Session, *, name: str, only: str, rate: float, deploy_options: Sequence[str]) -> None:
    """Inject faults into production.

    Raises
    ------
    DifferenceFoundError
        If an expectation was not met.
    """
    out, config, store = session
    faults = drills.named(only)
    if name != config.infra.name:
        raise UsageError(
            f"this cluster is named {config.infra.name}, not {name}: nothing was done",
            hint=f"stargaze drill {config.infra.name}",
        )
    target = _swarm_target(session)
    machines, swarm = survey_all(target)
    deploy_command = [sys.executable, "-P", "-m", "stargaze", "deploy", *deploy_options]
    context = drills.DrillContext(config.deploy, store, target, machines, swarm, deploy_command)
    allowed = drills.max_rate(rate, config.serve.rate_limit)
    if allowed < rate:
        out.note(f"sending {allowed:g} requests/s, not {rate:g}: serve.rate_limit = {config.serve.rate_limit}")
    results = drills.drill(context, page_addresses(config, store, target), faults, allowed, out.note)
    rows = [dataclasses.asdict(result) if out.as_json else result.as_row() for result in results]
    out.table(rows, list(results[0].as_row()), "Expectations")
    failed = [result.hardship for result in results if not result.held]
    if failed:
        raise DifferenceFoundError(f"failed: {', '.join(failed)}", hint="see the last column; stargaze logs")


def _swarm_target(session: Session) -> ProductionTarget:
    if session.config.deploy.to != "swarm":
        raise UsageError("production is this machine, not a Swarm", hint='deploy.to = "swarm"')
    return production_target(session.config, session.store)


def _show_release(session: Session, delivered: delivery.Delivered, result: str) -> None:
    digest, machines = delivered.release.digest[:12], ", ".join(delivered.machines)
    text = f"release {digest} {result} on {machines} ({delivered.seconds:.1f} s)"
    session.out.answer(dataclasses.asdict(delivered), text)
