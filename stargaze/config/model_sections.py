"""The sections about data and models: store, fetch, github, features, screening, tuning, growth."""

from __future__ import annotations

from dataclasses import dataclass

from stargaze.config.keys import expand_home, expand_homes, key, valid_separator

POLICIES = ("static", "activity", "all")
METRICS = ("rmsle", "rmse")
"""The metrics that a tuning minimizes: of log1p(stars), or of the stars."""
SAMPLES = ("best-of", "electron")
"""The names of the samples that ship with the package."""
OWN_KINDS = ("number", "flag", "category")
"""The kinds of own columns."""


def ordered_policies(names: list[str]) -> list[str]:
    """Return feature policies without duplicates, the narrowest first.

    >>> ordered_policies(["all", "static", "all"])
    ['static', 'all']
    """
    if not names:
        raise ValueError("should contain at least one policy")
    return sorted(set(names), key=POLICIES.index)


@dataclass(frozen=True)
class StoreSection:
    """The folder for everything that stargaze creates."""

    path: str = key(
        "store",
        "Folder of all artifacts. Not safe to delete: keys, infra, delivery, releases.git, predictions.sqlite and"
        " job.json cannot be created again (stargaze backup FILE copies them).",
        not_empty=True,
        normalize=expand_home,
    )


@dataclass(frozen=True)
class FetchSection:
    """The source of the repositories."""

    files: list[str] = key(
        [],
        "Files of GitHub records (JSON, JSON lines, CSV, Parquet, .gz of each); empty means a sample.",
        normalize=expand_homes,
    )
    sample: str = key(
        SAMPLES[0],
        "The sample that is used without files and without a query of [github].",
        choices=SAMPLES,
    )
    since: str = key("", "Ignore records fetched before this day (YYYY-MM-DD); empty keeps all.", unit="date")
    columns: dict[str, str] = key(
        {},
        'For CSV and Parquet: field = "column of the file", as stars = "star_count"; for JSON a path, as stars = "score.stars". '
        "Equal names need no mapping.",
    )
    thousands: str = key(
        "auto",
        'The separator of thousands in counts: ".", ",", "" for none, or "auto": each column shows it, or the file is refused.',
        normalize=valid_separator,
    )
    extra: list[str] = key(
        [], 'Own columns of these files that become features, as ["score", "team"]; in JSON paths, as "metrics.score".'
    )
    extra_kinds: dict[str, str] = key(
        {}, 'Kinds of own columns, as team = "category"; by default they follow from the values.', choices=OWN_KINDS
    )
    extra_policies: dict[str, str] = key(
        {},
        'Feature policies of own columns, as score = "static" if the maintainer writes it; by default "all", as it may follow'
        " from popularity.",
        choices=POLICIES,
    )
    exclude: list[str] = key([], 'Columns of the files or fields that are not read, as ["size_kb"].')


@dataclass(frozen=True)
class GithubSection:
    """What is fetched from GitHub. If any key differs from its default, `stargaze fetch` crawls GitHub."""

    query: str = key("", 'Words and qualifiers of GitHub\'s search, as "parser license:mit fork:true".')
    stars: str = key("", 'Range of stars, as ">=1000" or "100..500".')
    created: str = key("", 'Creation dates, as "2015-01-01..2020-12-31" or ">=2020".', unit="date")
    language: str = key("", "Primary language.")
    topic: str = key("", "One of its topics.")
    organization: str = key("", "Only the repositories of this organization or user.")
    names: list[str] = key([], "Exactly these repositories, owner/name or URL each, instead of a search.")
    limit: int = key(
        1000, "How many repositories of a search; 0 means all.", unit="repositories", limits=(0, 10_000_000)
    )
    sampling: str = key(
        "top",
        "Which repositories of a search: the most starred; evenly over log stars and creation year; uniformly at random.",
        choices=("top", "stratified", "random"),
    )
    seed: int = key(0, "Seed of the sample.", limits=(0, 2**31 - 1))
    graphql: bool = key(
        True, "With GITHUB_TOKEN, also fetch counts and commits by GraphQL; false uses the search only."
    )
    details: bool = key(
        False, "Also fetch contributors, followers of organizations and README length: up to 3 requests per repository."
    )
    readme: bool = key(
        False,
        "Also fetch the beginning of each README (README.md), with GITHUB_TOKEN: one more GraphQL request per 20 repositories.",
    )
    star_history: list[str] = key(
        [], 'Weekly star history of these, owner/name each; "*" means all fetched repositories.'
    )
    api_url: str = key(
        "https://api.github.com", "The API; of GitHub Enterprise it is https://HOST/api/v3.", not_empty=True
    )


