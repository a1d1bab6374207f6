"""The families of a bundle's ensembles, also of a bundle that does not name them."""

from __future__ import annotations

import copy

import pytest

from stargaze.bundle.description import check_star_description
from stargaze.bundle.ensemble_families import family_weights
from stargaze.bundle.star_bundle import Bundle


def test_the_format_stands_for_a_family_that_is_not_named(loaded_bundle: Bundle) -> None:
    meta = {name: value for name, value in loaded_bundle.meta.items() if name != "ensemble"}

    assert family_weights(meta) == {key: {"lightgbm": 1.0} for key in meta["models"]}


def test_an_ensemble_of_another_length_than_the_models_is_refused(loaded_bundle: Bundle) -> None:
    meta = copy.deepcopy(loaded_bundle.meta)
    meta["ensemble"]["all"] *= 2

    with pytest.raises(ValueError, match=r"ensemble\.all has another length than the models"):
        check_star_description(meta)
