"""The commands of ``stargaze keys``: who may sign releases and log in to the machines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stargaze.commands.options import CommonOptions, command_with_example
from stargaze.errors import UsageError

EXAMPLES = {
    "keys list": "stargaze keys list --json",
    "keys trust": "stargaze keys trust colleague.pub",
    "keys rotate": "stargaze keys rotate signer",
    "keys revoke": "stargaze keys revoke colleague.pub",
}
KINDS = ("signer", "ssh", "passwords")
app = typer.Typer(
    help="List, trust, rotate and revoke the keys that sign releases and log in to the machines.\n\n"
    "Example: stargaze keys rotate signer",
    rich_markup_mode=None,
    no_args_is_help=True,
)
command = command_with_example(app, EXAMPLES, "keys")


@command("list")
def list_all(common: CommonOptions) -> None:
    """Print the keys that sign releases and log in, their state, and the machines that say so."""
    from stargaze.pipeline.operator_keys import list_keys

    out, config, store = common.open_session()
    out.table(list_keys(config, store), ["use", "key", "state", "where"])


@command("trust")
def trust(
    key: Annotated[Path, typer.Argument(help="The file of an ssh public key.")], *, common: CommonOptions
) -> None:
    """Accept the releases that another person signs, here and on every machine."""
    from stargaze.pipeline.operator_keys import trust_signer
    from stargaze.pipeline.production import lock_production

    out, config, store = common.open_session()
    with lock_production(store):
        trusted = trust_signer(config, store, key, out.note)
    out.answer({"fingerprint": trusted.fingerprint}, f"releases signed by {trusted.fingerprint} are accepted")


@command("rotate")
def rotate(
    kind: Annotated[
        str, typer.Argument(help="signer (of releases), ssh (logins), or passwords (broker, results, page).")
    ],
    *,
    common: CommonOptions,
) -> None:
    """Replace a key of this store, or the passwords of production; the old one is then refused on every machine.

    Repeat a command that was interrupted: it continues.
    """
    from stargaze.commands import swarm
    from stargaze.infra.hosts.ssh_key import rotate_ssh_key
    from stargaze.infra.hosts.state_dir import open_state_dir
    from stargaze.pipeline.operator_keys import rotate_signer
    from stargaze.pipeline.production import lock_production

    session = common.open_session()
    out, config, store = session
    if kind == "passwords":
        swarm.rotate_secrets(session)
        return
    if kind not in KINDS:
        raise UsageError(f"{kind}: is none of {', '.join(KINDS)}", hint="stargaze keys rotate signer")
    with lock_production(store):
        if kind == "signer":
            fingerprint = rotate_signer(config, store, out.note).fingerprint
        else:
            state_dir = open_state_dir(config.infra, store)
            fingerprint = rotate_ssh_key(config.infra, state_dir, out.note)
    out.answer({"kind": kind, "fingerprint": fingerprint}, f"the new key is {fingerprint}; the old one is refused")


@command("revoke")
def revoke(
    key: Annotated[str, typer.Argument(help="The file of the public key, or the fingerprint of a signer.")],
    *,
    common: CommonOptions,
) -> None:
    """Refuse a key as signer of releases and for logins, here and on every machine."""
    from stargaze.pipeline.operator_keys import revoke_key
    from stargaze.pipeline.production import lock_production

    out, config, store = common.open_session()
    with lock_production(store):
        revoked, files = revoke_key(config, store, key, out.note)
    text = f"{revoked.fingerprint} is refused everywhere; {len(files)} files accepted its logins"
    out.answer({"fingerprint": revoked.fingerprint, "removed_from": files}, text)
