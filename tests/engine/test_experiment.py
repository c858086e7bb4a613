"""Whole experiments in real worker processes: trained, reused, stopped, killed, resumed."""

import contextlib
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from sqlalchemy import update
from sqlalchemy.engine import make_url

from kdcore.analysis.curves import Curves
from kdcore.analysis.results import correct, gain, load_results, logits, summary
from kdcore.config.experiment import ExperimentConfig
from kdcore.engine.jobs import Pulse, run_claimed, run_job, terminate_group, this_worker
from kdcore.engine.local import LocalEngine
from kdcore.engine.workers import is_alive, mark_interrupted
from kdcore.errors import StopRequested
from kdcore.storage.arrays import unpack
from kdcore.storage.schema import Job, JobStatus, Run, Worker
from kdcore.storage.store import Store
from kdcore.work.progress import Progress

SMALL = ExperimentConfig(
    training_examples=300,
    labels=60,
    teacher="mlp-32",
    teacher_epochs=3,
    student="conv-4-8",
    epochs=4,
    seeds=1,
)
# Long enough that a test always catches it in the middle, and never waited for to the end.
ENDLESS = SMALL.replace(epochs=10_000)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalEngine]:
    store = Store(f"sqlite:///{tmp_path_factory.mktemp('store')}/store.db")
    engine = LocalEngine(store, workers=1)
    yield engine
    end_workers(engine)


def end_workers(engine: LocalEngine) -> None:
    for worker in engine.store.workers():
        terminate_group(worker.pid)
    for process, *_ in engine._started:
        process.wait(10)


