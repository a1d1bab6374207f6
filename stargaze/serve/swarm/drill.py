"""Inject faults into production while a load generator sends requests, and check that every expectation holds.

A fault is what a cluster will meet: a killed process, queue, engine or deploy. Every service must recover by itself.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stargaze.config import DeploySection
from stargaze.errors import ExternalError, MissingInputError, StargazeError, UsageError, did_you_mean
from stargaze.serve.release.choose_bundles import NO_GROWTH, verified_bundle_folder
from stargaze.serve.release.publish import list_releases
from stargaze.serve.release.record import Release
from stargaze.serve.stack.service_options import STACK_NAME
from stargaze.serve.swarm.production import ProductionTarget, Survey, await_services, await_serving, image_in_use
from stargaze.store import Store
from stargaze.system.progress import Notify

WARM_UP = 3.0
"""Load before the fault [s]."""
ENGINE_DOWNTIME = 20.0
"""Time for which a machine's engine is stopped [s]."""
DETECTION_DELAY = 5.0
"""Time that a Swarm takes to notice a fault [s]; the services are checked afterwards."""
KILL_DELAY = 6.0
"""Time after which a deploy that changes web and workers is halfway [s]."""
MEMORY_FACTOR = 0.98
"""Memory of web and workers in the deploy that is killed, relative to the config: another definition, hardly less memory."""
RESPONSE_TIMEOUT = 180.0
"""Timeout of the load generator for responses after its last request [s]."""
FORBIDDEN_OUTCOMES = ("lost", "job_failed", "failed")
"""Outcomes of requests that no fault may cause."""
RATE_SHARE = 0.8
"""Load relative to the page's rate limit [1]: a request that is repeated at another address counts twice."""
_KILL_SCRIPT = f"""
for id in $(docker ps --quiet --filter "name={STACK_NAME}_$1" | head -n 1); do
  docker kill --signal KILL "$id"
done
"""


@dataclass(frozen=True)
class DrillContext:
    """The production that is drilled."""

    section: DeploySection
    store: Store
    target: ProductionTarget
    survey: Survey
    deploy_argv: Sequence[str]
    """``stargaze deploy`` with the options for this cluster."""


@dataclass(frozen=True)
class Fault:
    """A fault, the expectation that it checks, and whether the page may refuse requests with a 503 meanwhile."""

    name: str
    expectation: str
    inject: Callable[[DrillContext], None]
    allows_refusals: bool = False


@dataclass(frozen=True)
class DrillResult:
    """The result of one fault."""

    fault: str
    expectation: str
    passed: bool
    counts: Mapping[str, Any]
    recovered: float
    """Time from the fault until all services ran again, or until the timeout [s]."""
    reason: str = ""

    def as_row(self) -> dict[str, Any]:
        """Return the result as a row of a table."""
        names = ("sent", "answered", "job_failed", "refused", "failed", "lost", "slowest")
        return {
            "fault": self.fault,
            "expectation": self.expectation,
            "state": "passed" if self.passed else "FAILED",
            **{name: self.counts.get(name, "") for name in names},
            "recovered": self.recovered,
            "reason": self.reason,
        }


def run_drill(context: DrillContext, faults: Sequence[Fault], rate: float, notify: Notify) -> list[DrillResult]:
    """Inject the faults one after the other, at a load of ``rate`` [requests/s] on the page's addresses.

    If a service does not run at the beginning, that error is raised and no fault is injected.
    """
    await_services(context.section, context.survey.swarm, None, notify)
    results = []
    with tempfile.TemporaryDirectory() as folder:
        names = Path(folder) / "names"
        names.write_text("\n".join(_repository_names(context.store)), encoding="utf-8")
        urls = [page.url for page in context.target.pages]
        argv = [sys.executable, "-P", "-m", "stargaze.serve.swarm.load_generator", f"{rate:g}", str(names), *urls]
        for fault in faults:
            notify(f"{fault.name}: {fault.expectation}")
            results.append(_run_fault(fault, context, argv, notify))
    return results


def select_faults(names: str) -> list[Fault]:
    """Return the faults of comma-separated names, or all if there is no name; UsageError if there is no such fault."""
    selected = [name.strip() for name in names.split(",") if name.strip()]
    for name in selected:
        if name not in FAULTS:
            raise UsageError(f"{name}: no such fault", hint=did_you_mean(name, FAULTS, ", ".join(FAULTS)))
    return [FAULTS[name] for name in selected or FAULTS]


def max_rate(rate: float, rate_limit: int) -> float:
    """Return the load from one address [requests/s] that stays below ``serve.rate_limit`` [requests/min]; 0 is no limit.

    >>> max_rate(50.0, 0), max_rate(50.0, 120), max_rate(1.0, 120)
    (50.0, 1.6, 1.0)
    """
    return min(rate, RATE_SHARE * rate_limit / 60) if rate_limit else rate


