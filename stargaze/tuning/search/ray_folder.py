"""What a local Ray needs of this machine: a private folder with a short path, shared memory, an environment, and its end.

Ray takes settings from RAY_* variables, HOME, TMPDIR, proxies and the working directory, and its workers import modules from
there. Here it gets a folder of its own instead, and nothing else of the user's surroundings.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import secrets
import shutil
import signal
import socket
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from stargaze.errors import ExternalError
from stargaze.system.files import convert_disk_errors
from stargaze.system.locks import owned_folder, remove_abandoned
from stargaze.system.source_package import PACKAGE

PREFIX = "stargaze-"
NAMES = re.compile(r"stargaze-((tune|screen|catboost)-)?[a-z0-9_]{8}")
MAX_PATH = 38
"""Longest path of the folder [byte]: the paths of Ray's sockets are 65 longer, and the kernel allows 107 with a margin."""
PLAIN_PATH = re.compile(r"[A-Za-z0-9/._+-]+")
"""Ray splits command lines at spaces, and accepts ASCII only."""
MIN_FREE = 50_000_000
"""Space for the trials' data and Ray's logs [byte]."""
OBJECT_STORE = 200_000_000
"""Shared memory for the training data [byte]; the sample's arrays are 2 MB."""
SMALL_OBJECT_STORE = 80_000_000
"""Ray's minimum [byte]."""
LOOPBACK = "127.0.0.1"
MARKER = "STARGAZE_RAY_FOLDER"
"""The variable by which the processes of a Ray are found."""
KILL_TIME = 10.0
"""Time in which killed processes end [s]."""
TOKEN = "token"  # noqa: S105 - a file name
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",  # no usage statistics are sent
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # the future default; setting it silences a warning
    "RAY_AIR_NEW_OUTPUT": "0",  # the newer reporter ignores verbose=0
    # On Linux Ray uses the machine's external address even for 127.0.0.1, and its servers listen on every interface and
    # execute code without authentication. With clusters disabled it listens on loopback only, as on a Mac.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_local_fs_capacity_threshold": "1",  # a disk that is 95% full is none of Ray's business
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the trial journal is the log
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Tune would swallow Ctrl-C and return normally
}
"""Variables that Ray reads when it is imported or started."""
DROPPED = re.compile(r"(RAY|TUNE|OS)_.*|GITHUB_TOKEN|PYTHON.*|(HTTP|HTTPS|ALL|GRPC|FTP|NO)_PROXY", re.IGNORECASE)
"""Variables that a local Ray does not inherit: settings, secrets, proxies, and search paths."""


@contextlib.contextmanager
def private_folder() -> Iterator[Path]:
    """Yield a new folder for one Ray; in the end, kill what still runs in it and delete it.

    Folders of processes that were killed are deleted first, with what still runs there.

    Raise ExternalError if no folder for temporary files can be used, or the machine has no loopback interface.
    """
    _require_loopback()
    with owned_folder(_choose_parent(), PREFIX) as folder:
        with convert_disk_errors(folder):
            token = folder / TOKEN
            token.touch(mode=0o600)
            token.write_text(_create_token(), encoding="ascii")
        try:
            yield folder
        finally:
            kill_processes(folder)


def child_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a Python process that imports the same packages as this one, and nothing from its folder."""
    inherited = environ.get("PYTHONPATH", "") if not sys.flags.ignore_environment else ""
    paths = [path for path in inherited.split(os.pathsep) if Path(path).is_absolute()]
    installed = {sysconfig.get_path(name) for name in ("purelib", "platlib")}
    own = [] if str(PACKAGE.parent) in {*installed, *paths} else [str(PACKAGE.parent)]
    variables = {name: value for name, value in environ.items() if name not in ("PYTHONPATH", "PYTHONSTARTUP")}
    variables |= {"PYTHONSAFEPATH": "1"} | ({"PYTHONNOUSERSITE": "1"} if sys.flags.no_user_site else {})
    return variables | ({"PYTHONPATH": os.pathsep.join([*paths, *own])} if paths or own else {})


def ray_environment(folder: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a local Ray in its folder."""
    python = {name: value for name, value in child_environment(environ).items() if name.startswith("PYTHON")}
    kept = {name: value for name, value in environ.items() if not DROPPED.fullmatch(name)}
    return {
        "HOME": str(folder),  # for an account without a home
        **kept,
        **python,
        **SETTINGS,
        **dict.fromkeys(THREADS, "1"),  # Ray's ``runtime_env`` would disable prestarted workers (10 s on 2 cores)
        MARKER: str(folder),
        "TMPDIR": str(folder),
        "RAY_TMPDIR": str(folder),
        "RAY_AUTH_TOKEN_PATH": str(folder / TOKEN),
    }


