"""What is missing, changed or does not belong together is refused with the command that puts it right."""

from __future__ import annotations

import json
import os
from collections.abc import Callable

import pandas as pd
import pytest

from stargaze.bundle.manifest import BadBundleError
from stargaze.errors import ExternalError, MissingInputError
from stargaze.report.inputs import read
from stargaze.store import Store

pytestmark = pytest.mark.thorough


@pytest.mark.parametrize(
    ("noun", "hint"),
    [
        ("repositories", "stargaze fetch"),
        ("features", "stargaze select-features"),
        ("selection", "stargaze select-features"),
        ("leaderboard", "stargaze screen"),
        ("trials", "stargaze tune"),
        ("latest", "stargaze tune"),
    ],
)
def test_what_is_missing_names_the_command_that_makes_it(store: Store, noun: str, hint: str) -> None:
    getattr(store, noun).unlink()

    with pytest.raises(MissingInputError, match="does not exist yet") as caught:
        read(store)

    assert caught.value.hint == hint


def test_a_changed_model_is_refused_before_it_is_read(store: Store) -> None:
    folder = store.bundles / store.latest.read_text().strip()
    model = next(path for path in sorted(folder.iterdir()) if path.name.startswith("model-all"))
    model.write_bytes(model.read_bytes().replace(b"0", b"1", 1))

    with pytest.raises(BadBundleError):
        read(store)


def test_a_broken_table_of_trials_names_the_command_that_makes_it_anew(store: Store) -> None:
    store.trials.write_bytes(b"PAR1")

    with pytest.raises(ExternalError) as caught:
        read(store)

    assert caught.value.hint == "stargaze tune creates it again"


def test_a_bundle_of_another_feature_set_is_refused(store: Store) -> None:
    features = json.loads(store.features.read_text())
    features["selected"]["static"] = features["selected"]["static"][:-1]
    store.features.write_text(json.dumps(features))
    with pytest.raises(ExternalError, match="another feature set"):
        read(store)


def test_the_source_is_what_a_run_has_noted(store: Store) -> None:
    assert read(store).source == "not recorded"
    store.settings.mkdir()

    sources = []
    for noted in ({"files": []}, {"files": ["/home/ann/secret/stars.csv"]}, {"files": [], "github": {"stars": "1"}}):
        (store.settings / "fetch.json").write_text(json.dumps(noted))
        sources.append(read(store).source)

    assert sources == [
        "the sample that is shipped with stargaze",
        "stars.csv",
        "GitHub, asked by stargaze fetch",
    ]


def test_what_was_fetched_after_the_note_has_no_known_source(
    store: Store, plausible: Callable[..., pd.DataFrame]
) -> None:
    store.settings.mkdir()
    (store.settings / "fetch.json").write_text("{}")
    os.utime(store.settings / "fetch.json", (1, 1))

    assert read(store).source == "not recorded"
