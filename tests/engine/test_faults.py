"""What breaks, and what happens then: nothing accepted is lost, the status is true, and the words
help.

``KD_FAULT_ROUNDS=50`` is the long form of the tests that kill at random moments; ``KD_FAULT_SEED``
repeats a bad day.
"""

import contextlib
import os
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from playwright.sync_api import Page, expect

from kdcore.analysis.results import gain, load_results, logits
from kdcore.config.experiment import ExperimentConfig
from kdcore.engine.jobs import terminate_group
from kdcore.engine.local import LocalEngine
from kdcore.engine.workers import is_alive, mark_interrupted
from kdcore.errors import StoreError, StoreUnreachable
from kdcore.storage.schema import JobStatus, Worker
from kdcore.storage.store import Store
from tests.support.browser import Server
from tests.support.workers import end_workers

ROUNDS = int(os.environ.get("KD_FAULT_ROUNDS", "3"))
SEED = int(os.environ.get("KD_FAULT_SEED", "0"))
SMALL = ExperimentConfig(
    training_examples=300,
    labels=60,
    teacher="mlp-32",
    teacher_epochs=3,
    student="conv-4-8",
    epochs=100,
    seeds=1,
)
ENDLESS = SMALL.replace(epochs=10_000)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(f"sqlite:///{tmp_path}/store.db")
    yield store
    end_workers(store)


@pytest.fixture
def engine(store: Store) -> Iterator[LocalEngine]:
    engine = LocalEngine(store, workers=1)
    yield engine
    end_started(engine)


def end_started(engine: LocalEngine) -> None:
    for process, *_ in engine._started:
        terminate_group(process.pid)
        process.wait(10)


