"""Run Ansible playbooks with ansible-runner; a failed task becomes host, task, reason and hint."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ansible_runner
import psutil

from stargaze.errors import ExternalError
from stargaze.system.progress import SetRow
from stargaze.system.signals import defer_signals
from stargaze.system.source_package import PACKAGE
from stargaze.system.text import last_line

PLAYBOOK_FOLDERS = (PACKAGE.parent / "ansible", PACKAGE / "ansible")
"""Possible folders of the playbooks: beside the package in a checkout, inside it in an installation."""
TAGS = ("base", "ray", "swarm", "page", "git")
UTF8_LOCALE = "C.UTF-8"
"""The locale with UTF-8 that every Debian has."""
KEPT_RUNS = 20
"""Number of runs whose logs are kept."""
POLL_INTERVAL = 1
"""Time between two checks whether the run was interrupted [s]."""
STOP_TIMEOUT = 10.0
"""Ansible is killed if it has not stopped after this time [s]."""
RESULT_LINE = re.compile(r"(ok|changed|skipping|failed|fatal|included): \[|\.\.\.ignoring")
"""What Ansible prints about the result of a task, without the result."""
HINTS = (
    (
        r"that there is a certificate",
        "infra.page_domain must lead to the orchestration machine, and its page_port be reachable",
    ),
    (r"Failed to connect|UNREACHABLE|Connection timed out", "stargaze infra status shows which machines answer"),
    (r"apt|dpkg|cache", "the machine must reach its package mirror: check router, proxy and nameservers"),
    (r"No space left", "increase infra.min_disk or choose another infra.flavor"),
    (r"sudo|password is required|become", "infra.user must be able to use sudo without a password"),
    (r"pip|index|hash", "the machine must reach the package index"),
)
DEFAULT_HINT = "read the log; then run stargaze infra configure to continue"


@dataclass
class PlaybookRun:
    """The result of a run: the number of changed tasks by host, and the failures as (host, task, reason)."""

    changed: dict[str, int] = field(default_factory=dict)
    failures: list[tuple[str, str, str]] = field(default_factory=list)
    log: Path = Path()


def playbook_folder() -> Path:
    """Return the folder of the playbooks."""
    for folder in PLAYBOOK_FOLDERS:
        if (folder / "site.yml").is_file():
            return folder
    raise ExternalError("the Ansible playbooks are missing from this installation", hint="reinstall stargaze")


def run_playbook(
    inventory: Path,
    runs: Path,
    set_row: SetRow,
    *,
    tags: Sequence[str] = (),
    check: bool = False,
    playbook: str = "site.yml",
) -> PlaybookRun:
    """Run a playbook on all machines and store its complete log; after a signal, stop it before the signal takes effect.

    The error of a failed run names host, task and reason of the first failure, and the log.
    """
    run = PlaybookRun()
    arguments = [*(["--tags", ",".join(tags)] if tags else []), *(["--check", "--diff"] if check else [])]
    runs.mkdir(parents=True, exist_ok=True, mode=0o700)
    name = str(uuid.uuid4())
    run.log = runs / "artifacts" / name / "stdout"
    with defer_signals() as is_stopped:
        result = ansible_runner.run(
            private_data_dir=str(runs),
            ident=name,
            project_dir=str(playbook_folder()),
            playbook=playbook,
            inventory=str(inventory),
            cmdline=" ".join(arguments) or None,
            envvars=ansible_environment(),
            settings={"suppress_ansible_output": True, "suppress_output_file": True, "pexpect_timeout": POLL_INTERVAL},
            suppress_env_files=True,
            rotate_artifacts=KEPT_RUNS,
            event_handler=lambda event: _handle_event(event, run, set_row),
            cancel_callback=_cancel_callback(is_stopped),
            quiet=True,
        )
    run.changed = dict((result.stats or {}).get("changed") or {})
    if run.failures or result.rc:
        raise ExternalError(_failure_message(run), hint=_failure_hint(run))
    return run


def _cancel_callback(is_stopped: Callable[[], bool]) -> Callable[[], bool]:
    """Interrupt Ansible once the run is stopped; the callback returns whether it must be killed.

    ansible-runner would kill only the first process and leave its workers, which have sessions of their own, running.
    """
    interrupted_at = 0.0

    def is_overdue() -> bool:
        nonlocal interrupted_at
        if not is_stopped():
            return False
        if not interrupted_at:
            interrupted_at = time.monotonic()
            for child in psutil.Process().children():
                if any("ansible-playbook" in argument for argument in child.cmdline()):
                    child.send_signal(signal.SIGINT)
        return time.monotonic() - interrupted_at > STOP_TIMEOUT

    return is_overdue


def ansible_environment() -> dict[str, str]:
    """Return the environment in which Ansible finds its programs beside this Python and its config beside the playbooks.

    Files with variables beside the inventory, which is in the store, are not read: templates in them can run programs.
    Ansible refuses to start in a locale without UTF-8, as C, and in one that is not installed.
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return {
        "PATH": path,
        "ANSIBLE_CONFIG": str(playbook_folder() / "ansible.cfg"),
        "LC_ALL": UTF8_LOCALE,
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_VARS_ENABLED": "",
    }


