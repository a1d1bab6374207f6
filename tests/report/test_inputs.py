"""Missing, changed or inconsistent artifacts are refused, and the hint names the command that fixes them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stargaze.bundle.manifest import BadBundleError
from stargaze.errors import ExternalError, MissingInputError
from stargaze.report.inputs import read_report_inputs
from stargaze.store import Store
from stargaze.system.files import sha256, write_json

pytestmark = pytest.mark.thorough


@pytest.mark.parametrize(
    ("artifact", "hint"),
    [
        ("repositories", "stargaze fetch"),
        ("features", "stargaze select-features"),
        ("selection", "stargaze select-features"),
        ("leaderboard", "stargaze screen"),
        ("trials", "stargaze tune"),
        ("latest", "stargaze tune"),
    ],
)
def test_a_missing_artifact_names_the_command_that_creates_it(store: Store, artifact: str, hint: str) -> None:
    getattr(store, artifact).unlink()

    with pytest.raises(MissingInputError, match="does not exist yet") as error:
        read_report_inputs(store)

    assert error.value.hint == hint


def test_a_changed_model_is_refused(store: Store) -> None:
    folder = store.bundles / store.latest.read_text().strip()
    model = next(path for path in sorted(folder.iterdir()) if path.name.startswith("model-all"))
    model.write_bytes(model.read_bytes().replace(b"0", b"1", 1))

    with pytest.raises(BadBundleError):
        read_report_inputs(store)


def test_broken_trials_name_the_command_that_creates_them_again(store: Store) -> None:
    store.trials.write_bytes(b"PAR1")

    with pytest.raises(ExternalError) as error:
        read_report_inputs(store)

    assert error.value.hint == "stargaze tune creates it again"


def test_a_bundle_of_another_feature_set_is_refused(store: Store) -> None:
    features = json.loads(store.features.read_text())
    features["selected"]["static"] = features["selected"]["static"][:-1]
    store.features.write_text(json.dumps(features))
    with pytest.raises(ExternalError, match="another feature set"):
        read_report_inputs(store)


def record_source(store: Store, **keys: Any) -> None:
    """Record a fetch with these keys."""
    artifacts = {store.repositories.name: sha256(store.repositories)}
    write_json(store.settings / "fetch.json", {"keys": keys, "artifacts": artifacts, "made": "", "typed": False})


def test_the_source_comes_from_the_record_of_fetch(store: Store) -> None:
    assert read_report_inputs(store).source == "not recorded"

    sources = []
    for keys in ({}, {"fetch.sample": "electron"}, {"fetch.files": [["stars.csv", "0"]]}, {"github": {"stars": "1"}}):
        record_source(store, **keys)
        sources.append(read_report_inputs(store).source)

    assert sources == [
        "the sample that is shipped with stargaze",
        "the sample electron that is shipped with stargaze",
        "stars.csv",
        "GitHub, by stargaze fetch",
    ]


def test_the_source_of_other_repositories_is_unknown(store: Store) -> None:
    write_json(store.settings / "fetch.json", {"keys": {}, "artifacts": {store.repositories.name: "other"}})

    assert read_report_inputs(store).source == "not recorded"
