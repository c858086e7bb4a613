"""The store on PostgreSQL where it differs from a file: several writers at once, a server that goes
away and comes back.
"""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import insert

from kdcore.analysis.results import load_results, logits, summary
from kdcore.config.experiment import ExperimentConfig
from kdcore.engine import workers as engine_module
from kdcore.engine.jobs import this_worker
from kdcore.engine.local import LocalEngine
from kdcore.engine.workers import mark_interrupted
from kdcore.errors import StoreError, StoreUnreachable
from kdcore.storage.arrays import pack
from kdcore.storage.cursors import next_cursor
from kdcore.storage.schema import JobStatus, Metric, Probe
from kdcore.storage.store import Store
from tests.conftest import TRAINED
from tests.storage.test_store import add_run, point
from tests.support.postgres import PASSWORD, PostgresServer
from tests.support.workers import end_workers

PROBE = pack(np.zeros((1, 2), np.float32))


@pytest.fixture
def store(postgres: PostgresServer) -> Iterator[Store]:
    store = Store(postgres.new_url())
    yield store
    store.close()


def test_a_point_committed_late_with_an_earlier_number_is_not_missed(store: Store) -> None:
    for run in "ab":
        add_run(store, run)
    with store.writing() as slow:
        slow.execute(insert(Metric), [point("a", 1)])
        slow.execute(insert(Probe).values(run_id="a", epoch=0, logits=PROBE))
        store.append_metrics([point("b", 1)])
        store.add_probe("b", 0, PROBE)
        first = store.metrics(["a", "b"])
        probes, cursor = store.probes(["a", "b"])
        assert list(first["run_id"]) == ["b"]
        assert [run for run, _, _ in probes] == ["b"]
    second = store.metrics(["a", "b"], after=next_cursor(first))
    assert list(second["run_id"]) == ["a"]
    assert second["id"].max() < first["id"].min(), "or else this test shows nothing"
    assert [run for run, _, _ in store.probes(["a", "b"], after=cursor)[0]] == ["a"]


def test_a_block_of_reads_sees_one_moment_and_cannot_write(store: Store) -> None:
    add_run(store, "a")
    with store.reading() as session:
        before = session.query(Metric).count()
        store.append_metrics([point("a", 1)])
        assert session.query(Metric).count() == before == 0
    with pytest.raises(Exception, match="read-only transaction"), store.reading() as session:
        session.execute(insert(Metric), [point("a", 2)])


def test_a_new_database_may_be_opened_by_several_at_once(postgres: PostgresServer) -> None:
    url, stores, failures = postgres.new_url(), [], []

    def open_it() -> None:
        try:
            stores.append(Store(url))
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(stores) == 5


def test_the_password_is_never_shown(postgres: PostgresServer, store: Store) -> None:
    assert PASSWORD not in store.name
    for wrong in (
        store.url.replace("/postgres?", "/nothing?"),
        store.url.replace(f":{postgres.port}/", ":1/"),
    ):
        with pytest.raises(StoreError, match="cannot be") as refused:
            Store(wrong)
        assert PASSWORD not in str(refused.value)
    with pytest.raises(StoreError, match="there is no experiment") as unknown:
        store.experiment("x")
    assert PASSWORD not in str(unknown.value)


class Outage:
    """While the block runs, the server is down."""

    def __init__(self, postgres: PostgresServer, how: str) -> None:
        self.postgres, self.how = postgres, how

    def __enter__(self) -> None:
        self.postgres.stop(self.how)

    def __exit__(self, *_: object) -> None:
        self.postgres.start()


def test_a_page_is_told_at_once_and_a_worker_waits(postgres: PostgresServer, store: Store) -> None:
    add_run(store, "a")
    patient, threads = Store(store.url, patience=60), []
    with Outage(postgres, "fast"):
        with pytest.raises(StoreUnreachable, match="cannot be reached"):
            store.experiments()
        with pytest.raises(StoreUnreachable, match="cannot be reached"):
            Store(store.url)
        for step in (1, 2, 3):
            threads.append(
                threading.Thread(target=patient.append_metrics, args=([point("a", step)],))
            )
            threads[-1].start()
    for thread in threads:
        thread.join(30)
    assert sorted(store.metrics(["a"])["step"]) == [1, 2, 3]
    assert len(store.experiments()) == 1, "the store that was refused works again"


def test_silence_during_an_outage_is_nobodys_fault(
    postgres: PostgresServer, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, elsewhere = this_worker("here"), this_worker("elsewhere")
    elsewhere.host = "another machine"
    jobs = [store.create(ExperimentConfig(seed=seed)) for seed in range(2)]
    for worker in (here, elsewhere):
        worker.heartbeat_at -= 1000
        store.put_worker(worker)
        store.claim(worker.id)
    then = time.time() - 1000
    monkeypatch.setattr(time, "time", lambda: then)
    for worker, job in zip((here, elsewhere), jobs, strict=True):
        store.heartbeat(job, worker.id)
    monkeypatch.undo()
    with Outage(postgres, "fast"):
        pass
    assert mark_interrupted(store) == [], "the server has only just come back: nobody could write"
    monkeypatch.setattr(engine_module, "SECONDS_UNTIL_STALE", 0.0)
    assert mark_interrupted(store) == [jobs[1]], (
        "here the process is there to be seen, and it lives"
    )


def test_a_crash_of_the_server_under_a_live_experiment_costs_nothing(
    postgres: PostgresServer,
    store: Store,
    trained_store_file: Path,
    page: Page,
    serve: Callable[..., str],
) -> None:
    """The server is killed twice while an experiment runs and a browser watches.

    It ends as on an unharmed SQLite.
    """
    address = serve("dashboard.py", {"KD_STORE": store.url})
    engine = LocalEngine(store, workers=1)
    experiment = store.create(ExperimentConfig(**TRAINED))
    engine.submit(experiment)
    page.goto(f"{address}/?experiment={experiment}")
    try:
        for role in ("teacher", "student"):
            wait_for(
                lambda role=role: any(link.role == role for link, _ in store.runs_of(experiment))
            )
            with Outage(postgres, "immediate"):
                if role == "student":
                    expect(page.get_by_text("cannot be reached")).to_be_visible()
        wait_for(lambda: not JobStatus(store.job(experiment).status).live)
    finally:
        end_workers(store)
        for process, *_ in engine._started:
            process.wait(10)
    job = store.job(experiment)
    assert (job.status, job.attempts) == ("finished", 1), (job.error, job.traceback)
    unharmed = Store(f"sqlite:///{trained_store_file}")
    (reference,) = [
        other.id
        for other, _ in unharmed.experiments()
        if other.config == store.experiment(experiment).config
    ]
    ours, theirs = summary(store, experiment), summary(unharmed, reference)
    expect(page.get_by_text(ours["gain"]["verdict"])).to_be_visible()
    for role in ("teacher", "student", "baseline"):
        assert ours[role]["accuracy"] == theirs[role]["accuracy"]
    mine, other = (
        load_results(each, of).runs("student")[1]
        for each, of in ((store, experiment), (unharmed, reference))
    )
    assert np.array_equal(logits(store, mine, "test"), logits(unharmed, other, "test"))
    for run in load_results(store, experiment).links:
        epochs = store.metrics([run[1].id])
        assert set(epochs.loc[epochs["split"] == "validation", "epoch"]) == {1.0, 2.0, 3.0}


def wait_for(ready: Callable[[], bool], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.02)
