"""What the page's processes must know: passed on through the environment, so they need no file of their own."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from urllib.parse import quote, urlsplit

from stargaze import config
from stargaze.config import GithubSection, ServeSection
from stargaze.errors import ConfigError
from stargaze.store import Store
from stargaze.system.files import convert_disk_errors

QUEUE_NAME = "stargaze"
"""Name of the queue between page and workers."""
DEAD_LETTER_QUEUE = "stargaze.dead"
"""Where a message ends that workers gave back too often."""
BROKER_PASSWORD_VARIABLE, RESULTS_PASSWORD_VARIABLE = "STARGAZE_BROKER_PASSWORD_FILE", "STARGAZE_RESULTS_PASSWORD_FILE"
"""Variables that name the files in which the passwords stand."""
SESSION_KEY_VARIABLE = "STARGAZE_SESSION_KEY_FILE"
"""Names the file of the key that signs cookies and numbers questions, where several machines share one."""
MAX_BODY = 64 * 1024
"""Largest body of a request [bytes]; five typed repositories need about 3 kB."""
RETRY_AFTER = 5
"""What a client is told to wait when nothing can be accepted [s]."""
LOW_MEMORY_VARIABLES = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_TRIM_THRESHOLD_": "100000",
    "MALLOC_MMAP_THRESHOLD_": "100000",
}
"""A worker computes on one thread, and gives back what it does not need: 20 MB less each."""
ANY_ADDRESS = ("0.0.0.0", "")  # noqa: S104 - compared with, never bound to


@dataclass(frozen=True)
class Sources:
    """What the workers ask beside the bundle: GitHub's API, and a table of histories where it is not ``fetch``'s."""

    github_url: str = GithubSection().api_url
    history: str = ""


DEFAULT_SOURCES = Sources()


def to_environment(section: ServeSection, store: Store, sources: Sources = DEFAULT_SOURCES) -> dict[str, str]:
    """Write section, store and sources as variables that :func:`read_environment`, and so any config, reads back."""
    variables = {
        "STARGAZE_STORE_PATH": str(store.root.resolve()),
        "STARGAZE_GITHUB_API_URL": sources.github_url,
        "STARGAZE_GROWTH_HISTORY_FILE": str(Path(sources.history).resolve()) if sources.history else "",
    }
    for item in fields(section):
        value = getattr(section, item.name)
        text = ",".join(value) if isinstance(value, list) else str(value)
        variables[f"STARGAZE_SERVE_{item.name}".upper()] = text.lower() if isinstance(value, bool) else text
    return variables


def read_environment(environ: Mapping[str, str]) -> tuple[ServeSection, Store]:
    """Read what the supervisor (or a container's definition) wrote."""
    loaded = config.load(environ=environ)
    return loaded.serve, Store(Path(loaded.store.path).resolve())


def read_sources(environ: Mapping[str, str]) -> Sources:
    """Read where the workers may ask, as :func:`to_environment` wrote it."""
    loaded = config.load(environ=environ)
    return Sources(loaded.github.api_url, loaded.growth.history_file)


def web_server_command(section: ServeSection, bind: str, *, grace: int) -> list[str]:
    """Return the module and the options that are the page; ``grace`` [s] is what open requests have when it is to end."""
    words = ["gunicorn", f"--bind={bind}", "--worker-class=gthread"]
    words += [f"--workers={section.web_processes}", "--threads=64", "--timeout=30", f"--graceful-timeout={grace}"]
    return [*words, "--no-control-socket", "--limit-request-line=2048", "stargaze.serve.web.app:create()"]


def broker_url(section: ServeSection, environ: Mapping[str, str]) -> str:
    """Return where RabbitMQ is, with its password; empty where the queue is a folder of the store."""
    return _with_password(section.broker_url, "serve.broker_url", BROKER_PASSWORD_VARIABLE, environ, ("amqp", "amqps"))


def results_url(section: ServeSection, environ: Mapping[str, str]) -> str:
    """Return where Redis is, with its password; empty where results are in SQLite."""
    return _with_password(
        section.results_url, "serve.results_url", RESULTS_PASSWORD_VARIABLE, environ, ("redis", "rediss")
    )


def _with_password(url: str, name: str, variable: str, environ: Mapping[str, str], schemes: tuple[str, ...]) -> str:
    """Put the password of a file into a URL: a config is shown and committed, so it must not stand there."""
    if not url:
        return ""
    parts = urlsplit(url)
    if parts.scheme not in schemes or not parts.hostname:
        raise ConfigError(f"{name}: is not an address of {schemes[0]}", hint=f"{schemes[0]}://host:port")
    if parts.password:
        raise ConfigError(f"{name}: holds a password", hint=f"put it into a file: export {variable}=FILE")
    if variable not in environ:
        return url
    path = Path(environ[variable])
    with convert_disk_errors(path):
        password = path.read_text(encoding="utf-8").strip()
    place = f"{parts.hostname}:{parts.port}" if parts.port else parts.hostname
    return parts._replace(netloc=f"{parts.username or ''}:{quote(password, safe='')}@{place}").geturl()


def trusted_hosts(section: ServeSection) -> list[str]:
    """List the names that a request may call this server: what it is bound to, and this machine."""
    hosts = ["localhost", "127.0.0.1", *section.allowed_hosts]
    if section.host not in ANY_ADDRESS:
        return sorted({*hosts, section.host})
    with contextlib.suppress(OSError):  # a machine that cannot look up its own name still has the two above
        name, aliases, addresses = socket.gethostbyname_ex(socket.gethostname())
        hosts += [socket.gethostname(), name, *aliases, *addresses]
    return sorted(set(hosts))


def ready_file(store: Store, supervisor: int) -> Path:
    """Return the file that a worker touches once it can answer, told apart by the process that started it."""
    return store.queue / f"ready-{supervisor}"


def session_key(store: Store) -> bytes:
    """Return the random key that signs the form's cookie, the same for every web process; made on first use."""
    path = Path(os.environ[SESSION_KEY_VARIABLE]) if SESSION_KEY_VARIABLE in os.environ else store.keys / "session.key"
    with convert_disk_errors(path):
        if not path.exists():
            _make_key(path)
        return path.read_bytes()


def _make_key(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(prefix=".session.", dir=path.parent)  # mode 0600
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(secrets.token_bytes(32))
        with contextlib.suppress(FileExistsError):  # another process was first: its key is the key
            os.link(name, path)
    finally:
        Path(name).unlink()
