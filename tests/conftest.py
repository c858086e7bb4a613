"""Fixtures for all tests. The browser ones start a real Chromium and a real server."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

# Before anything imports TensorFlow.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import pytest
from filelock import FileLock
from playwright.sync_api import Browser, Page, expect, sync_playwright

from kdcore.config.experiment import ExperimentConfig
from kdcore.storage.store import Store
from tests.support.browser import (
    QUIET,
    REPOSITORY,
    Complaints,
    Server,
    find_browser,
    has_traceback,
)
from tests.support.postgres import PostgresServer, find_program
from tests.support.training import train_elsewhere
from tests.support.workers import end_workers

expect.set_options(timeout=45_000)  # the machine may be busy


# What makes a test slow: these fixtures start a browser, a server or a worker, or train a store.
SLOW_FIXTURES = {
    "chromium",
    "engine",
    "page",
    "postgres",
    "serve",
    "swept_store_file",
    "trained_store_file",
}
# And these files, which start processes or train a good deal by themselves.
SLOW_FILES = (
    "tests/cli/",
    "tests/engine/test_experiment.py",
    "tests/engine/test_faults.py",
    "tests/engine/test_ray.py",
    "tests/methods/",
    "tests/models/",
    "tests/pages/",
    "tests/storage/test_migrations.py",
    "tests/storage/test_own_data.py",
    "tests/sweeps/",
    "tests/takeaway/",
    "tests/test_package.py",
    "tests/test_readme.py",
    "tests/training/",
    "tests/work/",
)


# Minutes each, so they begin first, longest first: at the end one process would be at them alone.
LONGEST_FILES = (
    "tests/pages/test_every_lesson.py",
    "tests/work/test_pretrained_experiments.py",
    "tests/pages/test_train_page.py",
    "tests/pages/test_temperature_page.py",
    "tests/methods/test_conformance.py",
    "tests/test_readme.py",
    "tests/work/test_distilbert.py",
    "tests/pages/test_temperature_state.py",
    "tests/pages/test_runs_page.py",
    "tests/pages/test_live_chart.py",
    "tests/pages/test_gallery.py",
    "tests/takeaway/test_export.py",
    "tests/training/test_teacher_features.py",
    "tests/training/test_distiller.py",
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Order the files, and mark the tests that `make test-fast` runs."""
    begin = {config.rootpath / name: place for place, name in enumerate(LONGEST_FILES)}
    items.sort(key=lambda item: begin.get(item.path, len(begin)))
    for item in items:
        path = item.path.relative_to(config.rootpath).as_posix()
        fixtures = set(getattr(item, "fixturenames", ()))
        if not fixtures & SLOW_FIXTURES and not path.startswith(SLOW_FILES):
            item.add_marker("fast")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store of one test's own.

    Modules that share one have a fixture of this name themselves.
    """
    return Store(f"sqlite:///{tmp_path}/store.db")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """A headless Chromium.

    Without one the test is skipped, except where CI says that it must run.
    """
    path = find_browser()
    if path is None:
        reason = "no chromium, chromium-browser or google-chrome on the PATH"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(QUIET))
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server of the tests' own.

    Without its programs the test is skipped, except where CI says otherwise.
    """
    if find_program("initdb") is None:
        reason = "no PostgreSQL server on this machine (Debian: apt-get install postgresql)"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    with PostgresServer() as server:
        yield server


@pytest.fixture(scope="module")
def serve(request: pytest.FixtureRequest) -> Iterator[Callable[..., str]]:
    """``serve(script, environment)`` starts a Streamlit server and returns its address.

    All end with the module, their workers too. A traceback in a server's log is an error, and where
    a test failed the log is shown.
    """
    servers: list[Server] = []
    stores: set[str] = set()
    failed_before = request.session.testsfailed

    def start(script: str, environment: dict[str, str] | None = None) -> str:
        server = Server(script, environment)
        servers.append(server)
        if environment and "KD_STORE" in environment:
            stores.add(environment["KD_STORE"])
        server.wait_until_healthy()
        return server.url

    yield start
    logs = [server.stop() for server in servers]
    for url in stores:
        end_workers(Store(url))
    if request.session.testsfailed > failed_before:
        capture = request.config.pluginmanager.getplugin("capturemanager")
        with capture.global_and_fixture_disabled():
            print(
                *(f"\n--- end of the server's log\n{log[-2000:]}" for log in logs), file=sys.stderr
            )
    for log in logs:
        assert not has_traceback(log), log[-4000:]


