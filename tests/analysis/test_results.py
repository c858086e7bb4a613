"""Which students a teacher has taught, and which of them differ in temperature alone."""

import time

import numpy as np
import pytest

from kdcore.analysis.curves import POINTS_KEPT, SNAPSHOTS_KEPT, Curves, thin
from kdcore.analysis.results import load_results, soften
from kdcore.analysis.students import Taught, taught_by
from kdcore.config.experiment import ExperimentConfig
from kdcore.errors import StoreError
from kdcore.storage.arrays import pack
from kdcore.storage.schema import Run
from kdcore.storage.store import Store, new_id

CONFIG = ExperimentConfig(seeds=1)


def claim(
    store: Store, experiment: str, role: str, config: ExperimentConfig, *, finished: bool = True
) -> str:
    """Give the experiment a run, one that is there already if it serves; returns its id."""
    run = Run(
        id=new_id(),
        fingerprint=config.fingerprint(role),
        role=role,
        seed=config.seed,
        model="m",  # type: ignore[arg-type]
        config=config.model_dump(mode="json"),
        experiment_id=experiment,
        created_at=time.time(),
    )
    found, _ = store.claim_run(run, experiment, share=True)
    if finished and found.finished_at is None:
        store.update_run(found.id, finished_at=time.time())
    return found.id


def experiment(store: Store, config: ExperimentConfig, *roles: str) -> tuple[str, list[str]]:
    created = store.create(config)
    return created, [claim(store, created, role, config) for role in roles]


def test_a_teacher_has_its_own_students_with_their_baselines(store: Store) -> None:
    first, (teacher, student, baseline) = experiment(
        store, CONFIG, "teacher", "student", "baseline"
    )
    _, (other_teacher, other_student) = experiment(
        store, CONFIG.replace(teacher_seed=1), "teacher", "student"
    )
    (mine,) = taught_by(store, teacher)
    assert (mine.experiment_id, mine.student.id) == (first, student)
    assert mine.baseline is not None
    assert mine.baseline.id == baseline
    assert (mine.temperature, mine.seed) == (10.0, 0)
    (theirs,) = taught_by(store, other_teacher)
    assert (theirs.student.id, theirs.baseline) == (other_student, None)
    assert taught_by(store, "nobody") == []


def test_the_latest_student_comes_first_and_each_once(store: Store) -> None:
    _, (teacher, early, _) = experiment(store, CONFIG, "teacher", "student", "baseline")
    time.sleep(0.01)
    _, (_, late, _) = experiment(
        store, CONFIG.replace(temperature=2), "teacher", "student", "baseline"
    )
    experiment(store, CONFIG.replace(seeds=2), "teacher", "student")
    assert [each.student.id for each in taught_by(store, teacher)] == [late, early], (
        "the third reused the first's"
    )


def test_one_in_training_is_not_a_student_yet(store: Store) -> None:
    created, (teacher,) = experiment(store, CONFIG, "teacher")
    claim(store, created, "student", CONFIG, finished=False)
    assert taught_by(store, teacher) == []


def test_equal_recipes_differ_in_temperature_alone(store: Store) -> None:
    def taught(**changes: object) -> Taught:
        _, (_, student) = experiment(store, CONFIG.replace(**changes), "teacher", "student")
        return Taught("e", store.run(student), None)

    mine = taught()
    assert taught(temperature=3.0).recipe() == mine.recipe()
    for changes in (
        {"alpha": 0.5},
        {"seed": 1},
        {"epochs": 3},
        {"labels": 200},
        {"teacher_seed": 4},
    ):
        assert taught(**changes).recipe() != mine.recipe(), changes
    assert taught(seed=2).recipe(with_seed=False) == mine.recipe(with_seed=False)


def test_softening_needs_a_trained_teacher(store: Store) -> None:
    created = store.create(CONFIG)
    with pytest.raises(StoreError, match="is not trained: the experiment is queued"):
        soften(store, created, 4)
    with pytest.raises(StoreError, match="there is no experiment 'nothing'"):
        soften(store, "nothing", 4)


