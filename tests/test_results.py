"""Which students a teacher has taught, and which of them differ in temperature alone."""

import time
from pathlib import Path

import pytest

from kdcore.config import ExperimentConfig
from kdcore.errors import StoreError
from kdcore.results import Pupils, soften, taught_by
from kdcore.schema import Run
from kdcore.store import Store, new_id

CONFIG = ExperimentConfig(seeds=1)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(f"sqlite:///{tmp_path}/store.db")


def claim(store: Store, experiment: str, role: str, config: ExperimentConfig, *, finished: bool = True) -> str:
    """Give the experiment a run, one that is there already if it serves; returns its id."""
    run = Run(
        id=new_id(), fingerprint=config.fingerprint(role), role=role, seed=config.seed, model="m",  # type: ignore[arg-type]
        config=config.model_dump(mode="json"), experiment_id=experiment, created_at=time.time(),
    )  # fmt: skip
    found, _ = store.claim_run(run, experiment, share=True)
    if finished and found.finished_at is None:
        store.update_run(found.id, finished_at=time.time())
    return found.id


def experiment(store: Store, config: ExperimentConfig, *roles: str) -> tuple[str, list[str]]:
    created = store.create(config)
    return created, [claim(store, created, role, config) for role in roles]


def test_a_teacher_has_its_own_students_with_their_baselines(store: Store) -> None:
    first, (teacher, student, baseline) = experiment(store, CONFIG, "teacher", "student", "baseline")
    _, (other_teacher, other_student) = experiment(store, CONFIG.replace(teacher_seed=1), "teacher", "student")
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
    _, (_, late, _) = experiment(store, CONFIG.replace(temperature=2), "teacher", "student", "baseline")
    experiment(store, CONFIG.replace(seeds=2), "teacher", "student")
    assert [each.student.id for each in taught_by(store, teacher)] == [late, early], "the third reused the first's"


def test_one_in_training_is_not_a_student_yet(store: Store) -> None:
    created, (teacher,) = experiment(store, CONFIG, "teacher")
    claim(store, created, "student", CONFIG, finished=False)
    assert taught_by(store, teacher) == []


def test_equal_recipes_differ_in_temperature_alone(store: Store) -> None:
    def pupils(**changes: object) -> Pupils:
        _, (_, student) = experiment(store, CONFIG.replace(**changes), "teacher", "student")
        return Pupils("e", store.run(student), None)

    mine = pupils()
    assert pupils(temperature=3.0).recipe() == mine.recipe()
    for changes in ({"alpha": 0.5}, {"seed": 1}, {"epochs": 3}, {"labels": 200}, {"teacher_seed": 4}):
        assert pupils(**changes).recipe() != mine.recipe(), changes
    assert pupils(seed=2).recipe(with_seed=False) == mine.recipe(with_seed=False)


def test_softening_needs_a_trained_teacher(store: Store) -> None:
    created = store.create(CONFIG)
    with pytest.raises(StoreError, match="is not trained: the experiment is queued"):
        soften(store, created, 4)
    with pytest.raises(StoreError, match="there is no experiment 'nothing'"):
        soften(store, "nothing", 4)
