"""Examples without a label in training: who sees them, who never does, and what is counted."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from sklearn.datasets import load_digits

from kdcore import models
from kdcore.analysis.results import lineage, load_results, who_saw_what
from kdcore.charts.generations import pseudo_label_reliability
from kdcore.cli.program import main
from kdcore.config.experiment import ExperimentConfig
from kdcore.data import datasets
from kdcore.data.ingest import add
from kdcore.data.readers.answers import Answers
from kdcore.models.answers import answers_model
from kdcore.storage.schema import Run
from kdcore.storage.store import Store
from kdcore.takeaway import model_card
from kdcore.tasks.vocabulary import PADDING_ID
from kdcore.training.evaluation import model_from_bytes
from kdcore.training.loop import Learner, Loop, Network
from kdcore.training.trainer import make_targets, make_trainer
from kdcore.work import experiment as experiment_work
from kdcore.work import learners as work
from kdcore.work import sweep_cell
from kdcore.work.experiment import run_experiment

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

ROOT = Path(__file__).resolve().parents[2]
TRAINED, WITHOUT, TESTED = 100, 150, 60
SMALL: dict[str, Any] = {
    "teacher": "mlp-16",
    "student": "mlp-8",
    "teacher_epochs": 2,
    "epochs": 2,
    "seeds": 1,
    "precision": "float32",
}


@dataclass
class Seen:
    """What a learner of an experiment was given."""

    role: str
    learner: Learner

    @property
    def rows(self) -> np.ndarray:
        """The rows of its first two epochs, in order."""
        return np.concatenate([self.learner.order(epoch) for epoch in range(2)])

    @property
    def labels(self) -> np.ndarray:
        """What its loss takes for the labels of all examples."""
        targets = self.learner.targets
        return np.asarray(targets["labels"] if isinstance(targets, dict) else targets)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[Seen]:
    found: list[Seen] = []
    original = work.Learners.begin

    def remember(self: Any, run: Run, *given: Any, **more: Any) -> Learner:
        learner = original(self, run, *given, **more)
        found.append(Seen(run.role, learner))
        return learner

    monkeypatch.setattr(work.Learners, "begin", remember)
    return found


def digits(folder: Path, unlabelled: np.ndarray | None) -> Path:
    bunch = load_digits()
    images = (bunch.images * 255 / 16).astype(np.uint8)
    end = TRAINED + TESTED
    arrays = {
        "x_train": images[:TRAINED],
        "y_train": bunch.target[:TRAINED],
        "x_test": images[TRAINED:end],
        "y_test": bunch.target[TRAINED:end],
    }
    if unlabelled is not None:
        arrays["x_unlabelled"] = unlabelled
    path = folder / "digits.npz"
    np.savez(path, **arrays)
    return path


def real() -> np.ndarray:
    first = TRAINED + TESTED
    return (load_digits().images[first : first + WITHOUT] * 255 / 16).astype(np.uint8)


@pytest.fixture
def key(store: Store, tmp_path: Path) -> str:
    return add(store, "mine", digits(tmp_path, real())).key


def weights_of(store: Store, experiment: str) -> dict[str, list[np.ndarray]]:
    found = {}
    for link, run in load_results(store, experiment).links:
        data = store.artifact(f"model/{run.id}")
        assert data is not None
        found[link.step] = model_from_bytes(data).get_weights()
    return found


def same(one: list[np.ndarray], two: list[np.ndarray]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))


def test_students_see_answers_for_them_and_nobody_else_sees_them(
    store: Store, key: str, seen: list[Seen]
) -> None:
    experiment = store.create(ExperimentConfig(dataset=key, **SMALL))
    run_experiment(store, experiment)
    train = datasets.load(ExperimentConfig(dataset=key, **SMALL)).train
    known = TRAINED - 15
    assert (train.labels >= 0).sum() == known
    roles = {each.role: each for each in seen}
    assert sorted(roles["teacher"].rows) == sorted([*range(known)] * 2)
    assert roles["teacher"].learner.steps_per_epoch == -(-known // 32)
    assert sorted(roles["student"].rows) == sorted([*range(known + WITHOUT)] * 2)
    assert roles["baseline"].rows.max() < known
    student, baseline = roles["student"].learner, roles["baseline"].learner
    assert student.steps_per_epoch == baseline.steps_per_epoch == -(-(known + WITHOUT) // 32)
    assert student.targets["teacher_logits"].shape == (known + WITHOUT, 10)
    for role in ("teacher", "baseline"):
        assert roles[role].labels[roles[role].rows].min() >= 0
    np.testing.assert_array_equal(roles["student"].labels, train.labels)

    # Accuracy on training data is a share of the labelled examples alone.
    (run,) = load_results(store, experiment).runs_of_step("student")
    metrics = store.metrics([run.id])
    shares = metrics[metrics["split"] == "epoch"]["accuracy"].to_numpy() * known
    assert len(shares) == 2
    np.testing.assert_allclose(shares, np.rint(shares), atol=1e-3)


def test_what_is_in_them_changes_the_student_alone(store: Store, tmp_path: Path) -> None:
    kinds = {
        "without": None,
        "real": real(),
        "noise": np.random.default_rng(0).integers(0, 256, (WITHOUT, 8, 8), np.uint8),
    }
    found = {}
    for name, unlabelled in kinds.items():
        key = add(store, name, digits(tmp_path, unlabelled)).key
        experiment = store.create(ExperimentConfig(dataset=key, **{**SMALL, "labels": None}))
        run_experiment(store, experiment)
        found[name] = weights_of(store, experiment)
    assert same(found["real"]["teacher"], found["without"]["teacher"])
    assert same(found["real"]["teacher"], found["noise"]["teacher"])
    assert same(found["real"]["baseline"], found["noise"]["baseline"])
    assert not same(found["real"]["student"], found["noise"]["student"])


def softmax(logits: np.ndarray) -> np.ndarray:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(
    "labels", [[3, -1, 0, -1, -1, 7], [-1] * 6], ids=["some", "none in the batch"]
)
def test_the_loss_of_a_batch_is_that_of_numpy(labels: list[int]) -> None:
    random = np.random.default_rng(1)
    inputs = random.random((6, 8, 8, 1)).astype(np.float32)
    answers = random.normal(0, 3, (6, 10)).astype(np.float32)
    config = ExperimentConfig(student="mlp-8", alpha=0.3, temperature=4.0)
    network = models.build("mlp-8", (8, 8, 1), 10, 0)
    trainer = make_trainer("student", config, network)
    known = np.array(labels, np.int32)
    targets = make_targets("student", known, np.flatnonzero(known >= 0), answers)
    trainer.build((inputs, targets))
    logs = trainer.model.test_step((inputs, targets))
    logits = np.asarray(network(inputs), np.float64)
    rows = np.flatnonzero(known >= 0)
    hard = -np.log(softmax(logits)[rows, known[rows]]).mean() if len(rows) else 0.0
    teacher, student = softmax(answers.astype(np.float64) / 4), softmax(logits / 4)
    soft = 16 * (teacher * (np.log(teacher) - np.log(student))).sum(axis=1).mean()
    assert float(logs["loss"]) == pytest.approx(0.3 * hard + 0.7 * soft, rel=1e-4)


def test_noisy_student_chooses_from_them(
    store: Store, key: str, seen: list[Seen], monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen: list[np.ndarray] = []
    original = work.select_examples

    def remember(*given: Any) -> np.ndarray:
        chosen.append(original(*given))
        return chosen[-1]

    for module in (work, experiment_work):
        monkeypatch.setattr(module, "select_examples", remember)
    known = TRAINED - 15
    config = ExperimentConfig(
        **{**SMALL, "student": "mlp-16"},
        dataset=key,
        plan="noisy-student",
        generations=1,
        confidence=0.0,
        balance="off",
        dropout=0.0,
    )
    assert config.labels is None
    experiment = store.create(config)
    run_experiment(store, experiment)
    assert chosen
    assert min(rows.min() for rows in chosen) >= known
    student = next(each for each in seen if each.role == "student")
    batches = student.rows.reshape(-1, 32)
    assert set((batches < known).sum(axis=1)) == {8}
    teacher = next(each for each in seen if each.role == "teacher")
    assert teacher.rows.max() < known
    results = load_results(store, experiment)
    described = lineage(store, results)[-1].pseudo_labels
    assert described is not None
    assert (described["examples"], described["judged"]) == (WITHOUT, 0)
    assert (described["right"], described["reliability"]) == (None, [])
    assert sum(described["kept_by_class"]) == WITHOUT
    assert "None of the examples has a label" in str(pseudo_label_reliability(described).layout)

    seen.clear()
    few = store.create(config.replace(labels=30))
    run_experiment(store, few)
    described = lineage(store, load_results(store, few))[-1].pseudo_labels
    assert described is not None
    assert (described["examples"], described["judged"]) == (known - 30 + WITHOUT, known - 30)
    assert 0 <= described["right"] <= 1
    assert sum(count for _, _, count in described["reliability"]) == known - 30
    drawn = str(pseudo_label_reliability(described).layout)
    assert f"of {known - 30} are right; the other {WITHOUT} have no label at all" in drawn
    labelled = datasets.labelled_rows(datasets.load(config), 30, 0)
    for role in ("teacher", "baseline"):
        rows = next(each for each in seen if each.role == role).rows
        assert set(rows) == set(labelled)


def test_classes_that_are_left_out_leave_them_out_too(
    store: Store, key: str, seen: list[Seen]
) -> None:
    config = ExperimentConfig(dataset=key, omitted_classes="3", **SMALL)
    run_experiment(store, store.create(config))
    labels = datasets.load(config).train.labels
    student = next(each for each in seen if each.role == "student")
    assert set(labels[student.rows]) == set(range(10)) - {3}
    said = who_saw_what(config)
    assert said.endswith(
        "never see an example of 3, nor one without a label: it could be of these."
    )


@pytest.mark.parametrize(
    "changed",
    [
        {"plan": "several-teachers", "more_teachers": "mlp-8", "teacher_weights": "confidence"},
        {"augmentation": "shifts"},
        {"mixing": "mixup"},
        {"method": "hard_labels"},
        {"method": "label_smoothing"},
        {"label_budget_for": "everyone", "labels": 30},
    ],
    ids=str,
)
def test_whatever_is_asked_no_minus_one_is_learnt_as_a_class(
    store: Store, key: str, seen: list[Seen], changed: dict[str, Any]
) -> None:
    experiment = store.create(ExperimentConfig(dataset=key, **{**SMALL, **changed}))
    run_experiment(store, experiment)
    for each in seen:
        if each.role != "student":
            assert each.labels[each.rows].min() >= 0, each.role
    for values in weights_of(store, experiment).values():
        assert all(np.isfinite(value).all() for value in values)


@pytest.mark.parametrize("role", ["teacher", "student", "baseline"])
def test_the_speed_of_a_role_is_measured_on_what_it_sees(store: Store, key: str, role: str) -> None:
    config = ExperimentConfig(dataset=key, **SMALL)
    dataset = datasets.load(config)
    learner = sweep_cell._untrained("run", role, config, dataset, "mlp-8", 32)
    targets = learner.targets
    labels = np.asarray(targets["labels"] if isinstance(targets, dict) else targets)
    rows = learner.order(0)
    examples = TRAINED - 15 + (0 if role == "teacher" else WITHOUT)
    assert learner.steps_per_epoch == -(-examples // learner.batch_size)
    assert (labels[rows] < 0).sum() == (WITHOUT if role == "student" else 0)


def texts(folder: Path, count: int, without: int) -> Path:
    words = ("sun", "rain", "wind", "snow", "river", "stone", "tree", "road", "house", "bird")
    random = np.random.default_rng(0)
    rows = [
        {
            "text": " ".join([*random.choice(words, 6), f"number{n}"]),
            "label": None if n >= count else ("good", "bad")[n % 2],
        }
        for n in range(count + without)
    ]
    path = folder / "texts.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def test_language_models_read_unlabelled_texts(
    store: Store, tmp_path: Path, seen: list[Seen]
) -> None:
    key = add(store, "texts", texts(tmp_path, 60, 90)).key
    config = ExperimentConfig(
        dataset=key,
        plan="distilbert",
        teacher="transformer-2-16",
        student="transformer-1-16",
        pretraining_epochs=1,
        teacher_epochs=1,
        epochs=1,
        seeds=1,
    )
    run_experiment(store, store.create(config))
    train = datasets.load(config).train
    known = int((train.labels >= 0).sum())
    assert len(train) == known + 90
    tokens = (train.inputs != PADDING_ID).sum(axis=1)
    read = [each for each in seen if each.role == "pretrained"]
    assert len(read) == 3
    for each in read:
        rows = each.learner.order(0)
        assert sorted(rows) == list(range(len(train)))
        assert tokens[rows].sum() == tokens.sum() > 2 * tokens[:known].sum()
        assert set(each.labels) == {0}, "they see no label"
    for each in seen:
        if each.role in ("teacher", "baseline"):
            assert each.rows.max() < known
    assert "all 126 training texts (90 of them have no label at all)" in who_saw_what(config)


def test_the_model_card_says_it() -> None:
    config = ExperimentConfig(labels=None, **SMALL)
    run = Run(role="student", config=config.model_dump(), summary={"test_examples": 60})
    reports = [{"training_examples": 235, "unlabelled_examples": 150}]
    said = model_card._data(run, reports)
    assert "235 training examples, 150 of them without a label. All others came with" in said
    assert "200 training examples. All of them" in model_card._data(
        run, [{"training_examples": 200}]
    )


def test_it_is_said_who_saw_what(store: Store, key: str) -> None:
    config = ExperimentConfig(dataset=key, **SMALL)
    said = who_saw_what(config)
    assert said == (
        "The teacher learns from all 85 true labels. The student sees 85 true labels and the "
        "teacher's answers for all 235 examples (150 of them have no label at all); the baseline "
        "sees the same 85 labels, for as many steps, every batch full of them."
    )
    assert "20 true labels and the teacher's answers for all 235" in who_saw_what(
        config.replace(labels=20)
    )
    noisy = config.replace(plan="noisy-student", labels=None, student="mlp-16")
    assert "the other examples (150 of them have no label at all)" in who_saw_what(noisy)


def test_a_folder_of_ones_own_from_the_command_line_to_a_noisy_student(tmp_path: Path) -> None:
    bunch = load_digits()
    for number in range(300):
        label = str(bunch.target[number]) if number < 120 else "unlabelled"
        folder = tmp_path / "files" / label
        folder.mkdir(parents=True, exist_ok=True)
        pixels = (bunch.images[number] * 255 / 16).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    url = f"sqlite:///{tmp_path}/store.db"
    added = CliRunner().invoke(
        main, ["--store", url, "data", "add", "mine", str(tmp_path / "files"), "--json"]
    )
    assert added.exit_code == 0, added.output
    report = json.loads(added.stdout.splitlines()[-1])["report"]
    assert report["parts"] == {"all": 120, "unlabelled": 180}
    command = [sys.executable, "-m", "kdcore", "--store", url, "train", "--dataset", "mine"]
    command += [
        "--plan",
        "noisy-student",
        "--generations",
        "1",
        "--confidence",
        "0",
        "--seeds",
        "1",
    ]
    command += [
        "--teacher",
        "mlp-16",
        "--student",
        "mlp-16",
        "--teacher-epochs",
        "2",
        "--balance",
        "off",
    ]
    done = subprocess.run(
        [*command, "--epochs", "2", "--json"], capture_output=True, text=True, cwd=ROOT, timeout=300
    )
    assert done.returncode == 0, done.stderr
    experiment = json.loads(done.stdout.splitlines()[-1])["experiment"]
    store = Store(url)
    described = lineage(store, load_results(store, experiment))[-1].pseudo_labels
    assert described is not None
    assert (described["examples"], described["kept"], described["judged"]) == (180, 180, 0)
    shown = CliRunner().invoke(main, ["--store", url, "show", experiment])
    assert shown.exit_code == 0, shown.output


def test_a_file_of_answers_has_them_behind_the_labelled_examples(store: Store, key: str) -> None:
    dataset = datasets.load_named(key)
    given = np.random.default_rng(0).normal(size=(TRAINED + WITHOUT, 10)).astype(np.float32)
    of_test = np.zeros((TESTED, 10), np.float32)
    teacher = answers_model(Answers(given, of_test, "logits"), dataset)
    found = Network(teacher, dataset.scale).logits(dataset.train.inputs)
    np.testing.assert_allclose(found[-WITHOUT:], given[TRAINED:], atol=1e-5)
    np.testing.assert_allclose(found, given[dataset.train.rows], atol=1e-5)


def test_a_loop_is_built_on_examples_with_a_label() -> None:
    """The first rows, which every loop is built with, are labelled ones."""
    network = models.build("mlp-8", (8, 8, 1), 10, 0)
    trainer = make_trainer("teacher", ExperimentConfig(), network)
    loop = Loop(trainer, 1.0)
    labels = np.array([1, 2, -1], np.int32)
    loop.build(keras.ops.zeros((3, 8, 8, 1)), keras.ops.convert_to_tensor(labels))
    loop(np.array([[0, 1]], np.int32), keras.ops.zeros((3, 8, 8, 1)), labels)
    assert all(np.isfinite(np.asarray(value)).all() for value in network.weights)