def _handle_event(event: dict[str, Any], run: PlaybookRun, set_row: SetRow) -> bool:
    """Report one of Ansible's events, log its output and record failures; return True, which stores the event."""
    _mask_warnings(event)
    if event.get("stdout"):
        with run.log.open("a", encoding="utf-8") as log:
            log.write(f"{event['stdout']}\n")
    data = event.get("event_data") or {}
    host, task, kind = data.get("host", ""), str(data.get("task", "")), event.get("event", "")
    if kind == "runner_on_start":
        set_row(host, "running", task)
    elif kind in ("runner_on_failed", "runner_on_unreachable") and not data.get("ignore_errors"):
        reason = _failure_reason(data.get("res") or {})
        run.failures.append((host, task, reason))
        set_row(host, "failed", f"{task}: {reason}")
    elif kind == "playbook_on_stats":
        for name in data.get("processed") or {}:
            if not any(name == host for host, _, _ in run.failures):
                set_row(name, "done", f"{(data.get('changed') or {}).get(name, 0)} changed")
    return True


def _mask_warnings(event: dict[str, Any]) -> None:
    """Remove what modules warn about from an event of a task with no_log.

    ansible-core 2.19 to 2.21 masks the parameters of such a task, but not its warnings (CVE-2026-115622).
    """
    result = (event.get("event_data") or {}).get("res") or {}
    is_secret = "censored" in result or any("censored" in item for item in result.get("results") or ())
    if is_secret or event.get("event") in ("warning", "deprecated"):
        result.pop("warnings", None)
        result.pop("deprecations", None)
        lines = str(event.get("stdout", "")).split("\n")
        event["stdout"] = "\n".join(line for line in lines if RESULT_LINE.match(line))


def _failure_reason(result: Mapping[str, Any]) -> str:
    """Return why a task failed, in one line."""
    texts = (result.get("stderr"), result.get("msg"), result.get("module_stderr"), result.get("stdout"))
    text = next((str(text) for text in texts if text), "no reason was given")
    return " ".join(text.split())[-400:]


def _failure_message(run: PlaybookRun) -> str:
    if not run.failures:
        text = run.log.read_text(encoding="utf-8", errors="replace") if run.log.is_file() else ""
        return f"Ansible failed: {last_line(text, 'no output')}"
    host, task, reason = run.failures[0]
    others = sorted({other for other, _, _ in run.failures} - {host})
    return f"{host}: {task}: {reason}" + (f" (also on {', '.join(others)})" if others else "")


def _failure_hint(run: PlaybookRun) -> str:
    text = " ".join(f"{task} {reason}" for _, task, reason in run.failures[:1])
    hint = next((hint for pattern, hint in HINTS if re.search(pattern, text)), DEFAULT_HINT)
    return f"{hint}; log: {run.log}"
