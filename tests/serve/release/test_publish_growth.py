"""A release has a star bundle and a growth bundle, which are verified, installed and rolled back together."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from stargaze.bundle.manifest import BadBundleError
from stargaze.config import Config
from stargaze.errors import DifferenceFoundError, MissingInputError, UsageError
from stargaze.pipeline.stages import build_stages
from stargaze.pipeline.status import list_artifacts
from stargaze.serve.release.choose_bundles import deploy_command
from stargaze.serve.release.install import install_newest
from stargaze.serve.release.publish import installed_release, list_releases
from stargaze.serve.release.record import rolled_back_growth
from stargaze.serve.release.release_folder import release_name, verify_release
from stargaze.serve.release.repository import RefusedError, read_policy
from stargaze.serve.release.rollback import rollback_release

if TYPE_CHECKING:
    from stargaze.serve.release.record import Release
    from tests.serve.conftest import ReleaseStore

pytestmark = pytest.mark.real


def _models(store: ReleaseStore) -> tuple[str, str | None]:
    """Return the models of the two installed bundles."""
    current = store.store.current
    growth = current / "growth" / "model.txt"
    return (current / "model.txt").read_text(), growth.read_text() if growth.exists() else None


def _rollback(store: ReleaseStore, to: str | None = None) -> Release:
    return rollback_release(store.section, store.store, now=store.now, to=to, author="a tester")


def test_the_newest_growth_bundle_is_released_with_the_star_bundle(release_store: ReleaseStore) -> None:
    growth = release_store.add_growth("good growth")

    release = release_store.deploy("good")

    assert _models(release_store) == ("good", "good growth")
    assert release.growth_digest == growth
    assert list_releases(release_store.store) == [release]
    assert installed_release(release_store.store) == release_name(release.digest, growth)
    assert verify_release(release_store.store.current.resolve()) == release.name
    installed = json.loads((release_store.store.serving / "installed.json").read_text())
    assert (installed["digest"], installed["growth_digest"]) == (release.digest, growth)
    git = ["git", f"--git-dir={release_store.repository.path}"]
    message = subprocess.run([*git, "log", "-1", "--format=%B"], capture_output=True, text=True, check=True).stdout
    assert message.startswith(f"deploy {release.digest[:12]}-{growth[:12]}\n")
    assert f"growth bundle {growth}\n" in message
    files = subprocess.run(
        [*git, "ls-tree", "--name-only", "main"], capture_output=True, text=True, check=True
    ).stdout.split()
    assert files == ["bundle", "growth", "release.json"]


def test_a_newer_growth_bundle_alone_is_a_release(release_store: ReleaseStore) -> None:
    first = release_store.deploy("good")
    release_store.add_growth("good 1")
    second = release_store.publish()
    release_store.add_growth("good 2")
    third = release_store.publish()
    again = release_store.publish()

    assert [first.digest, second.digest] == [third.digest] * 2
    assert [release.changed for release in (first, second, third, again)] == [True, True, True, False]
    assert _models(release_store) == ("good", "good 2")
    assert len(list_releases(release_store.store)) == 3


def test_a_newer_growth_bundle_alone_passes_no_quality_gate(release_store: ReleaseStore) -> None:
    release_store.deploy("good")
    release_store.add_growth("good 1")

    def gate(_challenger: Path, _champion: Path) -> None:
        raise DifferenceFoundError("worse")

    assert release_store.publish(gate=gate).changed
    with pytest.raises(DifferenceFoundError, match="worse"):
        release_store.deploy("good 2", gate=gate)


@pytest.mark.parametrize("growth", ["none", "prefix"])
def test_a_growth_bundle_can_be_named(release_store: ReleaseStore, growth: str) -> None:
    older = release_store.add_growth("good 1")
    release_store.add_growth("good 2")

    release = release_store.deploy("good", growth=older[:12] if growth == "prefix" else growth)

    assert release.growth_digest == (older if growth == "prefix" else None)
    assert _models(release_store) == ("good", "good 1" if growth == "prefix" else None)


def test_a_release_that_drops_the_growth_bundle_says_so(release_store: ReleaseStore) -> None:
    growth = release_store.add_growth("good growth")
    release_store.deploy("good 1")
    notes: list[str] = []

    release_store.deploy("good 2", growth="none", notify=notes.append)
    release_store.deploy("good 3", growth="none", notify=notes.append)

    assert notes == [
        (
            "the release has no growth bundle, so the page no longer forecasts; "
            f"stargaze deploy --growth {growth[:12]} keeps it"
        )
    ]
    assert _models(release_store) == ("good 3", None)


def test_a_store_without_growth_bundle_can_release_that_of_an_earlier_release(release_store: ReleaseStore) -> None:
    """As on another machine, or after the store was restored from a backup."""
    growth = release_store.add_growth("good growth")
    release_store.deploy("good 1")
    shutil.rmtree(release_store.store.bundles / growth)
    release_store.store.latest_growth.unlink()
    release_store.deploy("good 2")

    release = release_store.deploy("good 3", growth=growth[:12])

    assert release.growth_digest == growth
    assert _models(release_store) == ("good 3", "good growth")
    for unknown in ("0000", ""):
        with pytest.raises(MissingInputError, match=f"neither the store nor a release has growth bundle '{unknown}'"):
            release_store.publish(growth=unknown)


def test_a_released_growth_bundle_that_was_rolled_back_needs_a_reason(release_store: ReleaseStore) -> None:
    release_store.deploy("good 1")
    growth = release_store.add_growth("good growth")
    release_store.publish()
    _rollback(release_store)
    shutil.rmtree(release_store.store.bundles / growth)
    release_store.store.latest_growth.unlink()

    with pytest.raises(DifferenceFoundError, match=r"growth bundle .* was rolled back"):
        release_store.deploy("good 2", growth=growth)
    release_store.publish(growth=growth, force_reason="it was the network")

    assert _models(release_store) == ("good 2", "good growth")


def test_a_rollback_returns_to_both_bundles(release_store: ReleaseStore) -> None:
    first = release_store.deploy("good 1")
    release_store.add_growth("good growth 2")
    release_store.deploy("good 2")
    third_growth = release_store.add_growth("good growth 3")
    release_store.publish()
    assert _models(release_store) == ("good 2", "good growth 3")

    seen = []
    for _ in range(2):
        _rollback(release_store)
        seen.append(_models(release_store))

    assert seen == [("good 2", "good growth 2"), ("good 1", None)]
    assert installed_release(release_store.store) == first.name
    back = _rollback(release_store, third_growth[:12])
    assert (back.kind, _models(release_store)) == ("rollback", ("good 2", "good growth 3"))


def test_a_rollback_names_one_of_several_releases_of_a_star_bundle(release_store: ReleaseStore) -> None:
    growths = [release_store.add_growth(f"good {number}") for number in (1, 2)]
    first = release_store.deploy("good", growth=growths[0])
    second = release_store.publish()
    without = release_store.publish(growth="none")

    named = [
        _rollback(release_store, to).name
        for to in (
            f"{first.digest[:12]}-{growths[0][:12]}",
            growths[1],
            without.commit,
            second.name,
            first.digest[:12],  # the newest release with this bundle, which is there already
        )
    ]

    assert named == [first.name, second.name, without.name, second.name, second.name]
    for unknown in (f"{first.digest}-{'0' * 64}", f"{'0' * 64}-{growths[0]}", "0" * 40):
        with pytest.raises(MissingInputError, match="no release has bundle"):
            _rollback(release_store, unknown)


def test_an_ambiguous_growth_bundle_is_a_usage_error(release_store: ReleaseStore) -> None:
    growths = [release_store.add_growth(f"good {number}") for number in range(17)]  # two begin with the same character
    prefix = next(a[0] for a in growths if sum(b[0] == a[0] for b in growths) > 1)
    release_store.add_bundle("good")

    with pytest.raises(UsageError, match="matches"):
        release_store.publish(growth=prefix)


def test_the_next_star_bundle_keeps_the_growth_bundle_after_a_rollback(release_store: ReleaseStore) -> None:
    """The newest growth bundle was rolled back; without this, no star bundle would be delivered until another is tuned."""
    first = release_store.add_growth("good growth 1")
    release_store.deploy("good 1")
    second = release_store.add_growth("good growth 2")
    release_store.deploy("good 2")
    _rollback(release_store)
    notes: list[str] = []

    release_store.deploy("good 3", notify=notes.append)

    assert _models(release_store) == ("good 3", "good growth 1")
    assert len(notes) == 1
    assert notes[0].startswith(f"growth bundle {second[:12]} was rolled back at ")
    assert notes[0].endswith(f"; the release keeps {first[:12]}")


def test_a_growth_bundle_stays_rolled_back_until_it_is_released_with_a_reason(release_store: ReleaseStore) -> None:
    """Each deploy of another star bundle keeps the growth bundle of the release, and `stargaze run` deploys nothing else."""
    store = release_store.store
    first = release_store.add_growth("good growth 1")
    release_store.deploy("good 1")
    second = release_store.add_growth("good growth 2")
    release_store.publish()
    rollback = _rollback(release_store)
    config = Config()

    def why_deploy_runs() -> str:
        return build_stages(config, store, lambda: release_store.now)[-1].why_outdated()

    assert not why_deploy_runs()
    for number in (3, 4):
        release_store.add_bundle(f"good {number}")
        assert why_deploy_runs() == "other bundles are installed"
        assert release_store.publish().growth_digest == first
        assert not why_deploy_runs()
        assert rolled_back_growth(list_releases(store)) == {second: rollback}
    release_store.publish(force_reason="it was the network")

    assert _models(release_store) == ("good 4", "good growth 2")
    assert rolled_back_growth(list_releases(store)) == {}
    assert not why_deploy_runs()


def test_the_status_says_which_bundle_was_rolled_back(release_store: ReleaseStore) -> None:
    release_store.deploy("good 1")

    def contents() -> str:
        return next(row["contents"] for row in list_artifacts(release_store.store) if row["artifact"] == "release")

    first = contents()
    growth = release_store.add_growth("good growth")
    second = release_store.deploy("good 2")
    _rollback(release_store)

    assert first.startswith("1 release, ")
    assert contents().startswith("3 releases, ")
    assert f"; star bundle {second.digest[:12]} was rolled back at 2026-" in contents()
    assert f"; growth bundle {growth[:12]} was rolled back at 2026-" in contents()


@pytest.mark.parametrize("named", ["stars", "growth"])
def test_a_bundle_that_was_rolled_back_with_another_is_not_delivered_again(
    release_store: ReleaseStore, named: str
) -> None:
    """Which of the two was wrong is not known, so neither returns with a new companion."""
    release_store.add_growth("good growth 1")
    release_store.deploy("good 1")
    release_store.add_growth("good growth 2")
    left = release_store.deploy("good 2")
    _rollback(release_store)
    release_store.add_growth("good growth 3")

    with pytest.raises(DifferenceFoundError, match="was rolled back"):
        release_store.publish(**({"digest": left.digest} if named == "stars" else {"growth": left.growth_digest}))
    assert _models(release_store) == ("good 1", "good growth 1")
    forced = release_store.publish(digest=left.digest, growth=left.growth_digest, force_reason="it was the network")

    assert forced.name == left.name


def test_a_companion_of_a_bundle_that_was_rolled_back_stays_deliverable(release_store: ReleaseStore) -> None:
    growth = release_store.add_growth("good growth")
    release_store.deploy("good 1")
    release_store.deploy("good 2")
    _rollback(release_store)

    assert release_store.deploy("good 3").growth_digest == growth


def _damage_growth(files: dict[str, bytes]) -> None:
    files["growth/model.txt"] += b"!"


def _drop_growth(files: dict[str, bytes]) -> None:
    for name in [name for name in files if name.startswith("growth/")]:
        del files[name]


def _add_growth_to_the_record(files: dict[str, bytes]) -> None:
    record = json.loads(files["release.json"]) | {"growth_digest": "0" * 64}
    files["release.json"] = json.dumps(record, indent=1, sort_keys=True).encode() + b"\n"


def _drop_growth_from_the_record(files: dict[str, bytes]) -> None:
    record = json.loads(files["release.json"])
    del record["growth_digest"]
    files["release.json"] = json.dumps(record, indent=1, sort_keys=True).encode() + b"\n"


def _drop_manifest(files: dict[str, bytes]) -> None:
    del files["growth/manifest.json"]


def _add_file(files: dict[str, bytes]) -> None:
    files["growth/model.pkl"] = b"\x80\x04."


def _nest_growth(files: dict[str, bytes]) -> None:
    files["growth/growth/model.txt"] = b"good"


def _hide_in_bundle(files: dict[str, bytes]) -> None:
    files["bundle/growth/model.txt"] = b"good"


def _add_folder(files: dict[str, bytes]) -> None:
    files["other/model.txt"] = b"good"


def _swell(files: dict[str, bytes]) -> None:
    files["growth/model.txt"] = b"good" + bytes(1_000_000)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_damage_growth, "model.txt"),
        (_drop_growth, "names growth bundle .*, but the release has none"),
        (_add_growth_to_the_record, "names growth bundle 000000000000, but the release has"),
        (_drop_growth_from_the_record, "names growth bundle none, but the release has"),
        (_drop_manifest, "the growth bundle has no manifest.json"),
        (_add_file, "model.pkl"),
        (_nest_growth, "'growth' is a folder"),
        (_hide_in_bundle, "'growth' is a folder"),
        (_add_folder, "a release contains bundle/, release.json and, if it forecasts, growth/"),
        (_swell, "the two bundles have 1.0 MB, at most 1 MB are allowed"),
    ],
)
def test_a_release_with_an_invalid_growth_bundle_is_refused(
    shared_store: ReleaseStore, change: Callable[[dict[str, bytes]], None], reason: str
) -> None:
    growth = shared_store.add_growth(f"good {change.__name__}")
    files = shared_store.release_files(shared_store.add_bundle(f"good {change.__name__}"), growth)
    change(files)
    before = shared_store.state()

    (line,) = (line for line in shared_store.push(shared_store.commit(files)) if line.startswith("refused: "))

    assert re.search(reason, line)
    assert shared_store.state() == before


def test_a_growth_bundle_that_forecasts_something_else_is_refused(release_store: ReleaseStore) -> None:
    release_store.add_growth("good")
    release_store.deploy("good 1")
    release_store.add_growth("bad")

    with pytest.raises(RefusedError, match="growth bundle: the 30-day forecast of the prototype differs") as raised:
        release_store.deploy("good 2")

    assert raised.value.hint.endswith('stargaze tune with tuning.target = "growth", or stargaze deploy --growth none')
    assert _models(release_store) == ("good 1", "good")


def _tamper(folder: Path) -> None:
    (folder / "model.txt").write_text("good, but another")


@pytest.mark.parametrize(
    ("damage", "error", "reason"),
    [
        (_tamper, BadBundleError, r"model\.txt: .* the manifest"),
        (shutil.rmtree, MissingInputError, "there is no bundle"),
    ],
)
def test_a_damaged_growth_bundle_of_the_store_is_not_released(
    release_store: ReleaseStore, damage: Callable[[Path], object], error: type[Exception], reason: str
) -> None:
    growth = release_store.add_growth("good")
    damage(release_store.store.bundles / growth)

    with pytest.raises(error, match=reason):
        release_store.deploy("good")

    assert list_releases(release_store.store) == []
    assert release_store.publish(growth="none").growth_digest is None


def test_a_growth_bundle_of_another_version_names_what_to_do(release_store: ReleaseStore) -> None:
    release_store.add_growth("good", version=1)

    with pytest.raises(BadBundleError, match="another version wrote this bundle") as raised:
        release_store.deploy("good")

    assert raised.value.hint == (
        'stargaze tune with tuning.target = "growth" writes one for this version; '
        "stargaze deploy --growth none releases the star bundle alone"
    )


def test_a_star_bundle_is_no_growth_bundle(release_store: ReleaseStore) -> None:
    with pytest.raises(BadBundleError, match="one of kind 'growth' is needed"):
        release_store.publish(growth=release_store.add_bundle("good"))


def _lose_growth(folder: Path) -> None:
    shutil.rmtree(folder / "growth")


def _tamper_growth(folder: Path) -> None:
    (folder / "growth" / "model.txt").write_text("good, but another")


def _exchange_growth(folder: Path) -> None:
    """Put the intact growth bundle of another release there."""
    other = next(path for path in folder.parent.iterdir() if path != folder)
    _lose_growth(folder)
    shutil.copytree(other / "growth", folder / "growth")


@pytest.mark.parametrize("damage", [_lose_growth, _tamper_growth, _exchange_growth])
def test_a_damaged_installation_is_repaired(release_store: ReleaseStore, damage: Callable[[Path], None]) -> None:
    release_store.add_growth("good 1")
    release_store.deploy("good 1")
    release_store.add_growth("good 2")
    release = release_store.deploy("good 2")
    damage(release_store.store.current.resolve())

    again = release_store.publish()

    assert again.changed
    assert again.name == release.name
    assert _models(release_store) == ("good 2", "good 2")


def test_an_installation_without_growth_bundle_ignores_no_added_one(release_store: ReleaseStore) -> None:
    release_store.deploy("good")
    folder = release_store.store.current.resolve()
    growth = release_store.add_growth("good growth")
    shutil.copytree(release_store.store.bundles / growth, folder / "growth")

    assert release_store.publish(growth="none").changed
    assert not (folder / "growth").exists()


@pytest.mark.parametrize("step", ["rename", "symlink_to", "replace"])
def test_an_installation_that_is_interrupted_leaves_a_whole_release(
    release_store: ReleaseStore, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Before each of the steps that change ``serving/``: the old pair or the new pair serves, and a repetition completes it."""
    release_store.add_growth("good 1")
    old = release_store.deploy("good 1")
    release_store.add_growth("good 2")
    release_store.deploy("good 2")
    policy, current = read_policy(release_store.store.releases), release_store.store.current
    shutil.rmtree(current.resolve())  # as before the installation
    current.unlink()
    current.symlink_to(f"bundles/{old.name}")

    def die(*_arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, step, die)
    with pytest.raises(KeyboardInterrupt):
        install_newest(release_store.repository, policy, now=release_store.now)
    monkeypatch.undo()
    interrupted = _models(release_store)
    install_newest(release_store.repository, policy, now=release_store.now)

    assert interrupted == ("good 1", "good 1")
    assert _models(release_store) == ("good 2", "good 2")
    assert verify_release(release_store.store.current.resolve()) == installed_release(release_store.store)


