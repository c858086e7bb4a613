"""Sweeps: what they consist of, in which order, and that nothing is trained twice.

Real training, no worker processes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kdcore import sweeps
from kdcore.analysis.metrics import accuracy
from kdcore.analysis.results import correct, load_results
from kdcore.config.experiment import ExperimentConfig
from kdcore.config.sweep import Axis, SweepConfig
from kdcore.engine.jobs import Pulse, run_claimed, run_job, this_worker
from kdcore.errors import ConfigError, StoreError
from kdcore.storage.schema import Job, JobNeed, JobStatus, Pool
from kdcore.storage.store import Store
from kdcore.sweeps import results as sweep_results
from kdcore.sweeps import speed as sweep_speed
from kdcore.sweeps.study import Study
from tests.conftest import TINY_CELL

# Keras saves variables the way that NumPy 1 wanted it.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

TINY = ExperimentConfig(**TINY_CELL)
ALPHA_BY_TEMPERATURE = SweepConfig(
    TINY, (Axis("alpha", (0.1, 0.9)), Axis("temperature", (1.0, 4.0)))
)


class Engine:
    """Runs nothing: these tests say themselves which job runs when."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.submitted: list[str] = []

    def submit(self, job_id: str) -> None:
        self.submitted.append(job_id)

    def cancel(self, job_id: str) -> None:
        self.store.request_stop(job_id)

    def close(self) -> None: ...


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(f"sqlite:///{tmp_path}/store.db")
    yield store
    store.close()


def parts(store: Store, sweep_id: str) -> list[str]:
    return [cell.part for cell, _ in sweeps.cells_of(store, sweep_id)]


def run_next(store: Store) -> str | None:
    """Run the next ready job in this process, as a worker would; returns its id."""
    with Pulse(store, this_worker()) as pulse:
        job = store.claim(pulse.worker.id)
        if job is None:
            return None
        run_claimed(store, job, pulse)
        return job.id


def run_all(store: Store) -> list[str]:
    done = []
    while (job_id := run_next(store)) is not None:
        done.append(job_id)
    return done


# Configs


@pytest.mark.parametrize(
    ("field", "text", "values"),
    [
        ("temperature", "1,2,4", (1.0, 2.0, 4.0)),
        ("alpha", "0.1:0.9:5", (0.1, 0.3, 0.5, 0.7, 0.9)),
        ("temperature", "1:16:5:log", (1.0, 2.0, 4.0, 8.0, 16.0)),
        ("labels", "50, 100,all", (50, 100, None)),
        ("labels", "50:100:3", (50, 75, 100)),
        ("student", "mlp-4,mlp-8", ("mlp-4", "mlp-8")),
    ],
)
def test_an_axis_reads_lists_and_ranges(field: str, text: str, values: tuple[Any, ...]) -> None:
    axis = Axis.parse(field, text)
    assert axis.values == values
    assert [type(value) for value in axis.values] == [type(value) for value in values]
    assert Axis.parse(field, str(axis)) == axis