@dataclass(frozen=True)
class FeaturesSection:
    """Computation and selection of features."""

    seed: int = key(0, "Seed of the split, the folds and the random probes.", limits=(0, 2**31 - 1))
    test_size: float = key(
        0.15, "Share held out for the reported scores, never used for training.", unit="share", limits=(0.02, 0.5)
    )
    validation_size: float = key(
        0.15,
        "Share that calibrates the prediction intervals, never used for training.",
        unit="share",
        limits=(0.02, 0.5),
    )
    test_repositories: str = key(
        "",
        "File with one owner/name or URL per line: the test set in place of the share. If the split is by owner, other"
        " repositories of these owners are left out.",
        normalize=expand_home,
    )
    folds: int = key(5, "Cross-validation folds inside the training part.", unit="folds", limits=(2, 20))
    split_by: str = key(
        "owner",
        "What stays together in the split: all repositories of an owner, or only the repository itself.",
        choices=("owner", "repository"),
    )
    max_missing: float = key(0.98, "Drop a column with a larger share of missing values.", unit="share", limits=(0, 1))
    redundant_threshold: float = key(
        0.99,
        "Drop a column whose Spearman's rho with another one is at least this, over all rows and over those without common ties;"
        " 1.0 drops equal columns only.",
        unit="rho",
        limits=(0.5, 1),
    )
    leak_threshold: float = key(
        0.97,
        "Drop a column whose Spearman's rho with the stars is at least this: it leaks them.",
        unit="rho",
        limits=(0.5, 1),
    )
    exclude: list[str] = key(
        [], 'Features that are never used, by name, pattern or group, as ["age", "owner_*", "text"].'
    )
    include: list[str] = key(
        [], "Features that are selected by all policies that may use them, unless they are constant or leak the stars."
    )
    text_embeddings: str = key(
        "auto",
        "Compare texts by the meaning of their words, which needs the extra `text`: always, never, or if it is installed and the"
        " error decreases by more than noise.",
        choices=("auto", "on", "off"),
    )
    policies: list[str] = key(
        list(POLICIES),
        "Feature policies that have features and models; tuning.estimate_policy is one of them. The narrowest answers for every"
        " repository, each other one where a value of its own is known.",
        choices=POLICIES,
        normalize=ordered_policies,
    )
    importance_repeats: int = key(
        2, "Repetitions of the permutation importance in each fold, with a different seed each.", limits=(1, 100)
    )


@dataclass(frozen=True)
class ScreeningSection:
    """Comparison of the model families by cross-validation."""

    families: list[str] = key([], "Families to screen (see `stargaze screen --help`); empty means all.")
    max_rows: int = key(
        0,
        "Screen on at most this many training repositories, whole owners; 0 means all.",
        unit="rows",
        limits=(0, None),
    )
    time_limit: float = key(300.0, "A family that takes longer is listed as timed out.", unit="s", limits=(1, None))
    time_budget: float = key(
        0.0,
        "How long screen may take: families that ensembles seldom need come last, and are listed as timed out; 0 means no"
        " limit.",
        unit="s",
        limits=(0, None),
    )
    max_concurrent: int = key(0, "Families at the same time; 0 means as many as fit.", limits=(0, 256))
    executor: str = key(
        "process",
        "Where they run: local processes; containers of the Docker engine of DOCKER_HOST; Ray tasks.",
        choices=("process", "docker", "ray"),
    )
    cpus: float = key(1.0, "Limit of a container; families compute with one thread.", unit="cores", limits=(0.1, 256))
    memory: float = key(
        2.0, "Limit of a container; a family that needs more is listed as failed.", unit="GB", limits=(0.05, 4096)
    )
    base_image: str = key(
        "python:3.11-slim-bookworm", "Base image of the container image, or a mirror of it.", not_empty=True
    )
    build_options: list[str] = key([], 'More options of `docker build`, as "--network=host".')


@dataclass(frozen=True)
class TuningSection:
    """Tuning of the finalists, and the contents of the bundle."""

    target: str = key(
        "stars",
        "What is predicted: the stars of a repository, or the stars that it will gain.",
        choices=("stars", "growth"),
    )
    on: str = key(
        "local",
        "Where it runs: on this machine, or on the machines of `stargaze infra` as a Ray job.",
        choices=("local", "cluster"),
    )
    trials: int = key(50, "Configurations to try.", unit="trials", limits=(1, 100_000))
    finalists: int = key(2, "How many of the best families are tuned.", unit="families", limits=(1, 10))
    time_budget: float = key(
        0.0,
        "How long tune may take: trials end early enough for the refit and the intervals, and the ensemble has fewer models if"
        " there is no time for all; 0 means no limit.",
        unit="s",
        limits=(0, None),
    )
    max_concurrent: int = key(0, "Trials at the same time, one core each; 0 means one per core.", limits=(0, 4096))
    racing: bool = key(True, "Stop a trial after the fold that shows that it cannot win.")
    seed: int = key(0, "Seed of the search and the models.", limits=(0, 2**31 - 1))
    ensemble_size: int = key(
        6,
        "Maximum number of models in the ensemble, whose weights are fitted out-of-fold; 1 keeps the single best.",
        unit="models",
        limits=(1, 8),
    )
    coverage: float = key(
        0.9, "Share of the prediction intervals that contain the true count.", unit="share", limits=(0.5, 0.99)
    )
    metric: str = key(
        "rmsle",
        "What is minimized: the error of log1p(stars), in which a factor counts the same everywhere; or that of the stars, in"
        " which few repositories with most stars count, and the estimate is the mean.",
        choices=METRICS,
    )
    estimate_policy: str = key("all", "Feature policy of the estimate and its explanation.", choices=POLICIES)
    bundled_repositories: int = key(
        50_000,
        "Repositories in the bundle, most starred first, that the page knows by name.",
        unit="rows",
        limits=(0, None),
    )


@dataclass(frozen=True)
class GrowthSection:
    """The forecast that `stargaze tune` fits if tuning.target is "growth"."""

    history_file: str = key(
        "",
        "Table of dates and counts (CSV, JSON, Parquet: full_name, date, stars); empty means the history of fetch.",
        normalize=expand_home,
    )
    columns: dict[str, str] = key(
        {},
        'Columns of history_file: full_name, date, stars, … = "column of the file", or in JSON its path;'
        " usual names need no mapping.",
    )
    thousands: str = key(
        "auto",
        'The separator of thousands in its counts: ".", ",", "" for none, or "auto": the values show it, or it is refused.',
        normalize=valid_separator,
    )
    history_weeks: int = key(26, "Length of the history that a forecast uses.", unit="weeks", limits=(4, 260))
    horizons: list[int] = key([30, 90, 365], "Forecast horizons.", unit="days")
    train_until: str = key(
        "2024-07-01",
        "Train on growth that was known before this day, test on forecasts made on it or later.",
        unit="date",
    )
