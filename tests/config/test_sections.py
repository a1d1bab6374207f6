"""The config: descriptions of all keys, precedence of the layers, errors with the path of the key."""

from __future__ import annotations

import dataclasses
import math
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stargaze.config import (
    Config,
    FeaturesSection,
    FetchSection,
    ScreeningSection,
    StoreSection,
    TuningSection,
    load,
    parse_section,
    render,
)
from stargaze.config.renamed_keys import REMOVED_KEYS, RENAMED_KEYS
from stargaze.errors import ConfigError, MissingInputError

KEYS = [
    pytest.param(section.name, item, id=f"{section.name}.{item.name}")
    for section in dataclasses.fields(Config)
    for item in dataclasses.fields(section.default_factory())  # type: ignore[misc,operator]
]
UNITS = {
    "repositories",
    "share",
    "rho",
    "rows",
    "s",
    "MB",
    "GB",
    "cores",
    "models",
    "trials",
    "families",
    "folds",
    "date",
    "path",
}
UNITS |= {"weeks", "days", "machines", "CIDR", "replicas"}


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in an empty folder, without a user file and environment variables."""
    monkeypatch.chdir(tmp_path)


def read(text: str | bytes = "", environ: dict[str, str] | None = None, **options: Any) -> Config:
    """Load a project file with this text."""
    Path("c.toml").write_bytes(text.encode() if isinstance(text, str) else text)
    dotted = {name.replace("__", "."): value for name, value in options.items()}
    return load(Path("c.toml"), environ={"XDG_CONFIG_HOME": "user", **(environ or {})}, options=dotted)


def refused(*arguments: Any, **options: Any) -> ConfigError:
    """Return the error for a config."""
    with pytest.raises(ConfigError) as caught:
        read(*arguments, **options)
    return caught.value


# ---- every key ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("section", "item"), KEYS)
def test_every_key_has_a_description(section: str, item: dataclasses.Field[Any]) -> None:
    why = item.metadata["description"]

    assert len(why) > 10
    assert why.endswith(".")


@pytest.mark.parametrize(("section", "item"), KEYS)
def test_every_number_has_a_lower_bound_and_a_known_unit(section: str, item: dataclasses.Field[Any]) -> None:
    if isinstance(item.default, (int, float)) and not isinstance(item.default, bool):
        assert item.metadata["limits"][0] is not None
    assert item.metadata["unit"] in UNITS | {""}


def test_the_defaults_are_valid() -> None:
    assert read(render()) == Config()


# ---- the annotated file -------------------------------------------------------------------------------------------


def test_the_annotated_file_contains_every_key_with_its_description() -> None:
    text = render()

    for section in tomllib.loads(text):
        for item in dataclasses.fields(getattr(Config(), section)):
            assert f"\n{item.name} = " in text or f"[{section}.{item.name}]" in text
            assert item.metadata["description"] in text


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


@pytest.mark.thorough
@given(
    store=texts.filter(lambda text: text.strip() != ""),
    files=st.lists(texts),
    columns=st.dictionaries(texts, texts),
    test=st.floats(0.02, 0.3),
    limit=st.floats(1, 1e15),
    known=st.integers(0, 10**30),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
def test_a_rendered_config_is_loaded_unchanged(
    store: str, files: list[str], columns: dict[str, str], test: float, limit: float, known: int
) -> None:
    """Quotes, control characters and DEL need care in TOML."""
    whole = dataclasses.replace(
        Config(),
        store=StoreSection(store),
        fetch=FetchSection(files, columns=columns),
        features=FeaturesSection(test_size=test),
        screening=ScreeningSection(time_limit=limit),
        tuning=TuningSection(bundled_repositories=known),
    )

    assert read(render(whole)) == whole


# ---- the layers ---------------------------------------------------------------------------------------------------


def test_each_layer_overrides_the_previous_one() -> None:
    """Default < user file < project file < environment < option."""
    Path("user/stargaze").mkdir(parents=True)
    Path("user/stargaze/stargaze.toml").write_text(
        "[tuning]\ntrials = 2\nseed = 2\nfinalists = 2\nbundled_repositories = 2"
    )

    section = read(
        "[tuning]\ntrials = 3\nseed = 3\nfinalists = 3",
        {"STARGAZE_TUNING_TRIALS": "4", "STARGAZE_TUNING_SEED": "4"},
        tuning__trials=5,
    ).tuning

    assert (section.trials, section.seed, section.finalists, section.bundled_repositories) == (5, 4, 3, 2)
    assert section.coverage == Config().tuning.coverage


def test_an_option_of_none_changes_nothing() -> None:
    assert read("[tuning]\ntrials = 3", tuning__trials=None).tuning.trials == 3


def test_the_config_file_of_this_folder_is_the_default() -> None:
    Path("stargaze.toml").write_text("[serve]\nport = 1")

    assert load(environ={}).serve.port == 1


def test_without_a_file_all_keys_have_their_defaults() -> None:
    assert load(environ={"XDG_CONFIG_HOME": "user"}) == Config()


def test_a_byte_order_mark_is_ignored() -> None:
    assert read(b"\xef\xbb\xbf[serve]\nport = 1").serve.port == 1


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("FEATURES_TEST_SIZE", "0.2", 0.2),
        ("FEATURES_TEST_SIZE", ".2", 0.2),
        ("SCREENING_TIME_LIMIT", "60", 60.0),
        ("SCREENING_FAMILIES", "ridge, lightgbm,", ["ridge", "lightgbm"]),
        ("SCREENING_FAMILIES", "", []),
        ("FETCH_COLUMNS", "stars = star_count,full_name=repo", {"stars": "star_count", "full_name": "repo"}),
        ("FETCH_COLUMNS", "", {}),
        ("STORE_PATH", "12", "12"),
    ],
)
def test_environment_variables_are_parsed_as_the_type_of_their_key(name: str, text: str, value: object) -> None:
    section, _, item = name.lower().partition("_")

    assert getattr(getattr(read("", {f"STARGAZE_{name}": text}), section), item) == value


def test_a_whole_number_is_accepted_as_a_float() -> None:
    max_missing = read("[features]\nmax_missing = 1").features.max_missing

    assert (max_missing, type(max_missing)) == (1.0, float)


# ---- errors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("[tuning]\ntrails = 9", "c.toml: tuning.trails is not a key", "Did you mean tuning.trials?"),
        ("[tunning]\ntrials = 9", "c.toml: tunning is not a section", "Did you mean tuning?"),
        ("[x]", "c.toml: x is not a section", "Known here: store, fetch"),
        ("[tuning]\nzzz = 1", "c.toml: tuning.zzz is not a key", "Did you mean tuning."),
        ("tuning = 9", "c.toml: tuning should be a section, written [tuning]", "--print"),
        ("[tuning]\ntrials = '9'", "tuning.trials should be a whole number [trials], not '9'", "Configurations to try"),
        ("[tuning]\ntrials = 9.0", "tuning.trials should be a whole number", "Configurations to try"),
        ("[tuning]\ntrials = true", "tuning.trials should be a whole number", "Configurations to try"),
        ("[tuning]\ntrials = 0", "should be from 1 to 100,000 [trials], not 0", "Configurations to try"),
        ("[tuning]\ntrials = -5", "should be from 1 to 100,000 [trials], not -5", "Configurations to try"),
        ("[features]\ntest_size = true", "features.test_size should be a number [share]", "Share held out"),
        (
            "[features]\ntest_size = 15",
            "features.test_size should be from 0.02 to 0.5 [share], not 15.0",
            "Share held out",
        ),
        ("[features]\ntest_size = nan", "features.test_size should be from 0.02 to 0.5", "Share held out"),
        (
            "[features]\ntest_size = '15 %'",
            "features.test_size should be a number [share], not '15 %'",
            "Share held out",
        ),
        ("[features]\ntest_size = 0.5\nvalidation_size = 0.5", "leaves too little to train on", "0.8 or less"),
        (
            "[features]\npolicies = ['all', 'live']",
            "should be one of static, activity, all, not",
            "Feature policies that",
        ),
        ("[features]\npolicies = []", "features.policies should contain at least one policy", "Feature policies that"),
        (
            "[features]\npolicies = ['static']",
            'tuning.estimate_policy = "all" is not one of features.policies, static',
            'tuning.estimate_policy = "static", or add all',
        ),
        ("[features]\nsplit_by = 'language'", "should be one of owner, repository, not 'language'", "stays together"),
        ("[tuning]\nestimate_policy = 'stars'", "should be one of static, activity, all", "Feature policy"),
        ("[screening]\nfamilies = 'ridge'", "screening.families should be a list, not 'ridge'", "Families to screen"),
        ("[screening]\nfamilies = [1]", "screening.families should contain text only", "Families to screen"),
        ("[screening]\ntime_limit = inf", "should be at least 1 [s] and finite, not inf", "takes longer"),
        ("[screening]\ntime_limit = 1" + "0" * 400, "should be at least 1 [s] and finite", "takes longer"),
        ("[fetch]\ncolumns = ['a']", "fetch.columns should be a table", "CSV and Parquet"),
        ("[fetch.columns]\nstars = 1", "fetch.columns should contain text only", "CSV and Parquet"),
        (
            "[fetch.extra_kinds]\nteam = 'text'",
            "fetch.extra_kinds should be one of number, flag, category",
            "Kinds of own",
        ),
        ("[fetch.extra_policies]\nteam = 'live'", "should be one of static, activity, all", "Feature policies of own"),
        ("[fetch]\nextra = 'team'", "fetch.extra should be a list", "Own columns"),
        ("[serve]\nport = 70000", "serve.port should be from 0 to 65,535, not 70000", "Port to listen on"),
        ("[serve]\nhost = ''", "serve.host should not be empty, not ''", "Address to listen on"),
        ("[store]\npath = ' '", "store.path should not be empty", "Folder of all artifacts"),
        ('[store]\npath = "a\\u0000b"', "store.path should not contain NUL characters", "Folder of all artifacts"),
        ('[fetch]\nfiles = ["a\\u0000b"]', "fetch.files should not contain NUL characters", "Files of GitHub records"),
        (
            "[deploy]\nmax_release_size = 1e300",
            "deploy.max_release_size should be from 1 to 1,000 [MB]",
            "hook refuses",
        ),
        ("[serve]\nresults_ttl = 1e300", "serve.results_ttl should be from 60 to", "stored this long"),
        ("[serve]\ntime_limit = 1e300", "serve.time_limit should be from 1 to", "takes longer fails"),
        ("[tuning\ntrials = 9", "c.toml: not valid TOML", "stargaze init --print"),
        ("[tuning]\ntrials = 9\ntrials = 9", "c.toml: not valid TOML", "stargaze init --print"),
        ("x = " + "[" * 5000, "c.toml: not valid TOML", "stargaze init --print"),
        ("[tuning]\nbundled_repositories = " + "9" * 5000, "c.toml: not valid TOML", "stargaze init --print"),
        (b"\xff\xfe[\x00", "c.toml: cannot be read", "stargaze init"),
        (b"PAR1\x00", "c.toml: not valid TOML", "stargaze init"),
    ],
)
def test_an_error_has_the_path_of_the_key_and_a_hint(text: str | bytes, message: str, hint: str) -> None:
    error = refused(text)

    assert message in error.message
    assert hint in error.hint
    assert error.exit_code == 2


@pytest.mark.parametrize(
    "text",
    [
        "[tuning]\ntrials = '" + "9" * 10_000 + "'",
        "[tuning]\n" + "t" * 10_000 + " = 1",
        "t" * 10_000 + " = 1",
        "[screening]\nfamilies = [" + "1, " * 10_000 + "]",
        "[features]\nsplit_by = '" + "x" * 10_000 + "'",
        "[features]\ntest_size = 1" + "0" * 300,
        '[tuning]\n"a\\nb" = 1',
        '"a\\nb" = 1',
    ],
)
def test_an_error_is_one_short_line_for_a_long_value(text: str) -> None:
    error = refused(text)

    for line in (error.message, error.hint):
        assert len(line) < 300
        assert "\n" not in line


@pytest.mark.parametrize(
    ("name", "text", "message", "hint"),
    [
        ("TUNING_TRAILS", "9", "environment: STARGAZE_TUNING_TRAILS is not a key", "STARGAZE_TUNING_TRIALS?"),
        ("TUNING_TRIALS", "many", "environment: tuning.trials should be a whole number", "Configurations"),
        ("TUNING_TRIALS", "", "environment: tuning.trials should be a whole number", "Configurations"),
        ("TUNING_TRIALS", "9" * 5000, "environment: tuning.trials should be a whole number", "Configurations"),
        ("TUNING_TRIALS", "0", "environment: tuning.trials should be from 1", "Configurations"),
        (
            "FEATURES_TEST_SIZE",
            "much",
            "environment: features.test_size should be a number [share], not 'much'",
            "Share",
        ),
        ("FETCH_COLUMNS", "stars", "environment: fetch.columns should be a table", "CSV"),
        ("FETCH_COLUMNS", "a=b,stars", "environment: fetch.columns should be a table", "CSV"),
    ],
)
def test_an_error_names_the_environment_variable(name: str, text: str, message: str, hint: str) -> None:
    error = refused("", {f"STARGAZE_{name}": text})

    assert message in error.message
    assert hint in error.hint
    assert len(error.message) < 300


def test_a_number_of_thousands_of_digits_in_a_list_is_an_error() -> None:
    error = refused("", {"STARGAZE_GROWTH_HORIZONS": "30," + "9" * 5000})

    assert error.message.startswith("environment: growth.horizons")
    assert len(error.message) < 300


def test_a_list_that_is_nested_too_deeply_is_an_error() -> None:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]

    with pytest.raises(ConfigError, match="nested too deeply") as raised:
        parse_section("features", {"seed": value}, source="c.toml")

    assert raised.value.message.startswith("c.toml: features.seed")


def test_a_renamed_key_is_an_error_with_the_new_key() -> None:
    error = refused("[infra]\npatience = 60")

    assert error.message == "c.toml: infra.patience was renamed to infra.timeout"
    assert error.hint == "write infra.timeout"


def test_a_renamed_environment_variable_is_an_error_with_the_new_one() -> None:
    error = refused("", {"STARGAZE_SERVE_FRESH": "60"})

    assert error.message == "environment: STARGAZE_SERVE_FRESH was renamed to STARGAZE_SERVE_CACHE_TTL"
    assert error.hint == "write STARGAZE_SERVE_CACHE_TTL"


@pytest.mark.parametrize("name", sorted(REMOVED_KEYS))
def test_a_removed_key_is_an_error_with_the_reason(name: str) -> None:
    section, key = name.split(".")
    in_file = refused(f"[{section}]\n{key} = 'activity'")
    in_environment = refused("", {f"STARGAZE_{section}_{key}".upper(): "activity"})

    assert f"{name} was removed: {REMOVED_KEYS[name]}" in in_file.message
    assert f"was removed: {REMOVED_KEYS[name]}" in in_environment.message
    assert in_file.hint == in_environment.hint == "delete it"


def test_renamed_keys_map_old_keys_to_existing_ones() -> None:
    keys = {f"{section}.{name}" for section, values in dataclasses.asdict(Config()).items() for name in values}

    assert set(RENAMED_KEYS.values()) <= keys
    assert not set(RENAMED_KEYS) & keys
    assert not set(REMOVED_KEYS) & (keys | set(RENAMED_KEYS))


def test_other_environment_variables_are_ignored() -> None:
    """Only variables with the prefix of a section must be keys."""
    assert read("", {"STARGAZE_VERSION": "1", "STARGAZER_TUNING_TRAILS": "1"}) == Config()


def test_a_missing_config_file_is_a_missing_input() -> None:
    with pytest.raises(MissingInputError) as caught:
        load(Path("gone.toml"), environ={})

    assert caught.value.message == "gone.toml: no such config file"
    assert caught.value.hint == "stargaze init gone.toml"


@pytest.mark.parametrize("path", [".", "x" * 5000, "c.toml/inside"])
def test_a_path_that_is_not_a_file_is_rejected(path: str) -> None:
    Path("c.toml").touch()

    with pytest.raises(ConfigError, match="cannot be read"):
        load(Path(path), environ={})


@pytest.mark.parametrize("home", ["x" * 5000, "/dev/null", "a\0b"])
def test_an_invalid_config_home_is_ignored(home: str) -> None:
    assert load(environ={"XDG_CONFIG_HOME": home}) == Config()


def test_an_error_names_the_user_file() -> None:
    Path("user/stargaze").mkdir(parents=True)
    Path("user/stargaze/stargaze.toml").write_text("[tuning]\ntrails = 2")

    assert refused("").message.startswith("user/stargaze/stargaze.toml: tuning.trails")


def test_an_unknown_option_is_an_error() -> None:
    assert math.isfinite(read().features.test_size)
    with pytest.raises(ConfigError):
        read("", tuning__nothing=1)


# ---- lists of numbers ---------------------------------------------------------------------------------------------


def test_a_list_of_integers_is_read_from_the_file_and_the_environment() -> None:
    assert read("[growth]\nhorizons = [7, 14]").growth.horizons == [7, 14]
    assert read(environ={"STARGAZE_GROWTH_HORIZONS": "7, 14"}).growth.horizons == [7, 14]


@pytest.mark.parametrize("text", ['["30"]', "[1.5]", "[true]"])
def test_a_list_of_integers_rejects_other_values(text: str) -> None:
    assert "growth.horizons should contain whole numbers only [days]" in refused(f"[growth]\nhorizons = {text}").message


def test_digits_in_a_list_of_text_stay_text() -> None:
    assert read(environ={"STARGAZE_GITHUB_NAMES": "1, 2"}).github.names == ["1", "2"]
