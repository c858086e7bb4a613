"""A compiled loop serves one run after another, and nothing of the first shows in the second."""

from __future__ import annotations

import numpy as np
import pytest

from kdcore.analysis.results import load_results, logits
from kdcore.config.experiment import ExperimentConfig
from kdcore.storage.store import Store
from kdcore.training import kept_loops
from kdcore.training.loop import Loop
from kdcore.work.experiment import run_experiment

# Keras 3.15 converts variables in a way that NumPy 2 warns about.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

TINY = ExperimentConfig(
    teacher="mlp-8",
    teacher_epochs=1,
    student="conv-4-4",
    training_examples=70,
    labels=40,
    batch_size=32,
    epochs=2,
    seeds=1,
)


@pytest.fixture(autouse=True)
def no_loops_kept() -> None:
    kept_loops._kept.clear()


def answers(store: Store, config: ExperimentConfig) -> dict[str, np.ndarray]:
    """Train, and return the test logits of student and baseline."""
    experiment = store.create(config)
    run_experiment(store, experiment, reuse="teacher")
    found = load_results(store, experiment)
    return {role: logits(store, found.runs(role)[0], "test") for role in ("student", "baseline")}


@pytest.mark.parametrize(
    "student", ["conv-4-4", "resnet-8-4"]
)  # the second has BatchNorm, whose statistics are state
def test_a_kept_loop_ends_where_a_new_one_ends_to_the_bit(
    store: Store, student: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = TINY.replace(student=student)
    after = before.replace(seed=5, alpha=0.7, temperature=8.0, learning_rate=0.02, labels=20)
    anew = answers(store, after)
    kept_loops._kept.clear()
    answers(store, before)
    traced: list[Loop] = []
    monkeypatch.setattr(Loop, "_run", lambda self, *_: traced.append(self))
    once_more = answers(store, after)
    assert traced == [], "both loops were compiled for the run before"
    for role in anew:
        np.testing.assert_array_equal(once_more[role], anew[role])


def test_alpha_1_never_gets_the_loop_of_a_mixed_loss(store: Store) -> None:
    answers(store, TINY.replace(labels=None))
    both = answers(store, TINY.replace(labels=None, alpha=1.0, seed=3))
    np.testing.assert_array_equal(both["student"], both["baseline"])


def test_only_so_many_are_kept() -> None:
    for number in range(10):
        kept_loops.keep(number, None)  # type: ignore[arg-type]
    assert list(kept_loops._kept) == list(range(10 - kept_loops.MOST_KEPT, 10))
