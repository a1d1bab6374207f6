"""What the commands do where production is a Swarm: find its machines, call one function, print its answer."""

from __future__ import annotations

import dataclasses
import os
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any

from stargaze.errors import DifferenceFoundError, UsageError
from stargaze.pipeline.production import alone, pages_of, site_of
from stargaze.serve.swarm import deploy as delivery
from stargaze.serve.swarm import drill as hardships
from stargaze.serve.swarm import operations as operating
from stargaze.serve.swarm import rotate_secrets as rotation
from stargaze.serve.swarm.production import ProductionTarget, survey_all

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stargaze.config import Config
    from stargaze.output import Output
    from stargaze.serve.release.publish import QualityGate
    from stargaze.store import Store


def deploy(
    out: Output,
    settings: Config,
    store: Store,
    *,
    digest: str | None,
    rotate: bool,
    now: datetime,
    gate: QualityGate | None = None,
    forced: str = "",
) -> None:
    """Deliver a bundle, or new secrets."""
    if rotate and (digest or forced):
        raise UsageError("--rotate-secrets sends no bundle", hint="stargaze deploy --rotate-secrets")
    site = site_of(settings, store)
    if rotate:
        with alone(store):
            version = rotation.rotate(settings.deploy, store, site, say=out.note)
        out.answer({"secrets": version}, f"secrets are of version {version}; those before are gone")
        return
    asked: dict[str, Any] = {"digest": digest, "gate": gate, "forced": forced}
    with alone(store):
        done = delivery.deploy(settings.deploy, store, site, now=now, say=out.note, **asked)
    _tell(out, done, "serves" if done.changed else "serves already: nothing to do")


def rollback(out: Output, settings: Config, store: Store, *, to: str | None, now: datetime) -> None:
    """Return to a release."""
    with alone(store):
        done = delivery.rollback(settings.deploy, store, site_of(settings, store), now=now, to=to, say=out.note)
    _tell(out, done, "serves again")


def status(out: Output, settings: Config, store: Store, artefacts: Sequence[dict[str, Any]]) -> None:
    """Show artefacts, machines and services; ends with 1 if something does not run as it should."""
    machines, services = operating.status(store, site_of(settings, store))
    if out.as_json:
        out.answer({"artefacts": list(artefacts), "machines": machines, "services": services})
    else:
        out.table(artefacts, ["noun", "holds", "made", "path"])
        out.table(machines, ["machine", "role", "state", "release", "page"], "Production")
        out.table(services, ["service", "running", "wanted", "state", "machines", "image", "why"], "Services")
    ill = [row["machine"] for row in machines if row["state"] != "ready" or row["page"] != "ready"]
    ill += [row["service"] for row in services if row["state"] != "well"]
    if ill:
        raise DifferenceFoundError(f"not well: {', '.join(ill)}", hint="stargaze logs SERVICE; stargaze deploy")


def logs(settings: Config, store: Store, service: str, *, lines: int, follow: bool) -> None:
    """Become the program that prints a log."""
    argv = operating.log_words(_swarm_of(settings, store), service, lines=lines, follow=follow)
    os.execvp(argv[0], argv)  # noqa: S606 - a list of our own, no shell


def scale(out: Output, settings: Config, store: Store, replicas: Sequence[str]) -> None:
    """Set numbers of replicas."""
    wanted = operating.numbers(replicas, settings.deploy)
    with alone(store):
        services = operating.scale(settings.deploy, _swarm_of(settings, store), wanted, out.note)
    out.table(services, ["service", "running", "wanted", "machines"])
    keys = ", ".join(f"deploy.{operating.KEYS[name]} = {number}" for name, number in wanted.items())
    out.note(f"the next deploy takes the config's numbers; to keep these: {keys}")


def drill(
    out: Output, settings: Config, store: Store, *, name: str, only: str, rate: float, typed: Sequence[str]
) -> None:
    """Put production through hardships; ends with 1 if a promise was broken."""
    chosen = hardships.named(only)
    if name != settings.infra.name:
        raise UsageError(
            f"this cluster is called {settings.infra.name}, not {name}: nothing was done",
            hint=f"stargaze drill {settings.infra.name}",
        )
    site = _swarm_of(settings, store)
    machines, swarm = survey_all(site)
    command = [sys.executable, "-P", "-m", "stargaze", "deploy", *typed]
    ground = hardships.DrillContext(settings.deploy, store, site, machines, swarm, command)
    asked = hardships.max_rate(rate, settings.serve.rate_limit)
    if asked < rate:
        out.note(f"asking {asked:g} questions a second, not {rate:g}: serve.rate_limit = {settings.serve.rate_limit}")
    sheets = hardships.drill(ground, pages_of(settings, store, site), chosen, asked, out.note)
    out.table(
        [sheet.as_row() for sheet in sheets] if not out.as_json else [dataclasses.asdict(sheet) for sheet in sheets],
        list(sheets[0].as_row()),
        "Promises",
    )
    broken = [sheet.hardship for sheet in sheets if not sheet.held]
    if broken:
        raise DifferenceFoundError(f"broken: {', '.join(broken)}", hint="the last column says how; stargaze logs")


def _swarm_of(settings: Config, store: Store) -> ProductionTarget:
    """Return where the Swarm is that production is said to be."""
    if settings.deploy.to != "swarm":
        raise UsageError("production is this machine, and no Swarm", hint='deploy.to = "swarm"')
    return site_of(settings, store)


def _tell(out: Output, done: delivery.Delivered, word: str) -> None:
    text = f"release {done.release.digest[:12]} {word} on {', '.join(done.machines)} ({done.seconds:.1f} s)"
    out.answer(dataclasses.asdict(done), text)
