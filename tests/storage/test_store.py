"""The store keeps what it accepted, gives a job to one worker only, and reads on from a cursor."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_wine
from sqlalchemy import delete, select, update

from kdcore.config.experiment import ExperimentConfig
from kdcore.config.sweep import Axis, SweepConfig
from kdcore.data import ingest
from kdcore.errors import ClaimLost, StoreError, TransitionError
from kdcore.storage import artifacts
from kdcore.storage.arrays import pack, unpack, unpack_many
from kdcore.storage.cursors import next_cursor
from kdcore.storage.schema import TRANSITIONS, Artifact, ArtifactPart, JobStatus, Run, SweepCell
from kdcore.storage.store import Store, current_points
from kdcore.sweeps import planning


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A new store of its own, in a SQLite file and on a PostgreSQL server."""
    if request.param == "sqlite":
        store = Store(f"sqlite:///{tmp_path}/store.db")
    else:
        store = Store(request.getfixturevalue("postgres").new_url())
    yield store
    store.close()


def add_run(
    store: Store, run_id: str = "run", fingerprint: str = "abcdef0123456789", experiment: str = ""
) -> Run:
    experiment = experiment or store.create(ExperimentConfig())
    run = Run(
        id=run_id,
        fingerprint=fingerprint,
        role="teacher",
        seed=0,
        model="m",
        config={},
        experiment_id=experiment,
        created_at=time.time(),
    )
    return store.claim_run(run, experiment, share=False)[0]


def point(run_id: str, step: int, **measures: float) -> dict:
    return {
        "run_id": run_id,
        "split": "train",
        "step": step,
        "epoch": step / 10,
        "seconds": float(step),
        **measures,
    }


def test_an_experiment_comes_back_as_it_went_in(store: Store) -> None:
    config = ExperimentConfig(temperature=3.5, labels=None)
    experiment_id = store.create(config, name="<b>first</b>")
    again = Store(store.url)
    assert ExperimentConfig(**again.experiment(experiment_id).config) == config
    assert again.experiment(experiment_id).name == "<b>first</b>"
    assert again.job(experiment_id).status == "queued"
    assert [experiment.id for experiment, _ in again.experiments()] == [experiment_id]


def test_each_job_is_claimed_once_however_many_ask(store: Store) -> None:
    jobs = {store.create(ExperimentConfig(seed=seed)) for seed in range(30)}

    def claim_until_empty(worker: int) -> list[str]:
        mine = []
        while (job := store.claim(f"worker-{worker}")) is not None:
            mine.append(job.id)
        return mine

    with ThreadPoolExecutor(6) as threads:
        claimed = [job for mine in threads.map(claim_until_empty, range(6)) for job in mine]
    assert sorted(claimed) == sorted(jobs)


def test_two_processes_share_a_hundred_jobs_and_none_is_claimed_twice(store: Store) -> None:
    jobs = [store.add_job("experiment", {}) for _ in range(100)]
    script = """
import sys
from kdcore.storage.store import Store
store = Store(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
while (job := store.claim(sys.argv[2])) is not None:
    print(job.id)
"""
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", script, store.url, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in "ab"
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    claimed = [worker.communicate(timeout=60)[0].split() for worker in workers]
    assert sorted(claimed[0] + claimed[1]) == sorted(jobs)
    assert all(claimed), "both got some"
    for name, mine in zip("ab", claimed, strict=True):
        assert {store.job(job).worker_id for job in mine} == {name}


def test_a_worker_takes_no_job_of_a_kind_that_it_does_not_know(store: Store) -> None:
    """A newer program shares the store, and queues jobs that an older worker would only fail."""
    unknown, known = store.add_job("from-the-future", {}), store.add_job("measure", {"run_ids": []})
    assert sum(store.waiting(["measure"]).values()) == 1
    claimed = store.claim("older", kinds=["measure"])
    assert claimed is not None
    assert claimed.id == known
    assert store.claim("older", kinds=["measure"]) is None
    newer = store.claim("newer", kinds=["measure", "from-the-future"])
    assert newer is not None
    assert newer.id == unknown


def test_jobs_are_claimed_oldest_first(store: Store) -> None:
    jobs = [store.create(ExperimentConfig(seed=seed)) for seed in range(3)]
    assert store.queue_position(jobs[2]) == 2
    assert [store.claim("w").id for _ in jobs] == jobs  # type: ignore[union-attr]