@contextlib.contextmanager
def entered_folder(folder: Path) -> Iterator[None]:
    """Have this process run in Ray's folder and environment while Ray's processes start, and in its own afterwards."""
    variables, before = dict(os.environ), os.open(".", os.O_RDONLY | os.O_DIRECTORY)
    try:
        _replace_environment(ray_environment(folder, variables))
        os.chdir(folder)
        yield
    finally:
        os.fchdir(before)
        os.close(before)
        _replace_environment(variables)


def remove_ray_settings() -> None:
    """Remove Ray's variables from the environment of this process, before Ray is imported."""
    for name in [name for name in os.environ if name.upper().startswith(("RAY_", "TUNE_"))]:
        del os.environ[name]


def object_store(folder: Path) -> tuple[str, int]:
    """Return the folder and the size [byte] of Ray's shared memory; ExternalError if there is no space for it."""
    for parent in ("/dev/shm", str(folder)):  # noqa: S108 - Linux' shared memory
        for size in (OBJECT_STORE, SMALL_OBJECT_STORE):
            if _free_space(Path(parent)) > size + MIN_FREE // 5:
                return parent, size
    raise ExternalError(
        f"neither /dev/shm nor {folder.parent} has {SMALL_OBJECT_STORE // 10**6} MB for the shared memory of the trials",
        hint="free some space; df -h /dev/shm /tmp",
    )


def kill_processes(folder: Path) -> None:
    """Kill every process of this user that was started for the Ray of a folder."""
    mark, deadline = f"{MARKER}={folder}".encode(), time.monotonic() + KILL_TIME
    while found := [pid for pid in _process_ids() if pid != os.getpid() and mark in _environment(pid)]:
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:  # a process that waits for a disk
            return
        time.sleep(0.01)


@functools.cache
def _create_token() -> str:
    """Return the token of this process; Ray reads it once."""
    return secrets.token_hex(32)


def _choose_parent() -> Path:
    """Return the first folder for temporary files that has a short path, space and sockets; clean each one."""
    problems = []
    candidates = [os.environ.get("TMPDIR"), os.environ.get("XDG_RUNTIME_DIR"), "/tmp", "/var/tmp", "/dev/shm"]  # noqa: S108
    for parent in dict.fromkeys(Path(name).absolute() for name in candidates if name):
        with contextlib.suppress(OSError):
            remove_abandoned(parent, NAMES, kill_processes)
        problem = _find_problem(parent)
        if problem is None:
            return parent
        problems.append(f"{parent} {problem}")
    raise ExternalError(
        f"Ray needs a folder for temporary files: {'; '.join(problems)}",
        hint="set TMPDIR to a folder with a short path that you own, such as /tmp",
    )


def _find_problem(parent: Path) -> str | None:
    """Return why Ray cannot run below this folder."""
    if len(os.fsencode(parent)) + len(f"/{PREFIX}12345678") > MAX_PATH:
        return "has a path that is too long for sockets"
    if not PLAIN_PATH.fullmatch(str(parent)):
        return "has a path with a space or another special character"
    if _free_space(parent) < MIN_FREE:
        return f"has less than {MIN_FREE // 10**6} MB of space" if parent.is_dir() else "does not exist"
    try:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    except OSError as error:
        return f"cannot be written ({error.strerror})"
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(folder / "socket"))
    except OSError as error:
        return f"cannot hold sockets ({error.strerror})"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return None


def _require_loopback() -> None:
    """Connect to a socket of our own; without the loopback interface, Ray would wait for a minute and fail."""
    try:
        with socket.create_server((LOOPBACK, 0)) as server:
            socket.create_connection(server.getsockname(), timeout=10.0).close()
    except OSError as error:
        raise ExternalError(
            f"the loopback interface does not work: {LOOPBACK}: {error.strerror or error}", hint="ip link set lo up"
        ) from error


def _free_space(path: Path) -> int:
    """Return the space that this user can write below a folder [byte]."""
    try:
        status = os.statvfs(path)
    except OSError:
        return 0
    return status.f_bavail * status.f_frsize if os.access(path, os.W_OK | os.X_OK) else 0


def _process_ids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _environment(pid: int) -> list[bytes]:
    """Return the variables of a process; none if it has ended or belongs to another user."""
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


def _replace_environment(variables: Mapping[str, str]) -> None:
    for name in set(os.environ) - set(variables):
        del os.environ[name]
    os.environ.update(variables)
