"""Missing, changed or inconsistent artifacts are refused, and the hint names the command that fixes them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable

import pandas as pd
import pytest

from stargaze.bundle.manifest import BadBundleError
from stargaze.errors import ExternalError, MissingInputError
from stargaze.report.inputs import read_report_inputs
from stargaze.store import Store

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


def test_the_source_comes_from_the_recorded_settings(store: Store) -> None:
    assert read_report_inputs(store).source == "not recorded"
    store.settings.mkdir()

    sources = []
    for settings in ({"files": []}, {"files": ["/home/ann/secret/stars.csv"]}, {"files": [], "github": {"stars": "1"}}):
        (store.settings / "fetch.json").write_text(json.dumps(settings))
        sources.append(read_report_inputs(store).source)

    assert sources == [
        "the sample that is shipped with stargaze",
        "stars.csv",
        "GitHub, by stargaze fetch",
    ]


def test_the_source_is_unknown_after_a_later_fetch(
    store: Store, make_repositories: Callable[..., pd.DataFrame]
) -> None:
    store.settings.mkdir()
    (store.settings / "fetch.json").write_text("{}")
    os.utime(store.settings / "fetch.json", (1, 1))

    assert read_report_inputs(store).source == "not recorded"
