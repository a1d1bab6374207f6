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
    """Where stargaze stores everything that it creates."""

    path: str = key("store", "Folder of all artifacts; safe to delete, all of it can be created again.", not_empty=True)


@dataclass(frozen=True)
class FetchSection:
    """Where repositories come from."""

    files: list[str] = key(
        [], "Files of GitHub records (JSON, JSON lines, CSV, Parquet, .gz of each); empty means the included sample."
    )
    since: str = key("", "Ignore records fetched before this day (YYYY-MM-DD); empty keeps all.", unit="date")
    columns: dict[str, str] = key(
        {}, 'For CSV and Parquet: field = "column of the file", as stars = "star_count". Equal names need no line.'
    )


@dataclass(frozen=True)
class GithubSection:
    """What to fetch from GitHub. If any key differs from its default, `stargaze fetch` requests it from GitHub."""

    query: str = key("", 'Words and qualifiers of GitHub\'s search, as "parser license:mit fork:true".')
    stars: str = key("", 'Range of stars, as ">=1000" or "100..500".')
    created: str = key("", 'Creation dates, as "2015-01-01..2020-12-31" or ">=2020".', unit="date")
    language: str = key("", "Primary language.")
    topic: str = key("", "One of its topics.")
    organization: str = key("", "Only the repositories of this organization or user.")
    names: list[str] = key([], "Exactly these repositories, owner/name each, instead of a search.")
    limit: int = key(
        1000, "How many repositories of a search; 0 means all.", unit="repositories", minimum=0, maximum=10_000_000
    )
    sampling: str = key(
        "top",
        "Which repositories of a search: the most starred; evenly over log stars and creation year; uniformly at random.",
        choices=SAMPLINGS,
    )
    seed: int = key(0, "Seed of the sample.", minimum=0, maximum=2**31 - 1)
    graphql: bool = key(
        True, "With GITHUB_TOKEN, also fetch counts and commits by GraphQL; false uses the search only."
    )
    details: bool = key(
        False, "Also fetch contributors, followers of organizations and README length: up to 3 requests per repository."
    )
    star_history: list[str] = key(
        [], 'Weekly star history of these, owner/name each; "*" means all fetched repositories.'
    )
    api_url: str = key(
        "https://api.github.com", "The API; of GitHub Enterprise it is https://HOST/api/v3.", not_empty=True
    )


@dataclass(frozen=True)
class FeaturesSection:
    """How features are computed and selected."""

    seed: int = key(0, "Seed of the split, the folds and the random probes.", minimum=0, maximum=2**31 - 1)
    test_size: float = key(
        0.15,
        "Share held out for the reported scores, never used for training.",
        unit="share",
        minimum=0.02,
        maximum=0.5,
    )
    validation_size: float = key(
        0.15,
        "Share that calibrates the prediction intervals, never used for training.",
        unit="share",
        minimum=0.02,
        maximum=0.5,
    )
    folds: int = key(5, "Cross-validation folds inside the training part.", unit="folds", minimum=2, maximum=20)
    split_by: str = key(
        "owner",
        "What must not be on two sides of the split: all repositories of an owner, or only the repository itself.",
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
        "Drop a column whose Spearman's rho with the stars is at least this: it leaks them.",
        unit="rho",
        minimum=0.5,
        maximum=1,
    )
    importance_repeats: int = key(
        2,
        "Repetitions of the permutation importance in each fold, with a different seed each.",
        minimum=1,
        maximum=100,
    )


@dataclass(frozen=True)
class ScreeningSection:
    """How the model families are compared by cross-validation."""

    families: list[str] = key([], "Families to screen (see `stargaze screen --help`); empty means all.")
    max_rows: int = key(
        0, "Screen on at most this many training repositories, whole owners; 0 means all.", unit="rows", minimum=0
    )
    time_limit: float = key(300.0, "A family that takes longer is listed as timed out.", unit="s", minimum=1)
    max_concurrent: int = key(0, "Families at the same time; 0 means as many as fit.", minimum=0, maximum=256)
    executor: str = key(
        "process",
        "Where they run: local processes; containers of the Docker engine of DOCKER_HOST; Ray tasks.",
        choices=EXECUTORS,
    )
    cpus: float = key(
        1.0,
        "Limit of a container; families compute with one thread.",
        unit="cores",
        minimum=0.1,
        maximum=256,
    )
    memory: float = key(
        2.0,
        "Limit of a container; a family that needs more is listed as failed.",
        unit="GB",
        minimum=0.05,
        maximum=4096,
    )
    base_image: str = key(
        "python:3.11-slim-bookworm",
        "Base image of the container image, or a mirror of it.",
        not_empty=True,
    )
    build_options: list[str] = key([], 'More options of `docker build`, as "--network=host".')


