"""The typed sections of ``stargaze.toml``: every key with its default, its unit and why it is there.

The annotated file that ``stargaze init`` writes is made from the same metadata, so it cannot go stale.
Precedence: default < user file < project file < environment (``STARGAZE_<SECTION>_<KEY>``) < option.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import tomllib
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stargaze.config import validators as forms
from stargaze.errors import ConfigError, MissingInputError, did_you_mean

POLICIES = ("static", "activity", "all")
TARGETS = ("stars", "growth")
SAMPLINGS = ("top", "stratified", "random")
EXECUTORS = ("process", "docker", "ray")
PLACES = ("here", "cluster")
DEFAULT_PATH = Path("stargaze.toml")


def key(
    default: Any,
    why: str,
    *,
    unit: str = "",
    least: float | None = None,
    most: float | None = None,
    choices: tuple[str, ...] = (),
    filled: bool = False,
    form: Callable[[Any], Any] | None = None,
) -> Any:
    """Declare one key: its default, a line of why, its unit, what it may be, and what brings it into its normal form."""
    metadata = {
        "why": why,
        "unit": unit,
        "least": least,
        "most": most,
        "choices": choices,
        "filled": filled,
        "form": form,
    }
    if isinstance(default, (list, dict)):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class StoreSection:
    """Where everything that stargaze makes is kept."""

    path: str = key(
        "store", "Folder of all artefacts; safe to delete, everything in it can be made again.", filled=True
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
    number: int = key(1000, "How many of a search; 0 means all.", unit="repositories", least=0, most=10_000_000)
    sampling: str = key(
        "top",
        "Which of a search: the most starred; evenly over log stars and year of creation; each with the same chance.",
        choices=SAMPLINGS,
    )
    seed: int = key(0, "Fixes which ones a sample holds.", least=0, most=2**31 - 1)
    rich: bool = key(True, "With GITHUB_TOKEN, also counts and commits by GraphQL; false asks the search alone.")
    deep: bool = key(
        False, "Also contributors, followers of organizations and README length: up to 3 requests a repository."
    )
    history: list[str] = key([], 'Weekly star history of these, owner/name each; "*" means of all gathered.')
    url: str = key("https://api.github.com", "The API; of GitHub Enterprise it is https://HOST/api/v3.", filled=True)


@dataclass(frozen=True)
class FeaturesSection:
    """How repositories become features and which of them stay."""

    seed: int = key(0, "Fixes the split, the folds and the random probes.", least=0, most=2**31 - 1)
    test: float = key(
        0.15, "Share held out for the reported figures, never fitted.", unit="share", least=0.02, most=0.5
    )
    validation: float = key(
        0.15,
        "Share that calibrates the intervals beside the folds; no estimate is fitted on it.",
        unit="share",
        least=0.02,
        most=0.5,
    )
    folds: int = key(5, "Cross-validation folds inside the training part.", unit="folds", least=2, most=20)
    split_by: str = key(
        "owner",
        "What must not stand on two sides: all repositories of an owner, or only the repository itself.",
        choices=("owner", "repository"),
    )
    max_missing: float = key(
        0.98, "Drop a column with a larger share of missing values.", unit="share", least=0, most=1
    )
    redundant: float = key(
        0.99, "Drop a column whose Spearman's rho with a kept one is at least this.", unit="rho", least=0.5, most=1
    )
    leak: float = key(
        0.97,
        "Refuse a column whose Spearman's rho with the stars is at least this: it holds them.",
        unit="rho",
        least=0.5,
        most=1,
    )
    repeats: int = key(
        2,
        "How often columns are compared with random probes in each fold, every time by a model with a seed of its own.",
        least=1,
        most=100,
    )


@dataclass(frozen=True)
class ScreeningSection:
    """How the model families are compared."""

    families: list[str] = key([], "Families to screen (see `stargaze screen --help`); empty means all.")
    rows: int = key(
        0, "Screen on at most this many training repositories, whole owners; 0 means all.", unit="rows", least=0
    )
    time_limit: float = key(300.0, "A family that takes longer is a row that says so.", unit="s", least=1)
    processes: int = key(0, "Families at the same time; 0 means as many as there is room for.", least=0, most=256)
    executor: str = key(
        "process",
        "Where they run: processes here; containers of the Docker engine that DOCKER_HOST names; tasks on Ray.",
        choices=EXECUTORS,
    )
    cpus: float = key(
        1.0, "What a container may use at most; families compute with one thread.", unit="cores", least=0.1, most=256
    )
    memory: float = key(
        2.0,
        "What a container may use at most; a family that wants more is a row that says so.",
        unit="GB",
        least=0.05,
        most=4096,
    )
    base_image: str = key(
        "python:3.11-slim-bookworm",
        "What the container image is built on; a site's mirror of it, for one.",
        filled=True,
    )
    build_options: list[str] = key([], 'More options of `docker build`, as "--network=host".')


@dataclass(frozen=True)
class TuningSection:
    """How the finalists are tuned and what goes into the bundle."""

    target: str = key(
        "stars", "What is predicted: the stars a repository has earned, or those it will gain.", choices=TARGETS
    )
    on: str = key(
        "here", "Where it runs: on this machine, or on the machines of `stargaze infra` as a Ray job.", choices=PLACES
    )
    trials: int = key(50, "Configurations to try.", unit="trials", least=1, most=100_000)
    finalists: int = key(2, "How many of the best families are tuned.", unit="families", least=1, most=10)
    time_budget: float = key(0.0, "Stop starting trials after this long; 0 means no limit.", unit="s", least=0)
    max_concurrent: int = key(0, "Trials at the same time, one core each; 0 means one a core.", least=0, most=4096)
    race: bool = key(True, "End a trial after the fold that shows that it cannot win.")
    seed: int = key(0, "Fixes the search and the models.", least=0, most=2**31 - 1)
    blend: int = key(
        4,
        "How many models may answer together where that wins; 1 keeps the single best.",
        unit="models",
        least=1,
        most=8,
    )
    coverage: float = key(0.9, "How often the interval shall hold the true count.", unit="share", least=0.5, most=0.99)
    estimate: str = key("all", "Feature policy of the estimate.", choices=POLICIES)
    explain: str = key("activity", "Feature policy of the explanation.", choices=POLICIES)
    known: int = key(
        50_000,
        "Repositories that travel with the bundle, most starred first, so the page knows them by name.",
        unit="rows",
        least=0,
    )


@dataclass(frozen=True)
class GrowthSection:
    """What `stargaze tune` foresees where tuning.target is "growth"."""

    history: str = key(
        "", "Table of dates and counts (CSV, Parquet: full_name, date, stars); empty takes what fetch gathered."
    )
    history_weeks: int = key(26, "How long a history a forecast looks at.", unit="weeks", least=4, most=260)
    horizons: list[int] = key([30, 90, 365], "How far ahead.", unit="days")
    cut: str = key(
        "2024-07-01", "Train on what was over before this day, test on what began on it or later.", unit="date"
    )


@dataclass(frozen=True)
class DeploySection:
    """How a bundle reaches production."""

    signing_key: str = key("", "ssh private key that signs releases; empty makes one below the store.", unit="path")
    max_size: float = key(200.0, "The hook refuses a release larger than this.", unit="MB", least=1, most=1000)
    to: str = key(
        "local",
        "Where it serves: on this machine, or in the Swarm of the cluster's production machines.",
        choices=("local", "swarm"),
    )
    web: int = key(
        2,
        "Pages; with ports of the hosts there is one a node, whatever stands here.",
        unit="replicas",
        least=1,
        most=64,
    )
    workers: int = key(2, "Workers, spread over the nodes.", unit="replicas", least=1, most=256)
    registry: str = key(
        "",
        'A registry that the nodes pull the image from, as "registry.example/team"; empty: it is sent to them by ssh.',
    )
    build_on: str = key(
        "here",
        "Whose Docker engine builds the image: that of DOCKER_HOST, or the cluster's development machine's.",
        choices=("here", "development"),
    )
    publish: str = key(
        "ingress",
        "The page's port: one for all nodes, which Swarm spreads; or each node's own, for a proxy in front.",
        choices=("ingress", "host"),
    )
    discovery: str = key(
        "vip",
        "How the page's name is resolved inside: to one virtual address (wants IPVS in the kernel), or to all replicas.",
        choices=("vip", "dnsrr"),
    )
    broker_image: str = key("rabbitmq:3.13-management", "RabbitMQ's image.", filled=True)
    results_image: str = key("redis:7", "Redis's image.", filled=True)
    flower: bool = key(False, "Run Flower beside the workers, on the inner network only.")
    flower_image: str = key("mher/flower:2.0", "Flower's image.", filled=True)
    prometheus: bool = key(False, "Run Prometheus beside the page, on the inner network only.")
    prometheus_image: str = key("prom/prometheus:v2.53.2", "Prometheus's image.", filled=True)
    web_cpus: float = key(1.0, "What a page may use at most.", unit="cores", least=0.1, most=256)
    web_memory: float = key(1.0, "What a page may use at most.", unit="GB", least=0.05, most=4096)
    worker_cpus: float = key(1.0, "What a worker may use at most.", unit="cores", least=0.1, most=256)
    worker_memory: float = key(2.0, "What a worker may use at most.", unit="GB", least=0.05, most=4096)
    broker_memory: float = key(1.0, "What RabbitMQ may use at most.", unit="GB", least=0.25, most=4096)
    results_memory: float = key(1.0, "What Redis may use at most.", unit="GB", least=0.05, most=4096)
    patience: int = key(300, "How long services may take to run after a change.", unit="s", least=10, most=7200)


@dataclass(frozen=True)
class ServeSection:
    """The page and its workers."""

    host: str = key("127.0.0.1", "Address to listen on; the default answers this machine only.", filled=True)
    port: int = key(8000, "Port to listen on; 0 takes a free one.", least=0, most=65_535)
    processes: int = key(2, "Web processes.", least=1, most=64)
    workers: int = key(1, "Prediction processes.", least=1, most=64)
    repositories: int = key(5, "Most repositories in one question.", least=1, most=100)
    hosts: list[str] = key([], "Names that the page is called by, beside the address above and this machine's own.")
    proxies: int = key(0, "Reverse proxies in front, whose word on the visitor's address is taken.", least=0, most=10)
    github: bool = key(
        True, "Ask GitHub's API (github.url) for named repositories; false: only those that travel with the bundle."
    )
    batch: int = key(64, "Questions that one worker predicts at once when many wait.", least=1, most=1000)
    fresh: float = key(
        600.0, "The same question asked again within this time has the same answer.", unit="s", least=0, most=86_400
    )
    per_minute: int = key(
        120, "Questions that one visitor may ask in a minute; 0 sets no limit.", least=0, most=1_000_000
    )
    record: bool = key(
        True, "Keep predictions (nothing of who asked) and score them when the repository is seen again."
    )
    metrics_port: int = key(
        0, "Prometheus metrics on this port of 127.0.0.1, never on the page's; 0 serves none.", least=0, most=65_535
    )
    broker: str = key(
        "",
        'RabbitMQ, as "amqp://user@host:5672/stargaze"; empty: files in the store. The password is a file\'s, see results.',
    )
    results: str = key(
        "",
        'Redis, as "redis://host:6379/0"; empty: SQLite in the store. Passwords stand in the files that '
        "STARGAZE_BROKER_PASSWORD_FILE and STARGAZE_RESULTS_PASSWORD_FILE name.",
    )
    time_limit: float = key(30.0, "A prediction that takes longer is reported failed.", unit="s", least=1, most=3600)
    results_expire: float = key(86_400.0, "Answers are kept this long.", unit="s", least=60, most=31_536_000)


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
        filled=True,
        form=forms.cluster_name,
    )
    parameter_servers: int = key(1, "Ray workers beside the development server.", unit="machines", least=0, most=64)
    production: int = key(
        2, "Nodes of the Swarm; three or more survive the loss of one.", unit="machines", least=1, most=64
    )
    image: str = key(
        "debian-12", "Image of all machines: its name or id, or how the name of the newest begins.", filled=True
    )
    user: str = key("debian", "The image's user, who may sudo.", filled=True)
    flavor: str = key("", "Flavor of all machines, name or id; empty takes the least that has what stands below.")
    cpus: int = key(2, "At least so many in each machine.", unit="cores", least=1, most=256)
    memory: float = key(4, "At least so much in each machine.", unit="GB", least=0.25, most=4096)
    disk: int = key(20, "At least so much in each machine.", unit="GB", least=0, most=10_000)
    availability_zone: str = key("", "Where the machines are; empty leaves it to the cloud.")
    network: str = key("", "A network that exists, name or id; empty makes one with a subnet.")
    cidr: str = key("10.20.0.0/24", "Addresses of the network that is made.", filled=True, form=forms.subnet)
    nameservers: list[str] = key([], "Of the network that is made; empty takes the cloud's own.", form=forms.addresses)
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
        form=forms.ranges,
    )
    page_port: int = key(
        80,
        "Port of the page, the only other thing that faces outside.",
        least=1,
        most=65_535,
        form=forms.page_port,
    )
    host_keys: str = key(
        "console",
        "How a machine's ssh key is learnt: from what it wrote to its console at its first boot, or at the first contact.",
        choices=("console", "first-use"),
    )
    updates: bool = key(True, "Let the machines install security updates by themselves.")
    patience: int = key(900, "How long a machine may take to boot and answer.", unit="s", least=10, most=7200)
    variables: dict[str, str] = key(
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


def load(
    path: Path | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    options: Mapping[str, Any] | None = None,
) -> Config:
    """Read defaults, user file, project file, environment and options, in that order of strength.

    ``path`` None means ``stargaze.toml`` here if there is one. ``options`` has dotted names
    (``tuning.trials``); a value of None means "not given".
    """
    environ = os.environ if environ is None else environ
    layers: list[tuple[str, Mapping[str, Any]]] = []
    user = _user_file(environ)
    if user is not None:
        layers.append((str(user), _read(user)))
    chosen = project_file(path)
    if chosen is not None:
        layers.append((str(chosen), _read(chosen)))
    layers.append(("environment", _from_environment(environ)))
    layers.append(("option", _nested(options or {})))
    config = Config()
    for source, table in layers:
        config = _merge(config, table, source)
    _check_whole(config)
    return config


def project_file(path: Path | None) -> Path | None:
    """Return the config file of the project: the one that was named, or ``stargaze.toml`` here if there is one."""
    return path or (DEFAULT_PATH if DEFAULT_PATH.is_file() else None)


def checked_section(name: str, values: Mapping[str, Any], *, source: str) -> Any:
    """Return one section from values that were written elsewhere, as checked as those of a file."""
    return getattr(_merge(Config(), {name: values}, source), name)


def render(config: Config | None = None) -> str:
    """Return the annotated ``stargaze.toml`` with every key at its default, or as a config has it."""
    config = config or Config()
    lines = [
        "# stargaze.toml: every key with its default. Delete what you do not change.",
        "# Stronger than this file: STARGAZE_<SECTION>_<KEY> in the environment, then the command's options.",
        "# Secrets are never written here: GITHUB_TOKEN comes from the environment.",
    ]
    for section in dataclasses.fields(Config):
        kind = _section_type(section.name)
        lines += ["", f"# {(kind.__doc__ or '').strip()}", f"[{section.name}]"]
        tables = []
        for item in dataclasses.fields(kind):
            value = getattr(getattr(config, section.name), item.name)
            note = _note(item.metadata)
            if isinstance(value, dict):
                tables += ["", f"# {note}", f"[{section.name}.{item.name}]"]
                tables += [f"{_toml(name)} = {_toml(text)}" for name, text in value.items()]
            else:
                lines += [f"# {note}", f"{item.name} = {_toml(value)}"]
        lines += tables
    return "\n".join(lines) + "\n"


def as_dict(config: Config) -> dict[str, dict[str, Any]]:
    """Return plain nested dictionaries, for ``--json`` and for printing."""
    return dataclasses.asdict(config)


def _note(metadata: Mapping[str, Any]) -> str:
    parts = [metadata["why"]]
    if metadata["choices"]:
        parts.append("One of: " + ", ".join(metadata["choices"]) + ".")
    if metadata["unit"]:
        parts.append(f"[{metadata['unit']}]")
    return " ".join(parts)


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    # JSON leaves DEL as it is, TOML does not.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f") if isinstance(value, str) else str(value)


def _user_file(environ: Mapping[str, str]) -> Path | None:
    """Return the user's own file if there is one; a home that is not there or may not be looked into holds none."""
    try:
        home = Path(environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
        path = home / "stargaze" / "stargaze.toml"
        return path if path.is_file() else None
    except (OSError, RuntimeError):
        return None


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise MissingInputError(f"{path}: no such config file", hint="stargaze init") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{path}: cannot be read: {reason}", hint="stargaze init writes a fresh one") from error
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}", hint="stargaze init --print shows a valid one") from error


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    known = {
        f"STARGAZE_{section.name}_{item.name}".upper(): (section.name, item.name)
        for section in dataclasses.fields(Config)
        for item in dataclasses.fields(_section_type(section.name))
    }
    ours = tuple(f"STARGAZE_{section.name}_".upper() for section in dataclasses.fields(Config))
    found: dict[str, Any] = {}
    for variable in filter(lambda name: name.startswith(ours), environ):
        if variable not in known:
            raise ConfigError(f"environment: {_name(variable)} is not a key", hint=_suggest(variable, list(known)))
        section, item = known[variable]
        found.setdefault(section, {})[item] = _parse(environ[variable], _kind(section, item), _items(section, item))
    return found