def test_a_range_without_a_count_is_for_a_sampler() -> None:
    axis = Axis.parse("alpha", "0:1")
    assert (axis.low, axis.high, axis.values) == (0.0, 1.0, ())
    assert SweepConfig(TINY, (axis,), "tpe", trials=9).count == 9
    with pytest.raises(
        ConfigError, match="alpha must be values for a grid, such as 0:1:5, got '0:1'"
    ):
        SweepConfig(TINY, (axis,))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Axis.parse("alpha", "a:b:3"), "alpha must be values such as"),
        (lambda: Axis.parse("student", "1:2:3"), "student must be a list of names"),
        (lambda: Axis.parse("seed", "1,2"), "varied setting must be one of"),
        (lambda: Axis.parse("temperature", "0:16:5:log"), "temperature must be a range above 0"),
        (lambda: Axis.parse("alpha", "0:1:1"), "alpha must be a range with 2 to"),
        (lambda: SweepConfig(TINY, ()), "varied settings must be at least one"),
        (
            lambda: SweepConfig(TINY, (Axis("temperature", (1.0, -1.0)),)),
            "temperature must be above 0, got -1",
        ),
        (
            lambda: SweepConfig(TINY, (Axis("alpha", (0.5, 0.5)),)),
            "alpha must be a list of different values",
        ),
        (
            lambda: SweepConfig(TINY, (Axis("alpha", (0.5,)), Axis("alpha", (0.6,)))),
            "alpha must be varied once",
        ),
        (lambda: SweepConfig(TINY, (Axis("labels", (50, 500)),)), "labels must be from 10"),
        (lambda: SweepConfig(TINY, (Axis("student", ("vgg",)),)), "student must be a name such as"),
        (
            lambda: SweepConfig(TINY, (Axis("alpha", (0.5,)),), "random"),
            "strategy must be one of grid, tpe",
        ),  # type: ignore[arg-type]
        (
            lambda: SweepConfig(TINY, (Axis("alpha", (0.5,)),), "tpe", trials=1),
            "trials must be a whole number from 2",
        ),
        (
            lambda: SweepConfig(
                TINY,
                (
                    Axis("alpha", tuple(np.linspace(0, 1, 40).tolist())),
                    Axis.parse("temperature", "1:40:40"),
                ),
            ),
            "cells must be at most 1,000, got 1600",
        ),
    ],
)
def test_refusals_have_the_one_form(make: Any, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        make()
    assert message in str(refused.value)


def test_a_config_survives_json() -> None:
    import json

    config = SweepConfig(
        TINY, (Axis.parse("alpha", "0:1"), Axis("student", ("mlp-4", "mlp-8"))), "tpe", 7, True
    )
    assert SweepConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


# The queue


def test_a_job_waits_for_what_it_needs_and_while_it_is_held(store: Store) -> None:
    first, second, held = (store.add_job("x", {}) for _ in range(3))
    with store.writing() as session:
        session.add(JobNeed(job_id=first, needs_id=second))
        session.get_one(Job, held).held = True
    assert store.waiting() == {Pool.MACHINE: 2}
    claimed = store.claim("worker")
    assert claimed is not None
    assert claimed.id == second
    assert store.claim("worker") is None
    assert store.claim("worker", first) is None, "not even by name"
    store.finish(second, JobStatus.FAILED)
    assert store.waiting() == {}, "nobody waits for what cannot come"
    store.requeue(second)
    assert store.claim("worker", second) is not None
    store.finish(second, JobStatus.FINISHED)
    claimed = store.claim("worker")
    assert claimed is not None
    assert claimed.id == first


def test_lower_ranks_go_first_and_a_worker_takes_its_own_kind(store: Store) -> None:
    cell, shared, watched = (store.add_job("x", {}) for _ in range(3))
    with store.writing() as session:
        for job_id, rank in ((cell, 2), (shared, 1)):
            job = session.get_one(Job, job_id)
            job.rank, job.pool = rank, Pool.THREAD.value
    assert store.waiting() == {Pool.MACHINE: 1, Pool.THREAD: 2}
    order = []
    while (job := store.claim("worker")) is not None:
        order.append(job.id)
    assert order == [watched, shared, cell]
    for job_id in order:
        store.finish(job_id, JobStatus.STOPPED)
        store.requeue(job_id)
    whole = store.claim("worker", pool=Pool.MACHINE)
    assert whole is not None
    assert whole.id == watched
    assert store.claim("worker", pool=Pool.MACHINE) is None
    assert store.claim("worker", pool=Pool.THREAD) is not None


# Plans


def test_what_cells_share_is_planned_once_and_comes_first(store: Store) -> None:
    config = SweepConfig(
        TINY, (Axis("student", ("mlp-4", "mlp-8")), Axis("temperature", (1.0, 2.0, 4.0)))
    )
    sweep_id = sweeps.create(store, config)
    assert sorted(parts(store, sweep_id)) == ["baseline"] * 2 + ["cell"] * 6 + ["teacher"]
    rows = sweeps.cells_of(store, sweep_id)
    teacher = next(job.id for cell, job in rows if cell.part == "teacher")
    with store.reading() as session:
        needs = {(need.job_id, need.needs_id) for need in session.query(JobNeed)}
    assert needs == {(job.id, teacher) for cell, job in rows if cell.part == "cell"}
    ready = []
    while (job := store.claim("worker")) is not None:
        ready.append(job.id)
    assert {cell.part for cell, job in rows if job.id in ready} == {"teacher", "baseline"}
    assert store.experiments(of_sweeps=False) == []
    assert len(store.experiments()) == 9


def test_a_sweep_that_is_extended_gets_only_what_it_lacks(store: Store) -> None:
    sweep_id = sweeps.create(store, ALPHA_BY_TEMPERATURE)
    before = {job.id for _, job in sweeps.cells_of(store, sweep_id)}
    assert sweeps.extend(store, sweep_id, ALPHA_BY_TEMPERATURE) == 0
    wider = SweepConfig(TINY, (Axis("alpha", (0.1, 0.9)), Axis("temperature", (1.0, 4.0, 8.0))))
    assert sweeps.extend(store, sweep_id, wider) == 2
    assert before < {job.id for _, job in sweeps.cells_of(store, sweep_id)}
    more_seeds = SweepConfig(TINY.replace(seeds=3), wider.axes)
    assert sweeps.extend(store, sweep_id, more_seeds) == 6 + 1, (
        "each cell again, and baselines of the third seed"
    )
    assert sorted(parts(store, sweep_id)) == ["baseline"] * 2 + ["cell"] * 6 + [
        "superseded"
    ] * 6 + ["teacher"]
    for cell, job in sweeps.cells_of(store, sweep_id):
        assert job.status == ("stopped" if cell.part == "superseded" else "queued")
    for other in (
        SweepConfig(TINY, (Axis("alpha", (0.1,)),)),
        SweepConfig(TINY.replace(epochs=9), wider.axes),
        SweepConfig(TINY.replace(seeds=1), wider.axes),
        SweepConfig(TINY, wider.axes, "tpe"),
    ):
        with pytest.raises(ConfigError):
            sweeps.extend(store, sweep_id, other)


def test_pause_holds_cells_back_and_stop_ends_them(store: Store) -> None:
    engine = Engine(store)
    sweep_id = sweeps.create(store, ALPHA_BY_TEMPERATURE)
    sweeps.pause(store, sweep_id)
    assert store.claim("worker") is None
    assert sweep_results.load(store, sweep_id).status == "paused"
    sweeps.extend(
        store,
        sweep_id,
        SweepConfig(TINY, (Axis("alpha", (0.1, 0.5, 0.9)), Axis("temperature", (1.0, 4.0)))),
    )
    assert store.claim("worker") is None, "what is added to a paused sweep waits as well"
    sweeps.resume(store, engine, sweep_id)
    assert len(engine.submitted) == 1 + 1 + 6
    assert sweep_results.load(store, sweep_id).status == "running"
    running = store.claim("worker")
    assert running is not None
    sweeps.stop(store, engine, sweep_id)
    assert store.job(running.id).stop_requested_at is not None
    store.finish(running.id, JobStatus.STOPPED, worker_id="worker")
    assert sweep_results.load(store, sweep_id).status == "stopped"
    assert store.claim("worker") is None
    sweeps.resume(store, engine, sweep_id)
    assert {job.status for _, job in sweeps.cells_of(store, sweep_id)} == {"queued"}


def test_jobs_of_a_lost_worker_are_queued_again_but_not_for_ever(store: Store) -> None:
    engine = Engine(store)
    sweep_id = sweeps.create(store, ALPHA_BY_TEMPERATURE)
    for attempt in range(3):
        job = store.claim(
            "worker",
            next(
                job.id for cell, job in sweeps.cells_of(store, sweep_id) if cell.part == "teacher"
            ),
        )
        assert job is not None
        assert job.attempts == attempt + 1
        store.finish(job.id, JobStatus.INTERRUPTED)
        assert sweeps.tend(store, engine, sweep_id) == ([job.id] if attempt < 2 else [])
    assert sweep_results.load(store, sweep_id).status == "interrupted", (
        "cells do not wait for a teacher that is not coming"
    )


def test_an_unknown_sweep_is_refused_in_words(store: Store) -> None:
    with pytest.raises(StoreError, match="there is no sweep 'nosuch'"):
        sweep_results.load(store, "nosuch")


# A real sweep, trained before


@pytest.fixture
def trained(swept_store: Store) -> Iterator[tuple[Store, str]]:
    yield swept_store, sweeps.sweeps(swept_store)[0].id
    swept_store.close()


def test_teacher_and_baselines_are_trained_once_for_all_cells(trained: tuple[Store, str]) -> None:
    store, sweep_id = trained
    sweep = sweep_results.load(store, sweep_id)
    assert sweep.status == "finished", [(job.error, job.traceback) for job in sweep.jobs]
    assert sweep.trained == {"teacher": 1, "baseline": 2, "student": 8}
    assert sweep.progress == 1
    for role, count in sweep.trained.items():
        assert len(store.finished_runs(role)) == count
    baselines = {
        tuple(run.id for link, run in store.runs_of(cell.id) if link.role == "baseline")
        for cell in sweep.cells
    }
    assert len(baselines) == 1, "the same two in each cell"
    with store.reading() as session:
        assert {job.attempts for job in session.query(Job)} == {1}


def test_every_figure_of_the_map_follows_from_stored_logits(trained: tuple[Store, str]) -> None:
    from kdcore.analysis.results import examples, logits

    store, sweep_id = trained
    sweep = sweep_results.load(store, sweep_id)
    for cell in sweep.cells:
        runs = load_results(store, cell.id).runs("student")
        assert [run.config["alpha"] for run in runs] == [cell.values["alpha"]] * 2
        labels = examples(store, runs[0].summary["dataset"], "validation")["labels"]
        measured = [accuracy(logits(store, run, "validation"), labels) for run in runs]
        assert list(cell.student.values()) == pytest.approx(measured)
        assert cell.accuracy == pytest.approx(np.mean(measured))
        assert cell.gain is not None
        assert cell.gain.mean == pytest.approx(
            100 * np.mean([cell.student[s] - cell.baseline[s] for s in (0, 1)])
        )
    # Alpha 1 would be the baseline itself; at 0.9 the students stay closer to it than at 0.1.
    assert len({cell.accuracy for cell in sweep.cells}) > 1


def test_the_winner_is_chosen_on_validation_and_reported_with_its_correction(
    trained: tuple[Store, str],
) -> None:
    store, sweep_id = trained
    sweep = sweep_results.load(store, sweep_id)
    chosen = sweep_results.winner(store, sweep)
    assert chosen is not None
    assert chosen.cell.accuracy == max(cell.accuracy for cell in sweep.cells)
    runs = load_results(store, chosen.cell.id).runs("student")
    assert chosen.test_accuracy == pytest.approx(
        np.mean([correct(store, run).mean() for run in runs])
    )
    assert chosen.corrected is not None
    assert chosen.gain is not None
    low, high = chosen.corrected
    assert low < chosen.gain.low < chosen.gain.mean < chosen.gain.high < high, (
        "four comparisons make the interval wider"
    )
    assert (low + high) / 2 == pytest.approx(chosen.gain.mean)
    assert "Best of 4 cells on validation data" in chosen.words
    assert "corrected for 4 comparisons" in chosen.words


def test_the_study_lives_in_the_same_database(trained: tuple[Store, str]) -> None:
    import optuna

    store, sweep_id = trained
    study = optuna.load_study(study_name=f"sweep {sweep_id}", storage=store.url)
    cells = {cell.id: cell for cell in sweep_results.load(store, sweep_id).cells}
    assert len(study.trials) == 4
    for trial in study.trials:
        cell = cells[trial.user_attrs["experiment"]]
        assert trial.state is optuna.trial.TrialState.COMPLETE
        assert trial.value == pytest.approx(cell.accuracy)
        assert trial.params == cell.values
    importances = Study(store.url, sweep_id, ALPHA_BY_TEMPERATURE).importances()
    assert set(importances) == {"alpha", "temperature"}
    assert sum(importances.values()) == pytest.approx(1)


def test_more_seeds_and_cells_leave_trained_runs_as_they_are(
    trained: tuple[Store, str], tmp_path: Path
) -> None:
    store, sweep_id = trained
    old = {run.id for run in store.finished_runs()}
    config = SweepConfig(
        TINY.replace(seeds=3), (Axis("alpha", (0.1, 0.9)), Axis("temperature", (1.0, 4.0, 8.0)))
    )
    assert sweep_speed.estimate(store, config).models == {
        "teacher": 0,
        "baseline": 1,
        "student": 4 + 2 * 3,
    }
    sweeps.extend(store, sweep_id, config)
    run_all(store)
    sweep = sweep_results.load(store, sweep_id)
    assert sweep.status == "finished"
    assert [cell.n for cell in sweep.cells] == [3] * 6
    new = {run.id for run in store.finished_runs()} - old
    assert len(new) == 1 + 4 + 2 * 3, (
        "a baseline and four students of the third seed, and two new cells of three"
    )
    assert sweep_speed.estimate(store, config).models == {"teacher": 0, "baseline": 0, "student": 0}


def test_the_same_sweep_again_trains_nothing(trained: tuple[Store, str]) -> None:
    store, _ = trained
    before = len(store.finished_runs())
    again = sweeps.create(store, ALPHA_BY_TEMPERATURE)
    assert "teacher" not in parts(store, again), "it is trained, and what it answers is cached"
    run_all(store)
    sweep = sweep_results.load(store, again)
    assert sweep.status == "finished"
    assert sweep.trained == {"teacher": 0, "baseline": 0, "student": 0}
    assert len(store.finished_runs()) == before


def test_the_winner_is_confirmed_on_seeds_that_no_cell_had(trained: tuple[Store, str]) -> None:
    store, sweep_id = trained
    sweep = sweep_results.load(store, sweep_id)
    best = sweep.best()
    assert best is not None
    assert sweep_results.confirmation(store, sweep) is None
    engine = Engine(store)
    job_id = sweeps.confirm(store, engine, sweep_id, best.values or {}, 2)
    assert engine.submitted == [job_id]
    assert run_job(store.url, job_id) == "finished"
    runs = load_results(store, job_id)
    assert [run.seed for run in runs.runs("student")] == [2, 3]
    assert runs.config.alpha == (best.values or {})["alpha"]
    confirmed = sweep_results.confirmation(store, sweep_results.load(store, sweep_id))
    assert confirmed is not None
    assert confirmed["gain"]["n"] == 2
    assert confirmed["words"].startswith("On 2 fresh seeds: ")
    sweeps.extend(store, sweep_id, SweepConfig(TINY.replace(seeds=3), ALPHA_BY_TEMPERATURE.axes))
    assert sweep_results.confirmation(store, sweep_results.load(store, sweep_id)) is None, (
        "its seeds are used now"
    )


def test_a_cell_that_does_badly_is_pruned_and_can_be_trained_on(store: Store) -> None:
    base = TINY.replace(epochs=4, seeds=1)
    config = SweepConfig(base, (Axis("learning_rate", (1e-2, 1e-7)),), prune=True)
    sweep_id = sweeps.create(store, config)
    run_all(store)
    sweep = sweep_results.load(store, sweep_id)
    assert [cell.status for cell in sweep.cells] == ["finished", "pruned"]
    assert sweep.status == "finished"
    hopeless = sweep.cells[1]
    assert store.job(hopeless.id).status == "stopped"
    assert store.finished_runs("student")[0].config["learning_rate"] == 1e-2
    study = Study(store.url, sweep_id, config).study
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "PRUNED"]
    chosen = sweep_results.winner(store, sweep)
    assert chosen is not None
    assert chosen.compared == 2, "a pruned cell was compared as well"
    sweeps.resume(store, Engine(store), sweep_id)
    assert store.job(hopeless.id).status == "stopped", "resuming a sweep leaves it"
    store.requeue(hopeless.id)
    run_all(store)
    assert [cell.status for cell in sweep_results.load(store, sweep_id).cells] == [
        "finished",
        "finished",
    ]


