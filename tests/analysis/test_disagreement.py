"""How often any two models decide differently, and the heads of one model apart."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner
from scipy import stats

from kdcore.analysis.comparison import compare
from kdcore.analysis.disagreement import disagreement
from kdcore.analysis.results import examples, load_results, logits
from kdcore.cli.program import main
from kdcore.config.experiment import ExperimentConfig
from kdcore.data import datasets
from kdcore.errors import ConfigError
from kdcore.storage.schema import Run
from kdcore.storage.store import Store
from kdcore.takeaway.downloads import answering_heads, request
from kdcore.training.evaluation import model_from_bytes
from kdcore.work.experiment import run_experiment
from kdcore.work.export import run_export

# Keras 3.15 converts variables in a way that NumPy 2 warns about.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

CONFIG = ExperimentConfig(
    teacher="conv-8-8",
    teacher_epochs=1,
    student="deit-1-16",
    method="distillation_token",
    training_examples=200,
    epochs=2,
    seeds=2,
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(f"sqlite:///{tmp_path_factory.mktemp('apart')}/store.db")
    run_experiment(store, store.create(CONFIG))
    return store


def experiment_of(store: Store) -> str:
    return store.experiments()[0][0].id


def runs(store: Store, role: str) -> list[Run]:
    return load_results(store, experiment_of(store)).runs(role)


def test_each_head_s_answers_are_kept_and_their_mean_is_the_student_s(store: Store) -> None:
    for run in runs(store, "student"):
        heads = [
            np.asarray(logits(store, run, f"test/{name}"), np.float64)
            for name in run.summary["heads"]
        ]
        probabilities = [np.exp(each) / np.exp(each).sum(axis=1, keepdims=True) for each in heads]
        both = np.asarray(logits(store, run, "test"), np.float64)
        np.testing.assert_allclose(np.exp(both), sum(probabilities) / 2, atol=1e-5)
        labels = labels_of(store, run)
        for each, measured in zip(heads, run.summary["heads"].values(), strict=True):
            assert measured["test_accuracy"] == np.mean(each.argmax(axis=1) == labels)
    assert "heads" not in runs(store, "teacher")[0].summary


def labels_of(store: Store, run: Run) -> np.ndarray:
    return examples(store, run.summary["dataset"], "test")["labels"]


def test_shares_are_those_of_plain_counting_over_paired_seeds(store: Store) -> None:
    found = disagreement(store, compare(store, [experiment_of(store)]))
    learners = runs(store, "student")
    answers = {
        "teacher": [logits(store, runs(store, "teacher")[0], "test").argmax(axis=1)] * 2,
        "class": [logits(store, run, "test/class token").argmax(axis=1) for run in learners],
        "baseline": [logits(store, run, "test").argmax(axis=1) for run in runs(store, "baseline")],
    }
    at = {name: index for index, name in enumerate(found.names)}
    assert len(at) == 7, "a teacher, two learners and two heads of each"
    teacher = next(name for name in at if name.startswith("teacher"))
    head = next(
        name for name in at if name.startswith("student") and name.endswith(", class token")
    )
    baseline = next(
        name for name in at if name.startswith("baseline") and not name.endswith("token")
    )
    for one, other, first, second in (
        (teacher, head, "teacher", "class"),
        (head, baseline, "class", "baseline"),
    ):
        pairs = zip(answers[first], answers[second], strict=True)
        differing = np.array([np.mean(a != b) for a, b in pairs])
        assert found.shares[at[one], at[other]] == pytest.approx(differing.mean())
        half = stats.t.ppf(0.975, 1) * differing.std(ddof=1) / np.sqrt(2)
        expected = differing.mean() - half, differing.mean() + half
        assert found.intervals[at[one], at[other]] == pytest.approx(expected)
        assert found.seeds[at[one], at[other]] == 2
    np.testing.assert_array_equal(found.shares, found.shares.T)
    np.testing.assert_array_equal(np.diag(found.shares), 0.0)


def test_the_command_says_the_same(store: Store) -> None:
    asked = ["--store", store.url, "compare", experiment_of(store)]
    said = CliRunner().invoke(main, [*asked, "--json"])
    assert said.exit_code == 0, said.output
    found = disagreement(store, compare(store, [experiment_of(store)]))
    assert json.loads(said.output.splitlines()[-1])["disagreement"] == found.to_dict()
    lines = CliRunner().invoke(main, asked).output.splitlines()
    first = lines.index("Share of test examples that two decide differently:")
    assert len(lines[first + 1 : first + 8]) == 7


def test_either_head_can_leave_alone(store: Store) -> None:
    run = runs(store, "student")[0]
    assert answering_heads(run) == ("both", "class token", "distillation token")
    job = request(store, run.id, ["keras"], "distillation token")
    run_export(store, job, run.id, ["keras"], head="distillation token")
    file = store.artifact(f"export/{run.id}/keras")
    assert file is not None
    dataset = datasets.load(CONFIG)
    given = dataset.test.inputs.astype(np.float32) * np.float32(dataset.scale)
    answered = np.asarray(model_from_bytes(file)(given))
    np.testing.assert_allclose(answered, logits(store, run, "test/distillation token"), atol=1e-4)
    with pytest.raises(ConfigError, match="head must be one of both, class token"):
        request(store, run.id, ["keras"], "third")
    with pytest.raises(ConfigError, match="head must be one of both, got 'class token'"):
        request(store, runs(store, "teacher")[0].id, ["keras"], "class token")
