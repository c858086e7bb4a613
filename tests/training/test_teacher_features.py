"""What is computed once of a teacher's layers teaches what its live layers teach."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import keras
import numpy as np
import pytest

from kdcore import Distiller, models
from kdcore.analysis.results import load_results, logits
from kdcore.config.experiment import ExperimentConfig
from kdcore.data import datasets
from kdcore.errors import ModelError
from kdcore.methods import METHODS, Method
from kdcore.methods import features as feature_methods
from kdcore.methods.base import Term
from kdcore.methods.features import FLOAT_BYTES, FeatureMethod, kept_bytes, why_live
from kdcore.plans import BornAgain
from kdcore.storage.schema import Run
from kdcore.storage.store import Store
from kdcore.tasks.values import InputValues
from kdcore.training import teacher_features
from kdcore.training.loop import Network
from kdcore.training.method_loss import method_losses
from kdcore.training.teacher_features import (
    compared_layers,
    compute_features,
    kept_values,
    training_features,
)
from kdcore.training.teacher_logits import training_logits
from kdcore.work import experiment as work
from kdcore.work.experiment import run_experiment

# Keras 3.15 converts variables in a way that NumPy 2 warns about.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SHAPE, CLASSES = (8, 8, 1), 10
ON_FEATURES = [name for name, method in METHODS.items() if method.needs.teacher == "features"]
CONFIG = ExperimentConfig(
    teacher="conv-8-8",
    teacher_epochs=1,
    student="conv-4-4",
    training_examples=70,
    labels=40,
    batch_size=32,
    epochs=2,
    seeds=1,
)


def methods() -> dict[str, Method]:
    made = {name: METHODS[name]() for name in ON_FEATURES}
    # The layers at 4 × 4 beside those at 2 × 2, once against the other's size.
    pairs = "conv2d:conv2d,conv2d:conv2d_1"
    return {
        **made,
        "relational": METHODS["similarity"](variant="relational", weight=1.0),
        "a layer twice": METHODS["attention"](layers=pairs),
        "two adapters": METHODS["hints"](layers=pairs),
    }


def compiled(
    method: Method, teacher: keras.Model, student: keras.Model, asked: bool = True
) -> Distiller:
    distiller = Distiller(student=student, teacher=teacher)
    distiller.compile(
        optimizer=keras.optimizers.Adam(1e-2),
        alpha=0.1,
        distillation_loss=method_losses(method, teacher, student),
    )
    if not asked:

        def refuse(*given: Any, **named: Any) -> None:
            raise AssertionError("the teacher was asked")

        distiller._view_teacher = refuse
    return distiller


def kept(method: Method, teacher: keras.Model, student: keras.Model, inputs: np.ndarray) -> Any:
    layers = compared_layers(method, teacher, student)
    return teacher_features.compute_features(Network(teacher, 1.0), inputs, layers)


@pytest.mark.parametrize("name", sorted(methods()))
@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_kept_features_teach_what_live_ones_teach(name: str, precision: str) -> None:
    random, method = np.random.default_rng(0), methods()[name]
    inputs = random.normal(size=(24, *SHAPE)).astype(np.float32)
    labels = random.integers(-1, CLASSES, 24).astype(np.int32)
    keras.config.set_dtype_policy(precision)
    try:
        teacher = models.build("conv-8-8", SHAPE, CLASSES, seed=1)
    finally:
        keras.config.set_dtype_policy("float32")
    students = [models.build("conv-4-4", SHAPE, CLASSES, seed=2) for _ in range(2)]
    answers = Network(teacher, 1.0).logits(inputs)
    features = kept(method, teacher, students[1], inputs)
    live = compiled(method, teacher, students[0])
    known = compiled(method, teacher, students[1], asked=False)
    targets = {"labels": labels, "teacher_logits": answers, "teacher_features": features}
    options: dict[str, Any] = {"epochs": 3, "batch_size": 8, "shuffle": False, "verbose": 0}
    logs = [
        live.fit(inputs, labels, **options).history,
        known.fit(inputs, targets, **options).history,
    ]
    assert set(logs[0]) == set(logs[1])
    for curve, values in logs[0].items():
        np.testing.assert_allclose(values, logs[1][curve], rtol=1e-4, atol=1e-6)
    assert logs[1]["soft_loss"][0] > 0
    for ours, theirs in zip(*(each.get_weights() for each in students), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)


def test_other_features_give_another_loss_and_too_few_are_refused() -> None:
    inputs = np.random.default_rng(0).normal(size=(8, *SHAPE)).astype(np.float32)
    labels = np.arange(8, dtype=np.int32)
    teacher, student = (models.build(f"conv-{n}-{n}", SHAPE, CLASSES, seed=n) for n in (8, 4))
    method = methods()["a layer twice"]
    distiller = compiled(method, teacher, student, asked=False)
    features = kept(method, teacher, student, inputs)
    losses = []
    for given in (features, tuple(array[::-1] for array in features)):
        distiller.reset_metrics()
        targets = {
            "labels": labels,
            "teacher_logits": Network(teacher, 1.0).logits(inputs),
            "teacher_features": given,
        }
        losses.append(float(distiller.test_step((inputs, targets))["soft_loss"]))
    assert losses[0] != losses[1]
    with pytest.raises(ModelError, match=r"one array for each loss .*: 2, got 1"):
        distiller.test_step((inputs, {**targets, "teacher_features": features[:1]}))
    with pytest.raises(ModelError, match="must be a tuple of arrays, got ndarray"):
        distiller.test_step((inputs, {**targets, "teacher_features": features[0]}))


def test_attention_keeps_one_number_a_place_and_the_others_the_layer() -> None:
    teacher, student = (models.build(f"conv-{n}-{n}", SHAPE, CLASSES, seed=n) for n in (8, 4))
    shapes = {
        name: [layer.kept_shape for layer in compared_layers(method, teacher, student)]
        for name, method in methods().items()
    }
    assert shapes["attention"] == [(4, 4), (2, 2)]
    assert shapes["a layer twice"] == [(4, 4), (2, 2)], "the larger is pooled before it is kept"
    assert shapes["hints"] == shapes["similarity"] == [(2, 2, 8)]
    layers = {name: compared_layers(each, teacher, student) for name, each in methods().items()}
    assert layers["hints"][0].key == layers["similarity"][0].key, "what is alike is kept once"
    keys = [layer.key for name in ("attention", "a layer twice") for layer in layers[name]]
    assert len(set(keys)) == 4 or len(set(keys)) == 3
    assert kept_values(layers["attention"]) == 20
    inputs = np.random.default_rng(0).normal(size=(5, *SHAPE)).astype(np.float32)
    strengths = kept(methods()["attention"], teacher, student, inputs)[0]
    view = keras.Model(teacher.inputs[0], teacher.get_layer(layers["attention"][0].teacher).output)
    by_hand = np.mean(np.asarray(view(inputs), np.float64) ** 2, axis=-1)
    np.testing.assert_allclose(strengths, by_hand, rtol=1e-5)


class Powers(FeatureMethod):
    """Two losses on the same layers, of what two powers make of them."""

    name: ClassVar[str] = "powers"
    title: ClassVar[str] = "Powers"
    pairs: ClassVar[Literal["last", "all"]] = "last"
    power: float = 2.0

    def terms(self) -> tuple[Term, ...]:
        def of(power: float) -> Term:
            def kept(features: Any, student_shape: Any, functions: Any) -> Any:
                return functions.strength_of_places(features, power=power)

            return Term(self.features_loss, on="features", kept=kept)

        return (Term(lambda batch: 0.0), of(self.power), of(2 * self.power))


def test_what_is_kept_is_known_by_all_that_makes_it() -> None:
    teacher, student = (models.build(f"conv-{n}-{n}", SHAPE, CLASSES, seed=n) for n in (8, 4))
    two = compared_layers(Powers(), teacher, student)
    others = compared_layers(Powers(power=3.0), teacher, student)
    warmer = compared_layers(Powers(temperature=9.0), teacher, student)
    assert len({layer.key for layer in (*two, *others)}) == 4
    assert [layer.key for layer in warmer] == [layer.key for layer in two]


def test_layers_of_unlike_kinds_are_refused_by_role() -> None:
    teacher, student = (models.build(f"conv-{n}-{n}", SHAPE, CLASSES, seed=n) for n in (8, 4))
    for pair, said in (
        ("conv2d:flatten", "2 dimensions from the student"),
        ("flatten:flatten", "2 dimensions from the teacher"),
    ):
        with pytest.raises(ModelError, match=f"needs feature maps .*, got {said}"):
            compared_layers(METHODS["attention"](layers=pair), teacher, student)


def test_features_of_texts_are_those_of_each_text_whatever_its_batch() -> None:
    random = np.random.default_rng(0)
    tokens = random.integers(1, 50, (300, 24)).astype(np.int32)
    lengths = random.integers(1, 25, (300, 1))
    tokens[np.arange(24) >= lengths] = 0
    values = InputValues(tokens=50)
    teacher, student = (
        models.build(name, (24,), 3, seed=1, values=values)
        for name in ("transformer-2-32", "transformer-1-16")
    )
    (layer,) = compared_layers(METHODS["similarity"](), teacher, student)
    (features,) = compute_features(Network(teacher, 1.0), tokens, [layer])
    view = keras.Model(teacher.inputs[0], teacher.get_layer(layer.teacher).output)
    for row in (0, 7, 299):
        alone = np.asarray(view(tokens[row : row + 1, : lengths[row, 0]]))[0]
        np.testing.assert_allclose(features[row], alone, rtol=1e-3, atol=1e-5)


def test_why_the_teacher_answers_live() -> None:
    assert kept_bytes(20, 1000) == 20 * 1000 * FLOAT_BYTES
    assert why_live(20, 1000) == ""
    assert why_live(10**6, 1000) == "all of them take 4.0 GB, more than 256.0 MB"
    assert why_live(None, 1000) == "how much there is to keep differs from example to example"


def students_logits(store: Store, experiment: str) -> np.ndarray:
    return logits(store, load_results(store, experiment).runs("student")[0], "test")


@pytest.mark.parametrize("name", ON_FEATURES)
def test_experiments_with_kept_and_with_live_features_are_alike(
    name: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[int] = []
    compute = teacher_features.compute_features

    def counted(teacher: Network, inputs: np.ndarray, layers: Any) -> Any:
        computed.append(len(layers))
        return compute(teacher, inputs, layers)

    monkeypatch.setattr(teacher_features, "compute_features", counted)
    config = CONFIG.replace(method=name)
    once = store.create(config)
    run_experiment(store, once)
    assert len(computed) == 1
    said = load_results(store, once).teacher_features
    assert said.startswith("computed once, ")
    run_experiment(store, store.create(config.replace(seed=7)))
    assert len(computed) == 1, "they are in the store"
    monkeypatch.setattr(feature_methods, "MOST_BYTES", 10)
    live = store.create(config)
    run_experiment(store, live)
    assert len(computed) == 1
    found = load_results(store, live).teacher_features
    assert found.startswith("asked at every step: all of them take "), found
    np.testing.assert_allclose(
        students_logits(store, once), students_logits(store, live), rtol=1e-2, atol=1e-3
    )


def test_each_student_of_a_plan_is_compared_with_its_own_teacher(store: Store) -> None:
    config = CONFIG.replace(method="hints", plan=BornAgain(generations=2), student="conv-8-8")
    experiment = store.create(config)
    run_experiment(store, experiment)
    results = load_results(store, experiment)
    dataset = datasets.load(config)
    keys = store.artifact_keys("teacher_features/")
    teachers = {key.split("/")[1] for key in keys}
    assert len(teachers) == 2, "the teacher's, and the first generation's, which teaches the next"
    assert all(dataset.fingerprint in key for key in keys)
    for step in results.steps:
        for run in results.runs_of_step(step):
            taught = run.role == "student"
            assert ("teacher_features" in run.summary) == taught


def test_teachers_without_weights_are_told_apart_by_their_runs(store: Store) -> None:
    """An ONNX network or a file of answers has no weights that tell it from another one."""
    dataset = datasets.load(CONFIG)
    found = []
    for scale in (1.0, 3.0):
        inputs = keras.Input(dataset.input_shape)
        outputs = keras.layers.Rescaling(scale)(keras.layers.Flatten()(inputs)[:, :CLASSES])
        run = Run(
            id=f"run{scale:g}",
            fingerprint=f"{scale:g}" * 32,
            role="teacher",
            seed=0,
            model="conv-8-8",
            config=CONFIG.model_dump(mode="json"),
            experiment_id=store.create(CONFIG),
            created_at=0.0,
        )
        store.claim_run(run, run.experiment_id, share=False)
        teacher = Network(keras.Model(inputs, outputs), dataset.scale)
        found.append(training_logits(store, teacher, dataset, f"run{scale:g}"))
    assert [cached for _, cached in found] == [False, False]
    np.testing.assert_allclose(found[1][0], 3 * found[0][0], rtol=1e-5)


def test_stored_features_are_the_ones_of_the_weights(store: Store) -> None:
    dataset = datasets.load(CONFIG)
    one, other = (
        Network(models.build("conv-8-8", SHAPE, CLASSES, seed=seed), dataset.scale)
        for seed in (1, 2)
    )
    student = models.build("conv-4-4", SHAPE, CLASSES, seed=3)
    found = []
    for teacher in (one, other, one):
        layers = compared_layers(METHODS["hints"](), teacher.model, student)
        found.append(training_features(store, teacher, dataset, layers))
    assert [known for _, known in found] == [False, False, True]
    np.testing.assert_array_equal(found[0][0][0], found[2][0][0])
    assert not np.array_equal(found[0][0][0], found[1][0][0])


def test_seeds_of_one_teacher_find_out_once_what_is_compared(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[int] = []

    def counted(*given: Any) -> Any:
        found.append(1)
        return compared_layers(*given)

    monkeypatch.setattr(work, "compared_layers", counted)
    experiment = store.create(CONFIG.replace(method="attention", seeds=2))
    run_experiment(store, experiment)
    assert len(found) == 1
    students = load_results(store, experiment).runs("student")
    assert ["computed once" in run.summary["teacher_features"] for run in students] == [True] * 2