@pytest.mark.parametrize("before", JobStatus)
@pytest.mark.parametrize("after", JobStatus)
def test_only_documented_transitions_happen(
    store: Store, before: JobStatus, after: JobStatus
) -> None:
    job = store.create(ExperimentConfig())
    path = {JobStatus.QUEUED: [], JobStatus.RUNNING: [JobStatus.RUNNING]}.get(
        before, [JobStatus.RUNNING, before]
    )
    for status in path:
        store.finish(job, status)
    assert store.job(job).status == before
    if after in TRANSITIONS[before]:
        store.finish(job, after)
        assert store.job(job).status == after
    else:
        with pytest.raises(TransitionError, match=f"is {before} and cannot become {after}"):
            store.finish(job, after)
        assert store.job(job).status == before


def test_a_worker_that_lost_its_claim_is_told_and_changes_nothing(store: Store) -> None:
    job = store.create(ExperimentConfig())
    store.claim("first")
    store.finish(job, JobStatus.INTERRUPTED)
    store.requeue(job)
    store.claim("second")
    with pytest.raises(ClaimLost):
        store.heartbeat(job, "first")
    with pytest.raises(ClaimLost):
        store.finish(job, JobStatus.FINISHED, worker_id="first")
    assert store.job(job).status == "running"
    assert store.heartbeat(job, "second") is False


def test_stop_reaches_a_queued_job_at_once_and_a_running_one_by_its_heartbeat(store: Store) -> None:
    queued, running = store.create(ExperimentConfig()), store.create(ExperimentConfig(seed=1))
    store.request_stop(queued)
    assert store.job(queued).status == "stopped"
    store.claim("w")
    assert store.heartbeat(running, "w") is False
    store.request_stop(running)
    assert store.heartbeat(running, "w") is True
    assert store.job(running).status == "running"


def test_reading_on_gives_exactly_what_is_new(store: Store) -> None:
    add_run(store, "a")
    add_run(store, "b")
    store.append_metrics([point("a", step, loss=step / 7) for step in range(5)])
    first = store.metrics(["a", "b"])
    store.append_metrics([point("b", step, accuracy=0.5) for step in range(3)])
    second = store.metrics(["a", "b"], after=next_cursor(first))
    assert list(first["step"]) == [0, 1, 2, 3, 4]
    assert list(second["run_id"]) == ["b", "b", "b"]
    assert first["loss"].iloc[3] == 3 / 7
    assert np.isnan(second["loss"]).all()
    assert store.metrics(["a"], after={"a": 10_000}).empty
    assert list(store.metrics(["b"], after={"a": 10_000})["step"]) == [0, 1, 2], (
        "a run not read yet is read from its start"
    )
    assert store.metrics([]).empty


def test_probes_keep_every_digit_and_their_order(store: Store) -> None:
    add_run(store, "a")
    logits = np.random.default_rng(0).normal(size=(2, 4, 3)).astype(np.float32)
    for epoch in (0, 1):
        store.add_probe("a", epoch, pack(logits[epoch]))
    rows, cursor = store.probes(["a"])
    assert [(run_id, epoch) for run_id, epoch, _ in rows] == [("a", 0), ("a", 1)]
    assert all(np.array_equal(read, logits[epoch]) for _, epoch, read in rows)
    assert store.probes(["a"], after=cursor) == ([], cursor)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 20)), max_size=40))
@settings(deadline=None, max_examples=100)
def test_points_trained_anew_after_a_resume_replace_the_old_ones(
    written: list[tuple[str, int]],
) -> None:
    frame = pd.DataFrame(
        [
            {"id": place, "run_id": run, "split": "train", "step": step}
            for place, (run, step) in enumerate(written)
        ],
        columns=["id", "run_id", "split", "step"],
    )
    kept = [
        place
        for place, (run, step) in enumerate(written)
        if all(
            later_step > step for later_run, later_step in written[place + 1 :] if later_run == run
        )
    ]
    assert list(current_points(frame)["id"]) == kept


