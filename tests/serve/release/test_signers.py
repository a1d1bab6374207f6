"""A revoked signer is refused, whatever its commits say; the history that was accepted before stays usable."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from stargaze.errors import UsageError
from stargaze.serve.release import git
from stargaze.serve.release.repository import HookPolicy, allow_signer, allowed_signers_file, prepare_repository
from stargaze.serve.release.signers import (
    PublicKey,
    accept_history,
    parse_public_key,
    read_keys,
    read_public_key,
    revoke_signer,
)
from stargaze.system.ssh_keys import create_key

if TYPE_CHECKING:
    from tests.serve.conftest import ReleaseStore

pytestmark = pytest.mark.real
REFUSED = "is not signed by an allowed signer"


@pytest.fixture
def colleague(release_store: ReleaseStore, tmp_path: Path) -> Path:
    """A second allowed signer."""
    key = tmp_path / "colleague"
    create_key(key, "")
    release_store.deploy("good")
    allow_signer(key, release_store.store)
    return key


def revoke(release_store: ReleaseStore, key: Path) -> PublicKey:
    public = read_public_key(key.with_suffix(".pub"))
    revoke_signer(public, allowed_signers_file(release_store.store))
    return public


def test_a_revoked_signer_is_refused_even_if_it_is_listed_again_or_its_commit_is_older(
    release_store: ReleaseStore, colleague: Path
) -> None:
    files = release_store.release_files(release_store.add_bundle("good 2"))
    old = replace(release_store, now=datetime(2020, 1, 1, tzinfo=UTC))
    assert release_store.commit(files, key=colleague)

    revoke(release_store, colleague)
    allow_signer(colleague, release_store.store)

    for store in (release_store, old):
        assert any(REFUSED in line for line in store.push(store.commit(files, key=colleague)))
    assert not any(REFUSED in line for line in release_store.push(release_store.commit(files)))


def test_a_new_machine_receives_the_history_of_a_revoked_signer_but_no_other_release_of_it(
    release_store: ReleaseStore, colleague: Path, tmp_path: Path
) -> None:
    first = release_store.commit(release_store.release_files(release_store.add_bundle("good 2")), key=colleague)
    assert not any(REFUSED in line for line in release_store.push(first))
    allowed = allowed_signers_file(release_store.store)
    accept_history(allowed, [commit for commit, _ in git.list_commits(release_store.repository, first, None)])
    revoke(release_store, colleague)
    new = prepare_repository(
        tmp_path / "new.git", replace(HookPolicy.for_store(release_store.store, 200), serving=tmp_path / "serving")
    )

    later = release_store.commit(release_store.release_files(release_store.add_bundle("good 3")), key=colleague)

    assert any(REFUSED in line for line in git.push(release_store.clone, later, str(new.path)).output.splitlines())
    pushed = git.push(release_store.clone, first, str(new.path))
    assert REFUSED not in pushed.output


def test_a_revoked_key_leaves_the_list_and_the_others_stay(release_store: ReleaseStore, colleague: Path) -> None:
    allowed = allowed_signers_file(release_store.store)
    before = read_keys(allowed)

    key = revoke(release_store, colleague)

    assert read_keys(allowed) == [other for other in before if other != key]
    assert len(before) == 2


def test_lines_are_added_once_and_existing_ones_stay(tmp_path: Path) -> None:
    allowed = tmp_path / "allowed_signers"
    (tmp_path / "accepted_releases").write_text("# ours\n\n# ours\na")

    accept_history(allowed, ["b", "a", "b"])
    accept_history(allowed, ["b"])

    assert (tmp_path / "accepted_releases").read_text() == "# ours\n\n# ours\na\nb\n"


def test_a_key_is_found_in_every_kind_of_line_and_nothing_else_is_a_key(tmp_path: Path) -> None:
    create_key(tmp_path / "id", "somebody")
    line = (tmp_path / "id.pub").read_text().strip()
    key = read_public_key(tmp_path / "id.pub")

    for prefix in ("", "restrict ", 'stargaze namespaces="git" '):
        assert parse_public_key(f"{prefix}{line}") == key
    for text in ("", "# comment", "ssh-ed25519", "ssh-ed25519 AAAA", "ssh-rsa " + key.blob, "ssh-ed25519 !!!"):
        assert parse_public_key(text) is None
    with pytest.raises(UsageError, match="not an ssh public key"):
        read_public_key(tmp_path / "id")
