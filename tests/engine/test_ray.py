"""Workers on a Ray cluster of two nodes, started here, with PostgreSQL as the store: found, used,
killed, lost.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from playwright.sync_api import Page, expect

from kdcore import sweeps
from kdcore.analysis.results import load_results, logits
from kdcore.config.experiment import ExperimentConfig
from kdcore.engine.choice import make_engine
from kdcore.engine.local import LocalEngine
from kdcore.errors import ConfigError
from kdcore.storage.schema import JobStatus, Worker
from kdcore.storage.store import Store
from tests.pages.test_sweep_page import drawn_map, map_of
from tests.support.browser import REPOSITORY
from tests.support.postgres import PASSWORD, PostgresServer
from tests.support.ray_cluster import RayCluster

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None and not os.environ.get("CI"),
    reason="Ray is not installed (pip install -r requirements-ray.txt)",
)
# Twelve cells, each long enough to be caught in the middle.
SWEEP = "sweep --training-examples 200 --labels 50 --teacher mlp-16 --teacher-epochs 2 --student mlp-4 --epochs 40"
SWEEP += " --seeds 2 --alpha 0.1,0.5,0.9 --temperature 1,2,4,8 --json"


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    with RayCluster() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def store(postgres: PostgresServer) -> Iterator[Store]:
    store = Store(postgres.new_url())
    yield store
    store.close()


@pytest.fixture(scope="module")
def environment(cluster: RayCluster, store: Store) -> dict[str, str]:
    """What a process needs to have its work done by the cluster."""
    return {**cluster.environment, "KD_STORE": store.url}


def wait_for(ready: Callable[[], Any], seconds: float = 300) -> Any:
    deadline = time.monotonic() + seconds
    while not (answer := ready()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return answer


def start(environment: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    """Start a process of the library that ends with the test."""
    command = [sys.executable, *arguments]
    return subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def busy_cell(store: Store, finished: int) -> Worker | None:
    """Return a worker that is at a cell of the sweep, once ``finished`` of them are done."""
    done = [job for job in store.jobs(JobStatus.FINISHED) if job.kind == "sweep_cell"]
    holders = {job.worker_id for job in store.jobs(JobStatus.RUNNING) if job.kind == "sweep_cell"}
    busy = [worker for worker in store.workers() if worker.id in holders]
    return busy[0] if len(done) >= finished and busy else None


def numbers(store: Store, sweep_id: str) -> dict[str, Any]:
    """Return the test logits of every model that the cells of a sweep consist of."""
    found = {}
    for cell, job in sweeps.cells_of(store, sweep_id):
        if cell.part == "cell":
            for link, run in load_results(store, job.id).links:
                found[f"{json.dumps(cell.values, sort_keys=True)} {link.role} {link.seed}"] = (
                    logits(store, run, "test")
                )
    return found


def filled(page: Page) -> int:
    """How many cells of the map the browser has drawn."""
    return sum(value is not None for row in drawn_map(page) for value in row)


@needs_ray
def test_a_sweep_on_two_nodes_outlives_a_killed_worker_and_a_lost_node_and_ends_as_on_one_machine(
    cluster: RayCluster,
    store: Store,
    environment: dict[str, str],
    tmp_path: Path,
    page: Page,
    serve: Callable[..., str],
) -> None:
    alone = Store(f"sqlite:///{tmp_path}/store.db")
    reference = start({"KD_STORE": alone.url, "KD_ENGINE": "local"}, "-m", "kdcore", *SWEEP.split())
    address = serve("dashboard.py", environment)
    command = start(environment, "-m", "kdcore", *SWEEP.split())
    killed = wait_for(lambda: busy_cell(store, finished=1))
    (sweep,) = sweeps.sweeps(store)
    page.goto(f"{address}/sweep?sweep={sweep.id}")
    os.kill(killed.pid, signal.SIGKILL)
    map_of(page).wait_for(timeout=300_000)
    first = filled(page)
    assert first < 12
    wait_for(
        lambda: len({job["driver_node_id"] for job in cluster.jobs() if job["driver_node_id"]}) == 2
    )
    wait_for(lambda: busy_cell(store, finished=4))
    wait_for(lambda: first < filled(page) < 12)
    cluster.kill_node(cluster.nodes[1])
    output, errors = command.communicate(timeout=240)
    assert command.returncode == 0, errors
    ours = json.loads(output.splitlines()[-1])
    assert "12 of 12 cells" in errors
    attempts = [job.attempts for job in store.jobs(JobStatus.FINISHED) if job.kind == "sweep_cell"]
    assert len(attempts) == 12
    assert sum(attempts) > 12, "what was killed was resumed"
    workers = {job.worker_id for job in store.jobs(JobStatus.FINISHED)}
    assert len(workers) < 12, "a worker imports TensorFlow once and trains several cells"
    wait_for(lambda: filled(page) == 12)
    expect(page.get_by_text("Best of 12 cells on validation data")).to_be_visible()
    theirs = json.loads(reference.communicate(timeout=240)[0].splitlines()[-1])
    mine, other = numbers(store, ours["sweep"]), numbers(alone, theirs["sweep"])
    assert mine.keys() == other.keys()
    assert len(mine) == 12 * 2 * 3 - 12, (
        "student and baseline of two seeds, and the teacher, a cell"
    )
    for name, values in mine.items():
        assert np.array_equal(values, other[name]), name
    assert PASSWORD not in output + errors
    alone.close()


@needs_ray
def test_a_worker_that_ignores_stop_is_killed_through_ray(
    store: Store, environment: dict[str, str]
) -> None:
    experiment = store.create(
        ExperimentConfig(
            training_examples=200,
            labels=50,
            teacher="mlp-16",
            student="mlp-4",
            teacher_epochs=2,
            epochs=10_000,
            seeds=1,
        )
    )
    keeper = start(environment, "-c", KEEPER, "0.5")
    try:
        wait_for(lambda: any(link.role == "student" for link, _ in store.runs_of(experiment)))
        worker = next(
            worker for worker in store.workers() if worker.id == store.job(experiment).worker_id
        )
        os.kill(worker.pid, signal.SIGSTOP)  # hangs as if in native code: it can heed nothing
        store.request_stop(experiment)
        wait_for(lambda: not JobStatus(store.job(experiment).status).live, seconds=60)
        assert store.job(experiment).status == "stopped"
        wait_for(lambda: not psutil.pid_exists(worker.pid))
    finally:
        keeper.kill()
        keeper.communicate()


# Looks after the jobs of a store, as a dashboard does.
KEEPER = """
import sys, time
from kdcore.engine import ray as ray_engine
from kdcore.engine.choice import make_engine
from kdcore.storage.store import Store
ray_engine.SECONDS_OF_GRACE = float(sys.argv[1])
engine = make_engine(Store())
while True:
    engine.tend()
    time.sleep(0.1)
