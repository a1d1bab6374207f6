"""The sections about production: deploy, serve, infra."""

from __future__ import annotations

from dataclasses import dataclass

from stargaze.config.keys import (
    domain_name,
    expand_home,
    host_names,
    https_url,
    image_reference,
    key,
    network_ranges,
    normalized_addresses,
    repository_patterns,
    time_of_day,
    valid_cluster_name,
    valid_page_port,
    valid_subnet,
)


@dataclass(frozen=True)
class DeploySection:
    """Deployment of a bundle."""

    signing_key: str = key(
        "", "ssh private key that signs releases; empty creates one in the store.", unit="path", normalize=expand_home
    )
    max_release_size: float = key(200.0, "The hook refuses a release larger than this.", unit="MB", limits=(1, 1000))
    to: str = key(
        "local",
        "Production: this machine, or the Swarm of the cluster's production machines.",
        choices=("local", "swarm"),
    )
    web_replicas: int = key(
        2, "Web replicas; with publish_mode = host there is one per node instead.", unit="replicas", limits=(1, 64)
    )
    worker_replicas: int = key(2, "Worker replicas, spread over the nodes.", unit="replicas", limits=(1, 256))
    registry: str = key(
        "", 'A registry that the nodes pull the image from, as "registry.example/team"; empty: it is sent by ssh.'
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
    encrypt_networks: bool = key(
        True, "Encrypt what containers send to other nodes (IPsec, which needs ESP in the nodes' kernels)."
    )
    broker_image: str = key("rabbitmq:4.3-management", "Image of RabbitMQ.", not_empty=True, normalize=image_reference)
    results_image: str = key("redis:8.8", "Image of Redis.", not_empty=True, normalize=image_reference)
    flower: bool = key(False, "Run Flower, on the internal network only.")
    flower_image: str = key("mher/flower:2.0", "Image of Flower.", not_empty=True, normalize=image_reference)
    prometheus: bool = key(False, "Run Prometheus, on the internal network only.")
    prometheus_image: str = key(
        "prom/prometheus:v3.15.0", "Image of Prometheus.", not_empty=True, normalize=image_reference
    )
    web_cpus: float = key(1.0, "Limit of a web replica.", unit="cores", limits=(0.1, 256))
    web_memory: float = key(1.0, "Limit of a web replica.", unit="GB", limits=(0.05, 4096))
    worker_cpus: float = key(1.0, "Limit of a worker replica.", unit="cores", limits=(0.1, 256))
    worker_memory: float = key(2.0, "Limit of a worker replica.", unit="GB", limits=(0.05, 4096))
    broker_memory: float = key(1.0, "Limit of RabbitMQ.", unit="GB", limits=(0.25, 4096))
    results_memory: float = key(1.0, "Limit of Redis.", unit="GB", limits=(0.05, 4096))
    timeout: int = key(300, "Time for the services to become ready after a change.", unit="s", limits=(10, 7200))


@dataclass(frozen=True)
class ServeSection:
    """The web page and its workers."""

    host: str = key(
        "127.0.0.1", "Address to listen on; the default accepts connections from this machine only.", not_empty=True
    )
    port: int = key(8000, "Port to listen on; 0 takes a free one.", limits=(0, 65_535))
    web_processes: int = key(2, "Web processes.", limits=(1, 64))
    worker_processes: int = key(1, "Prediction processes.", limits=(1, 64))
    max_repositories: int = key(5, "Maximum number of repositories in one prediction request.", limits=(1, 100))
    allowed_hosts: list[str] = key(
        [], "Host names of the page, in addition to the address above and this machine's own.", normalize=host_names
    )
    trusted_proxies: int = key(
        0,
        "Number of reverse proxies in front whose X-Forwarded headers are trusted; in the Swarm, the cluster's own proxy counts.",
        limits=(0, 10),
    )
    github_lookup: bool = key(
        True, "Look up named repositories at GitHub's API (github.api_url); false: only those in the bundle."
    )
    exclude: list[str] = key(
        [],
        'Repositories that are never looked up, shown or recorded, as "owner/name", or "owner/*" for all of an owner.',
        normalize=repository_patterns,
    )
    max_batch_size: int = key(
        64, "Maximum number of prediction requests that a worker answers in one batch.", limits=(1, 1000)
    )
    cache_ttl: float = key(
        600.0,
        "An identical prediction request within this time returns the same result, unless it lacks something temporary.",
        unit="s",
        limits=(0, 86_400),
    )
    rate_limit: int = key(120, "Prediction requests per minute and visitor; 0 means no limit.", limits=(0, 1_000_000))
    track_record: bool = key(
        True, "Store predictions (without personal data) and score them when the repository is fetched again."
    )
    metrics_port: int = key(
        0, "Prometheus metrics on this port of 127.0.0.1, never on the page's; 0 serves none.", limits=(0, 65_535)
    )
    broker_url: str = key(
        "",
        'RabbitMQ, as "amqps://user@host:5671/stargaze" or without TLS as "amqp:"; empty: files in the store. '
        "See results_url for the password.",
    )
    results_url: str = key(
        "",
        'Redis, as "rediss://host:6379/0" or without TLS as "redis:"; empty: SQLite in the store. The files named by '
        "STARGAZE_BROKER_PASSWORD_FILE and STARGAZE_RESULTS_PASSWORD_FILE contain the passwords, "
        "STARGAZE_CA_FILES those of a private CA.",
    )
    time_limit: float = key(30.0, "A prediction that takes longer fails.", unit="s", limits=(1, 3600))
    results_ttl: float = key(86_400.0, "Results are stored this long.", unit="s", limits=(60, 31_536_000))


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
        1, "Ray workers in addition to the development server.", unit="machines", limits=(0, 64)
    )
    production_servers: int = key(
        2, "Nodes of the Swarm; three or more survive the loss of one.", unit="machines", limits=(1, 64)
    )
    image: str = key(
        "debian-12",
        "Image of all machines: its name or id, or a prefix of its name (the newest is used).",
        not_empty=True,
    )
    user: str = key("debian", "The image's user, who may use sudo.", not_empty=True)
    flavor: str = key("", "Flavor of all machines, name or id; empty means the smallest with the resources below.")
    min_cpus: int = key(2, "Minimum per machine.", unit="cores", limits=(1, 256))
    min_memory: float = key(4, "Minimum per machine.", unit="GB", limits=(0.25, 4096))
    min_disk: int = key(20, "Minimum per machine.", unit="GB", limits=(0, 10_000))
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
    key_file: str = key(
        "", "The private ssh key of the machines; empty creates one in the store.", normalize=expand_home
    )
    ssh_from: list[str] = key(
        [],
        "Address ranges that may connect to the orchestration machine by ssh; empty: this machine's address on OpenStack, "
        "any address with static hosts.",
        unit="CIDR",
        normalize=network_ranges,
    )
    page_port: int = key(
        80,
        "Port of the page by http; with TLS it redirects to https. Besides it only ssh and tls_port are public.",
        limits=(1, 65_535),
        normalize=valid_page_port,
    )
    page_domain: str = key(
        "", "Domain name of the page, which leads to the orchestration machine; needed for TLS.", normalize=domain_name
    )
    tls: str = key(
        "off",
        "Encryption of the page: none, your own certificate, or one of an ACME directory, which is renewed automatically.",
        choices=("off", "own", "acme"),
    )
    tls_port: int = key(443, "Port of the page by https.", limits=(1, 65_535), normalize=valid_page_port)
    tls_certificate: str = key(
        "", "With own: the certificate, followed by those of its issuers (PEM).", unit="path", normalize=expand_home
    )
    tls_key: str = key(
        "",
        "With own: the private key of the certificate (PEM, without a password).",
        unit="path",
        normalize=expand_home,
    )
    tls_ca: str = key(
        "",
        "Certificates of a private CA that issues the page's or the ACME directory's certificate.",
        unit="path",
        normalize=expand_home,
    )
    acme_directory: str = key(
        "https://acme-v02.api.letsencrypt.org/directory",
        "The ACME directory; its terms of service are accepted.",
        normalize=https_url,
    )
    acme_email: str = key("", "Address that the ACME directory may write to; empty gives none.")
    host_keys: str = key(
        "console",
        "How ssh host keys are verified: against the console output of the first boot, or trusted on the first connection.",
        choices=("console", "first-use"),
    )
    unattended_upgrades: bool = key(True, "Install security updates automatically.")
    reboot_at: str = key(
        "03:00",
        "When the first machine restarts if an update needs it (its clock); the others follow half an hour apart. Empty: never.",
        normalize=time_of_day,
    )
    timeout: int = key(900, "Time for a machine to boot and accept ssh.", unit="s", limits=(10, 7200))
    ansible_variables: dict[str, str] = key(
        {}, 'Variables of the playbooks\' roles (ansible/roles/*/defaults), as base_journal_size = "900".'
    )
    hosts: dict[str, str] = key(
        {},
        'For provider "static": name = "user@address" of machines that exist; names as orchestration, development, '
        "parameter1, production1.",
    )
