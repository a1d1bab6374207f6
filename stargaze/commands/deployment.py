"""The commands about production: deploy, roll back, watch, scale, test and serve."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stargaze.commands.options import CommonOptions, ConfigOptions, command_with_example, utc_now
from stargaze.errors import UsageError

if TYPE_CHECKING:
    from stargaze.serve.release.record import Release

EXAMPLES = {
    "deploy": "stargaze deploy --dry-run",
    "rollback": "stargaze rollback",
    "releases": "stargaze releases --json",
    "logs": "stargaze logs web --follow",
    "scale": "stargaze scale web=4 worker=8",
    "drill": "stargaze drill stargaze --only worker,broker",
    "serve": "stargaze serve --port 8080",
}
app = typer.Typer()
command = command_with_example(app, EXAMPLES)


@command("deploy")
def deploy(
    digest: Annotated[
        str | None, typer.Argument(help="Digest of a star bundle or its first characters; default the newest.")
    ] = None,
    growth: Annotated[
        str | None,
        typer.Option(
            "--growth", help="Digest of a growth bundle or its first characters, or none; default the newest."
        ),
    ] = None,
    force: Annotated[
        str | None,
        typer.Option("--force", help="Reason to deploy a bundle that predicts worse, or that was rolled back."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="swarm: print what would change and why, and change nothing.")
    ] = False,
    rotate_secrets: Annotated[
        bool, typer.Option("--rotate-secrets", help="swarm: replace all passwords and keys.")
    ] = False,
    *,
    common: CommonOptions,
) -> None:
    """Push star and growth bundle as one signed release, which hooks verify and install, unless it predicts worse."""
    from stargaze.serve.release.publish import check_force_reason, publish_release
    from stargaze.serve.release.quality_gate import check_quality
    from stargaze.serve.release.release_folder import short_name

    session = common.open_session()
    out, config, store = session
    force_reason = check_force_reason(force)

    def gate(challenger: Path, champion: Path) -> None:
        out.note(check_quality(challenger, champion, store).as_text())

    if config.deploy.to == "swarm":
        from stargaze.commands import swarm

        if rotate_secrets and (digest or growth or force_reason or dry_run):
            other = "--dry-run" if dry_run else "a bundle"
            raise UsageError(
                f"--rotate-secrets cannot be combined with {other}", hint="stargaze deploy --rotate-secrets"
            )
        if rotate_secrets:
            swarm.rotate_secrets(session)
        elif dry_run:
            swarm.show_deploy_plan(session, digest=digest, growth=growth, gate=gate, force_reason=force_reason)
        else:
            swarm.deploy(session, digest=digest, growth=growth, gate=gate, force_reason=force_reason)
        return
    if rotate_secrets or dry_run:
        option = "--rotate-secrets" if rotate_secrets else "--dry-run"
        raise UsageError(f'{option} needs deploy.to = "swarm"', hint='deploy.to = "swarm"')
    release = publish_release(
        config.deploy,
        store,
        now=utc_now(),
        digest=digest,
        growth=growth,
        gate=gate,
        force_reason=force_reason,
        notify=out.note,
    )
    result = "is deployed" if release.changed else "is already deployed: nothing to do"
    out.answer(dataclasses.asdict(release), f"release {short_name(release.name)} {result}")
    out.note("next: stargaze serve")


@command("rollback")
def rollback(
    to: Annotated[
        str | None,
        typer.Argument(
            help="Digest of a release's star bundle, or DIGEST-GROWTH, or first characters; default the previous release."
        ),
    ] = None,
    *,
    common: CommonOptions,
) -> None:
    """Return to both bundles of the previous release; this is recorded as a new release."""
    from stargaze.serve.release.release_folder import short_name
    from stargaze.serve.release.rollback import rollback_release

    session = common.open_session()
    out, config, store = session
    if config.deploy.to == "swarm":
        from stargaze.commands import swarm

        swarm.rollback(session, to=to)
        return

    def announce(release: Release) -> None:
        out.answer(dataclasses.asdict(release), f"release {short_name(release.name)} serves again")

    rollback_release(config.deploy, store, now=utc_now(), to=to, notify=out.note, announce=announce)


@command("releases")
def releases(common: CommonOptions) -> None:
    """List the releases, newest first: date, kind, star and growth bundle, author, and the reason of a forced one."""
    from stargaze.serve.release.publish import list_releases

    out, _, store = common.open_session()
    rows = [dataclasses.asdict(release) for release in list_releases(store)]
    short = [
        {
            **row,
            "digest": row["digest"][:12],
            "growth": (row["growth_digest"] or "")[:12],
            "reason": row["force_reason"],
        }
        for row in rows
    ]
    out.table(rows if common.as_json else short, ["created_at", "kind", "digest", "growth", "author", "reason"])


@command("logs")
def logs(
    service: Annotated[str, typer.Argument(help="A service as named by status: web, worker, broker, results.")],
    lines: Annotated[int, typer.Option("--lines", "-n", help="Number of lines per replica.", min=1)] = 100,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Follow the log until Ctrl-C.")] = False,
    *,
    common: ConfigOptions,
) -> None:
    """Print the log of a Swarm service, from all its replicas."""
    from stargaze.commands import swarm

    swarm.logs(common.open_session(), service, lines=lines, follow=follow)


@command("scale")
def scale(
    replicas: Annotated[list[str], typer.Argument(help="Replicas per service.", metavar="SERVICE=NUMBER...")],
    *,
    common: CommonOptions,
) -> None:
    """Set the number of web and worker replicas in the Swarm, until the next deploy."""
    from stargaze.commands import swarm

    swarm.scale(common.open_session(), replicas)


@command("drill")
def drill(
    name: Annotated[
        str, typer.Argument(help="The cluster's name (infra.name), as confirmation: parts of it will be killed.")
    ],
    only: Annotated[
        str, typer.Option(help="Some of these faults, comma-separated: worker, web, broker, node, deploy.")
    ] = "",
    rate: Annotated[
        float, typer.Option(help="Load in requests/s; at most what serve.rate_limit allows.", min=0.1, max=1000)
    ] = 50.0,
    *,
    common: CommonOptions,
) -> None:
    """Kill parts of production under load, one after the other, and check the expectations. Exits with 1 if one failed."""
    from stargaze.commands import swarm

    session = common.open_session()
    options = [
        "--store",
        str(session.store.root),
        *(["--config", str(common.config_path)] if common.config_path else []),
    ]
    swarm.drill(session, name=name, only=only, rate=rate, deploy_options=options)


@command("serve")
def serve(
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    workers: Annotated[int | None, typer.Option(help="Prediction processes.")] = None,
    *,
    common: ConfigOptions,
) -> None:
    """Serve the page and the API with gunicorn and a Celery worker, until Ctrl-C."""
    from stargaze.features.history.table_format import HistoryFormat
    from stargaze.serve.runtime.settings import Sources
    from stargaze.serve.supervisor.supervise import serve

    options = {"serve.port": port, "serve.host": host, "serve.worker_processes": workers}
    out, config, store = common.open_session(options)
    sources = Sources(config.github.api_url, config.growth.history_file, HistoryFormat.of(config.growth))
    code = serve(config.serve, store, sources, announce=lambda url: out.text(f"serving at {url} (Ctrl-C stops it)"))
    raise typer.Exit(code)
