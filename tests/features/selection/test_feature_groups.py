"""``features.exclude`` and ``features.include`` name features, groups and patterns; a leak is never included."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stargaze.config import POLICIES, FeaturesSection
from stargaze.errors import ConfigError, MissingInputError
from stargaze.features.dataset import Dataset
from stargaze.features.matrix import CATALOG, catalog_with
from stargaze.features.own_columns import OwnColumn
from stargaze.features.selection.feature_groups import feature_groups, requested_features
from stargaze.features.selection.select_features import SELECTED, Selection, select
from stargaze.features.split import assign_folds
from stargaze.store import Store
from tests.conftest import Ended
from tests.own_columns import SCORE, TEAM, write_own_columns

SECTION = FeaturesSection(folds=2, importance_repeats=1)
MakeRepositories = Callable[..., pd.DataFrame]


def requested(**lists: list[str]) -> Any:
    """Return what a config requests."""
    return requested_features(FeaturesSection(**lists), CATALOG)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def small_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fit smaller models: only what is requested is tested."""
    monkeypatch.setattr("stargaze.features.selection.permutation_importance.ROUNDS", 10)


def select_from(repositories: pd.DataFrame, **lists: list[str]) -> Selection:
    """Select features of some repositories."""
    section = dataclasses.replace(SECTION, **lists)  # type: ignore[arg-type]
    folds = assign_folds(repositories["full_name"], section)
    return select(Dataset(repositories, np.log1p(repositories["stars"].to_numpy()), folds, "print"), section)


# ---- what names mean ----------------------------------------------------------------------------------------------


def test_every_group_has_features_and_no_name_of_one() -> None:
    groups = feature_groups(CATALOG)

    assert {"text", "topics", "owner", "activity", "popularity", "text_component"} <= set(groups)
    assert all(members and set(members) <= set(CATALOG) for members in groups.values())
    assert not set(groups) & set(CATALOG)
    assert not set(groups["text"]) & set(groups["owner"])


def test_names_groups_and_patterns_can_be_excluded() -> None:
    excluded = requested(exclude=["age", "topics", "name_mentions_p*"]).excluded

    assert excluded["age"] == "excluded by features.exclude"
    assert excluded["topics_stars"] == 'excluded by features.exclude, as "topics"'
    assert excluded["name_mentions_paper"] == 'excluded by features.exclude, as "name_mentions_p*"'
    assert len(excluded) == 1 + 4 + 3


def test_own_columns_are_a_group() -> None:
    catalog = catalog_with((OwnColumn("points", "number", "all"),))

    assert feature_groups(catalog)["own"] == ("points",)
    assert requested_features(FeaturesSection(exclude=["own"]), catalog).excluded.keys() == {"points"}


@pytest.mark.parametrize(
    ("key", "name", "hint"),
    [
        ("exclude", "forkz", "Did you mean forks?"),
        ("include", "topic", "Did you mean topics?"),
        ("exclude", "FORKS", "Did you mean forks?"),
        (
            "exclude",
            "zzzzzzzz",
            "stargaze features lists them; groups: text, topics, owner, dates, activity, popularity,",
        ),
        ("exclude", "zz*", "stargaze features lists them"),
        ("include", "", "stargaze features lists them"),
    ],
)
def test_an_unknown_name_is_refused_with_a_suggestion(key: str, name: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=rf"features\.{key}: '.*' is no feature") as caught:
        requested(**{key: [name]})

    assert caught.value.hint.startswith(hint)


def test_a_name_takes_precedence_over_a_pattern() -> None:
    request = requested(exclude=["owner_*", "age"], include=["owner_type", "a*"])

    assert "owner_type" in request.included
    assert "owner_type" not in request.excluded
    assert "owner_id" in request.excluded
    assert "age" in request.excluded
    assert "active_share" in request.included


@pytest.mark.parametrize("text", ["age", "age*"])
def test_an_equal_name_in_both_keys_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"features\.include: age is also in features\.exclude"):
        requested(exclude=[text], include=[text])


# ---- selection ----------------------------------------------------------------------------------------------------


