"""Settings of the serving processes, passed through the environment so that they need no config file."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from stargaze import config
from stargaze.config import GithubSection, ServeSection
from stargaze.errors import ConfigError
from stargaze.features.history.table_format import ANY_FORMAT, HistoryFormat
from stargaze.store import Store
from stargaze.system.files import atomic_write, convert_disk_errors, create_private_file, private_folder

QUEUE_NAME = "stargaze.predictions"
"""The queue between web processes and workers."""
DEAD_LETTER_QUEUE = "stargaze.dead-letter"
"""The queue for messages that workers rejected too often."""
BROKER_PASSWORD_VARIABLE, RESULTS_PASSWORD_VARIABLE = "STARGAZE_BROKER_PASSWORD_FILE", "STARGAZE_RESULTS_PASSWORD_FILE"
"""Name the files with the passwords."""
CA_FILES_VARIABLE = "STARGAZE_CA_FILES"
"""Variable that names the files of the CAs of broker and result store, separated by colons; without it the system's CAs count."""
SESSION_KEY_VARIABLE = "STARGAZE_SESSION_KEY_FILE"
"""Variable that names the file of the key that signs cookies and derives job ids, if several machines share one."""
MAX_BODY = 64 * 1024
"""Largest body of a request [bytes]; the values of five repositories need about 3 kB."""
WORKER_CLASS = "stargaze.serve.web.server.gunicorn_worker.BufferingWorker"
MAX_CONNECTIONS = 8_000
"""Connections of one web process; each costs a file descriptor and a few kB."""
RETRY_AFTER = 5
"""Value of the Retry-After header if no request can be accepted [s]."""
LOW_MEMORY_VARIABLES = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_TRIM_THRESHOLD_": "100000",
    "MALLOC_MMAP_THRESHOLD_": "100000",
}
"""A worker computes on one thread and returns freed memory: 20 MB less each."""
ANY_ADDRESS = ("0.0.0.0", "")  # noqa: S104 - compared with, never bound to


@dataclass(frozen=True)
class Sources:
    """Data sources of the workers besides the bundle: GitHub's API, and star histories (default: those of ``fetch``)."""

    github_url: str = GithubSection().api_url
    history: str = ""
    form: HistoryFormat = ANY_FORMAT


DEFAULT_SOURCES = Sources()


def to_environment(section: ServeSection, store: Store, sources: Sources = DEFAULT_SOURCES) -> dict[str, str]:
    """Return section, store and sources as variables that :func:`read_environment`, and any config, reads back."""
    variables = {
        "STARGAZE_STORE_PATH": str(store.root.resolve()),
        "STARGAZE_GITHUB_API_URL": sources.github_url,
        "STARGAZE_GROWTH_HISTORY_FILE": str(Path(sources.history).resolve()) if sources.history else "",
        "STARGAZE_GROWTH_COLUMNS": ",".join(f"{ours}={theirs}" for ours, theirs in sources.form.columns.items()),
        "STARGAZE_GROWTH_THOUSANDS": sources.form.thousands,
    }
    for field in fields(section):
        value = getattr(section, field.name)
        text = ",".join(value) if isinstance(value, list) else str(value)
        variables[f"STARGAZE_SERVE_{field.name}".upper()] = text.lower() if isinstance(value, bool) else text
    return variables


def read_environment(environ: Mapping[str, str]) -> tuple[ServeSection, Store]:
    """Read section and store as the supervisor or a container's definition wrote them."""
    loaded = config.load(environ=environ)
    return loaded.serve, Store(Path(loaded.store.path).resolve())


def read_sources(environ: Mapping[str, str]) -> Sources:
    """Read the workers' data sources, as :func:`to_environment` wrote them."""
    loaded = config.load(environ=environ)
    return Sources(loaded.github.api_url, loaded.growth.history_file, HistoryFormat.of(loaded.growth))


def web_server_command(section: ServeSection, bind: str, *, grace: int) -> list[str]:
    """Return module and options of the web server; ``grace`` [s] is the timeout of open requests at shutdown."""
    argv = [
        "stargaze.serve.supervisor.gunicorn_server",
        f"--bind={bind}",
        f"--worker-class={WORKER_CLASS}",
        f"--worker-connections={MAX_CONNECTIONS}",
    ]
    argv += [f"--workers={section.web_processes}", "--threads=64", "--timeout=30", f"--graceful-timeout={grace}"]
    return [
        *argv,
        "--no-sendfile",
        "--no-control-socket",
        "--forwarded-allow-ips=",  # its default lets a client on this machine set scheme, path and the prefix of all links
        "--limit-request-line=2048",
        "stargaze.serve.web.app:create()",
    ]