def evaluate_fault(fault: Fault, counts: Mapping[str, Any], recovered: float, error: str) -> DrillResult:
    """Return whether the expectation held: accepted requests were answered, no request failed, all services recovered."""
    forbidden = (*FORBIDDEN_OUTCOMES, *(() if fault.allows_refusals else ("refused",)))
    outcomes = ", ".join(f"{counts[name]} {name}" for name in forbidden if counts[name])
    reasons = [error, outcomes, *(counts["reasons"] if outcomes else [])]
    reason = "; ".join(filter(None, reasons))
    passed = not reason and counts["answered"] > 0
    return DrillResult(fault.name, fault.expectation, passed, counts, recovered, reason[:300])


def _run_fault(fault: Fault, context: DrillContext, load_argv: Sequence[str], notify: Notify) -> DrillResult:
    error = ""
    environment = dict(os.environ)
    for page in context.target.pages:
        if page.ca_file:
            environment["SSL_CERT_FILE"] = page.ca_file
    with subprocess.Popen(load_argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as load:
        try:
            time.sleep(WARM_UP)
            started = time.monotonic()
            try:
                fault.inject(context)
                time.sleep(DETECTION_DELAY)
                _await_recovery(context, notify)
            except StargazeError as failure:
                error = failure.message
            recovered = round(time.monotonic() - started, 1)
            output, _ = load.communicate(timeout=RESPONSE_TIMEOUT)
        except subprocess.TimeoutExpired:  # the other faults are still worth a result
            reason = "; ".join(filter(None, [error, f"responses are missing after {RESPONSE_TIMEOUT:g} s"]))
            return DrillResult(fault.name, fault.expectation, False, {}, recovered, reason)
        finally:
            load.kill()
    return evaluate_fault(fault, json.loads(output), recovered, error)


def _await_recovery(context: DrillContext, notify: Notify) -> None:
    swarm = context.survey.swarm
    await_services(context.section, swarm, None, notify)
    image = image_in_use(swarm.read_state().services)
    release = _newest_release(context.store)
    await_serving(context.section, context.target.hosts, image, context.target.port, release.name)


def _repository_names(store: Store) -> list[str]:
    """Return the repositories that the released bundle contains."""
    from stargaze.bundle.star_bundle import Bundle

    return list(map(str, Bundle.load(verified_bundle_folder(store, _newest_release(store).digest)).known["full_name"]))


def _newest_release(store: Store) -> Release:
    releases = list_releases(store)
    if not releases:
        raise MissingInputError("this store has no release", hint="stargaze deploy")
    return releases[0]


def _kill_container(service: str) -> Callable[[DrillContext], None]:
    """Return a function that kills one container of a service, on the first machine that has one."""

    def inject(context: DrillContext) -> None:
        for host in context.target.hosts:
            if host.run("sh", "-c", _KILL_SCRIPT, "sh", service, root=True).strip():
                return
        raise ExternalError(f"{service}: no running container", hint="stargaze status")

    return inject


def _stop_engine(context: DrillContext) -> None:
    """Stop the engine of one machine for a while, but not of a manager that the majority needs."""
    managers = [node.host for node in context.survey.nodes if node.is_manager]
    workers = [node.host for node in context.survey.nodes if not node.is_manager]
    expendable = workers or (managers[1:] if len(managers) >= 3 else [])
    if not expendable:
        hint = "infra.production_servers = 2 or more; stargaze infra up"
        raise ExternalError("the cluster has no machine that it can lose", hint=hint)
    host = expendable[-1]
    try:
        host.run("systemctl", "stop", "docker.socket", "docker.service", root=True)
        time.sleep(ENGINE_DOWNTIME)
    finally:  # also after Ctrl-C
        host.run("systemctl", "start", "docker.socket", "docker.service", root=True)


def _kill_deploy(context: DrillContext) -> None:
    """Kill a deploy that is changing web and workers, then deploy with the settings of the config."""
    memory = {"WEB_MEMORY": context.section.web_memory, "WORKER_MEMORY": context.section.worker_memory}
    changed = {f"STARGAZE_DEPLOY_{name}": f"{size * MEMORY_FACTOR:g}" for name, size in memory.items()}
    release = _newest_release(context.store)
    argv = [*context.deploy_argv, release.digest[:12], "--growth", (release.growth_digest or NO_GROWTH)[:12]]
    with subprocess.Popen(
        argv,
        env={**os.environ, **changed},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as killed:
        time.sleep(KILL_DELAY)
        os.killpg(killed.pid, signal.SIGKILL)
    completed = subprocess.run(argv, capture_output=True, text=True, check=False)
    if completed.returncode:
        lines = completed.stderr.splitlines()
        errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        reason = next(reversed(errors), f"exit code {completed.returncode}")
        raise ExternalError(f"the deploy after the killed one failed: {reason}", hint="stargaze status")


FAULTS = {
    fault.name: fault
    for fault in (
        Fault("worker", "a worker is killed during a task: its requests are answered", _kill_container("worker")),
        Fault("web", "a web process is killed: visitors are served by another one", _kill_container("web")),
        Fault(
            "broker",
            "the queue is killed: new requests get a 503 at once, and no accepted one is lost",
            _kill_container("broker"),
            allows_refusals=True,
        ),
        Fault("node", "a machine's engine stops and starts again: the others answer", _stop_engine),
        Fault(
            "deploy",
            "a deploy is killed halfway: the previous release serves, and the next deploy succeeds",
            _kill_deploy,
        ),
    )
}
"""The faults by name, in the order in which they are injected."""