@pytest.fixture
def complaints() -> Complaints:
    """What the browser complained about in this test."""
    return Complaints()


@pytest.fixture
def page(chromium: Browser, complaints: Complaints) -> Iterator[Page]:
    """A fresh page of 1440 by 900 in light colours; ``complaints`` listens to it."""
    context = chromium.new_context(viewport={"width": 1440, "height": 900}, color_scheme="light")
    page = context.new_page()
    page.set_default_timeout(60_000)  # the machine may be busy
    complaints.listen(page)
    yield page
    context.close()


TRAINED = {
    "training_examples": 200,
    "labels": 50,
    "teacher": "conv-16-32",
    "student": "conv-4-8",
    "teacher_epochs": 3,
    "epochs": 3,
    "seeds": 2,
}


TINY_CELL = {
    "training_examples": 200,
    "labels": 50,
    "teacher": "mlp-16",
    "teacher_epochs": 2,
    "student": "mlp-4",
    "epochs": 2,
    "seeds": 2,
}


def copy_of(file: Path, folder: Path) -> Path:
    """Return a copy of a SQLite file that has what is still in its log."""
    copy = folder / "store.db"
    with (
        contextlib.closing(sqlite3.connect(file)) as source,
        contextlib.closing(sqlite3.connect(copy)) as target,
    ):
        source.backup(target)
    return copy


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """Return a store's file that one of the processes of a session makes for all of them."""
    folder = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # each process has one below it
    file = folder / f"{name}.db"
    with FileLock(f"{file}.lock"):
        if not file.exists():
            making = folder / f"{name}-making.db"
            make(making)
            making.rename(file)
    return file


@pytest.fixture(scope="session")
def trained_store_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite store with two small finished experiments of one teacher, T = 10 and then T = 2.

    To be read only.
    """
    return made_once(tmp_path_factory, "trained", _train)


def _train(file: Path) -> None:
    url = f"sqlite:///{file}"
    store = Store(url)
    config = ExperimentConfig(**TRAINED)
    ids = [store.create(config), store.create(config.replace(temperature=2.0))]
    train_elsewhere(url, *ids)
    store.close()
    _into_one_file(file)


def _into_one_file(file: Path) -> None:
    """Bring what is in a store's log into the file itself, so that it may be renamed."""
    with contextlib.closing(sqlite3.connect(file)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        database.execute("PRAGMA journal_mode=DELETE")


@pytest.fixture
def trained_store(trained_store_file: Path, tmp_path: Path) -> Store:
    """A copy of the trained store of the test's own, free to be changed."""
    return Store(f"sqlite:///{copy_of(trained_store_file, tmp_path)}")


SWEPT = {"alpha": (0.1, 0.9), "temperature": (1.0, 4.0)}


@pytest.fixture(scope="session")
def swept_store_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite store with a small finished sweep, 2 by 2 cells of 2 seeds; to be read only."""
    return made_once(tmp_path_factory, "swept", _sweep)


def _sweep(file: Path) -> None:
    script = (
        "import sys\n"
        "from kdcore import sweeps\n"
        "from kdcore.config.experiment import ExperimentConfig\n"
        "from kdcore.engine.jobs import Pulse, run_claimed, this_worker\n"
        "from kdcore.storage.store import Store\n"
        "from kdcore.config.sweep import Axis, SweepConfig\n"
        f"base = ExperimentConfig(**{TINY_CELL!r})\n"
        f"axes = tuple(Axis(name, values) for name, values in {SWEPT!r}.items())\n"
        "store = Store(sys.argv[1])\n"
        "sweeps.create(store, SweepConfig(base, axes))\n"
        "with Pulse(store, this_worker()) as pulse:\n"
        "    while (job := store.claim(pulse.worker.id)) is not None:\n"
        "        print(run_claimed(store, job, pulse).value)\n"
    )
    url = f"sqlite:///{file}"
    done = subprocess.run(
        [sys.executable, "-c", script, url], capture_output=True, text=True, cwd=REPOSITORY
    )
    assert done.stdout.split() == ["finished"] * 6, done.stderr[-3000:]
    _into_one_file(file)


@pytest.fixture
def swept_store(swept_store_file: Path, tmp_path: Path) -> Store:
    """A copy of the store with a finished sweep, of the test's own."""
    return Store(f"sqlite:///{copy_of(swept_store_file, tmp_path)}")
