"""Whether steps are compiled with XLA: measured once, kept, and the same for all that are compared
and for who goes on after a stop.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from kdcore.analysis.results import load_results, logits
from kdcore.cli.program import main
from kdcore.config.experiment import ExperimentConfig
from kdcore.errors import StopRequested
from kdcore.storage.schema import Run
from kdcore.storage.store import Store
from kdcore.training import acceleration, kept_loops
from kdcore.training.acceleration import StepTimes
from kdcore.training.evaluation import model_from_bytes
from kdcore.training.language_model import LanguageModelTrainer
from kdcore.training.loop import Loop
from kdcore.work.experiment import run_experiment
from tests.support.stops import LOOKS_BEFORE_THE_STOP, train_until_stopped

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

FASTER = StepTimes(plain=0.014, xla=0.01, compiling_plain=0.0, compiling_xla=0.0)
SLOWER = StepTimes(plain=0.01, xla=0.014, compiling_plain=0.0, compiling_xla=0.0)
TINY = ExperimentConfig(
    teacher="mlp-8",
    teacher_epochs=1,
    student="vit-1-16",
    training_examples=64,
    batch_size=64,
    epochs=1,
    seeds=1,
)
Measured = Callable[[StepTimes], list[Any]]


@pytest.fixture
def loops(monkeypatch: pytest.MonkeyPatch) -> list[Loop]:
    """The loops that were traced for training, in order."""
    found: list[Loop] = []
    kept_loops._kept.clear()
    call = Loop.__call__

    def watched(self: Loop, *given: Any) -> None:
        if self._compiled is None:
            found.append(self)
        call(self, *given)

    monkeypatch.setattr(Loop, "__call__", watched)
    return found


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Measured:
    """``measured(times)`` lets every measurement find those, however short the training, and gives
    the list of the inputs that were measured.
    """
    monkeypatch.setattr(acceleration, "is_long", lambda *_: True)

    def find(times: StepTimes) -> list[Any]:
        calls = []

        def measure(make: Any, inputs: Any, targets: Any) -> StepTimes:
            calls.append(inputs)
            return times

        monkeypatch.setattr(acceleration, "measure", measure)
        return calls

    return find


def train(store: Store, config: ExperimentConfig) -> str:
    experiment = store.create(config)
    run_experiment(store, experiment)
    return experiment


def compiled(loops: list[Loop]) -> list[bool]:
    found = [loop.jit_compile for loop in loops]
    loops.clear()
    return found


def answers(store: Store, experiment: str) -> list[np.ndarray]:
    found = load_results(store, experiment)
    return [logits(store, found.runs(role)[0], "test") for role in ("student", "baseline")]


def kept_times(store: Store) -> str:
    (key,) = store.artifact_keys("xla/")
    return key


def test_a_shape_is_measured_once_and_all_that_are_compared_follow(
    store: Store, measured: Measured, loops: list[Loop]
) -> None:
    calls = measured(FASTER)
    experiment = train(store, TINY.replace(seeds=2))
    assert compiled(loops) == [False, True, True], "teacher, student, baseline; one loop for seeds"
    assert [len(inputs) for inputs in calls] == [64], "the batch of one step"
    train(store, TINY.replace(learning_rate=0.01))
    assert len(calls) == 1, "it was kept"
    train(store, TINY.replace(batch_size=32))
    assert len(calls) == 2, "another shape"
    said = "Steps of vit-1-16 are compiled with XLA: 1.4 times as fast when measured."
    assert load_results(store, experiment).compiled_steps == said
    shown = CliRunner().invoke(main, ["--store", store.url, "show", experiment])
    assert said in shown.output
    for _, run in store.runs_of(experiment):
        assert ("xla" in run.summary) == (run.role != "teacher")
        assert run.summary["seconds"] > 0


def test_where_it_is_slower_or_saves_too_little_it_is_left(
    store: Store, measured: Measured, loops: list[Loop]
) -> None:
    measured(SLOWER)
    first = train(store, TINY)
    said = "Steps of vit-1-16 are not compiled with XLA: 0.7 times as fast when measured."
    assert load_results(store, first).compiled_steps == said
    measured(replace(FASTER, compiling_xla=60.0))
    second = train(store, TINY.replace(batch_size=32))
    assert "but compiling takes longer" in load_results(store, second).compiled_steps
    assert not any(compiled(loops))


def test_short_trainings_and_networks_without_attention_are_not_measured(
    store: Store, measured: Measured, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = measured(FASTER)
    train(store, TINY.replace(student="conv-4-4"))
    monkeypatch.undo()
    experiment = train(store, TINY)
    assert calls == []
    assert store.artifact_keys("xla/") == []
    assert load_results(store, experiment).compiled_steps == ""


def test_a_resumed_run_keeps_its_choice_whatever_was_measured_since(
    store: Store, measured: Measured, loops: list[Loop], tmp_path: Path
) -> None:
    measured(FASTER)
    config = TINY.replace(training_examples=100, batch_size=100, epochs=20)
    whole = train(store, config)
    other = Store(f"sqlite:///{tmp_path}/other.db")
    stopped = other.create(config)
    train_until_stopped(other, stopped)
    assert all(run.summary["seconds"] > 0 for _, run in other.runs_of(stopped))
    other.put_artifact(kept_times(other), SLOWER.to_bytes())
    calls = measured(SLOWER)  # as another machine would
    loops.clear()
    kept_loops._kept.clear()
    run_experiment(other, stopped)
    assert compiled(loops) == [True, True]
    assert calls == []
    for one, two in zip(answers(store, whole), answers(other, stopped), strict=True):
        np.testing.assert_array_equal(one, two)


def test_who_measured_at_the_same_time_and_was_first_is_right(
    store: Store, measured: Measured, loops: list[Loop], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = measured(FASTER)
    train(store, TINY)
    key = kept_times(store)
    store.delete_artifacts(key)
    loops.clear()
    kept_loops._kept.clear()

    def overtaken(*_: Any) -> StepTimes:
        assert store.keep_first(key, SLOWER.to_bytes()) == SLOWER.to_bytes()
        return FASTER

    monkeypatch.setattr(acceleration, "measure", overtaken)
    train(store, TINY.replace(learning_rate=0.01))
    assert not any(compiled(loops))
    assert len(calls) == 1


def test_a_training_that_measures_ends_where_one_ends_that_found_it_measured(
    store: Store, loops: list[Loop], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acceleration, "is_long", lambda *_: True)
    config = TINY.replace(epochs=2, dropout=0.2)
    measuring = train(store, config)
    assert [loop.jit_compile for loop in loops[1:3]] == [False, True], "the two that were timed"
    key = kept_times(store)
    times = store.artifact(key)
    assert times is not None
    other = Store(f"sqlite:///{tmp_path}/other.db")
    other.put_artifact(key, times)
    loops.clear()
    kept_loops._kept.clear()
    finding = train(other, config)
    assert len(loops) == 3, "nothing was timed"
    for one, two in zip(answers(store, measuring), answers(other, finding), strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_live_teacher_is_compiled_with_its_student_and_the_training_is_the_same(
    store: Store, measured: Measured, loops: list[Loop], tmp_path: Path
) -> None:
    changed = {"augmentation": "shifts", "precision": "float32", "epochs": 2}
    config = TINY.replace(teacher="conv-4-4", **changed)
    measured(FASTER)
    one = train(store, config)
    assert compiled(loops) == [False, True, True]
    measured(SLOWER)
    other = Store(f"sqlite:///{tmp_path}/other.db")
    two = train(other, config)
    assert compiled(loops)[-2:] == [False, False]
    for mine, plain in zip(answers(store, one), answers(other, two), strict=True):
        np.testing.assert_allclose(mine, plain, atol=2e-4)


def test_a_language_model_is_compiled_and_goes_on_to_the_bit(
    store: Store, measured: Measured, loops: list[Loop], tmp_path: Path
) -> None:
    calls = measured(FASTER)
    config = ExperimentConfig(
        dataset="languages",
        plan="distilbert",
        training_examples=100,
        labels=50,
        teacher="transformer-2-16",
        student="transformer-1-16",
        pretraining_epochs=20,
        # One batch of one length an epoch: each takes seconds to compile.
        teacher_batch_size=100,
    )

    def pretrain(where: Store, experiment: str, looks: int = 10**9) -> None:
        """Train the first network of the plan, or the beginning of it."""

        def check() -> None:
            nonlocal looks
            looks -= 1
            if not looks or any(run.finished_at for _, run in where.runs_of(experiment)):
                raise StopRequested

        with pytest.raises(StopRequested):
            run_experiment(where, experiment, check=check)

    def words(where: Store, experiment: str) -> tuple[Run, list[np.ndarray]]:
        run = where.runs_of(experiment)[0][1]
        model = where.artifact(f"model/{run.id}")
        assert model is not None, "it is finished"
        return run, model_from_bytes(model).get_weights()

    other = Store(f"sqlite:///{tmp_path}/other.db")
    whole, stopped = store.create(config), other.create(config)
    pretrain(store, whole)
    pretrain(other, stopped, LOOKS_BEFORE_THE_STOP)
    assert other.artifact_keys("checkpoint/"), "it was stopped in the middle"
    pretrain(other, stopped)
    assert all(isinstance(each.trainer, LanguageModelTrainer) for each in loops)
    assert compiled(loops) == [True, True, True]
    assert [inputs.ndim for inputs in calls] == [2, 2], "tokens, once in each store"
    (run, one), (_, two) = words(store, whole), words(other, stopped)
    assert run.summary["xla"]["used"]
    assert run.summary["validation_masked_accuracy"] >= 0
    for mine, others in zip(one, two, strict=True):
        np.testing.assert_array_equal(mine, others)
