"""The page of a repository that only the simulated GitHub knows: live values, star history and forecast."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from stargaze.bundle.forecast import next_round_number
from stargaze.config import ServeSection
from stargaze.serve.runtime.settings import Sources
from stargaze.serve.supervisor.supervise import serving
from stargaze.store import Store
from tests.browser.conftest import DARK, PHONE, TIMEOUT, WITHOUT_JAVASCRIPT, Visit, take_screenshot
from tests.simulated.world import World

pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # playwright's own pipes
]


REPOSITORIES, MIN_STARS = 1_000, 500


@pytest.fixture(scope="module")
def name() -> str:
    """An old repository, which has a long history, that has almost as many stars as the next milestone."""
    population = World(REPOSITORIES).population
    records = [population.record(row) for row in range(REPOSITORIES)]
    old = [record for record in records if record["created_at"] < "2021" and record["stargazers_count"] >= MIN_STARS]
    return str(min(old, key=lambda record: _missing_share(int(record["stargazers_count"])))["full_name"])


def _missing_share(stars: int) -> float:
    return next_round_number(stars) / stars


@pytest.fixture(scope="module")
def github() -> Iterator[str]:
    """A simulated GitHub in a process of its own, which answers with its threads."""
    command = [sys.executable, "-m", "tests.simulated", "--repositories", str(REPOSITORIES)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        variable = process.stdout.readline().partition(" ")[0]
        yield variable.partition("=")[2]
        process.terminate()


@pytest.fixture(scope="module")
def url(
    tmp_path_factory: pytest.TempPathFactory, bundle_folder: Path, growth_bundle_folder: Path, github: str
) -> Iterator[str]:
    store = Store(tmp_path_factory.mktemp("live"))
    release = shutil.copytree(bundle_folder, store.serving / "release")
    shutil.copytree(growth_bundle_folder, release / "growth")
    store.current.symlink_to(release)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GITHUB_TOKEN", "good")
        with serving(ServeSection(port=0, rate_limit=0), store, Sources(github_url=github)) as url:
            yield url


@pytest.mark.parametrize("options", [{}, {**PHONE, **DARK}, WITHOUT_JAVASCRIPT], ids=["desktop", "phone", "plain"])
def test_history_forecast_and_milestone_of_a_live_repository(
    visit: Visit, name: str, options: dict[str, object]
) -> None:
    page = visit(f"/repositories/{name}", dict(options))
    expect(page.locator("#result")).to_have_attribute("data-state", "done", timeout=TIMEOUT)

    expect(page.locator("h1")).to_contain_text("expected")
    expect(page.get_by_text("Live from GitHub").first).to_be_visible()
    expect(page.get_by_text("From GitHub,").first).to_be_visible()
    for name_of_range, shown in (("last year and forecast", ".recent"), ("all", ".all")):
        page.get_by_label(name_of_range, exact=True).check()
        assert page.locator("svg.plot:visible").count() == 1
        assert page.locator(f"{shown} svg.plot.linear:visible polyline.forecast").count() == 1
    expect(page.get_by_text("Next milestone")).to_be_visible()
    assert page.locator(".forecast-table tbody tr").count() >= 1
    take_screenshot(page, f"live-{'-'.join(options) or 'desktop'}")
    if "java_script_enabled" not in options:
        assert Axe().run(page).response["violations"] == []