@pytest.mark.thorough
def test_an_excluded_feature_is_no_candidate_and_has_the_reason(make_repositories: MakeRepositories) -> None:
    selection = select_from(make_repositories(300), exclude=["forks", "*_rate", "text"])
    reasons = selection.reasons.set_index("feature")

    assert reasons.loc["forks", "all"] == "excluded by features.exclude"
    assert reasons.loc["fork_rate", "all"] == 'excluded by features.exclude, as "*_rate"'
    assert reasons.loc["forks", "static"] == "needs policy all"
    assert np.isnan(reasons.loc["forks", "importance_all"])
    unused = {"forks", *feature_groups(CATALOG)["text"]}
    assert not any(
        unused & set(names) or any(name.endswith("_rate") for name in names) for names in _selected(selection)
    )


@pytest.mark.thorough
def test_an_included_feature_is_selected_by_each_policy_that_may_use_it(make_repositories: MakeRepositories) -> None:
    """Noise, a feature that is missing in most rows, and a copy of another one."""
    noise = np.random.default_rng(5).integers(0, 9, 300).astype(float)
    rare = np.where(np.arange(300) % 100 == 0, np.arange(300.0), np.nan)
    repositories = make_repositories(300, tags=noise, commits=noise, readme_length=rare)

    selection = select_from(repositories, include=["tags", "commits", "readme_length"])
    without = select_from(repositories).reasons.set_index("feature")

    reasons = selection.reasons.set_index("feature")
    assert reasons.loc[["tags", "commits", "readme_length"], "all"].tolist() == [SELECTED] * 3
    assert reasons.loc["tags", ["static", "activity"]].tolist() == ["needs policy activity", SELECTED]
    assert without.loc["readme_length", "all"].startswith("missing in 9")
    assert not (without.loc[["tags", "commits"], "all"] == SELECTED).all()


@pytest.mark.thorough
def test_an_included_feature_that_no_used_policy_may_use_is_refused(make_repositories: MakeRepositories) -> None:
    with pytest.raises(ConfigError, match="forks cannot be selected: needs policy all, which is not in"):
        select_from(make_repositories(200), include=["forks"], policies=["static", "activity"])


def test_everything_but_the_text_can_be_excluded(make_repositories: MakeRepositories) -> None:
    text = [name for name in CATALOG if CATALOG[name].learned]
    others = [name for name in CATALOG if name not in text]

    selection = select_from(make_repositories(300), exclude=others, include=["text_score"])

    assert all(set(names) <= set(text) and "text_score" in names for names in _selected(selection))


def test_without_any_feature_the_error_names_the_key(make_repositories: MakeRepositories) -> None:
    with pytest.raises(
        MissingInputError, match=r"no usable feature is left: .*excluded by features\.exclude"
    ) as caught:
        select_from(make_repositories(200), exclude=["*"])

    assert caught.value.hint == "exclude fewer features in features.exclude"


@pytest.mark.parametrize(
    ("name", "values", "reason"),
    [
        ("watchers", lambda stars: np.floor(0.99 * stars), "leaks the target: REST's watchers_count"),
        ("downloads", lambda stars: 2.0 * stars, "leaks the target: equal to the stars in"),
        ("owner_stars", None, "not computed"),
    ],
)
def test_a_leak_cannot_be_included_by_name(
    make_repositories: MakeRepositories, name: str, values: Callable[[np.ndarray], np.ndarray] | None, reason: str
) -> None:
    repositories = make_repositories(200)
    if values is not None:
        repositories = repositories.assign(**{name: values(repositories["stars"].to_numpy())})
    with pytest.raises(ConfigError, match=rf"features\.include: {name} cannot be selected: {reason}") as caught:
        select_from(repositories, include=[name])

    assert caught.value.hint == f"remove {name} from features.include"


@pytest.mark.thorough
def test_a_pattern_includes_no_leak(make_repositories: MakeRepositories) -> None:
    repositories = make_repositories(200)
    stars = repositories["stars"].to_numpy()
    repositories = repositories.assign(watchers=stars, downloads=2.0 * stars, dependents=7.0)

    selection = select_from(repositories, include=["popularity", "dependents"])

    reasons = selection.reasons.set_index("feature")["all"]
    assert reasons["watchers"].startswith("leaks the target")
    assert reasons["downloads"].startswith("leaks the target")
    assert reasons["dependents"] == "constant"
    assert reasons["forks"] == reasons["fork_rate"] == SELECTED