def test_old_releases_are_pruned_with_their_growth_bundles(release_store: ReleaseStore) -> None:
    release_store.set_policy(max_installed=2)
    for number in range(3):
        release_store.add_growth(f"good {number}")
        release_store.deploy("good") if number == 0 else release_store.publish()

    installed = sorted(path.name for path in (release_store.store.serving / "bundles").iterdir())

    assert installed == sorted(release.name for release in list_releases(release_store.store)[:2])


def test_a_release_that_was_pruned_is_installed_again_with_its_growth_bundle(release_store: ReleaseStore) -> None:
    release_store.set_policy(max_installed=1)
    release_store.add_growth("good 1")
    release_store.deploy("good 1")
    release_store.add_growth("good 2")
    release_store.deploy("good 2")

    _rollback(release_store)

    assert _models(release_store) == ("good 1", "good 1")


def test_a_pruned_release_whose_growth_bundle_does_not_load_is_skipped(release_store: ReleaseStore) -> None:
    """The loader is stricter now, as after an upgrade that changed the format of growth bundles."""
    release_store.set_policy(max_installed=1)
    release_store.deploy("good 1")
    release_store.add_growth("good old")
    release_store.deploy("good 2")
    release_store.deploy("good 3", growth="none")
    stricter = 'import pathlib, sys; growth = pathlib.Path(sys.argv[1], "growth"); sys.exit("growth" if growth.exists() else 0)'
    release_store.set_policy(verify_command=[sys.executable, "-S", "-c", stricter])

    _rollback(release_store)

    assert _models(release_store) == ("good 1", None)


def test_a_release_without_growth_bundle_has_the_record_of_earlier_versions(release_store: ReleaseStore) -> None:
    files = release_store.release_files(release_store.add_bundle("good"))

    assert "growth" not in files["release.json"].decode()
    assert release_store.push(release_store.commit(files)) == []
    assert _models(release_store) == ("good", None)


def test_the_command_that_deploys_a_release_again_names_both_bundles(release_store: ReleaseStore) -> None:
    growth = release_store.add_growth("good")

    assert deploy_command(release_store.deploy("good")).endswith(f" --growth {growth[:12]}")
    assert deploy_command(release_store.publish(growth="none")).endswith(" --growth none")