@dataclass(frozen=True)
class TuningSection:
    """How the finalists are tuned and what goes into the bundle."""

    target: str = key(
        "stars", "What is predicted: the stars of a repository, or the stars that it will gain.", choices=TARGETS
    )
    on: str = key(
        "local", "Where it runs: on this machine, or on the machines of `stargaze infra` as a Ray job.", choices=PLACES
    )
    trials: int = key(50, "Configurations to try.", unit="trials", minimum=1, maximum=100_000)
    finalists: int = key(2, "How many of the best families are tuned.", unit="families", minimum=1, maximum=10)
    time_budget: float = key(0.0, "Stop starting trials after this long; 0 means no limit.", unit="s", minimum=0)
    max_concurrent: int = key(0, "Trials at the same time, one core each; 0 means one a core.", minimum=0, maximum=4096)
    racing: bool = key(True, "Stop a trial after the fold that shows that it cannot win.")
    seed: int = key(0, "Seed of the search and the models.", minimum=0, maximum=2**31 - 1)
    ensemble_size: int = key(
        4,
        "Maximum number of models in the ensemble, which is used if it wins; 1 keeps the single best.",
        unit="models",
        minimum=1,
        maximum=8,
    )
    coverage: float = key(
        0.9, "Share of the prediction intervals that contain the true count.", unit="share", minimum=0.5, maximum=0.99
    )
    estimate_policy: str = key("all", "Feature policy of the estimate.", choices=POLICIES)
    explanation_policy: str = key("activity", "Feature policy of the explanation.", choices=POLICIES)
    bundled_repositories: int = key(
        50_000,
        "Repositories in the bundle, most starred first, that the page knows by name.",
        unit="rows",
        minimum=0,
    )


@dataclass(frozen=True)
class GrowthSection:
    """The forecast that `stargaze tune` fits if tuning.target is "growth"."""

    history_file: str = key(
        "", "Table of dates and counts (CSV, Parquet: full_name, date, stars); empty means the history of fetch."
    )
    history_weeks: int = key(26, "Length of the history that a forecast uses.", unit="weeks", minimum=4, maximum=260)
    horizons: list[int] = key([30, 90, 365], "Forecast horizons.", unit="days")
    train_until: str = key(
        "2024-07-01", "Train on what ended before this day, test on what began on it or later.", unit="date"
    )


@dataclass(frozen=True)
class DeploySection:
    """How a bundle is deployed."""

    signing_key: str = key("", "ssh private key that signs releases; empty creates one in the store.", unit="path")
    max_release_size: float = key(
        200.0, "The hook refuses a release larger than this.", unit="MB", minimum=1, maximum=1000
    )
    to: str = key(
        "local",
        "Production: this machine, or the Swarm of the cluster's production machines.",
        choices=("local", "swarm"),
    )
    web_replicas: int = key(
        2,
        "Web replicas; with publish_mode = host there is one per node instead.",
        unit="replicas",
        minimum=1,
        maximum=64,
    )
    worker_replicas: int = key(2, "Worker replicas, spread over the nodes.", unit="replicas", minimum=1, maximum=256)
    registry: str = key(
        "",
        'A registry that the nodes pull the image from, as "registry.example/team"; empty: it is sent by ssh.',
    )
    build_on: str = key(
        "local",
        "Where the image is built: on the Docker engine of DOCKER_HOST, or on the development machine.",
        choices=("local", "development"),
    )
    publish_mode: str = key(
        "ingress",
        "Port of the page: Swarm's routing mesh over all nodes, or each node's own port, for a proxy in front.",
        choices=("ingress", "host"),
    )
    endpoint_mode: str = key(
        "vip",
        "How the page's name is resolved inside: one virtual address (needs IPVS in the kernel), or all replicas.",
        choices=("vip", "dnsrr"),
    )
    broker_image: str = key("rabbitmq:3.13-management", "Image of RabbitMQ.", not_empty=True)
    results_image: str = key("redis:7", "Image of Redis.", not_empty=True)
    flower: bool = key(False, "Run Flower beside the workers, on the inner network only.")
    flower_image: str = key("mher/flower:2.0", "Image of Flower.", not_empty=True)
    prometheus: bool = key(False, "Run Prometheus beside the page, on the inner network only.")
    prometheus_image: str = key("prom/prometheus:v2.53.2", "Image of Prometheus.", not_empty=True)
    web_cpus: float = key(1.0, "Limit of a web replica.", unit="cores", minimum=0.1, maximum=256)
    web_memory: float = key(1.0, "Limit of a web replica.", unit="GB", minimum=0.05, maximum=4096)
    worker_cpus: float = key(1.0, "Limit of a worker replica.", unit="cores", minimum=0.1, maximum=256)
    worker_memory: float = key(2.0, "Limit of a worker replica.", unit="GB", minimum=0.05, maximum=4096)
    broker_memory: float = key(1.0, "Limit of RabbitMQ.", unit="GB", minimum=0.25, maximum=4096)
    results_memory: float = key(1.0, "Limit of Redis.", unit="GB", minimum=0.05, maximum=4096)
    timeout: int = key(300, "Time for the services to become ready after a change.", unit="s", minimum=10, maximum=7200)