def test_tpe_chooses_cells_and_tells_the_study(store: Store) -> None:
    base = TINY.replace(seeds=1)
    axes = (
        Axis.parse("alpha", "0:1"),
        Axis.parse("labels", "20:60"),
        Axis("student", ("mlp-4", "mlp-8")),
    )
    config = SweepConfig(base, axes, "tpe", trials=3)
    sweep_id = sweeps.create(store, config)
    assert sorted(parts(store, sweep_id)) == ["cell"] * 3 + ["teacher"], (
        "no baseline before it is known of what"
    )
    run_all(store)
    sweep = sweep_results.load(store, sweep_id)
    assert sweep.status == "finished", [(job.error, job.traceback) for job in sweep.jobs]
    for cell in sweep.cells:
        found = load_results(store, cell.id)
        assert cell.values == {
            name: getattr(found.config, name) for name in ("alpha", "labels", "student")
        }
        assert 0 <= cell.values["alpha"] <= 1
        assert 20 <= cell.values["labels"] <= 60
        assert cell.gain is not None, "its baseline is trained with it"
    study = Study(store.url, sweep_id, config).study
    assert sorted(trial.value for trial in study.trials) == pytest.approx(
        sorted(cell.accuracy for cell in sweep.cells)
    )
    more = SweepConfig(base, axes, "tpe", trials=4)
    assert sweeps.extend(store, sweep_id, more) == 1