def test_a_trained_run_is_shared_and_an_abandoned_one_taken_over(store: Store) -> None:
    first, second, third = (store.create(ExperimentConfig(seed=seed)) for seed in range(3))

    def run(run_id: str) -> Run:
        return Run(
            id=run_id,
            fingerprint="0123456789abcdef",
            role="teacher",
            seed=0,
            model="m",
            config={},
            experiment_id=first,
            created_at=time.time(),
        )

    store.claim("w1")
    mine, owner = store.claim_run(run("r1"), first, share=True)
    assert (mine.id, owner) == ("r1", None)
    assert store.claim_run(run("r2"), second, share=True)[1] == first, (
        "another live experiment trains it: wait"
    )
    store.finish(first, JobStatus.INTERRUPTED)
    taken, owner = store.claim_run(run("r3"), second, share=True)
    assert (taken.id, owner) == ("r1", None)
    store.update_run("r1", finished_at=time.time())
    found, owner = store.claim_run(run("r4"), third, share=True)
    assert (found.id, owner) == ("r1", None)
    assert found.finished_at is not None
    assert [link.reused for link, _ in store.runs_of(third)] == [True]
    alone, _ = store.claim_run(run("r5"), store.create(ExperimentConfig()), share=False)
    assert alone.id == "r5"


def test_a_run_of_another_training_is_not_an_experiments_own(store: Store) -> None:
    """Such as one that was stopped before a network got another revision."""
    experiment = store.create(ExperimentConfig())
    add_run(store, "before", "a" * 32, experiment)
    assert add_run(store, "again", "a" * 32, experiment).id == "before"
    assert add_run(store, "after", "b" * 32, experiment).id == "after"
    ((link, found),) = store.runs_of(experiment)
    assert (found.id, link.reused) == ("after", False)
    assert store.run("before").id == "before", "it is kept"


def test_artifacts_come_back_whole_or_not_at_all(store: Store, tmp_path: Path) -> None:
    store.put_artifact("a/b", b"1234")
    assert store.artifact("a/b") == b"1234"
    assert store.artifact("a/c") is None
    with store.writing() as session:
        session.execute(update(Artifact).where(Artifact.key == "a/b").values(data=b"0"))
    with pytest.raises(StoreError, match="damaged"):
        store.artifact("a/b")


def test_what_was_kept_first_stays(store: Store) -> None:
    both = threading.Barrier(2)

    def keep(data: bytes) -> bytes:
        both.wait()
        return store.keep_first("xla/a", data)

    with ThreadPoolExecutor(2) as threads:
        one, two = threads.map(keep, [b"one", b"two"])
    assert one == two == store.artifact("xla/a")
    assert store.keep_first("xla/a", b"three") == one


def test_compared_runs_say_what_the_first_says(store: Store) -> None:
    def begin(run_id: str, experiment: str, role: str, model: str = "vit-2-32") -> Run:
        run = Run(
            id=run_id,
            fingerprint=f"{len(run_id):016x}{run_id}",
            role=role,
            seed=0,
            model=model,
            config={},
            experiment_id=experiment,
            created_at=time.time(),
        )
        return store.claim_run(run, experiment, share=False)[0]

    cells = [store.create(ExperimentConfig(seed=seed)) for seed in range(2)]
    with store.writing() as session:
        for number, job in enumerate(cells):
            session.add(SweepCell(job_id=job, sweep_id="s", number=number, part="cell"))
    other = store.create(ExperimentConfig(seed=9))
    no, yes = {"used": False, "words": ""}, {"used": True, "words": "x"}
    student = begin("student", cells[0], "student")
    store.add_to_summary("student", seconds=2.0)
    assert store.said_alike(student, cells[0], "xla") is None
    assert store.say_alike(student, cells[0], "xla", no) == no
    assert store.run("student").summary == {"seconds": 2.0, "xla": no}
    for name, experiment, role in (
        ("baseline", cells[0], "baseline"),
        ("cell", cells[1], "student"),
    ):
        run = begin(name, experiment, role)
        assert store.said_alike(run, experiment, "xla") == no
        assert store.say_alike(run, experiment, "xla", yes) == no, "as the first of them"
    apart = [
        (begin("teacher", cells[0], "teacher"), cells[0]),
        (begin("network", cells[1], "baseline", "vit-4-64"), cells[1]),
        (begin("elsewhere", other, "student"), other),
    ]
    for run, experiment in apart:
        assert store.say_alike(run, experiment, "xla", yes) == yes, run.id


