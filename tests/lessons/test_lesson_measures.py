"""What lessons measure, against plain NumPy on the answers that real runs stored."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from kdcore.analysis.results import Results, examples, load_results, logits
from kdcore.errors import ConfigError
from kdcore.lessons import MEASURES, Case, Lesson, Measured, find_lesson
from kdcore.lessons.measures import measure
from kdcore.storage.schema import Run
from kdcore.storage.store import Store


@pytest.fixture
def results(trained_store: Store) -> list[Results]:
    """Two small finished experiments of two seeds, at T = 10 and at T = 2."""
    found = [load_results(trained_store, each.id) for each, _ in trained_store.experiments()]
    return sorted(found, key=lambda each: -each.config.temperature)


@pytest.fixture
def lesson() -> Lesson:
    cases = (Case(title="warm", x=10), Case(title="cool", x=2))
    return find_lesson("alpha").model_copy(update={"cases": cases})


def ask(
    name: str, store: Store, lesson: Lesson, results: list[Results], **more: object
) -> Measured:
    return measure(name, store, lesson, results, more)


def answers(store: Store, run: Run, split: str = "test") -> NDArray[np.float64]:
    return logits(store, run, split).astype(np.float64)


def truth(store: Store, results: Results) -> NDArray:
    assert results.experiment.dataset_key is not None
    return examples(store, results.experiment.dataset_key, "test")["labels"]


def plain_softmax(z: NDArray, temperature: float = 1.0) -> NDArray:
    raised = np.exp(z / temperature - (z / temperature).max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


def accuracies(store: Store, results: Results, role: str) -> NDArray:
    right = truth(store, results)
    return np.array([(answers(store, run).argmax(1) == right).mean() for run in results.runs(role)])


def test_the_runner_up_is_the_likeliest_wrong_class(
    trained_store: Store, lesson: Lesson, results: list[Results]
) -> None:
    z, right = (
        answers(trained_store, results[0].runs("teacher")[0]),
        truth(trained_store, results[0]),
    )
    found = ask("runner_up", trained_store, lesson, results, of=3)
    counts = dict.fromkeys(found.titles, 0)
    for row in z[right == 3]:
        order = [number for number in np.argsort(-row) if number != 3]
        counts[str(order[0])] += 1
    shares = [100 * count / (right == 3).sum() for count in counts.values()]
    assert found.values == pytest.approx(shares)
    assert counts[found.best] == max(counts.values())


def test_mutual_runners_up_are_counted_from_each_side(
    trained_store: Store, lesson: Lesson, results: list[Results]
) -> None:
    second = [
        int(ask("runner_up", trained_store, lesson, results, of=number).best)
        for number in range(10)
    ]
    mutual = sum(second[second[number]] == number for number in range(10))
    assert ask("mutual_runners_up", trained_store, lesson, results).value == mutual


def test_sureness_is_the_mean_of_the_largest_softened_probability(
    trained_store: Store, lesson: Lesson, results: list[Results]
) -> None:
    z = answers(trained_store, results[0].runs("teacher")[0])
    found = ask("sureness", trained_store, lesson, results, temperatures=[0.5, 1, 4])
    expected = [100 * plain_softmax(z, t).max(axis=1).mean() for t in (0.5, 1, 4)]
    assert found.values == pytest.approx(expected)
    assert found.x == (0.5, 1.0, 4.0)


def test_pulls_are_mean_lengths_of_gradients(
    trained_store: Store, lesson: Lesson, results: list[Results]
) -> None:
    teacher = answers(trained_store, results[0].runs("teacher")[0])
    baseline = answers(trained_store, results[0].runs("baseline")[0])

    def length(t: float) -> float:
        difference = plain_softmax(baseline, t) - plain_softmax(teacher, t)
        return float(np.linalg.norm(difference / t, axis=1).mean())

    found = ask("pull_without", trained_store, lesson, results, temperatures=[1, 10])
    assert found.values == pytest.approx([length(1), length(10)])
    scaled = ask("pull_with_t_squared", trained_store, lesson, results, temperatures=[1, 10])
    assert scaled.values == pytest.approx([length(1), 100 * length(10)])
    lost = ask("pull_lost", trained_store, lesson, results, temperature=10)
    assert lost.value == pytest.approx(length(1) / length(10))
    right = truth(trained_store, results[0])
    labels = plain_softmax(baseline) - np.eye(10)[right]
    against = ask("pull_against_labels", trained_store, lesson, results, temperature=10)
    assert against.value == pytest.approx(100 * length(10) / np.linalg.norm(labels, axis=1).mean())


def test_accuracies_and_gains_are_those_of_the_stored_answers(
    trained_store: Store, lesson: Lesson, results: list[Results]
) -> None:
    found = ask("accuracy", trained_store, lesson, results, role="student")
    of = [100 * accuracies(trained_store, each, "student") for each in results]
    assert found.values == pytest.approx([values.mean() for values in of])
    assert (found.titles, found.x) == (("warm", "cool"), (10.0, 2.0))
    half = stats.t.ppf(0.975, 1) * of[0].std(ddof=1) / np.sqrt(2)
    assert found.high[0] - found.low[0] == pytest.approx(2 * half)
    alone = ask("accuracy", trained_store, lesson, results, role="student", case="cool")
    assert alone.values == pytest.approx([of[1].mean()])
    gains = ask("gains", trained_store, lesson, results)
    differences = [
        100
        * (accuracies(trained_store, each, "student") - accuracies(trained_store, each, "baseline"))
        for each in results
    ]
    assert gains.values == pytest.approx([each.mean() for each in differences])
    helped = ask("cases_that_gain", trained_store, lesson, results)
    assert helped.value == sum(low > 0 for low in gains.low)


def test_seeds_are_counted_in_pairs(
    trained_store: Store, lesson: Lesson, results: list[Results]
) -> None:
    difference = 100 * (
        accuracies(trained_store, results[0], "student")
        - accuracies(trained_store, results[0], "baseline")
    )
    assert ask("seeds_won", trained_store, lesson, results).value == (difference > 0).sum()
    after = ask("gain_after_seeds", trained_store, lesson, results)
    assert after.x == (2.0,)
    assert after.values == pytest.approx([difference.mean()])
    width = ask("interval_width", trained_store, lesson, results)
    assert width.value == pytest.approx(after.high[-1] - after.low[-1])


def test_examples_apart_are_counted(
    trained_store: Store, lesson: Lesson, results: list[Results]
) -> None:
    student, baseline = (
        answers(trained_store, results[1].runs(role)[0]).argmax(1)
        for role in ("student", "baseline")
    )
    found = ask("apart", trained_store, lesson, results, case="cool")
    assert found.value == (student != baseline).sum()
    with pytest.raises(ConfigError, match="case must be one of warm, cool, got 'hot'"):
        ask("apart", trained_store, lesson, results, case="hot")


def test_the_temperature_of_calibration_is_the_least_loss_on_validation_data(
    trained_store: Store, lesson: Lesson, results: list[Results]
) -> None:
    found = ask("calibrated_at", trained_store, lesson, results).value
    z = answers(trained_store, results[0].runs("teacher")[0], "validation")
    assert results[0].experiment.dataset_key is not None
    right = examples(trained_store, results[0].experiment.dataset_key, "validation")["labels"]

    def loss(t: float) -> float:
        return float(-np.log(plain_softmax(z, t)[np.arange(len(right)), right]).mean())

    assert loss(found) <= min(loss(0.97 * found), loss(1.03 * found))


def test_an_unknown_measure_is_refused(
    trained_store: Store, lesson: Lesson, results: list[Results]
) -> None:
    with pytest.raises(ConfigError, match="measure must be one of runner_up"):
        ask("beauty", trained_store, lesson, results)
    assert "beauty" not in MEASURES