def _parse(text: str, kind: type, items: type = str) -> Any:
    """Read an environment variable as the type of its key; what does not fit stays text and is refused later."""
    if kind is list:
        parts = [part.strip() for part in text.split(",") if part.strip()]
        return [int(part) for part in parts] if items is int and all(map(str.isdecimal, parts)) else parts
    if kind is dict:
        pairs = [[side.strip() for side in part.split("=", 1)] for part in text.split(",") if part.strip()]
        return dict(pairs) if all(len(pair) == 2 for pair in pairs) else text
    if kind is bool:
        return {"true": True, "false": False}.get(text.strip().lower(), text)
    for number in (int, float) if kind is float else (int,) if kind is int else ():
        try:
            return number(text)
        except ValueError:
            continue
    return text


def _nested(options: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in options.items():
        if value is not None:
            section, _, item = name.partition(".")
            found.setdefault(section, {})[item] = value
    return found


def _merge(config: Config, table: Mapping[str, Any], source: str) -> Config:
    changed: dict[str, Any] = {}
    sections = [item.name for item in dataclasses.fields(Config)]
    for name, values in table.items():
        if name not in sections:
            raise ConfigError(f"{source}: {_name(name)} is not a section", hint=_suggest(name, sections))
        if not isinstance(values, Mapping):
            raise ConfigError(
                f"{source}: {name} should be a section, written [{name}]", hint="stargaze init --print shows how"
            )
        section = getattr(config, name)
        keys = [item.name for item in dataclasses.fields(section)]
        for item in values:
            if item not in keys:
                raise ConfigError(
                    f"{source}: {name}.{_name(item)} is not a key",
                    hint=_suggest(f"{name}.{item}", [f"{name}.{k}" for k in keys]),
                )
        checked = {item: _checked(source, name, item, value) for item, value in values.items()}
        changed[name] = dataclasses.replace(section, **checked)
    return dataclasses.replace(config, **changed)


def _suggest(name: str, known: list[str]) -> str:
    return did_you_mean(name, known, "Known here: " + ", ".join(known))


def _section_type(name: str) -> Any:
    return typing.get_type_hints(Config)[name]


def _kind(section: str, name: str) -> type:
    hint = typing.get_type_hints(_section_type(section))[name]
    kind: type = typing.get_origin(hint) or hint
    return kind


def _items(section: str, name: str) -> type:
    """Return what a list holds; text where the key is none."""
    arguments = typing.get_args(typing.get_type_hints(_section_type(section))[name])
    return arguments[0] if arguments else str


def _checked(source: str, section: str, name: str, value: Any) -> Any:
    path = f"{source}: {section}.{name}"
    kind = _kind(section, name)
    metadata = next(f.metadata for f in dataclasses.fields(_section_type(section)) if f.name == name)
    unit = f" [{metadata['unit']}]" if metadata["unit"] else ""
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value) if abs(value) < 1e300 else math.inf
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        wrong = f"should be {_NAMES[kind]}{unit}"
    elif isinstance(value, bool):
        wrong = ""
    elif isinstance(value, (int, float)):
        wrong = _wrong_number(value, unit, metadata)
    elif _items(section, name) is int:
        wrong = _wrong_numbers(value, unit)
    else:
        wrong = _wrong_text(value, metadata)
    formed = value
    if metadata["form"] and not wrong:
        try:
            formed = metadata["form"](value)
        except ValueError as error:
            wrong = str(error)
    if wrong:
        raise ConfigError(f"{path} {wrong}, not {_short(value)}", hint=_note(metadata))
    return formed


