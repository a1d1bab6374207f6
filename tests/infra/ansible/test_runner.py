"""Ansible's events become words on a host; a failure becomes host, task, reason and hint."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from stargaze.errors import ExternalError
from stargaze.infra.ansible import runner as playbooks
from stargaze.infra.ansible.runner import run_playbook
from stargaze.system.signals import unwinding

Said = list[tuple[str, str, str]]
HEAD = "- hosts: all\n  gather_facts: false\n  tasks:\n"
pytestmark = pytest.mark.real  # it runs Ansible, against this machine alone


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], tuple[Any, Said]]:
    """Run tasks on two names for this machine."""
    folder = tmp_path / "ansible"
    folder.mkdir()
    monkeypatch.setattr(playbooks, "PLACES", (folder,))
    (folder / "ansible.cfg").write_text("[defaults]\n")
    inventory = tmp_path / "inventory.yml"
    local = "{ansible_connection: local, ansible_python_interpreter: '{{ ansible_playbook_python }}'}"
    inventory.write_text(f"all: {{hosts: {{one: {local}, two: {local}}}}}\n")

    def go(tasks: str) -> tuple[Any, Said]:
        (folder / "site.yml").write_text(HEAD + tasks)
        said: Said = []
        return run_playbook(inventory, tmp_path / "runs", lambda *words: said.append(words)), said

    return go


def test_what_changed_is_counted_and_each_task_is_told(run: Callable[[str], tuple[Any, Said]]) -> None:
    done, said = run("    - name: Touch\n      ansible.builtin.command: 'true'\n")

    assert done.changed == {"one": 1, "two": 1}
    assert ("one", "begun", "Touch") in said
    assert ("two", "done", "1 changed") in said
    assert "Touch" in done.log.read_text()


@pytest.mark.parametrize(("number", "ends"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_signal_ends_the_playbook_and_then_the_command(
    run: Callable[[str], tuple[Any, Said]], tmp_path: Path, number: signal.Signals, ends: type[BaseException]
) -> None:
    begun, went_on = tmp_path / "begun", tmp_path / "went_on"
    tasks = (
        f"    - ansible.builtin.shell: 'touch {begun}; exec sleep 31.4159'\n"
        f"    - ansible.builtin.file: {{path: '{went_on}', state: touch}}\n"
    )
    main = threading.main_thread().ident
    assert main is not None

    def stop() -> None:
        while not begun.exists():
            time.sleep(0.05)
        signal.pthread_kill(main, number)

    threading.Thread(target=stop, daemon=True).start()
    with unwinding(), pytest.raises(ends) as caught:
        run(tasks)

    assert not went_on.exists()
    assert not [one for one in psutil.process_iter() if _cmdline(one) == ["sleep", "31.4159"]]
    assert getattr(caught.value, "code", None) in (None, 128 + number)


def _cmdline(process: psutil.Process) -> list[str]:
    with contextlib.suppress(psutil.Error):
        return list(process.cmdline())
    return []


def test_ctrl_c_is_heard_as_before_once_the_playbooks_are_done(run: Callable[[str], tuple[Any, Said]]) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    run("    - name: Touch\n      ansible.builtin.command: 'true'\n")

    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_failed_task_is_host_task_reason_and_hint(run: Callable[[str], tuple[Any, Said]]) -> None:
    tasks = (
        "    - name: Fetch packages\n      ansible.builtin.shell: 'echo apt has no mirror >&2; exit 3'\n"
        "      when: inventory_hostname == 'two'\n"
    )

    with pytest.raises(ExternalError) as caught:
        run(tasks)

    assert caught.value.message == "two: Fetch packages: apt has no mirror"
    assert "package mirror" in caught.value.hint
    assert "stdout" in caught.value.hint


def test_a_playbook_that_cannot_be_read_is_said(run: Callable[[str], tuple[Any, Said]]) -> None:
    with pytest.raises(ExternalError, match="Ansible ended"):
        run("    - nonsense: [\n")
