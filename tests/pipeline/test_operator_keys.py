"""Keys of a store without machines; those of machines are tested on hosts."""

from __future__ import annotations

from pathlib import Path

import pytest

from stargaze.config import Config, DeploySection, InfraSection
from stargaze.errors import UsageError
from stargaze.pipeline.operator_keys import list_keys, revoke_key, rotate_signer, trust_signer
from stargaze.serve.release.repository import allow_signer, signing_key
from stargaze.serve.release.signers import read_public_key
from stargaze.store import Store
from stargaze.system.ssh_keys import create_key

pytestmark = pytest.mark.real  # it runs ssh-keygen
CONFIG = Config()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "store")
    allow_signer(signing_key(CONFIG.deploy, store), store)
    return store


def states(store: Store) -> dict[str, str]:
    return {row["key"].split()[0]: row["state"] for row in list_keys(CONFIG, store)}


def test_the_signing_key_is_replaced_and_the_old_one_is_revoked(store: Store) -> None:
    old = read_public_key(store.keys / "release.pub").fingerprint

    new = rotate_signer(CONFIG, store, print).fingerprint

    assert states(store) == {new: "trusted", old: "revoked"}
    assert read_public_key(store.keys / "release.pub").fingerprint == new
    assert sorted(path.name for path in store.keys.glob("release*")) == ["release", "release.pub"]


@pytest.mark.parametrize("step", [0, 1])
def test_an_interrupted_rotation_is_continued_with_the_same_key(store: Store, step: int) -> None:
    old = read_public_key(store.keys / "release.pub").fingerprint
    notes: list[str] = []

    def interrupt(text: str) -> None:
        notes.append(text)
        if len(notes) > step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rotate_signer(CONFIG, store, interrupt)
    new = rotate_signer(CONFIG, store, print).fingerprint

    assert states(store) == {new: "trusted", old: "revoked"}


def test_another_signer_is_trusted_and_revoked_by_file_or_fingerprint(store: Store, tmp_path: Path) -> None:
    create_key(tmp_path / "colleague", "")
    public = tmp_path / "colleague.pub"

    key = trust_signer(CONFIG, store, public, print)
    assert states(store)[key.fingerprint] == "trusted"

    revoke_key(CONFIG, store, key.fingerprint, print)
    revoke_key(CONFIG, store, str(public), print)  # once more
    assert states(store)[key.fingerprint] == "revoked"
    with pytest.raises(UsageError, match="was revoked"):
        trust_signer(CONFIG, store, public, print)


def test_a_key_in_use_or_of_the_operator_is_not_revoked_or_replaced(store: Store, tmp_path: Path) -> None:
    own = store.keys / "release.pub"
    with pytest.raises(UsageError, match="the signing key of this store"):
        revoke_key(CONFIG, store, str(own), print)
    with pytest.raises(UsageError, match=r"deploy\.signing_key is your own key"):
        rotate_signer(Config(deploy=DeploySection(signing_key=str(tmp_path / "mine"))), store, print)
    with pytest.raises(UsageError, match="no signer has this fingerprint"):
        revoke_key(Config(infra=InfraSection()), store, "SHA256:none", print)