def test_speed_is_measured_where_nothing_has_been_trained(store: Store) -> None:
    first = sweep_speed.estimate(store, ALPHA_BY_TEMPERATURE, workers=2)
    assert first.models == {"teacher": 1, "baseline": 2, "student": 8}
    assert first.seconds is None
    assert [role for role, _ in first.unknown] == ["teacher", "student"]
    assert len(sweep_speed.measure(store, first.unknown)) == 2
    assert sweep_speed.measure(store, first.unknown) == [], "under way already"
    run_all(store)
    known = sweep_speed.estimate(store, ALPHA_BY_TEMPERATURE, workers=2)
    assert known.unknown == []
    assert known.seconds is not None
    alone = sweep_speed.estimate(store, ALPHA_BY_TEMPERATURE, workers=1)
    assert alone.seconds is not None
    assert known.seconds < alone.seconds < 600
    assert "4 cells: 1 teacher, 2 baselines, 8 students to train, about" in str(known)


def test_a_live_teacher_is_measured_with_its_student(store: Store) -> None:
    """With augmentation the teacher answers at every step, which takes time of its own."""
    live = SweepConfig(
        ALPHA_BY_TEMPERATURE.base.replace(augmentation="shifts"), ALPHA_BY_TEMPERATURE.axes
    )
    found = sweep_speed.estimate(store, live, workers=1)
    assert [role for role, _ in found.unknown] == ["teacher", "student", "baseline"]
    cached = sweep_speed.estimate(store, ALPHA_BY_TEMPERATURE, workers=1)
    sweep_speed.measure(store, [*found.unknown, *cached.unknown])
    run_all(store)
    keys = {
        name: sweep_speed._key("student", config)
        for name, config in (("live", live.base), ("cached", ALPHA_BY_TEMPERATURE.base))
    }
    assert keys["live"] != keys["cached"]
    assert all(store.artifact(key) is not None for key in keys.values())
    assert sweep_speed.estimate(store, live, workers=1).unknown == []


