"""Ansible: the one file that imports ansible-runner. A failed task becomes host, task, reason and hint."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ansible_runner
import psutil

from stargaze.errors import ExternalError
from stargaze.system.signals import held_back
from stargaze.system.source_package import PACKAGE

PLACES = (PACKAGE.parent / "ansible", PACKAGE / "ansible")
"""Where the playbooks lie: beside the package in a checkout, inside it where it is installed."""
TAGS = ("base", "ray", "swarm", "page", "git")
KEPT = 20
"""Logs of runs."""
POLL = 1
"""How often a run looks whether it was stopped [s]."""
GRACE = 10.0
"""What Ansible gets to end by itself before it is killed [s]."""
HINTS = (
    (r"Failed to connect|UNREACHABLE|Connection timed out", "stargaze infra status says who answers"),
    (r"apt|dpkg|cache", "a machine needs a way to its package mirror: check router, proxy and nameservers"),
    (r"No space left", "a larger disk: infra.disk or infra.flavor"),
    (r"sudo|password is required|become", "infra.user must be able to sudo without a password"),
    (r"pip|index|hash", "a machine needs a way to the package index"),
)
OTHERWISE = "the log below says more; stargaze infra configure goes on"
Tell = Callable[[str, str, str], None]
"""Host, state and what is done there."""


@dataclass
class Run:
    """What happened: by host, how many tasks changed something; and what failed, as (host, task, reason)."""

    changed: dict[str, int] = field(default_factory=dict)
    failures: list[tuple[str, str, str]] = field(default_factory=list)
    log: Path = Path()


def playbook_folder() -> Path:
    """Return the folder of the playbooks."""
    for place in PLACES:
        if (place / "site.yml").is_file():
            return place
    raise ExternalError("the playbooks came not with this installation", hint="install it anew")


def run_playbook(
    inventory: Path,
    runs: Path,
    tell: Tell,
    *,
    tags: Sequence[str] = (),
    check: bool = False,
    playbook: str = "site.yml",
) -> Run:
    """Run a playbook over all machines, and keep its whole log.

    Raises
    ------
    ExternalError
        If a task failed or a machine was not reached; the message names the first of them, the hint the log.
    KeyboardInterrupt, SystemExit
        If a signal stopped it: the playbook was ended first.
    """
    run = Run()
    words = [*(["--tags", ",".join(tags)] if tags else []), *(["--check", "--diff"] if check else [])]
    runs.mkdir(parents=True, exist_ok=True, mode=0o700)
    with held_back() as stopped:
        done = ansible_runner.run(
            private_data_dir=str(runs),
            project_dir=str(playbook_folder()),
            playbook=playbook,
            inventory=str(inventory),
            cmdline=" ".join(words) or None,
            envvars=ansible_environment(),
            settings={"suppress_ansible_output": True, "pexpect_timeout": POLL},
            suppress_env_files=True,
            rotate_artifacts=KEPT,
            event_handler=lambda event: _hear(event, run, tell),
            cancel_callback=_ending(stopped),
            quiet=True,
        )
    run.log = Path(done.config.artifact_dir) / "stdout"
    run.changed = dict((done.stats or {}).get("changed") or {})
    if run.failures or done.rc:
        raise ExternalError(_said(run.failures, run.log), hint=_hint(run.failures, run.log))
    return run


def _ending(stopped: Callable[[], bool]) -> Callable[[], bool]:
    """Have Ansible end its workers and itself once the run was stopped; return whether it took too long for that.

    The runner alone would kill the first process, and leave its workers, which are sessions of their own, at their tasks.
    """
    since = 0.0

    def is_overdue() -> bool:
        nonlocal since
        if not stopped():
            return False
        if not since:
            since = time.monotonic()
            for child in psutil.Process().children():
                if any("ansible-playbook" in word for word in child.cmdline()):
                    child.send_signal(signal.SIGINT)
        return time.monotonic() - since > GRACE

    return is_overdue


def ansible_environment() -> dict[str, str]:
    """Let Ansible find itself beside this Python, and its config beside the playbooks."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return {"PATH": path, "ANSIBLE_CONFIG": str(playbook_folder() / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}


def _hear(event: Mapping[str, Any], run: Run, tell: Tell) -> bool:
    """Turn one of Ansible's events into a word on a host; everything is kept in the log as it is."""
    data = event.get("event_data") or {}
    host, task, kind = data.get("host", ""), str(data.get("task", "")), event.get("event", "")
    if kind == "runner_on_start":
        tell(host, "begun", task)
    elif kind in ("runner_on_failed", "runner_on_unreachable") and not data.get("ignore_errors"):
        reason = _reason(data.get("res") or {})
        run.failures.append((host, task, reason))
        tell(host, "failed", f"{task}: {reason}")
    elif kind == "playbook_on_stats":
        for name in data.get("processed") or {}:
            if not any(name == host for host, _, _ in run.failures):
                tell(name, "done", f"{(data.get('changed') or {}).get(name, 0)} changed")
    return True


def _reason(result: Mapping[str, Any]) -> str:
    """Return why a task failed, in one line."""
    texts = (result.get("stderr"), result.get("msg"), result.get("module_stderr"), result.get("stdout"))
    text = next((str(one) for one in texts if one), "no reason was given")
    return " ".join(text.split())[-400:]


def _said(failures: Sequence[tuple[str, str, str]], log: Path) -> str:
    if not failures:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() if log.is_file() else []
        return f"Ansible ended: {lines[-1] if lines else 'without a word'}"
    host, task, reason = failures[0]
    others = sorted({other for other, _, _ in failures} - {host})
    return f"{host}: {task}: {reason}" + (f" (and on {', '.join(others)})" if others else "")


def _hint(failures: Sequence[tuple[str, str, str]], log: Path) -> str:
    reason = " ".join(f"{task} {reason}" for _, task, reason in failures[:1])
    told = next((hint for pattern, hint in HINTS if re.search(pattern, reason)), OTHERWISE)
    return f"{told}; the whole log: {log}"