def test_a_long_run_is_held_in_bounds_with_its_spikes_and_its_newest_points(store: Store) -> None:
    created, (_, student) = experiment(store, CONFIG, "teacher", "student")
    curves, steps, chunk = Curves(), 0, 3 * POINTS_KEPT // 4
    for _ in range(8):
        losses = [1.0] * chunk
        losses[1_234] = 9.0
        store.append_metrics(
            [
                {
                    "run_id": student,
                    "split": "train",
                    "step": steps + n,
                    "epoch": 0.0,
                    "seconds": 0.0,
                    "loss": loss,
                }
                for n, loss in enumerate(losses, 1)
            ]
        )
        steps += chunk
        curves.read_on(store, load_results(store, created))
        assert len(curves.metrics) <= 2 * POINTS_KEPT
    shown = curves.metrics
    assert shown["step"].is_monotonic_increasing
    assert shown["step"].is_unique
    assert (shown["step"].iloc[0], shown["step"].iloc[-1]) == (1, steps)
    assert (shown["loss"] == 9.0).sum() == 8, "no spike was lost"
    assert len(store.metrics([student])) == steps, "the store keeps every point"


def test_of_many_snapshots_some_are_held_with_the_first_and_the_newest(store: Store) -> None:
    created, (_, student) = experiment(store, CONFIG, "teacher", "student")
    curves, chunk = Curves(), SNAPSHOTS_KEPT + 50
    for start in range(0, 4 * chunk, chunk):
        for epoch in range(start, start + chunk):
            store.add_probe(student, epoch, pack(np.full((1, 2), epoch, np.float32)))
        curves.read_on(store, load_results(store, created))
        (held,) = curves.probes.values()
        assert len(held) <= 2 * SNAPSHOTS_KEPT
        assert {0, start + chunk - 1} <= held.keys()
        assert all((snapshot == epoch).all() for epoch, snapshot in held.items())
    assert np.diff(sorted(held)).max() < 4 * chunk / 20, "they are spread over the whole run"


def test_a_resumed_run_replaces_what_was_thinned(store: Store) -> None:
    created, (_, student) = experiment(store, CONFIG, "teacher", "student")

    def train(first: int, last: int, loss: float) -> None:
        place = {"run_id": student, "split": "train", "epoch": 0.0, "seconds": 0.0, "loss": loss}
        store.append_metrics([{**place, "step": step} for step in range(first, last)])

    curves = Curves()
    train(0, 3 * POINTS_KEPT, 1.0)
    curves.read_on(store, load_results(store, created))
    assert len(curves.metrics) <= POINTS_KEPT
    train(POINTS_KEPT, POINTS_KEPT + 5, 2.0)
    curves.read_on(store, load_results(store, created))
    assert curves.metrics["step"].iloc[-1] == POINTS_KEPT + 4
    assert set(curves.metrics.loc[curves.metrics["step"] >= POINTS_KEPT, "loss"]) == {2.0}


def test_short_runs_and_validation_points_are_never_thinned(store: Store) -> None:
    _, (_, student, baseline) = experiment(store, CONFIG, "teacher", "student", "baseline")
    place = {"epoch": 0.0, "seconds": 0.0, "loss": 1.0}
    store.append_metrics(
        [{**place, "run_id": student, "split": "train", "step": step} for step in range(300)]
        + [{**place, "run_id": student, "split": "validation", "step": step} for step in range(30)]
        + [{**place, "run_id": baseline, "split": "train", "step": step} for step in range(20)]
    )
    sizes = thin(store.metrics([student, baseline]), limit=50).groupby(["run_id", "split"]).size()
    assert sizes[student, "validation"] == 30
    assert sizes[baseline, "train"] == 20
    assert 2 <= sizes[student, "train"] <= 50