def broker_url(section: ServeSection, environ: Mapping[str, str]) -> str:
    """Return RabbitMQ's URL with its password; empty if the queue is a folder of the store."""
    return _add_password(section.broker_url, "serve.broker_url", BROKER_PASSWORD_VARIABLE, environ, ("amqp", "amqps"))


def results_url(section: ServeSection, environ: Mapping[str, str]) -> str:
    """Return Redis' URL with its password; empty if results are stored in SQLite."""
    return _add_password(
        section.results_url, "serve.results_url", RESULTS_PASSWORD_VARIABLE, environ, ("redis", "rediss")
    )


def ca_file(environ: Mapping[str, str]) -> str | None:
    """Return the file with all trusted CAs; None means those of the system.

    Several files, as during a change of certificates, are joined in the store.
    """
    names = [name for name in environ.get(CA_FILES_VARIABLE, "").split(os.pathsep) if name]
    if len(names) < 2:
        return names[0] if names else None
    joined = Path(environ["STARGAZE_STORE_PATH"], "trusted-ca.pem")
    with atomic_write(joined) as temporary:
        temporary.write_text("\n".join(Path(name).read_text(encoding="ascii") for name in names), encoding="ascii")
    return str(joined)


def results_tls(url: str, environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the options of a Redis client that verify CA and host name; none for a URL without TLS."""
    if not url.startswith("rediss:"):
        return {}
    return {
        "ssl_cert_reqs": "required",
        "ssl_check_hostname": True,
        "ssl_min_version": ssl.TLSVersion.TLSv1_2,
        "ssl_ca_certs": ca_file(environ),
    }


def _add_password(url: str, name: str, variable: str, environ: Mapping[str, str], schemes: tuple[str, ...]) -> str:
    """Insert the password from its file into a URL; a config is printed and committed, so it must not contain it."""
    if not url:
        return ""
    parts = urlsplit(url)
    if parts.scheme not in schemes or not parts.hostname:
        raise ConfigError(f"{name}: is not a URL of {schemes[0]}", hint=f"{schemes[0]}://host:port")
    if parts.password:
        raise ConfigError(f"{name}: contains a password", hint=f"store it in a file: export {variable}=FILE")
    if variable not in environ:
        return url
    path = Path(environ[variable])
    with convert_disk_errors(path):
        password = path.read_text(encoding="utf-8").strip()
    host = f"{parts.hostname}:{parts.port}" if parts.port else parts.hostname
    return parts._replace(netloc=f"{parts.username or ''}:{quote(password, safe='')}@{host}").geturl()


def trusted_hosts(section: ServeSection) -> list[str]:
    """Return the valid Host headers, in lower case: the bound address and the names of this machine."""
    hosts = ["localhost", "127.0.0.1", *section.allowed_hosts]
    if section.host not in ANY_ADDRESS:
        return sorted({host.lower() for host in (*hosts, section.host)})
    with contextlib.suppress(OSError):  # without name resolution, the two above remain
        name, aliases, addresses = socket.gethostbyname_ex(socket.gethostname())
        hosts += [socket.gethostname(), name, *aliases, *addresses]
    return sorted({host.lower() for host in hosts})


def ready_file(store: Store, supervisor: int) -> Path:
    """Return the file that a worker touches when it is ready; its name has the pid of the supervisor."""
    return store.queue / f"ready-{supervisor}"


def ready_files(store: Store) -> list[Path]:
    """Return the ready files of all supervisors, also of killed ones."""
    return list(store.queue.glob("ready-[0-9]*"))


def session_key(store: Store) -> bytes:
    """Return the random key of all web processes, which signs cookies; created on first use."""
    path = Path(os.environ[SESSION_KEY_VARIABLE]) if SESSION_KEY_VARIABLE in os.environ else store.keys / "session.key"
    with convert_disk_errors(path):
        if not path.exists():
            private_folder(path.parent)
            create_private_file(path, secrets.token_bytes(32))
        return path.read_bytes()