def _selected(selection: Selection) -> list[list[str]]:
    return [selection.feature_set.selected[policy] for policy in POLICIES]


# ---- the command --------------------------------------------------------------------------------------------------


@pytest.mark.thorough
def test_the_command_excludes_and_includes_by_options_and_config(
    run: Callable[..., Ended], store: Store, make_repositories: MakeRepositories
) -> None:
    write_own_columns(store, make_repositories(200))
    options = ["--exclude", "forks", "--exclude", SCORE, "--include", TEAM, "--json"]

    ended = run("select-features", "--store", str(store.root), *options)

    rows = {row["feature"]: row for row in json.loads(ended.out)}
    assert ended.code == 0
    assert rows["forks"]["all"] == rows[SCORE]["static"] == "excluded by features.exclude"
    assert rows[TEAM]["all"].startswith(SELECTED)
    split = json.loads(store.features.read_text())["split"]
    assert (split["exclude"], split["include"]) == (["forks", SCORE], [TEAM])


@pytest.mark.thorough
def test_the_command_limits_the_policies(
    run: Callable[..., Ended], store: Store, make_repositories: MakeRepositories
) -> None:
    store.root.mkdir(parents=True, exist_ok=True)
    make_repositories(200).to_parquet(store.repositories)

    ended = run("select-features", "--store", str(store.root), "--policies", "all,activity")
    narrow = run("select-features", "--store", str(store.root), "--policies", "static")

    assert (ended.code, list(json.loads(store.features.read_text())["selected"])) == (0, ["activity", "all"])
    assert "static" not in ended.out.splitlines()[1]
    assert narrow.error == 'tuning.estimate_policy = "all" is not one of features.policies, static'


def test_the_command_names_the_key_of_an_unknown_feature(
    run: Callable[..., Ended], store: Store, make_repositories: MakeRepositories
) -> None:
    write_own_columns(store, make_repositories(200))

    ended = run("select-features", "--store", str(store.root), "--exclude", "fork")

    assert ended.code == 2
    assert ended.error == "features.exclude: 'fork' is no feature, no group and no pattern of features"
    assert ended.hint == "Did you mean forks?"


@pytest.mark.thorough
def test_the_command_holds_out_the_repositories_of_a_file(
    run: Callable[..., Ended], store: Store, make_repositories: MakeRepositories, tmp_path: Path
) -> None:
    names = write_own_columns(store, make_repositories(300))["full_name"].iloc[:6]
    (tmp_path / "names.txt").write_text(
        "# test\n" + "\n".join(f"https://github.com/{name}" for name in names) + "\nno/such\n"
    )

    ended = run("select-features", "--store", str(store.root), "--test-repositories", "names.txt", "--json")

    assert ended.code == 0
    assert "test set: 6 of 7 listed repositories; unknown: no/such; " in ended.err
    split = json.loads(store.features.read_text())["split"]
    assert split["test_names"] == sorted([*names.str.lower(), "no/such"])
    assert "names.txt" not in store.features.read_text()


@pytest.mark.parametrize(
    ("content", "code", "message"),
    [
        (None, 3, "names.txt: no such file"),
        ("no/such\n", 3, "features.test_repositories: none of its 1 names is in "),
        ("a/b\nnonsense\n", 2, "names.txt, line 2: 'nonsense' is not the name of a repository"),
    ],
)
def test_the_command_refuses_a_file_without_known_names(
    run: Callable[..., Ended],
    store: Store,
    make_repositories: MakeRepositories,
    tmp_path: Path,
    content: str | None,
    code: int,
    message: str,
) -> None:
    write_own_columns(store, make_repositories(200))
    if content is not None:
        (tmp_path / "names.txt").write_text(content)

    ended = run("select-features", "--store", str(store.root), "--test-repositories", "names.txt")

    assert (ended.code, ended.error[: len(message)]) == (code, message)
    assert not store.features.exists()