def wait_for(engine: LocalEngine, ready: Callable[[], bool], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, [
            (job.status, job.phase, job.error) for job in engine.store.jobs(*JobStatus)
        ]
        engine.tend()
        time.sleep(0.05)


def start(engine: LocalEngine, config: ExperimentConfig) -> str:
    experiment = engine.store.create(config)
    engine.submit(experiment)
    return experiment


def points(store: Store, experiment: str) -> set[int]:
    return set(store.metrics([run.id for _, run in store.runs_of(experiment)])["id"])


def busy(store: Store) -> Worker:
    (worker,) = [each for each in store.workers() if each.state == "busy"]
    return worker


def test_killed_at_any_moment_again_and_again_a_run_loses_nothing_and_ends_as_if_never_interrupted(
    store: Store, engine: LocalEngine
) -> None:
    moments = random.Random(SEED)
    reference = start(engine, SMALL)
    wait_for(engine, lambda: store.job(reference).status == "finished")
    killed = 0
    while killed < ROUNDS:
        experiment, accepted = start(engine, SMALL), set[int]()
        while killed < ROUNDS:
            wait_for(engine, lambda: store.job(experiment).status != "queued")  # noqa: B023  called at once
            time.sleep(moments.uniform(0, 2.5))
            accepted |= points(store, experiment)
            if store.job(experiment).status != "running":
                break
            os.kill(busy(store).pid, signal.SIGKILL)
            killed += 1
            wait_for(engine, lambda: store.job(experiment).status == "interrupted", seconds=15)  # noqa: B023
            assert accepted <= points(store, experiment)
            store.requeue(experiment)
            engine.submit(experiment)
        wait_for(engine, lambda: not JobStatus(store.job(experiment).status).live)  # noqa: B023
        assert store.job(experiment).status == "finished", store.job(experiment).traceback
        assert accepted <= points(store, experiment)
        for role in ("student", "baseline"):
            (one,), (other,) = (
                load_results(store, each).runs(role) for each in (reference, experiment)
            )
            assert one.id != other.id
            assert np.array_equal(logits(store, one, "test"), logits(store, other, "test")), (
                "the same weights"
            )


def test_a_worker_that_dies_during_a_poll_leaves_a_job_that_the_next_poll_finds(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = subprocess.Popen(["sleep", "60"])
    job = store.create(SMALL)
    store.put_worker(
        Worker(
            id="w",
            host=socket.gethostname(),
            pid=process.pid,
            process_started=psutil.Process(process.pid).create_time(),
            state="busy",
            heartbeat_at=time.time(),
            created_at=time.time(),
        )
    )
    assert store.claim("w") is not None

    def alive_for_the_last_time(worker: Worker, reachable_since: float = 0.0) -> bool:
        answer = is_alive(worker, reachable_since)
        process.kill()
        process.wait()
        return answer

    monkeypatch.setattr("kdcore.engine.workers.is_alive", alive_for_the_last_time)
    assert mark_interrupted(store) == []
    assert mark_interrupted(store) == [job]
    assert store.job(job).status == "interrupted"
    assert store.workers() == []


@pytest.fixture
def start_server(store: Store) -> Iterator[Callable[[], Server]]:
    """Start dashboards over the store; those that still run end with the test."""
    started: list[Server] = []

    def start() -> Server:
        started.append(Server("dashboard.py", {"KD_STORE": store.url}))
        started[-1].wait_until_healthy()
        return started[-1]

    yield start
    for server in started:
        if server.runs:
            server.stop()


def test_server_and_worker_killed_together_leave_a_run_that_a_new_server_resumes(
    page: Page, store: Store, start_server: Callable[[], Server]
) -> None:
    moments = random.Random(SEED)
    experiment = store.create(SMALL.replace(epochs=400))
    accepted = set[int]()
    for _ in range(max(1, ROUNDS // 3)):
        server = start_server()
        page.goto(f"{server.url}/?experiment={experiment}")
        if accepted:
            expect(page.get_by_text("Interrupted:")).to_be_visible(timeout=60_000)
            page.get_by_role("button", name="Resume").click(timeout=90_000)
        deadline = time.monotonic() + 120
        while len(points(store, experiment)) <= len(accepted):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(moments.uniform(0, 1.0))
        accepted |= points(store, experiment)
        os.kill(busy(store).pid, signal.SIGKILL)
        server.kill()
        assert accepted <= points(store, experiment)
        accepted = points(
            store, experiment
        )  # with what was written before the blow: the next round waits for more
    server = start_server()
    page.goto(f"{server.url}/?experiment={experiment}")
    expect(page.get_by_text("Interrupted:")).to_be_visible(timeout=60_000)
    # The button comes when the part that follows has drawn its charts: seconds, on a busy machine.
    page.get_by_role("button", name="Resume").click(timeout=90_000)
    deadline = time.monotonic() + 180
    while store.job(experiment).status != "finished":
        assert time.monotonic() < deadline, store.job(experiment).traceback
        time.sleep(0.2)
    assert accepted <= points(store, experiment)
    verdict = gain(store, load_results(store, experiment))
    assert verdict is not None
    expect(page.get_by_text(verdict.verdict)).to_be_visible(timeout=60_000)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 12 MB of the test's own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(folder)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("this user may not mount a small disk")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_holds_a_run_up_and_room_lets_it_go_on(small_disk: Path) -> None:
    store = Store(f"sqlite:///{small_disk}/store.db")
    engine = LocalEngine(store, workers=1)
    experiment = start(engine, ENDLESS)
    wait_for(engine, lambda: len(points(store, experiment)) > 20)
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    deadline = time.monotonic() + 30
    with pytest.raises(StoreUnreachable, match="its disk is full"):  # noqa: PT012
        while time.monotonic() < deadline:
            store.put_artifact("more", os.urandom(1_000_000))
    accepted = points(store, experiment)
    assert store.job(experiment).status == "running"
    filler.unlink()
    wait_for(engine, lambda: len(points(store, experiment)) > len(accepted) + 5)
    assert accepted <= points(store, experiment)
    assert store.job(experiment).attempts == 1, "it was never interrupted"
    end_started(engine)
    store.close()


def test_a_locked_database_holds_a_run_up_and_is_not_taken_for_death(
    store: Store, engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = start(engine, ENDLESS)
    wait_for(engine, lambda: len(points(store, experiment)) > 5)
    locker = sqlite3.connect(store.url.removeprefix("sqlite:///"), isolation_level=None)
    locker.execute("BEGIN IMMEDIATE")
    accepted = points(store, experiment)
    monkeypatch.setattr("kdcore.engine.workers.SECONDS_UNTIL_STALE", 1.0)  # as after half a minute
    time.sleep(2.5 if ROUNDS < 10 else 30)
    assert points(store, experiment) == accepted, "nobody could write"
    assert mark_interrupted(store) == []
    locker.execute("ROLLBACK")
    locker.close()
    wait_for(engine, lambda: points(store, experiment) > accepted)
    assert (store.job(experiment).status, store.job(experiment).attempts) == ("running", 1)


def test_a_clock_that_is_set_back_or_forward_does_not_interrupt_a_run_and_a_dead_one_is_still_found(
    store: Store, engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = start(engine, ENDLESS)
    wait_for(engine, lambda: len(points(store, experiment)) > 2)
    real = time.time
    for jump in (-7200.0, 7200.0):
        monkeypatch.setattr(time, "time", lambda jump=jump: real() + jump)
        assert mark_interrupted(store) == []
        assert store.job(experiment).status == "running"
    monkeypatch.setattr(time, "time", lambda: real() - 7200.0)
    worker = busy(store)
    os.kill(worker.pid, signal.SIGKILL)
    wait_for(engine, lambda: store.job(experiment).status == "interrupted", seconds=15)
    assert not is_alive(worker)


def test_a_deleted_store_is_told_in_words_and_goes_on_when_it_is_put_back(
    store: Store, engine: LocalEngine, tmp_path: Path
) -> None:
    experiment = start(engine, ENDLESS)
    wait_for(engine, lambda: len(points(store, experiment)) > 5)
    files = [tmp_path / f"store.db{ending}" for ending in ("", "-wal", "-shm")]
    aside = tmp_path / "aside"
    aside.mkdir()
    for file in files:
        file.rename(aside / file.name)
    with pytest.raises(StoreUnreachable, match="its file is gone"):
        store.job(experiment)
    time.sleep(1.5)  # the worker finds out, and waits
    assert not files[0].exists(), "nobody began an empty store in its place"
    for file in files:
        (aside / file.name).rename(file)
    accepted = points(store, experiment)
    assert len(accepted) > 5
    wait_for(engine, lambda: points(store, experiment) > accepted)
    assert (store.job(experiment).status, store.job(experiment).attempts) == ("running", 1)


def test_garbage_in_the_place_of_the_store_is_told_in_words_and_a_backup_mends_it(
    trained_store: Store, tmp_path: Path
) -> None:
    (newest, _), *_ = trained_store.experiments()
    file = Path(trained_store.url.removeprefix("sqlite:///"))
    trained_store.close()
    backup = tmp_path / "backup.db"
    shutil.copy(file, backup)
    for garbage in (b"not a database at all" * 1000, b"", os.urandom(100_000)):
        file.unlink()
        for rest in tmp_path.glob("store.db-*"):
            rest.unlink()
        file.write_bytes(garbage)
        if garbage:
            with pytest.raises(StoreError, match="damaged, or no database"):
                trained_store.experiment(newest.id)
            with pytest.raises(StoreError, match="damaged, or no database"):
                Store(trained_store.url)
        else:  # an empty file is an empty store, at the latest once it is opened anew
            with pytest.raises(
                StoreError, match=r"there is no experiment|replaced by an empty one"
            ):
                trained_store.experiment(newest.id)
        trained_store.close()
    file.unlink()
    shutil.copy(backup, file)
    assert trained_store.experiment(newest.id).id == newest.id


def test_a_worker_without_memory_says_so(store: Store, engine: LocalEngine) -> None:
    resource = pytest.importorskip("resource")
    if not hasattr(resource, "prlimit"):
        pytest.skip("this system cannot limit another process's memory")
    first = start(engine, ENDLESS)
    wait_for(engine, lambda: len(points(store, first)) > 2)
    pid = busy(store).pid
    engine.cancel(first)
    wait_for(engine, lambda: not JobStatus(store.job(first).status).live)
    used = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.prlimit(pid, resource.RLIMIT_AS, (used, used))
    # What it has is enough for the small networks of before, and not for these.
    experiment = start(engine, ENDLESS.replace(teacher="conv-1024-2048", teacher_batch_size=512))
    wait_for(engine, lambda: not JobStatus(store.job(experiment).status).live)
    job = store.job(experiment)
    assert job.status in ("failed", "interrupted")
    assert "memory" in (job.error or ""), job.error
    assert JobStatus(job.status).resumable


def test_two_dashboards_share_a_store_one_ends_on_sigterm_and_a_port_in_use_is_told(
    page: Page, store: Store, tmp_path: Path
) -> None:
    servers = [Server("dashboard.py", {"KD_STORE": store.url}) for _ in range(2)]
    for server in servers:
        server.wait_until_healthy()
    experiment = store.create(ENDLESS)
    page.goto(f"{servers[0].url}/?experiment={experiment}")
    expect(
        page.get_by_test_id("stMainBlockContainer").get_by_role("button", name="Stop", exact=True)
    ).to_be_visible(timeout=60_000)
    page.goto(f"{servers[1].url}/?experiment={experiment}")
    expect(
        page.get_by_test_id("stMainBlockContainer").get_by_role("button", name="Stop", exact=True)
    ).to_be_visible(timeout=60_000)
    port = servers[1].url.rsplit(":", 1)[1]
    clash = subprocess.run(
        ["make", "run", f"PORT={port}"], capture_output=True, text=True, timeout=60
    )
    assert clash.returncode != 0
    assert f"Port {port} is" in clash.stdout + clash.stderr
    assert "Traceback" not in servers[0].stop(), "SIGTERM"
    deadline = time.monotonic() + 60
    while len(points(store, experiment)) < 5:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert store.job(experiment).attempts == 1, "one of the two took it, once"
    file = Path(store.url.removeprefix("sqlite:///"))
    file.rename(tmp_path / "aside.db")
    expect(page.get_by_text("its file is gone. Put it back").first).to_be_visible(timeout=60_000)
    (tmp_path / "aside.db").rename(file)
    expect(page.get_by_text("its file is gone. Put it back")).to_have_count(0, timeout=60_000)
    page.get_by_test_id("stMainBlockContainer").get_by_role(
        "button", name="Stop", exact=True
    ).click()
    expect(page.get_by_text("Stopped. What was trained is kept")).to_be_visible(timeout=60_000)
    assert "Traceback" not in servers[1].stop()
