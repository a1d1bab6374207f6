"""The typed sections of ``stargaze.toml``: every key with its default, its unit and why it is there.

The annotated file that ``stargaze init`` writes is made from the same metadata, so it cannot go stale.
Precedence: default < user file < project file < environment (``STARGAZE_<SECTION>_<KEY>``) < option.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from stargaze.config.validators import (
    network_ranges,
    normalized_addresses,
    valid_cluster_name,
    valid_page_port,
    valid_subnet,
)

POLICIES = ("static", "activity", "all")
TARGETS = ("stars", "growth")
SAMPLINGS = ("top", "stratified", "random")
EXECUTORS = ("process", "docker", "ray")
PLACES = ("local", "cluster")


def key(
    default: Any,
    description: str,
    *,
    unit: str = "",
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] = (),
    not_empty: bool = False,
    normalize: Callable[[Any], Any] | None = None,
) -> Any:
    """Declare one key; ``normalize`` returns the normal form of a value or raises a ValueError."""
    metadata = {
        "description": description,
        "unit": unit,
        "minimum": minimum,
        "maximum": maximum,
        "choices": choices,
        "not_empty": not_empty,
        "normalize": normalize,
    }
    if isinstance(default, (list, dict)):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class StoreSection:
    """Where everything that stargaze makes is kept."""

    path: str = key(
        "store", "Folder of all artefacts; safe to delete, everything in it can be made again.", not_empty=True
    )


@dataclass(frozen=True)
class FetchSection:
    """Where repositories come from."""

    files: list[str] = key(
        [], "Files of GitHub records (JSON, JSON lines, CSV, Parquet, .gz of each); empty means the shipped sample."
    )
    since: str = key("", "Leave out records fetched before this day (YYYY-MM-DD); empty keeps all.", unit="date")
    columns: dict[str, str] = key(
        {}, 'For CSV and Parquet: our field = "their column", as stars = "star_count". Same names need no line.'
    )


@dataclass(frozen=True)
class GithubSection:
    """What to gather from GitHub. Where anything here is not as below, `stargaze fetch` asks GitHub."""

    query: str = key("", 'Words and qualifiers of GitHub\'s search, as "parser license:mit fork:true".')
    stars: str = key("", 'Range of stars, as ">=1000" or "100..500".')
    created: str = key("", 'When they were created, as "2015-01-01..2020-12-31" or ">=2020".', unit="date")
    language: str = key("", "Primary language.")
    topic: str = key("", "A topic that they have.")
    organization: str = key("", "Only the repositories of this organization or user.")
    names: list[str] = key([], "Exactly these repositories, owner/name each, instead of a search.")
    limit: int = key(1000, "How many of a search; 0 means all.", unit="repositories", minimum=0, maximum=10_000_000)
    sampling: str = key(
        "top",
        "Which of a search: the most starred; evenly over log stars and year of creation; each with the same chance.",
        choices=SAMPLINGS,
    )
    seed: int = key(0, "Fixes which ones a sample holds.", minimum=0, maximum=2**31 - 1)
    graphql: bool = key(True, "With GITHUB_TOKEN, also counts and commits by GraphQL; false asks the search alone.")
    details: bool = key(
        False, "Also contributors, followers of organizations and README length: up to 3 requests a repository."
    )
    star_history: list[str] = key([], 'Weekly star history of these, owner/name each; "*" means of all gathered.')
    api_url: str = key(
        "https://api.github.com", "The API; of GitHub Enterprise it is https://HOST/api/v3.", not_empty=True
    )


@dataclass(frozen=True)
class FeaturesSection:
    """How repositories become features and which of them stay."""

    seed: int = key(0, "Fixes the split, the folds and the random probes.", minimum=0, maximum=2**31 - 1)
    test_size: float = key(
        0.15, "Share held out for the reported figures, never fitted.", unit="share", minimum=0.02, maximum=0.5
    )
    validation_size: float = key(
        0.15,
        "Share that calibrates the intervals beside the folds; no estimate is fitted on it.",
        unit="share",
        minimum=0.02,
        maximum=0.5,
    )
    folds: int = key(5, "Cross-validation folds inside the training part.", unit="folds", minimum=2, maximum=20)
    split_by: str = key(
        "owner",
        "What must not stand on two sides: all repositories of an owner, or only the repository itself.",
        choices=("owner", "repository"),
    )
    max_missing: float = key(
        0.98, "Drop a column with a larger share of missing values.", unit="share", minimum=0, maximum=1
    )
    redundant_threshold: float = key(
        0.99, "Drop a column whose Spearman's rho with a kept one is at least this.", unit="rho", minimum=0.5, maximum=1
    )
    leak_threshold: float = key(
        0.97,
        "Refuse a column whose Spearman's rho with the stars is at least this: it holds them.",
        unit="rho",
        minimum=0.5,
        maximum=1,
    )
    importance_repeats: int = key(
        2,
        "How often columns are compared with random probes in each fold, every time by a model with a seed of its own.",
        minimum=1,
        maximum=100,
    )


@dataclass(frozen=True)
class ScreeningSection:
    """How the model families are compared."""

    families: list[str] = key([], "Families to screen (see `stargaze screen --help`); empty means all.")
    max_rows: int = key(
        0, "Screen on at most this many training repositories, whole owners; 0 means all.", unit="rows", minimum=0
    )
    time_limit: float = key(300.0, "A family that takes longer is a row that says so.", unit="s", minimum=1)
    max_concurrent: int = key(
        0, "Families at the same time; 0 means as many as there is room for.", minimum=0, maximum=256
    )
    executor: str = key(
        "process",
        "Where they run: processes here; containers of the Docker engine that DOCKER_HOST names; tasks on Ray.",
        choices=EXECUTORS,
    )
    cpus: float = key(
        1.0,
        "What a container may use at most; families compute with one thread.",
        unit="cores",
        minimum=0.1,
        maximum=256,
    )
    memory: float = key(
        2.0,
        "What a container may use at most; a family that wants more is a row that says so.",
        unit="GB",
        minimum=0.05,
        maximum=4096,
    )
    base_image: str = key(
        "python:3.11-slim-bookworm",
        "What the container image is built on; a site's mirror of it, for one.",
        not_empty=True,
    )
    build_options: list[str] = key([], 'More options of `docker build`, as "--network=host".')


@dataclass(frozen=True)
class TuningSection:
    """How the finalists are tuned and what goes into the bundle."""

    target: str = key(
        "stars", "What is predicted: the stars a repository has earned, or those it will gain.", choices=TARGETS
    )
    on: str = key(
        "local", "Where it runs: on this machine, or on the machines of `stargaze infra` as a Ray job.", choices=PLACES
    )
    trials: int = key(50, "Configurations to try.", unit="trials", minimum=1, maximum=100_000)
    finalists: int = key(2, "How many of the best families are tuned.", unit="families", minimum=1, maximum=10)
    time_budget: float = key(0.0, "Stop starting trials after this long; 0 means no limit.", unit="s", minimum=0)
    max_concurrent: int = key(0, "Trials at the same time, one core each; 0 means one a core.", minimum=0, maximum=4096)
    racing: bool = key(True, "End a trial after the fold that shows that it cannot win.")
    seed: int = key(0, "Fixes the search and the models.", minimum=0, maximum=2**31 - 1)
    ensemble_size: int = key(
        4,
        "How many models may answer together where that wins; 1 keeps the single best.",
        unit="models",
        minimum=1,
        maximum=8,
    )
    coverage: float = key(
        0.9, "How often the interval shall hold the true count.", unit="share", minimum=0.5, maximum=0.99
    )
    estimate_policy: str = key("all", "Feature policy of the estimate.", choices=POLICIES)
    explanation_policy: str = key("activity", "Feature policy of the explanation.", choices=POLICIES)
    bundled_repositories: int = key(
        50_000,
        "Repositories that travel with the bundle, most starred first, so the page knows them by name.",
        unit="rows",
        minimum=0,
    )


@dataclass(frozen=True)
class GrowthSection:
    """What `stargaze tune` foresees where tuning.target is "growth"."""

    history_file: str = key(
        "", "Table of dates and counts (CSV, Parquet: full_name, date, stars); empty takes what fetch gathered."
    )
    history_weeks: int = key(26, "How long a history a forecast looks at.", unit="weeks", minimum=4, maximum=260)
    horizons: list[int] = key([30, 90, 365], "How far ahead.", unit="days")
    train_until: str = key(
        "2024-07-01", "Train on what was over before this day, test on what began on it or later.", unit="date"
    )


@dataclass(frozen=True)
class DeploySection:
    """How a bundle reaches production."""

    signing_key: str = key("", "ssh private key that signs releases; empty makes one below the store.", unit="path")
    max_release_size: float = key(
        200.0, "The hook refuses a release larger than this.", unit="MB", minimum=1, maximum=1000
    )
    to: str = key(
        "local",
        "Where it serves: on this machine, or in the Swarm of the cluster's production machines.",
        choices=("local", "swarm"),
    )
    web_replicas: int = key(
        2,
        "Pages; with ports of the hosts there is one a node, whatever stands here.",
        unit="replicas",
        minimum=1,
        maximum=64,
    )
    worker_replicas: int = key(2, "Workers, spread over the nodes.", unit="replicas", minimum=1, maximum=256)
    registry: str = key(
        "",
        'A registry that the nodes pull the image from, as "registry.example/team"; empty: it is sent to them by ssh.',
    )
    build_on: str = key(
        "local",
        "Whose Docker engine builds the image: that of DOCKER_HOST, or the cluster's development machine's.",
        choices=("local", "development"),
    )
    publish_mode: str = key(
        "ingress",
        "The page's port: one for all nodes, which Swarm spreads; or each node's own, for a proxy in front.",
        choices=("ingress", "host"),
    )
    endpoint_mode: str = key(
        "vip",
        "How the page's name is resolved inside: to one virtual address (wants IPVS in the kernel), or to all replicas.",
        choices=("vip", "dnsrr"),
    )
    broker_image: str = key("rabbitmq:3.13-management", "RabbitMQ's image.", not_empty=True)
    results_image: str = key("redis:7", "Redis's image.", not_empty=True)
    flower: bool = key(False, "Run Flower beside the workers, on the inner network only.")
    flower_image: str = key("mher/flower:2.0", "Flower's image.", not_empty=True)
    prometheus: bool = key(False, "Run Prometheus beside the page, on the inner network only.")
    prometheus_image: str = key("prom/prometheus:v2.53.2", "Prometheus's image.", not_empty=True)
    web_cpus: float = key(1.0, "What a page may use at most.", unit="cores", minimum=0.1, maximum=256)
    web_memory: float = key(1.0, "What a page may use at most.", unit="GB", minimum=0.05, maximum=4096)
    worker_cpus: float = key(1.0, "What a worker may use at most.", unit="cores", minimum=0.1, maximum=256)
    worker_memory: float = key(2.0, "What a worker may use at most.", unit="GB", minimum=0.05, maximum=4096)
    broker_memory: float = key(1.0, "What RabbitMQ may use at most.", unit="GB", minimum=0.25, maximum=4096)
    results_memory: float = key(1.0, "What Redis may use at most.", unit="GB", minimum=0.05, maximum=4096)
    timeout: int = key(300, "How long services may take to run after a change.", unit="s", minimum=10, maximum=7200)


@dataclass(frozen=True)
class ServeSection:
    """The page and its workers."""

    host: str = key("127.0.0.1", "Address to listen on; the default answers this machine only.", not_empty=True)
    port: int = key(8000, "Port to listen on; 0 takes a free one.", minimum=0, maximum=65_535)
    web_processes: int = key(2, "Web processes.", minimum=1, maximum=64)
    worker_processes: int = key(1, "Prediction processes.", minimum=1, maximum=64)
    max_repositories: int = key(5, "Most repositories in one question.", minimum=1, maximum=100)
    allowed_hosts: list[str] = key(
        [], "Names that the page is called by, beside the address above and this machine's own."
    )
    trusted_proxies: int = key(
        0, "Reverse proxies in front, whose word on the visitor's address is taken.", minimum=0, maximum=10
    )
    github_lookup: bool = key(
        True, "Ask GitHub's API (github.api_url) for named repositories; false: only those that travel with the bundle."
    )
    max_batch_size: int = key(64, "Questions that one worker predicts at once when many wait.", minimum=1, maximum=1000)
    cache_ttl: float = key(
        600.0,
        "The same question asked again within this time has the same answer.",
        unit="s",
        minimum=0,
        maximum=86_400,
    )
    rate_limit: int = key(
        120, "Questions that one visitor may ask in a minute; 0 sets no limit.", minimum=0, maximum=1_000_000
    )
    track_record: bool = key(
        True, "Keep predictions (nothing of who asked) and score them when the repository is seen again."
    )
    metrics_port: int = key(
        0,
        "Prometheus metrics on this port of 127.0.0.1, never on the page's; 0 serves none.",
        minimum=0,
        maximum=65_535,
    )
    broker_url: str = key(
        "",
        'RabbitMQ, as "amqp://user@host:5672/stargaze"; empty: files in the store. The password is a file\'s, see results.',
    )
    results_url: str = key(
        "",
        'Redis, as "redis://host:6379/0"; empty: SQLite in the store. Passwords stand in the files that '
        "STARGAZE_BROKER_PASSWORD_FILE and STARGAZE_RESULTS_PASSWORD_FILE name.",
    )
    time_limit: float = key(
        30.0, "A prediction that takes longer is reported failed.", unit="s", minimum=1, maximum=3600
    )
    results_ttl: float = key(86_400.0, "Answers are kept this long.", unit="s", minimum=60, maximum=31_536_000)


@dataclass(frozen=True)
class InfraSection:
    """The machines of the cluster. What opens the cloud stands in OpenStack's own clouds.yaml, never here."""

    provider: str = key(
        "openstack", "Make machines on OpenStack, or take those below infra.hosts.", choices=("openstack", "static")
    )
    cloud: str = key("", "Name of the cloud in clouds.yaml; empty takes OS_CLOUD, else the only one there is.")
    name: str = key(
        "stargaze",
        "Marks all that is made; two clusters in one project need two names.",
        not_empty=True,
        normalize=valid_cluster_name,
    )
    parameter_servers: int = key(
        1, "Ray workers beside the development server.", unit="machines", minimum=0, maximum=64
    )
    production_servers: int = key(
        2, "Nodes of the Swarm; three or more survive the loss of one.", unit="machines", minimum=1, maximum=64
    )
    image: str = key(
        "debian-12", "Image of all machines: its name or id, or how the name of the newest begins.", not_empty=True
    )
    user: str = key("debian", "The image's user, who may sudo.", not_empty=True)
    flavor: str = key("", "Flavor of all machines, name or id; empty takes the least that has what stands below.")
    min_cpus: int = key(2, "At least so many in each machine.", unit="cores", minimum=1, maximum=256)
    min_memory: float = key(4, "At least so much in each machine.", unit="GB", minimum=0.25, maximum=4096)
    min_disk: int = key(20, "At least so much in each machine.", unit="GB", minimum=0, maximum=10_000)
    availability_zone: str = key("", "Where the machines are; empty leaves it to the cloud.")
    network: str = key("", "A network that exists, name or id; empty makes one with a subnet.")
    cidr: str = key("10.20.0.0/24", "Addresses of the network that is made.", not_empty=True, normalize=valid_subnet)
    nameservers: list[str] = key(
        [], "Of the network that is made; empty takes the cloud's own.", normalize=normalized_addresses
    )
    router: bool = key(True, "Make a router to the outside; false where the network has one, or none is allowed.")
    external_network: str = key("", "Where floating IPs come from, name or id; empty takes the only one there is.")
    floating_ip: bool = key(
        True, "Give the orchestration machine a floating IP; false where its own address is reached."
    )
    keypair: str = key("", "A keypair of the project that exists; empty makes one.")
    key_file: str = key("", "The private ssh key that opens the machines; empty makes one below the store.")
    ssh_from: list[str] = key(
        [],
        "From where the orchestration machine may be reached by ssh; empty: what the cloud lets in, which is this machine's "
        "own address; of static hosts, whoever has a key.",
        unit="CIDR",
        normalize=network_ranges,
    )
    page_port: int = key(
        80,
        "Port of the page, the only other thing that faces outside.",
        minimum=1,
        maximum=65_535,
        normalize=valid_page_port,
    )
    host_keys: str = key(
        "console",
        "How a machine's ssh key is learnt: from what it wrote to its console at its first boot, or at the first contact.",
        choices=("console", "first-use"),
    )
    unattended_upgrades: bool = key(True, "Let the machines install security updates by themselves.")
    timeout: int = key(900, "How long a machine may take to boot and answer.", unit="s", minimum=10, maximum=7200)
    ansible_variables: dict[str, str] = key(
        {}, 'Variables of the playbooks\' roles (ansible/roles/*/defaults), as base_journal_size = "900".'
    )
    hosts: dict[str, str] = key(
        {},
        'For provider "static": name = "user@address" of machines that exist; names as orchestration, development, '
        "parameter1, production1.",
    )


@dataclass(frozen=True)
class Config:
    """Every section; pass the section on, not this."""

    store: StoreSection = field(default_factory=StoreSection)
    fetch: FetchSection = field(default_factory=FetchSection)
    github: GithubSection = field(default_factory=GithubSection)
    features: FeaturesSection = field(default_factory=FeaturesSection)
    screening: ScreeningSection = field(default_factory=ScreeningSection)
    tuning: TuningSection = field(default_factory=TuningSection)
    growth: GrowthSection = field(default_factory=GrowthSection)
    deploy: DeploySection = field(default_factory=DeploySection)
    serve: ServeSection = field(default_factory=ServeSection)
    infra: InfraSection = field(default_factory=InfraSection)