@dataclass(frozen=True)
class ServeSection:
    """The web page and its workers."""

    host: str = key("127.0.0.1", "Address to listen on; the default answers this machine only.", not_empty=True)
    port: int = key(8000, "Port to listen on; 0 takes a free one.", minimum=0, maximum=65_535)
    web_processes: int = key(2, "Web processes.", minimum=1, maximum=64)
    worker_processes: int = key(1, "Prediction processes.", minimum=1, maximum=64)
    max_repositories: int = key(5, "Maximum number of repositories in one prediction request.", minimum=1, maximum=100)
    allowed_hosts: list[str] = key(
        [], "Host names of the page, in addition to the address above and this machine's own."
    )
    trusted_proxies: int = key(
        0, "Number of reverse proxies in front whose X-Forwarded headers are trusted.", minimum=0, maximum=10
    )
    github_lookup: bool = key(
        True, "Look up named repositories at GitHub's API (github.api_url); false: only those in the bundle."
    )
    max_batch_size: int = key(
        64, "Maximum number of prediction requests that a worker answers in one batch.", minimum=1, maximum=1000
    )
    cache_ttl: float = key(
        600.0,
        "An identical prediction request within this time returns the same result.",
        unit="s",
        minimum=0,
        maximum=86_400,
    )
    rate_limit: int = key(
        120, "Prediction requests per minute and visitor; 0 means no limit.", minimum=0, maximum=1_000_000
    )
    track_record: bool = key(
        True, "Store predictions (without personal data) and score them when the repository is fetched again."
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
    time_limit: float = key(30.0, "A prediction that takes longer fails.", unit="s", minimum=1, maximum=3600)
    results_ttl: float = key(86_400.0, "Results are stored this long.", unit="s", minimum=60, maximum=31_536_000)


@dataclass(frozen=True)
class InfraSection:
    """The machines of the cluster. Credentials of the cloud belong to OpenStack's clouds.yaml, not here."""

    provider: str = key(
        "openstack", "Create machines on OpenStack, or use those in infra.hosts.", choices=("openstack", "static")
    )
    cloud: str = key("", "Name of the cloud in clouds.yaml; empty means OS_CLOUD, else the only one.")
    name: str = key(
        "stargaze",
        "Tag of all created resources; two clusters in one project need two names.",
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
        "debian-12",
        "Image of all machines: its name or id, or a prefix of its name (the newest is used).",
        not_empty=True,
    )
    user: str = key("debian", "The image's user, who may sudo.", not_empty=True)
    flavor: str = key("", "Flavor of all machines, name or id; empty means the smallest with the resources below.")
    min_cpus: int = key(2, "Minimum per machine.", unit="cores", minimum=1, maximum=256)
    min_memory: float = key(4, "Minimum per machine.", unit="GB", minimum=0.25, maximum=4096)
    min_disk: int = key(20, "Minimum per machine.", unit="GB", minimum=0, maximum=10_000)
    availability_zone: str = key("", "Availability zone of the machines; empty means the default of the cloud.")
    network: str = key("", "An existing network, name or id; empty creates one with a subnet.")
    cidr: str = key("10.20.0.0/24", "Address range of the created network.", not_empty=True, normalize=valid_subnet)
    nameservers: list[str] = key(
        [], "Nameservers of the created network; empty means those of the cloud.", normalize=normalized_addresses
    )
    router: bool = key(
        True, "Create a router to the external network; false if the network has one, or none is allowed."
    )
    external_network: str = key("", "Network of the floating IPs, name or id; empty means the only one.")
    floating_ip: bool = key(
        True, "Give the orchestration machine a floating IP; false if its own address is reachable."
    )
    keypair: str = key("", "An existing keypair of the project; empty creates one.")
    key_file: str = key("", "The private ssh key of the machines; empty creates one in the store.")
    ssh_from: list[str] = key(
        [],
        "From where the orchestration machine may be reached by ssh; empty: what the cloud lets in, which is this machine's "
        "own address; of static hosts, whoever has a key.",
        unit="CIDR",
        normalize=network_ranges,
    )
    page_port: int = key(
        80,
        "Port of the page, the only public port besides ssh.",
        minimum=1,
        maximum=65_535,
        normalize=valid_page_port,
    )
    host_keys: str = key(
        "console",
        "How ssh host keys are verified: against the console output of the first boot, or trusted on the first connection.",
        choices=("console", "first-use"),
    )
    unattended_upgrades: bool = key(True, "Install security updates automatically.")
    timeout: int = key(900, "Time for a machine to boot and accept ssh.", unit="s", minimum=10, maximum=7200)
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