def _wrong_number(value: float, unit: str, metadata: Mapping[str, Any]) -> str:
    least, most = metadata["least"], metadata["most"]
    if most is None:
        infinite = not math.isfinite(value)
        return f"should be at least {least:g}{unit}{' and finite' * infinite}" if infinite or value < least else ""
    return "" if least <= value <= most else f"should be from {least:g} to {most:,}{unit}"


def _wrong_numbers(values: Any, unit: str) -> str:
    whole = all(isinstance(one, int) and not isinstance(one, bool) for one in values)
    return "" if whole else f"should hold whole numbers only{unit}"


def _wrong_text(value: Any, metadata: Mapping[str, Any]) -> str:
    texts = (
        [*value.keys(), *value.values()] if isinstance(value, dict) else [value] if isinstance(value, str) else value
    )
    if any(not isinstance(text, str) for text in texts):
        return "should hold text only"
    if any("\0" in text for text in texts):
        return "should hold no NUL"
    if metadata["filled"] and not value.strip():
        return "should not be empty"
    choices = metadata["choices"]
    return f"should be one of {', '.join(choices)}" if choices and value not in choices else ""


def _name(text: str) -> str:
    """Write a name that somebody else made up so that the message stays one short line."""
    return text if text.isprintable() and len(text) <= 60 else _short(text)


def _short(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:  # Python does not write numbers of thousands of digits
        return "a number beyond all measure"
    return text if len(text) <= 80 else f"{text[:60]}… ({len(text):,} characters)"


_NAMES = {int: "a whole number", float: "a number", str: "text", bool: "true or false", list: "a list", dict: "a table"}


def _check_whole(config: Config) -> None:
    deploy = config.deploy
    if deploy.to == "swarm" and (deploy.publish, deploy.discovery) == ("ingress", "dnsrr"):
        raise ConfigError(
            'deploy.publish = "ingress" does not go with deploy.discovery = "dnsrr": Swarm spreads by virtual addresses',
            hint='deploy.publish = "host", or deploy.discovery = "vip"',
        )
    held_out = config.features.test + config.features.validation
    if held_out > 0.8:
        raise ConfigError(
            f"features.test + features.validation is {held_out:g}, which leaves too little to train on",
            hint="keep their sum at 0.8 or less",
        )
