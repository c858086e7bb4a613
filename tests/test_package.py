"""The wheel is built, installed outside the repository, and used: command, store and dashboard."""

import json
import os
import subprocess
import sys
import sysconfig
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from playwright.sync_api import Page, expect

import kdcore
from kdcore.storage.store import Store
from tests.support.browser import REPOSITORY, Complaints, free_port, wait_for_app
from tests.support.workers import end_workers


class Installed(NamedTuple):
    """A wheel, the environment that it is installed in, and a home that has never seen KD Lab."""

    wheel: Path
    python: Path
    home: Path
    environment: dict[str, str]

    def run(self, *arguments: str) -> str:
        """Run the command ``kdlab`` with these arguments; returns what it prints."""
        done = subprocess.run(
            [self.python.parent / "kdlab", *arguments],
            cwd=self.home,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    @property
    def packages(self) -> Path:
        """The folder in which packages are installed."""
        return next((self.python.parents[1] / "lib").glob("python*/site-packages"))


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("package")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    build = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder)]
    subprocess.run([*pip, *build, str(REPOSITORY)], check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    python = folder / "venv" / "bin" / "python"
    subprocess.run(
        [*pip, "--python", str(python), "install", "--no-deps", "--no-index", str(wheel)],
        check=True,
        capture_output=True,
    )
    home = folder / "home"
    # A folder of the user's own must not hide the dashboard's.
    (home / "pages").mkdir(parents=True)
    (home / "pages" / "__init__.py").write_text("raise ImportError('not these pages')\n")
    strange = ("PYTHON", "STREAMLIT", "XDG", "KD_")
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(strange)
    }
    environment["HOME"] = str(home)
    made = Installed(wheel, python, home, environment)
    # What KD Lab stands on is installed already, in the environment of the tests.
    here = sysconfig.get_path("purelib")
    (made.packages / "requirements.pth").write_text(f"{here}\n")
    return made


def test_the_wheel_takes_no_names_but_its_own(installed: Installed) -> None:
    with zipfile.ZipFile(installed.wheel) as wheel:
        names = wheel.namelist()
        metadata = wheel.read(f"kdlab-{kdcore.__version__}.dist-info/METADATA").decode()
    assert {name.partition("/")[0] for name in names} == {
        "kdcore",
        "kdlab_dashboard",
        f"kdlab-{kdcore.__version__}.dist-info",
    }
    assert not [name for name in names if name.endswith(".pyc") or "tests" in name]
    assert {"kdcore/py.typed", "kdcore/takeaway/report.html"} <= set(names)
    lines = (REPOSITORY / "requirements.txt").read_text().splitlines()
    required = [line.split(">=")[0] for line in lines if line and not line.startswith("#")]
    for name in required:
        assert f"Requires-Dist: {name}" in metadata
    assert f"Version: {kdcore.__version__}\n" in metadata
    assert "License-Expression: Apache-2.0\n" in metadata


def test_every_file_of_the_package_and_the_dashboard_is_in_the_wheel(installed: Installed) -> None:
    done = subprocess.run(
        ["git", "ls-files", "kdcore", "pages", "dashboard.py", ".streamlit"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    tracked = done.stdout.splitlines()
    assert len(tracked) > 150
    with zipfile.ZipFile(installed.wheel) as wheel:
        names = set(wheel.namelist())
    in_wheel = [
        name if name.startswith("kdcore/") else f"kdlab_dashboard/{name}" for name in tracked
    ]
    assert [name for name in in_wheel if name not in names] == []


def test_the_command_keeps_its_experiments_in_the_users_own_folder(installed: Installed) -> None:
    assert "opens the dashboard" in installed.run("--help")
    assert "mlp-4" not in installed.run("list")
    small = "--training-examples 100 --teacher mlp-8 --teacher-epochs 1 --student mlp-4 --epochs 1"
    trained = json.loads(installed.run("train", *small.split(), "--seeds", "1", "--json"))
    assert 0 < trained["student"]["accuracy"][0] <= 1
    assert "mlp-4" in installed.run("list")
    assert (installed.home / ".local" / "share" / "kdlab" / "store.db").exists()
    assert not (installed.packages / ".kdlab").exists()


@pytest.fixture
def dashboard(installed: Installed, tmp_path: Path) -> Iterator[str]:
    """The address of the dashboard that ``kdlab`` alone opens."""
    port = free_port()
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [installed.python.parent / "kdlab"],
            cwd=installed.home,
            env={**installed.environment, "STREAMLIT_SERVER_PORT": str(port)},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            try:
                with urllib.request.urlopen(f"{address}/_stcore/health", timeout=2):
                    break
            except OSError:
                assert process.poll() is None, log.read_text()
                time.sleep(0.25)
        else:
            pytest.fail(f"the dashboard did not answer: {log.read_text()}")
        yield address
    finally:
        process.terminate()
        process.wait(20)
        store = Store(f"sqlite:///{installed.home}/.local/share/kdlab/store.db")
        end_workers(store)
        store.close()
    assert "Traceback" not in log.read_text()


def test_the_installed_dashboard_draws_its_pages(
    dashboard: str, page: Page, complaints: Complaints
) -> None:
    page.goto(dashboard)
    wait_for_app(page)
    # In the colour of .streamlit/config.toml, which came along.
    button = page.get_by_role("button", name="Train", exact=True)
    expect(button).to_have_css("background-color", "rgb(37, 99, 235)")
    page.get_by_role("link", name="Runs").click()
    wait_for_app(page)
    expect(page.get_by_role("heading", name="All experiments")).to_be_visible()
    assert complaints.messages == []