def wait_for(engine: LocalEngine, ready: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, [
            (job.id, job.status, job.phase, job.error) for job in engine.store.jobs(*JobStatus)
        ]
        engine.tend()
        time.sleep(0.05)


def start(engine: LocalEngine, config: ExperimentConfig, **how: str) -> str:
    experiment = engine.store.create(config, **how)
    engine.submit(experiment)
    return experiment


def run(engine: LocalEngine, config: ExperimentConfig, **how: str) -> str:
    experiment = start(engine, config, **how)
    wait_for(engine, lambda: not status(engine, experiment).live)
    job = engine.store.job(experiment)
    assert job.status == "finished", (job.error, job.traceback)
    return experiment


def status(engine: LocalEngine, experiment: str) -> JobStatus:
    return JobStatus(engine.store.job(experiment).status)


def points(engine: LocalEngine, experiment: str) -> int:
    runs = [run.id for link, run in engine.store.runs_of(experiment) if link.role != "teacher"]
    return len(engine.store.metrics(runs))


def wait_until_training(engine: LocalEngine, experiment: str, more: int = 8) -> None:
    before = points(engine, experiment)
    wait_for(engine, lambda: points(engine, experiment) >= before + more)


@pytest.fixture(scope="module")
def finished(engine: LocalEngine) -> str:
    return run(engine, SMALL.replace(seeds=2))


def test_every_figure_follows_from_what_is_stored(engine: LocalEngine, finished: str) -> None:
    store = engine.store
    result = summary(store, finished)
    assert result["status"] == "finished"
    results = load_results(store, finished)
    for role in ("teacher", "student", "baseline"):
        for number, trained in enumerate(results.runs(role)):
            hits = correct(store, trained)
            assert result[role]["accuracy"][number] == hits.mean()
            assert trained.summary["test_correct"] == hits.sum()
    student, baseline = (np.array(result[role]["accuracy"]) for role in ("student", "baseline"))
    assert len(student) == len(baseline) == 2
    assert result["gain"]["mean"] == pytest.approx(100 * (student - baseline).mean())
    assert (
        result["student"]["parameters"]
        == result["baseline"]["parameters"]
        < result["teacher"]["parameters"]
    )
    assert result["seconds"]["teacher"] > 0
    assert result["seconds"]["students"] > 0


def test_the_stored_models_give_the_stored_logits(engine: LocalEngine, finished: str) -> None:
    from kdcore.data import datasets
    from kdcore.training.evaluation import model_from_bytes

    data = datasets.load(SMALL)
    for role in ("teacher", "student", "baseline"):
        trained = load_results(engine.store, finished).runs(role)[0]
        model = model_from_bytes(engine.store.artifact(f"model/{trained.id}") or b"")
        answers = model.predict(
            data.test.inputs.astype(np.float32) * np.float32(data.scale), verbose=0
        )
        np.testing.assert_allclose(
            answers, logits(engine.store, trained, "test"), atol=2e-2 if role == "teacher" else 1e-4
        )


def test_student_and_baseline_start_alike_and_stream_side_by_side(
    engine: LocalEngine, finished: str
) -> None:
    curves = Curves()
    results = load_results(engine.store, finished)
    assert curves.read_on(engine.store, results)
    assert not curves.read_on(engine.store, results), "nothing is new"
    for seed in (0, 1):
        start = [curves.probes[role, seed][0] for role in ("student", "baseline")]
        assert np.array_equal(*start), "before training both answer alike"
        end = [curves.probes[role, seed][SMALL.epochs] for role in ("student", "baseline")]
        assert not np.array_equal(*end)
        for role in ("student", "baseline"):
            assert sorted(curves.probes[role, seed]) == list(range(SMALL.epochs + 1))
    validation = curves.metrics[curves.metrics["split"] == "validation"]
    for (_role, _seed), rows in validation[validation["role"] != "teacher"].groupby(
        ["role", "seed"]
    ):
        assert rows["epoch"].to_list() == [1, 2, 3, 4]
    student = curves.metrics[
        (curves.metrics["role"] == "student") & (curves.metrics["split"] == "epoch")
    ]
    mixed = SMALL.alpha * student["hard_loss"] + (1 - SMALL.alpha) * student["soft_loss"]
    # Not to the digit: the hard part is a mean over labelled rows, and batches hold unequal numbers
    # of them.
    assert np.allclose(student["loss"], mixed, rtol=0.05)
    # Seeds differ.
    assert not np.array_equal(curves.probes["student", 0][0], curves.probes["student", 1][0])


def test_the_teachers_logits_are_cached_and_a_live_teacher_would_give_them(
    engine: LocalEngine, finished: str
) -> None:
    from kdcore.data import datasets
    from kdcore.training.evaluation import model_from_bytes

    data = datasets.load(SMALL)
    trained = load_results(engine.store, finished).runs("teacher")[0]
    teacher = model_from_bytes(engine.store.artifact(f"model/{trained.id}") or b"")
    key = f"teacher_logits/{trained.id}/{data.fingerprint}"
    cached = unpack(engine.store.artifact(key) or b"")
    live = teacher.predict(data.train.inputs.astype(np.float32) * np.float32(data.scale), verbose=0)
    np.testing.assert_allclose(cached, live, atol=2e-2)


def test_a_trained_teacher_is_reused_and_the_same_seed_gives_the_same_numbers(
    engine: LocalEngine, finished: str
) -> None:
    again = run(engine, SMALL)
    first, second = summary(engine.store, finished), summary(engine.store, again)
    assert second["teacher"]["reused"] is True
    assert second["seconds"]["teacher"] == 0.0
    assert second["seconds"]["teacher_logits"] == 0.0
    assert not second["student"]["reused"]
    for role in ("teacher", "student", "baseline"):
        assert second[role]["accuracy"][0] == first[role]["accuracy"][0]
    runs = [
        load_results(engine.store, experiment).runs("student")[0]
        for experiment in (finished, again)
    ]
    assert runs[0].id != runs[1].id, "the student was trained anew"
    assert np.array_equal(*(logits(engine.store, trained, "test") for trained in runs))


def test_all_can_be_reused_or_nothing(engine: LocalEngine, finished: str) -> None:
    everything = summary(engine.store, run(engine, SMALL, reuse="all"))
    assert everything["seconds"]["total"] == 0.0
    assert all(everything[role]["reused"] for role in ("teacher", "student", "baseline"))
    nothing = summary(engine.store, run(engine, SMALL, reuse="none"))
    assert not any(nothing[role]["reused"] for role in ("teacher", "student", "baseline"))
    assert nothing["teacher"]["accuracy"] == everything["teacher"]["accuracy"]


def test_stop_ends_at_the_next_batch_and_resume_finishes(
    engine: LocalEngine, finished: str
) -> None:
    experiment = start(engine, ENDLESS)
    wait_until_training(engine, experiment)
    engine.cancel(experiment)
    wait_for(engine, lambda: status(engine, experiment) is JobStatus.STOPPED, seconds=10)
    kept = points(engine, experiment)
    assert kept >= 8
    runs = [
        trained.id for link, trained in engine.store.runs_of(experiment) if link.role == "student"
    ]
    assert engine.store.has_artifact(f"checkpoint/{runs[0]}")
    worker = engine.store.workers()
    assert [each.state for each in worker if is_alive(each)] == ["idle"], (
        "the worker lives on for the next job"
    )
    engine.store.requeue(experiment)
    engine.submit(experiment)
    wait_until_training(engine, experiment)
    assert len(engine.store.runs_of(experiment)) == 3, "resume goes on with the same runs"
    engine.cancel(experiment)
    wait_for(engine, lambda: status(engine, experiment) is JobStatus.STOPPED, seconds=10)


def test_a_queued_experiment_waits_its_turn_and_can_be_stopped_there(
    engine: LocalEngine, finished: str
) -> None:
    running, queued = start(engine, ENDLESS), start(engine, SMALL)
    wait_until_training(engine, running, more=1)
    assert status(engine, queued) is JobStatus.QUEUED, "the only worker is busy"
    engine.cancel(queued)
    assert status(engine, queued) is JobStatus.STOPPED
    engine.cancel(running)
    wait_for(engine, lambda: not status(engine, running).live, seconds=10)


def hang_outside_of_a_transaction(pid: int, store: Store) -> None:
    """Stop a process as if it hung in native code: it can heed nothing, and holds no lock."""
    for _ in range(200):
        os.kill(pid, signal.SIGSTOP)
        file = str(make_url(store.url).database)
        with contextlib.closing(sqlite3.connect(file, timeout=0.2)) as database:
            try:
                database.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:  # it was writing
                os.kill(pid, signal.SIGCONT)
                time.sleep(0.01)
                continue
            database.rollback()
            return
    raise AssertionError("it writes all the time")


def test_a_worker_that_ignores_stop_is_killed_after_the_grace_period(
    engine: LocalEngine, finished: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = start(engine, ENDLESS)
    wait_until_training(engine, experiment, more=1)
    (worker,) = [each for each in engine.store.workers() if each.state == "busy"]
    hang_outside_of_a_transaction(worker.pid, engine.store)
    monkeypatch.setattr("kdcore.engine.workers.SECONDS_OF_GRACE", 0.5)
    engine.cancel(experiment)
    wait_for(engine, lambda: not status(engine, experiment).live, seconds=15)
    assert status(engine, experiment) is JobStatus.STOPPED
    assert not is_alive(worker)


def test_a_failed_run_says_why_in_words(engine: LocalEngine, finished: str) -> None:
    # Logits divided by the smallest number there is are infinite, and so the loss is not a number.
    experiment = start(engine, SMALL.replace(temperature=5e-324))
    wait_for(engine, lambda: not status(engine, experiment).live)
    job = engine.store.job(experiment)
    assert job.status == "failed"
    assert "training cannot go on" in (job.error or "")
    assert "Traceback" in (job.traceback or "")


def test_gain_is_none_until_both_have_finished(engine: LocalEngine) -> None:
    store = engine.store
    experiment = store.create(SMALL)
    store.request_stop(experiment)
    assert gain(store, load_results(store, experiment)) is None
    assert summary(store, experiment)["student"]["accuracy"] == []


def test_workers_leave_when_idle(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/store.db")
    engine = LocalEngine(store, idle_seconds=0.0)
    engine.warm()
    (worker,) = store.workers()
    wait_for(engine, lambda: not is_alive(worker))
    assert store.workers() == []
    end_workers(engine)


def test_a_worker_that_hangs_while_it_starts_keeps_no_job_waiting(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/store.db")
    engine = LocalEngine(store, workers=2)
    engine.warm()
    (hanging,) = store.workers()
    os.kill(hanging.pid, signal.SIGSTOP)
    try:
        job = start(engine, SMALL)
        assert len(store.workers()) == 1, "it may still be importing"
        with store.writing() as session:
            session.execute(update(Worker).values(created_at=time.time() - 1000))
        wait_for(engine, lambda: store.job(job).worker_id is not None)
        assert store.job(job).worker_id != hanging.id
        store.request_stop(job)
    finally:
        os.kill(hanging.pid, signal.SIGKILL)
        end_workers(engine)


def test_progress_never_falls_and_ends_at_one(engine: LocalEngine, finished: str) -> None:
    experiment, seen = start(engine, SMALL.replace(seeds=2, seed=30, teacher_seed=3)), [0.0]

    def done() -> bool:
        job = engine.store.job(experiment)
        seen.append(job.progress)
        return not JobStatus(job.status).live

    wait_for(engine, done)
    assert seen == sorted(seen)
    assert max(seen) == 1.0
    assert len(set(seen)) > 4


# Keras itself, when it saves a model.
@pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn.t accept a copy keyword:DeprecationWarning"
)
def test_a_job_can_be_run_in_any_process_that_has_the_url(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/store.db")
    experiment = store.create(SMALL)
    assert run_job(store.url, experiment) == "finished"
    assert len(summary(store, experiment)["student"]["accuracy"]) == 1
    assert run_job(store.url, experiment) is None, "it is not queued any more"
    assert store.workers() == []


@pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn.t accept a copy keyword:DeprecationWarning"
)
def test_one_whose_worker_is_gone_is_not_waited_for_but_taken_over(store: Store) -> None:
    """Also where nobody tends the store: its server may be gone as well."""
    gone, waiting = (store.create(SMALL, reuse="all") for _ in range(2))
    worker = this_worker()
    worker.process_started -= 1000  # another process had the number before
    store.put_worker(worker)
    assert store.claim(worker.id, gone) is not None
    begun = Run(
        id="begun",
        fingerprint=SMALL.fingerprint("teacher"),
        role="teacher",
        seed=SMALL.seed,
        model=SMALL.teacher,
        config=SMALL.model_dump(mode="json"),
        experiment_id=gone,
        created_at=time.time(),
    )
    store.claim_run(begun, gone, share=True)
    patience = threading.Timer(60, store.request_stop, [waiting])
    patience.daemon = True
    patience.start()
    try:
        assert run_job(store.url, waiting) == "finished"
    finally:
        patience.cancel()
    assert store.job(gone).status == "interrupted"
    teacher = next(run for link, run in store.runs_of(waiting) if link.step == "teacher")
    assert teacher.id == "begun"


@pytest.mark.parametrize(("stop", "status"), [(True, "stopped"), (False, "interrupted")])
def test_a_worker_that_is_ended_says_whether_it_was_asked_to_stop(
    store: Store, stop: bool, status: str
) -> None:
    experiment = store.create(SMALL)
    with Pulse(store, this_worker()) as pulse:
        job = store.claim(pulse.worker.id, experiment)
        assert job is not None
        if stop:
            store.request_stop(experiment)
        pulse.ending = True  # what SIGTERM sets
        assert run_claimed(store, job, pulse) == status
    assert store.job(experiment).status == status


def test_what_a_beat_learns_of_a_job_is_no_news_of_the_next(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    pulse = Pulse(store, this_worker())  # without its thread: the beats are these
    ids = [store.add_job("experiment", {}) for _ in range(2)]
    first, second = (store.claim(pulse.worker.id, each) for each in ids)
    assert first is not None
    assert second is not None
    heartbeat, asked, go_on = store.heartbeat, threading.Event(), threading.Event()

    def slow(job_id: str, worker_id: str) -> bool:
        if job_id == first.id:
            asked.set()
            assert go_on.wait(10)
        return heartbeat(job_id, worker_id)

    with pulse.holding(first):
        monkeypatch.setattr(store, "heartbeat", slow)
        beat = threading.Thread(target=pulse.beat)
        beat.start()
        assert asked.wait(10)
    store.finish(first.id, JobStatus.FINISHED, worker_id=pulse.worker.id)
    with pulse.holding(second):
        go_on.set()  # it finds that the first job is not this worker's any more
        beat.join()
        pulse.check()
        store.request_stop(second.id)
        pulse.beat()
        with pytest.raises(StopRequested):
            pulse.check()


def test_a_job_that_its_worker_has_forgotten_can_be_resumed(store: Store) -> None:
    worker = this_worker()
    job = store.claim(worker.id, store.add_job("experiment", {}))
    assert job is not None
    store.put_worker(worker)
    assert mark_interrupted(store) == []
    with store.writing() as session:
        session.execute(update(Job).values(heartbeat_at=worker.heartbeat_at - 60))
    assert mark_interrupted(store) == [job.id], "its worker lives, and has long said nothing of it"
    assert store.job(job.id).status == "interrupted"


def test_the_time_that_is_left_is_told_by_steps_and_not_by_the_compiling_of_the_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, reports = [100.0], list[float | None]()

    class Reports:
        def report(
            self, job_id: str, phase: str, progress: float, seconds_left: float | None
        ) -> None:
            reports.append(seconds_left)

    monkeypatch.setattr("kdcore.work.progress.time", SimpleNamespace(perf_counter=lambda: clock[0]))
    progress = Progress(Reports(), "job", lambda: None)  # type: ignore[arg-type]
    for seconds, fraction in (
        (0.0, None),
        (6.0, 0.01),
        (1.0, 0.11),
        (1.0, 0.21),
        (0.1, 0.22),
        (3.9, 0.61),
    ):
        clock[0] += seconds
        progress.begin("training") if fraction is None else progress.update(fraction)
    assert reports == [None, None, pytest.approx(8.9), pytest.approx(7.9), pytest.approx(3.9)]
