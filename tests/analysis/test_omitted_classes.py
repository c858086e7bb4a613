"""Classes that student and baseline never see, and what raising their biases does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kdcore.analysis.omitted_classes import best_bias, count_errors, errors, raised
from kdcore.analysis.results import load_results, logits, who_saw_what
from kdcore.config.experiment import ExperimentConfig
from kdcore.data import datasets
from kdcore.errors import ConfigError
from kdcore.storage.store import Store
from kdcore.work.experiment import run_experiment

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
CONFIG = ExperimentConfig(
    teacher="mlp-64", teacher_epochs=12, student="mlp-16", epochs=12, seeds=1, labels=None
)


def test_the_bias_is_the_least_of_the_best() -> None:
    labels = np.array([0, 0, 2, 2, 1, 1])
    answers = np.array(
        [[5, 0, 1], [4, 0, 1], [3, 0, 2.05], [2.5, 0, 1.55], [0, 9, 1], [0, 9, 1]], float
    )
    bias = best_bias(answers, labels, [2])
    assert bias == pytest.approx(1.0)
    assert count_errors(answers, labels, [2]) == (2, 2)
    assert count_errors(raised(answers, [2], bias), labels, [2]) == (0, 0)
    assert best_bias(answers, np.array([0, 0, 0, 0, 1, 1]), [2]) == 0.0, "nothing to gain"


def test_nobody_sees_the_class_and_its_examples_change_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other pictures in place of the omitted class's train the same student, to the bit."""
    config = CONFIG.replace(omitted_classes="3", alpha=1.0, teacher_epochs=1, epochs=2)
    whole = datasets.load(config)
    first = store.create(config)
    run_experiment(store, first)
    blank = np.array(whole.train.inputs)
    blank[whole.train.labels == 3] = 7
    changed = replace(whole, train=replace(whole.train, inputs=blank))
    monkeypatch.setattr(datasets, "load", lambda _config: changed)
    second = store.create(config, reuse="none")
    run_experiment(store, second, reuse="none")
    for role in ("student", "baseline"):
        one, two = (load_results(store, each).runs(role)[0] for each in (first, second))
        np.testing.assert_array_equal(logits(store, one, "test"), logits(store, two, "test"))


def test_a_teacher_tells_of_a_class_that_nobody_showed(store: Store) -> None:
    """Hinton's finding, in small: the baseline cannot know a 3, a student at a high T can."""
    done = store.create(CONFIG.replace(omitted_classes="3", temperature=8.0, alpha=0.0))
    run_experiment(store, done)
    results = load_results(store, done)
    found = errors(store, results)
    student, baseline = found["student"], found["baseline"]
    assert baseline.omitted == baseline.omitted_examples, "not one of them"
    assert student.omitted_examples == baseline.omitted_examples > 30
    assert student.omitted_raised < baseline.omitted_raised
    assert student.all_raised <= student.all
    assert student.bias > 0
    assert "never see an example of 3" in who_saw_what(results.config)
    (run,) = results.runs("student")
    labels = datasets.load(results.config).test.labels
    wrong = logits(store, run, "test").argmax(axis=1) != labels
    assert student.all == wrong.sum()
    assert student.omitted == (wrong & (labels == 3)).sum()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"omitted_classes": "ten"}, "empty, or some of 0, 1, 2"),
        ({"omitted_classes": "0,1,2,3,4,5,6,7,8"}, "so few that two classes are left"),
        (
            {"omitted_classes": "3", "plan": "noisy-student", "labels": 50},
            "empty with the plan noisy-student",
        ),
    ],
)
def test_what_cannot_be_left_out_is_refused(settings: dict, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        ExperimentConfig(**settings)