def test_large_artifacts_lie_in_parts_and_come_back_whole(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifacts, "BYTES_OF_A_PART", 1000)
    for size in (999, 1000, 1001, 3500, 4000, 500):
        data = np.random.default_rng(size).bytes(size)
        store.put_artifact("large", data)
        assert store.artifact("large") == data
        with store.reading() as session:
            parts = len(session.scalars(select(ArtifactPart.number)).all())
        assert parts == (0 if size <= 1000 else -(-size // 1000))
    store.put_artifact("large", bytes(2001))
    with store.writing() as session:
        session.execute(delete(ArtifactPart).where(ArtifactPart.number == 1))
    with pytest.raises(StoreError, match="damaged"):
        store.artifact("large")
    store.delete_artifacts("large")
    with store.reading() as session:
        assert session.scalars(select(ArtifactPart.number)).all() == [], (
            "its parts are gone with it"
        )
    monkeypatch.setattr(artifacts, "LARGEST_ARTIFACT", 2000)
    with pytest.raises(StoreError, match="must be below 2 GiB, got 2,001 bytes"):
        store.put_artifact("large", bytes(2001))


def test_what_is_no_number_is_refused_and_not_stored_as_json(store: Store) -> None:
    add_run(store, "a")
    with pytest.raises(Exception, match="not JSON compliant"):
        store.update_run("a", summary={"loss": float("nan")})


def test_pickles_are_not_read() -> None:
    import io

    buffer = io.BytesIO()
    np.save(buffer, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(StoreError):
        unpack(buffer.getvalue())
    with pytest.raises(StoreError):
        unpack_many(b"not a zip file")


def test_a_killed_writer_loses_nothing_that_was_accepted(store: Store) -> None:
    add_run(store, "a")
    script = """
import sys
from kdcore.storage.store import Store
store = Store(sys.argv[1])
step = 0
while True:
    store.append_metrics([{"run_id": "a", "split": "train", "step": step, "epoch": 0.0, "seconds": 0.0, "loss": 1.0}])
    print(step, flush=True)
    step += 1
"""
    writer = subprocess.Popen(
        [sys.executable, "-c", script, store.url], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    accepted = -1
    while accepted < 50:
        accepted = int(writer.stdout.readline())
    os.kill(writer.pid, signal.SIGKILL)
    accepted = int((writer.stdout.read().split() or [accepted])[-1])
    writer.wait()
    writer.stdout.close()
    steps = list(Store(store.url).metrics(["a"])["step"])
    assert steps == list(range(len(steps)))
    assert len(steps) > accepted


def test_a_store_that_cannot_be_opened_says_so(tmp_path: Path) -> None:
    garbage = tmp_path / "garbage.db"
    garbage.write_bytes(b"this is not a database" * 100)
    with pytest.raises(StoreError, match="its file is damaged, or no database"):
        Store(f"sqlite:///{garbage}")
    with pytest.raises(StoreError, match="cannot be opened"):
        Store("nonsense")


def test_unknown_ids_are_refused_in_words(store: Store) -> None:
    for look in (store.job, store.experiment, store.run, store.request_stop):
        with pytest.raises(StoreError, match="there is no"):
            look("../../etc/passwd")


def test_a_store_refuses_an_experiment_on_data_of_another_store(tmp_path: Path) -> None:
    here, there = Store(f"sqlite:///{tmp_path}/here.db"), Store(f"sqlite:///{tmp_path}/there.db")
    load_wine(as_frame=True).frame.to_csv(tmp_path / "wine.csv", index=False)
    ingest.add(there, "wine", tmp_path / "wine.csv")
    config = ExperimentConfig(dataset="wine", labels=20, teacher="mlp-16", student="mlp-8")
    with pytest.raises(StoreError, match=r"dataset must be in the store .*here\.db, got wine@"):
        here.create(config)
    sweep = SweepConfig(config, (Axis("temperature", (1.0, 2.0)),))
    with pytest.raises(StoreError, match="dataset must be in the store"):
        planning.create(here, sweep)
    assert here.jobs(*JobStatus) == []
    ingest.add(here, "wine", tmp_path / "wine.csv")
    assert here.create(config)