"""


@needs_ray
def test_the_cluster_wants_its_token_and_the_queue_says_so(
    cluster: RayCluster, postgres: PostgresServer, environment: dict[str, str], tmp_path: Path
) -> None:
    with pytest.raises(urllib.error.HTTPError, match=r"40[13]"):
        cluster.ask("/api/jobs/", "0" * 32)
    store, wrong = Store(postgres.new_url()), tmp_path / "token"
    wrong.write_text("0" * 32)
    experiment = store.create(ExperimentConfig())
    keeper = start(
        {**environment, "KD_STORE": store.url, "RAY_AUTH_TOKEN_PATH": str(wrong)}, "-c", KEEPER, "1"
    )
    try:
        wait_for(lambda: "cannot be used" in store.job(experiment).phase)
        assert store.job(experiment).status == "queued"
    finally:
        keeper.kill()
        keeper.communicate()
    store.close()


@needs_ray
def test_where_the_cluster_has_a_graphics_card_a_worker_asks_for_it(
    cluster: RayCluster, postgres: PostgresServer, environment: dict[str, str]
) -> None:
    cluster.add_node(
        "--num-gpus=1"
    )  # Ray takes our word for it, and hands the card out as it would a real one
    store = Store(postgres.new_url())
    experiment = store.create(
        ExperimentConfig(
            training_examples=200,
            labels=50,
            teacher="mlp-16",
            student="mlp-4",
            teacher_epochs=2,
            epochs=3000,
            seeds=1,
        )
    )
    keeper = start({**environment, "KD_STORE": store.url}, "-c", KEEPER, "1")
    try:
        wait_for(lambda: any(link.role == "student" for link, _ in store.runs_of(experiment)))
        worker = next(
            worker for worker in store.workers() if worker.id == store.job(experiment).worker_id
        )
        assert "CUDA_VISIBLE_DEVICES=0" in Path(f"/proc/{worker.pid}/environ").read_text().split(
            "\0"
        )
        store.request_stop(experiment)
        wait_for(lambda: store.job(experiment).status == "stopped")
    finally:
        keeper.kill()
        keeper.communicate()
    store.close()


def test_the_engine_is_the_one_that_the_environment_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(f"sqlite:///{tmp_path}/store.db")
    assert isinstance(make_engine(store), LocalEngine)
    monkeypatch.setenv("KD_ENGINE", "slurm")
    with pytest.raises(ConfigError, match="KD_ENGINE must be local or ray, got 'slurm'"):
        make_engine(store)
    monkeypatch.setenv("KD_ENGINE", "ray")
    with pytest.raises(ConfigError, match="KD_STORE must be the URL of a PostgreSQL server"):
        make_engine(store)
    store.url = "postgresql+psycopg://elsewhere/kdlab"
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"pip install -r requirements-ray\.txt"):
        make_engine(store)
