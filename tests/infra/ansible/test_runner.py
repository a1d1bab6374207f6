"""Ansible's events are reported per host; a failure becomes host, task, reason and hint."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from stargaze.errors import ExternalError
from stargaze.infra.ansible import runner
from stargaze.infra.ansible.runner import run_playbook
from stargaze.system.signals import exit_on_signals

Reported = list[tuple[str, str, str]]
HEAD = "- hosts: all\n  gather_facts: false\n  tasks:\n"
pytestmark = pytest.mark.real  # it runs Ansible, on this machine only


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], tuple[Any, Reported]]:
    """Run tasks on two names for this machine."""
    folder = tmp_path / "ansible"
    folder.mkdir()
    monkeypatch.setattr(runner, "PLAYBOOK_FOLDERS", (folder,))
    (folder / "ansible.cfg").write_text("[defaults]\n")
    inventory = tmp_path / "inventory.yml"
    local = "{ansible_connection: local, ansible_python_interpreter: '{{ ansible_playbook_python }}'}"
    inventory.write_text(f"all: {{hosts: {{one: {local}, two: {local}}}}}\n")

    def run_tasks(tasks: str) -> tuple[Any, Reported]:
        (folder / "site.yml").write_text(HEAD + tasks)
        reported: Reported = []
        return run_playbook(inventory, tmp_path / "runs", lambda *event: reported.append(event)), reported

    return run_tasks


def test_changes_are_counted_and_each_task_is_reported(run: Callable[[str], tuple[Any, Reported]]) -> None:
    result, reported = run("    - name: Touch\n      ansible.builtin.command: 'true'\n")

    assert result.changed == {"one": 1, "two": 1}
    assert ("one", "running", "Touch") in reported
    assert ("two", "done", "1 changed") in reported
    assert "Touch" in result.log.read_text()


@pytest.mark.parametrize("locale", ["C", "POSIX", "xx_YY.UTF-8"])
def test_the_locale_of_the_command_may_lack_utf8(
    run: Callable[[str], tuple[Any, Reported]], monkeypatch: pytest.MonkeyPatch, locale: str
) -> None:
    monkeypatch.setenv("LC_ALL", locale)

    result, _ = run("    - name: Touch\n      ansible.builtin.command: 'true'\n")

    assert result.changed == {"one": 1, "two": 1}


def test_variables_beside_the_inventory_are_not_read(
    run: Callable[[str], tuple[Any, Reported]], tmp_path: Path
) -> None:
    """Templates in them can run programs, and the inventory is in the store."""
    (tmp_path / "group_vars").mkdir()
    executed = tmp_path / "executed"
    (tmp_path / "group_vars" / "all.yml").write_text(f"planted: \"{{{{ lookup('pipe', 'touch {executed}') }}}}\"\n")

    run("    - ansible.builtin.debug: {msg: \"{{ planted | default('absent') }}\"}\n")

    assert not executed.exists()


@pytest.mark.parametrize(("number", "exception"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_signal_stops_the_playbook_and_then_the_command(
    run: Callable[[str], tuple[Any, Reported]], tmp_path: Path, number: signal.Signals, exception: type[BaseException]
) -> None:
    started, continued = tmp_path / "started", tmp_path / "continued"
    seconds = f"31.{os.getpid()}{int(number)}"  # the same test may run in another process of the tests
    tasks = (
        f"    - ansible.builtin.shell: 'touch {started}; exec sleep {seconds}'\n"
        f"    - ansible.builtin.file: {{path: '{continued}', state: touch}}\n"
    )
    main = threading.main_thread().ident
    assert main is not None

    def stop() -> None:
        while not started.exists():
            time.sleep(0.05)
        signal.pthread_kill(main, number)

    threading.Thread(target=stop, daemon=True).start()
    with exit_on_signals(), pytest.raises(exception) as caught:
        run(tasks)

    assert not continued.exists()
    assert not [process for process in psutil.process_iter() if _cmdline(process) == ["sleep", seconds]]
    assert getattr(caught.value, "code", None) in (None, 128 + number)


def _cmdline(process: psutil.Process) -> list[str]:
    with contextlib.suppress(psutil.Error):
        return list(process.cmdline())
    return []


def test_the_signal_handlers_are_restored_after_a_run(run: Callable[[str], tuple[Any, Reported]]) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    run("    - name: Touch\n      ansible.builtin.command: 'true'\n")

    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_failed_task_is_an_error_with_host_task_reason_and_hint(run: Callable[[str], tuple[Any, Reported]]) -> None:
    tasks = (
        "    - name: Fetch packages\n      ansible.builtin.shell: 'echo apt has no mirror >&2; exit 3'\n"
        "      when: inventory_hostname == 'two'\n"
    )

    with pytest.raises(ExternalError) as caught:
        run(tasks)

    assert caught.value.message == "two: Fetch packages: apt has no mirror"
    assert "package mirror" in caught.value.hint
    assert "stdout" in caught.value.hint


def test_an_unreadable_playbook_is_an_error(run: Callable[[str], tuple[Any, Reported]]) -> None:
    with pytest.raises(ExternalError, match="Ansible failed"):
        run("    - nonsense: [\n")


def test_a_secret_that_a_module_warns_about_is_neither_printed_nor_stored(
    run: Callable[[str], tuple[Any, Reported]], tmp_path: Path
) -> None:
    library = tmp_path / "ansible" / "library"
    library.mkdir()
    (library / "careless.py").write_text(
        "from ansible.module_utils.basic import AnsibleModule\n"
        "module = AnsibleModule({'token': {}})\n"
        "module.warn('bad token ' + module.params['token'])\n"
        "module.deprecate('old token ' + module.params['token'], version='9.9', collection_name='ansible.builtin')\n"
        "module.exit_json(changed=False)\n"
    )
    tasks = "    - careless: {token: tok-sesame}\n      no_log: true\n"
    tasks += "    - careless: {token: 'tok-{{ item }}'}\n      no_log: true\n      loop: [sesame]\n"

    run(tasks)

    runs = tmp_path / "runs"
    stored = [path for path in (runs / "artifacts").rglob("*") if path.is_file()]
    assert any("job_events" in path.parts for path in stored)
    assert not [path.name for path in stored if "bad token" in path.read_text() or "old token" in path.read_text()]
