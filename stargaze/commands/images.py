"""The command that updates the images of the stack."""

from __future__ import annotations

from typing import Annotated

import typer

from stargaze.commands.options import CommonOptions, command_with_example
from stargaze.errors import ExternalError, MissingInputError

EXAMPLES = {"update-images": "stargaze update-images --dry-run"}
app = typer.Typer()
command = command_with_example(app, EXAMPLES)


@command("update-images")
def update_images(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the digests and change nothing.")] = False,
    common: CommonOptions,
) -> None:
    """Pull the tags of the images that others publish, and write their digests into the config; deploy then applies them."""
    from stargaze.config import find_config_file
    from stargaze.pipeline.image_updates import configured_images, find_updates, write_updates
    from stargaze.pipeline.production import production_target
    from stargaze.system.docker import DockerEngine

    out, config, store = common.open_session()
    path = find_config_file(common.config_path)
    if path is None and not dry_run:
        raise MissingInputError("there is no config file to write the digests into", hint="stargaze init")
    engines = [DockerEngine()]
    if config.deploy.to == "swarm":
        try:
            target = production_target(config, store)
            engines = [target.engine, *map(DockerEngine, target.hosts)]
        except (ExternalError, MissingInputError):
            out.note("no machines of production: only the engine here is asked")
    rows = find_updates(configured_images(config), engines, out.note)
    changed = {row["key"]: row["update"] for row in rows if row["image"] != row["update"]}
    if path and changed and not dry_run:
        write_updates(path, changed)
    out.table(rows, ["key", "image", "update"])
    out.note(
        f"{len(changed)} of {len(rows)} images change"
        + ("" if dry_run or not changed else f": {path}; now: stargaze deploy")
    )
