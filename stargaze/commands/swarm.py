"""The deployment commands for production in a Docker Swarm."""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING

from stargaze.commands.options import Session, utc_now
from stargaze.errors import DifferenceFoundError, UsageError
from stargaze.pipeline.production import lock_production, production_target
from stargaze.pipeline.status import ARTIFACT_COLUMNS
from stargaze.serve.release.release_folder import short_name
from stargaze.serve.release.rollback import finish_rollback
from stargaze.serve.swarm import deploy as swarm_deploy
from stargaze.serve.swarm import drill as swarm_drill
from stargaze.serve.swarm import operations
from stargaze.serve.swarm.plan import plan_deploy_changes
from stargaze.serve.swarm.production import ProductionTarget, survey_production
from stargaze.serve.swarm.rotate_secrets import rotate_secrets as rotate
from stargaze.system.isolated_python import PYTHON

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from stargaze.serve.release.publish import QualityGate

SERVICE_COLUMNS = ["service", "running", "desired", "state", "machines", "image", "reason"]
PLAN_COLUMNS = ["action", "resource", "reason"]


def deploy(session: Session, *, digest: str | None, growth: str | None, gate: QualityGate, force_reason: str) -> None:
    """Deploy a star bundle and a growth bundle."""
    out, config, store = session
    target = production_target(config, store)
    with lock_production(store):
        result = swarm_deploy.deploy(
            config.deploy,
            store,
            target,
            now=utc_now(),
            notify=out.note,
            digest=digest,
            growth=growth,
            gate=gate,
            force_reason=force_reason,
        )
    _show_release(session, result, "serves" if result.changed else "already serves: nothing to do")


def show_deploy_plan(
    session: Session, *, digest: str | None, growth: str | None, gate: QualityGate, force_reason: str
) -> None:
    """Print what a deploy would change and why."""
    out, config, store = session
    target = production_target(config, store)
    changes = plan_deploy_changes(
        config.deploy, store, target, digest=digest, growth=growth, gate=gate, force_reason=force_reason
    )
    out.table([dataclasses.asdict(change) for change in changes], PLAN_COLUMNS)
    if all(change.action == "keep" for change in changes):
        out.note("nothing to do")


def rotate_secrets(session: Session) -> None:
    """Replace all passwords and keys."""
    out, config, store = session
    target = production_target(config, store)
    with lock_production(store):
        version = rotate(config.deploy, store, target, notify=out.note)
    out.answer({"secrets": version}, f"the secrets have version {version}; the old ones are deleted")


def rollback(session: Session, *, to: str | None) -> None:
    """Return to an earlier release."""
    out, config, store = session
    with lock_production(store):
        target = production_target(config, store)
        result = swarm_deploy.rollback(config.deploy, store, target, now=utc_now(), to=to, notify=out.note)
        _show_release(session, result, "serves again")
        finish_rollback(store)


def show_status(session: Session, artifacts: Sequence[dict[str, Any]]) -> None:
    """Print artifacts, machines and services; DifferenceFoundError if a machine is not ready or a service does not run."""
    out, config, store = session
    target = production_target(config, store)
    machines, services = operations.production_status(store, target)
    pages = operations.page_status(target)
    if out.as_json:
        out.answer({"artifacts": list(artifacts), "pages": pages, "machines": machines, "services": services})
    else:
        out.table(artifacts, ARTIFACT_COLUMNS)
        out.table(machines, ["machine", "role", "state", "release", "page"], "Production")
        out.table(services, SERVICE_COLUMNS, "Services")
        if pages:
            out.table(pages, ["page", "state", "release", "reason"], "Page")
    failed = [row["machine"] for row in machines if row["state"] != "ready" or row["page"] != "ready"]
    failed += [row["page"] for row in pages if row["state"] != "ready"]
    failed += [row["service"] for row in services if row["state"] != "ok"]
    if failed:
        raise DifferenceFoundError(f"not ok: {', '.join(failed)}", hint="stargaze logs SERVICE; stargaze deploy")


def logs(session: Session, service: str, *, lines: int, follow: bool) -> None:
    """Replace this process by the one that prints a log."""
    argv = operations.service_log_argv(_swarm_target(session), service, lines=lines, follow=follow)
    os.execvp(argv[0], argv)  # noqa: S606 - a list of our own, no shell


def scale(session: Session, arguments: Sequence[str]) -> None:
    """Set the numbers of replicas."""
    out, config, store = session
    replicas = operations.parse_replicas(arguments, config.deploy)
    with lock_production(store):
        services = operations.scale_production(config.deploy, _swarm_target(session), replicas, out.note)
    out.table(services, ["service", "running", "desired", "machines"])
    keys = ", ".join(f"deploy.{operations.REPLICA_KEYS[name]} = {number}" for name, number in replicas.items())
    out.note(f"the next deploy sets the numbers of the config; to keep these: {keys}")


def drill(session: Session, *, name: str, only: str, rate: float, deploy_options: Sequence[str]) -> None:
    """Inject faults into production; DifferenceFoundError if an expectation did not hold."""
    out, config, store = session
    faults = swarm_drill.select_faults(only)
    if name != config.infra.name:
        raise UsageError(
            f"this cluster is named {config.infra.name}, not {name}: nothing was done",
            hint=f"stargaze drill {config.infra.name}",
        )
    target = _swarm_target(session)
    survey = survey_production(target.hosts)
    deploy_argv = [*PYTHON, "stargaze", "deploy", *deploy_options]
    context = swarm_drill.DrillContext(config.deploy, store, target, survey, deploy_argv)
    allowed = swarm_drill.max_rate(rate, config.serve.rate_limit)
    if allowed < rate:
        out.note(f"sending {allowed:g} requests/s, not {rate:g}: serve.rate_limit = {config.serve.rate_limit}")
    results = swarm_drill.run_drill(context, faults, allowed, out.note)
    rows = [dataclasses.asdict(result) if out.as_json else result.as_row() for result in results]
    out.table(rows, list(results[0].as_row()), "Expectations")
    failed = [result.fault for result in results if not result.passed]
    if failed:
        raise DifferenceFoundError(f"failed: {', '.join(failed)}", hint="see the last column; stargaze logs")


def _swarm_target(session: Session) -> ProductionTarget:
    if session.config.deploy.to != "swarm":
        raise UsageError("production is this machine, not a Swarm", hint='deploy.to = "swarm"')
    return production_target(session.config, session.store)


def _show_release(session: Session, result: swarm_deploy.DeployResult, outcome: str) -> None:
    name, machines = short_name(result.release.name), ", ".join(result.machines)
    text = f"release {name} {outcome} on {machines} ({result.seconds:.1f} s): {' '.join(result.urls)}"
    session.out.answer(dataclasses.asdict(result), text)