def test_how_long_an_experiment_takes_is_measured_and_comes_near(store: Store) -> None:
    config = ExperimentConfig(
        training_examples=300,
        labels=50,
        teacher="mlp-32",
        student="mlp-8",
        teacher_epochs=3,
        epochs=4,
        seeds=2,
    )
    before = sweep_speed.training_time(store, config)
    assert (before.to_train, before.trained, before.seconds) == (5, 0, None)
    assert {role for role, _ in before.unknown} == {"teacher", "student"}
    assert not sweep_speed.is_measuring(store, before.unknown)
    jobs = sweep_speed.measure(store, before.unknown)
    assert sweep_speed.is_measuring(store, before.unknown)
    assert sweep_speed.measure(store, before.unknown) == [], "they are under way"
    for job_id in jobs:
        assert run_job(store.url, job_id) == "finished"
    known = sweep_speed.training_time(store, config)
    # A teacher, then two pairs one after the other.
    assert known.seconds is not None
    assert known.seconds > 3 * sweep_speed.SECONDS_BESIDES_TRAINING
    assert "5 models to train, about" in str(known)
    assert run_job(store.url, store.create(config)) == "finished"
    after = sweep_speed.training_time(store, config.replace(seed=10))
    assert (after.to_train, after.trained) == (4, 1), "its teacher serves again"
