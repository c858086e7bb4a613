"""Models that users bring: read safely, their answers turned into logits, fitted to the data, used
as said.
"""

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from kdcore import models
from kdcore.analysis.results import load_results, logits
from kdcore.config import catalog
from kdcore.config.cards import ModelCard
from kdcore.config.catalog import dataset_card, model_key, own_model, register_model
from kdcore.config.experiment import ExperimentConfig
from kdcore.data import datasets
from kdcore.engine.jobs import run_job
from kdcore.errors import ConfigError, ModelError
from kdcore.models import own as own_models
from kdcore.models.augmentation import Augmentation, augmentation
from kdcore.models.own_inputs import (
    expected_values,
    frozen_layers,
    keep_what_was_learnt_from_data,
)
from kdcore.models.value_ranges import BOUNDS
from kdcore.storage import user_data, user_models
from kdcore.storage.arrays import unpack
from kdcore.storage.schema import UserModel
from kdcore.storage.store import Store
from kdcore.tasks.values import InputValues
from kdcore.training.distiller import Distiller
from kdcore.training.evaluation import model_from_bytes
from kdcore.training.loop import Learner, Loop, Network, student_order
from kdcore.training.trainer import DistillationTrainer, Trainer
from kdcore.work.experiment import run_experiment

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

RANDOM = np.random.default_rng(0)
TINY = {"training_examples": 60, "labels": 30, "student": "mlp-4", "epochs": 1, "seeds": 1}


@pytest.fixture
def functions() -> Iterator[None]:
    yield
    catalog._functions.clear()


def network(
    *tail: layers.Layer, shape: tuple[int, ...] = (8, 8, 1), head: layers.Layer | None = None
) -> keras.Model:
    """A model as people make them, without kdcore."""
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [keras.Input(shape), *(() if head is None else (head,)), layers.Flatten(), *tail]
    )


def saved(model: keras.Model, folder: Path) -> Path:
    path = folder / "model.keras"
    model.save(path)
    return path


def take_in(store: Store, path: Path, name: str = "mine", inputs: str = "auto") -> str:
    """Upload a file and let a worker's job take it in; returns the job's id."""
    with path.open("rb") as file:
        upload = user_data.put_upload(store, "abc", file)
    job = store.add_job(
        "model", {"upload": upload, "file_name": path.name, "name": name, "inputs": inputs}
    )
    run_job(store.url, job)
    return job


def images(shape: tuple[int, ...], count: int = 5) -> np.ndarray:
    return RANDOM.random((count, *shape)).astype(np.float32)


def softmax(values: np.ndarray) -> np.ndarray:
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


# Logits or probabilities


@pytest.mark.parametrize(
    ("tail", "words"),
    [
        ([layers.Dense(3, activation="softmax")], "the softmax of its last layer is cut off"),
        ([layers.Dense(3), layers.Softmax()], "its softmax layer is cut off"),
        ([layers.Dense(3), layers.Activation("softmax")], "its softmax layer is cut off"),
        (
            [keras.Sequential([keras.Input((64,)), layers.Dense(3, activation="softmax")])],
            "the logarithm",
        ),
        ([layers.Dense(3)], "it gives logits"),
    ],
)
def test_a_softmax_is_found_and_undone_so_that_it_is_applied_once(
    tail: list[layers.Layer], words: str
) -> None:
    model, x = network(*tail), images((8, 8, 1))
    before = np.asarray(model(x))
    undone, told = own_models.to_logits(keras.Model(model.inputs[0], model.outputs[0]))
    assert words in told
    answers = np.asarray(undone(x))
    np.testing.assert_allclose(
        before if told[-6:] == "logits" and "gives logits" in told else softmax(answers),
        answers if "gives logits" in told else before,
        atol=1e-5,
    )
    assert not np.allclose(answers.sum(axis=1), 1)


def test_a_sigmoid_head_of_several_outputs_is_refused_with_the_reason() -> None:
    with pytest.raises(ModelError, match="judges each class by itself"):
        own_models.to_logits(
            keras.Model(
                (m := network(layers.Dense(3, activation="sigmoid"))).inputs[0], m.outputs[0]
            )
        )


@pytest.mark.parametrize(
    "tail",
    [
        [layers.Dense(1, activation="sigmoid")],
        [layers.Dense(1), layers.Activation("sigmoid")],
        [layers.Dense(1, activation="sigmoid"), layers.Reshape((1,))],
    ],
)
def test_a_single_probability_is_the_second_of_two_classes(tail: list[layers.Layer]) -> None:
    model = own_models._functional(network(*tail))
    x = images((8, 8, 1))
    before = np.asarray(model(x))[:, 0]
    card = own_models.describe("x", "x", model)
    assert card.classes == 2
    pair, _ = own_models.to_logits(own_models._functional(network(*tail)))
    np.testing.assert_allclose(softmax(np.asarray(pair(x)))[:, 1], before, atol=1e-5)


def test_one_logit_is_that_of_the_second_class() -> None:
    model = own_models._functional(network(layers.Dense(1)))
    x = images((8, 8, 1))
    single = np.asarray(model(x))[:, 0]
    pair, words = own_models.to_logits(model)
    assert "one logit" in words
    np.testing.assert_allclose(np.asarray(pair(x)), np.stack([0 * single, single], axis=1))


def several() -> keras.Model:
    inputs = keras.Input((5,))
    return keras.Model(
        inputs, {"kind": layers.Dense(3)(inputs), "pair": layers.Dense(2, "softmax")(inputs)}
    )


def test_of_several_outputs_one_is_chosen_by_name_or_all_are_refused(tmp_path: Path) -> None:
    path = saved(several(), tmp_path)
    with pytest.raises(ModelError, match="output must be one of kind, pair, got none"):
        own_models.load_file(path)
    with pytest.raises(ModelError, match="output must be one of kind, pair, got other"):
        own_models.load_file(path, "other")
    x = images((5,))
    whole = keras.saving.load_model(path)(x)
    chosen = own_models.load_file(path, "pair")
    np.testing.assert_array_equal(chosen(x), whole["pair"])
    assert own_models.describe("x", "x", chosen, output="pair").classes == 2
    inputs = keras.Input((5,))
    alone = keras.Model(inputs, {"probabilities": layers.Dense(3, "softmax")(inputs)})
    assert own_models.load_file(saved(alone, tmp_path)).outputs[0].shape == (None, 3)


def test_what_answers_for_each_position_or_reads_text_is_refused_in_words(tmp_path: Path) -> None:
    inputs = keras.Input((8, 8, 1))
    positions = keras.Model(inputs, layers.Conv2D(3, 1)(inputs))
    with pytest.raises(ModelError, match="answers for each position"):
        own_models.load_file(saved(positions, tmp_path))
    text = keras.Input((), dtype="string")
    words = layers.TextVectorization(
        max_tokens=5, output_mode="multi_hot", vocabulary=["a", "b", "c"]
    )
    reader = keras.Model(text, layers.Dense(2)(words(text)))
    with pytest.raises(ModelError, match="takes text"):
        own_models.load_file(saved(reader, tmp_path))


def centred(x):  # type: ignore[no-untyped-def]
    return (x - 120.0) / 60.0


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        (lambda x: x / 127.5 - 1, "0 to 255"),
        (lambda x: (x - 127.5) * (1 / 127.5), "0 to 255"),
        (keras.applications.mobilenet_v2.preprocess_input, "0 to 255"),
        (keras.applications.resnet.preprocess_input, "0 to 255"),
        (keras.applications.vgg16.preprocess_input, "0 to 255"),
        (centred, "0 to 255"),
        (layers.Rescaling(1 / 127.5, -1), "0 to 255"),
        (lambda x: x * 2 - 1, "0 to 1"),
        (lambda x: (x - 0.5) / 0.25, "0 to 1"),
        (layers.Rescaling(2.0, -1.0), "0 to 1"),
        (lambda x: (x + 1) * 127.5, "-1 to 1"),
        (lambda x: (x + 1) / 2, "-1 to 1"),
    ],
)
@pytest.mark.parametrize("nested", [False, True])
def test_what_a_model_does_to_its_inputs_tells_what_it_expects(
    before, expected: str, nested: bool
) -> None:  # type: ignore[no-untyped-def]
    inputs = keras.Input((8, 8, 3))
    inner = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(4, 3)])
    x = before(inputs)
    x = inner(x) if nested else layers.Conv2D(4, 3)(x)
    model = keras.Model(inputs, layers.Dense(3)(layers.Flatten()(x)))
    found, known = expected_values(model)
    assert found == expected
    assert known.startswith("told by")


def test_nothing_before_the_weights_tells_nothing() -> None:
    assert expected_values(own_models._functional(network(layers.Dense(3))))[0] == "0 to 1"
    assert "assumed" in expected_values(own_models._functional(network(layers.Dense(3))))[1]
    flat = keras.Sequential([keras.Input((64,)), layers.Dense(3)])
    assert expected_values(own_models._functional(flat))[0] == "as they are"


@pytest.mark.parametrize("inputs", ["0 to 255", "-1 to 1"])
def test_a_flat_model_and_one_without_channels_see_the_range_that_was_said(inputs: str) -> None:
    low, high = BOUNDS[inputs]
    x = images((8, 8, 1))
    raw = x * (high - low) + low
    flat = own_models._functional(keras.Sequential([keras.Input((64,)), layers.Dense(3)]))
    inside = own_models.adapt(flat, (8, 8, 1), InputValues(), inputs)
    np.testing.assert_allclose(inside(x), flat(raw.reshape(len(x), -1)), atol=1e-3)
    square = keras.Input((8, 8))
    plain = keras.Model(square, layers.Dense(3)(layers.Flatten()(square)))
    inside = own_models.adapt(plain, (8, 8, 1), InputValues(), inputs)
    np.testing.assert_allclose(inside(x), plain(raw[..., 0]), atol=1e-3)


def test_a_fresh_start_keeps_what_was_learnt_of_the_data_and_trains_frozen_layers() -> None:
    data = RANDOM.normal(50, 9, (200, 5)).astype(np.float32)
    known = layers.Normalization()
    known.adapt(data)
    inputs = keras.Input((5,))
    hidden = layers.Dense(4, trainable=False)
    trained = keras.Model(inputs, layers.Dense(3)(hidden(known(inputs))))
    assert frozen_layers(trained) == 1
    fresh = keras.models.clone_model(trained)
    keep_what_was_learnt_from_data(fresh, trained)
    (again,) = [layer for layer in fresh.layers if isinstance(layer, layers.Normalization)]
    np.testing.assert_allclose(again(data), known(data), atol=1e-5)
    assert len(fresh.trainable_weights) == 4
    assert not np.array_equal(fresh.get_weights()[-2], trained.get_weights()[-2])


# Fitting to data


def test_images_are_resized_coloured_and_scaled_to_what_the_model_expects() -> None:
    inner = network(layers.Dense(4), shape=(12, 10, 3), head=layers.Rescaling(1 / 255))
    assert own_models.describe("x", "x", inner).inputs == "0 to 255"
    model = own_models.adapt(inner, (6, 5, 1), InputValues(), "0 to 255")
    x = images((6, 5, 1))
    larger = np.asarray(keras.ops.image.resize(np.repeat(x, 3, axis=3), (12, 10))) * 255
    np.testing.assert_allclose(model(x), inner(larger), atol=1e-4)


def test_colour_is_turned_to_grey_and_ranges_are_mapped() -> None:
    inner = network(layers.Dense(2), shape=(4, 4, 1))
    model = own_models.adapt(inner, (4, 4, 3), InputValues(0.0, 255.0), "-1 to 1")
    x = images((4, 4, 3)) * 255
    grey = (x @ np.array([0.299, 0.587, 0.114], np.float32))[..., None] / 127.5 - 1
    np.testing.assert_allclose(model(x), inner(grey), atol=1e-4)
    assert own_models.adapt(
        network(layers.Dense(2), shape=(48,)), (4, 4, 3), InputValues(), "as they are"
    )(x).shape == (
        5,
        2,
    )
    with pytest.raises(ModelError, match=r"wants examples of shape \(7,\)"):
        own_models.adapt(
            network(layers.Dense(2), shape=(7,)), (4, 4, 3), InputValues(), "as they are"
        )


def test_an_adapted_model_is_saved_and_reloaded_in_safe_mode(tmp_path: Path) -> None:
    probabilities = network(
        keras.Sequential([keras.Input((192,)), layers.Dense(3, activation="softmax")]),
        shape=(8, 8, 3),
    )
    undone, _ = own_models.to_logits(keras.Model(probabilities.inputs[0], probabilities.outputs[0]))
    model = own_models.adapt(undone, (6, 6, 1), InputValues(), "0 to 255")
    again = model_from_bytes(saved(model, tmp_path).read_bytes())
    x = images((6, 6, 1))
    np.testing.assert_array_equal(model(x), again(x))


# Files that are not to be trusted


def test_python_code_in_a_file_is_refused_without_loading_it(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((4,)), layers.Lambda(lambda x: x * 2), layers.Dense(2)])
    with pytest.raises(ConfigError, match="layer must be without Python code"):
        user_models.check_file(saved(model, tmp_path))


def test_classes_of_ones_own_are_refused_without_loading_them(tmp_path: Path) -> None:
    @keras.saving.register_keras_serializable(package="evil")
    class Mine(layers.Layer):
        def call(self, inputs: object) -> object:
            return inputs

    with pytest.raises(ConfigError, match=r"layer must be of Keras itself or KerasHub.*got 'Mine'"):
        user_models.check_file(
            saved(keras.Sequential([keras.Input((4,)), Mine(), layers.Dense(2)]), tmp_path)
        )
    path = saved(network(layers.Dense(2)), tmp_path)
    _rewrite(path, lambda config: json.loads(json.dumps(config).replace('"keras.layers"', '"os"')))
    with pytest.raises(ConfigError, match="layer must be of Keras itself"):
        user_models.check_file(path)


def _rewrite(path: Path, change: object) -> None:
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    files["config.json"] = json.dumps(change(json.loads(files["config.json"]))).encode()  # type: ignore[operator]
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)


def test_what_is_no_model_or_too_large_is_refused(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "no.keras").write_bytes(b"nonsense")
    with pytest.raises(
        ConfigError, match=r"file must be a \.keras file, as model\.save\('name\.keras'\) writes it"
    ):
        user_models.check_file(tmp_path / "no.keras")
    job = take_in(store, tmp_path / "no.keras")
    assert "file must be a .keras file" in (store.job(job).error or "")
    assert store.artifact("upload/abc/0") is None, "a refused upload does not stay"
    monkeypatch.setattr(user_models, "LARGEST_MODEL_BYTES", 5)
    with pytest.raises(ConfigError, match="file must be at most 5 bytes, got 8 bytes"):
        user_models.check_file(tmp_path / "no.keras")
    with pytest.raises(ConfigError, match="other than those of the built-in models"):
        user_models.check_name("conv-1-2")


@pytest.mark.parametrize(
    ("name", "mend"),
    [
        ("old.h5", "save it with model.save"),
        ("Net.PTH", "torch.onnx.export"),
        ("forest.joblib", "nothing is unpickled"),
        ("model", "got 'model'"),
    ],
)
def test_a_file_of_another_kind_says_what_to_do_instead(name: str, mend: str) -> None:
    with pytest.raises(ConfigError, match=r"file must be one of \.keras, \.onnx") as refused:
        user_models.check_file_name(name)
    assert mend in str(refused.value)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("My Model (1).keras", "my-model-1"),
        ("conv-4-8.keras", "my-conv-4-8"),
        ("Größe.onnx", "gr-e"),
        ("__.keras", "model"),
        (f"resnet-{'x' * 60}.keras", f"my-resnet-{'x' * 30}"),
    ],
)
def test_a_suggested_name_may_be_used(file: str, name: str) -> None:
    assert user_models.suggest_name(file) == name
    assert user_models.check_name(name) == name


@pytest.mark.parametrize(
    ("inputs", "first", "words"),
    [
        ((13,), layers.Normalization(mean=5.0, variance=4.0), "tables as in the file, images"),
        ((13,), layers.Rescaling(1 / 255), "tables as in the file, images 0 to 255 (told by"),
        ((13,), layers.Dense(4), "values as they are (a table is scaled as its dataset says)"),
        ((8, 8, 1), layers.Rescaling(1 / 255), "values 0 to 255 (told by its own Rescaling layer)"),
    ],
)
def test_a_card_says_what_values_its_model_is_given(
    inputs: tuple[int, ...], first: keras.Layer, words: str
) -> None:
    model = keras.Sequential([keras.Input(inputs), first, layers.Flatten(), layers.Dense(3)])
    card = own_models.describe("mine", "mine@1", model)
    assert words in user_models.values_in_words(card)


# Used as said


def test_a_trained_teacher_with_a_softmax_head_teaches_as_it_is(
    store: Store, tmp_path: Path
) -> None:
    data = datasets.load(ExperimentConfig())
    theirs = network(layers.Dense(24, activation="relu"), layers.Dense(10, activation="softmax"))
    theirs.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    x = data.train.inputs.astype(np.float32) / 16
    theirs.fit(x, data.train.labels, epochs=6, verbose=0)
    take_in(store, saved(theirs, tmp_path))
    config = ExperimentConfig(teacher="mine", **TINY)
    assert config.teacher == model_key("mine") != "mine"
    experiment = store.create(config)
    run_experiment(store, experiment)
    results = load_results(store, experiment)
    (teacher,) = results.runs("teacher")
    probabilities = np.asarray(theirs(data.test.inputs.astype(np.float32) / 16))
    np.testing.assert_allclose(softmax(logits(store, teacher, "test")), probabilities, atol=1e-5)
    assert (
        results.accuracies("teacher")[0]
        == np.mean(probabilities.argmax(axis=1) == data.test.labels)
        > 0.8
    )
    assert "the softmax of its last layer is cut off" in teacher.summary["fit"].lower()
    with store.reading() as session:
        keys = [row[0] for row in session.execute(user_data.select(user_data.Artifact.key))]
    cached = unpack(
        store.artifact(next(key for key in keys if key.startswith("teacher_logits/"))) or b""
    )
    small = datasets.load(config).train.inputs.astype(np.float32) / 16
    np.testing.assert_allclose(softmax(cached), theirs(small), atol=1e-5)
    user_data.remove(store, "mine", UserModel)
    assert ExperimentConfig(**store.experiment(experiment).config) == config, "still shown"
    with pytest.raises(ModelError, match="has been removed from the store"):
        models.build(config.teacher, (8, 8, 1), 10)


def test_a_student_of_ones_own_starts_fresh_by_seed_or_from_its_file(
    store: Store, tmp_path: Path
) -> None:
    theirs = network(layers.Dense(5), layers.Dense(10, activation="softmax"))
    take_in(store, saved(theirs, tmp_path))
    build = lambda seed, start: models.build("mine", (8, 8, 1), 10, seed, start=start).get_weights()  # noqa: E731
    for one, other in zip(build(0, "file"), theirs.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    first, again, other = build(1, "fresh"), build(1, "fresh"), build(2, "fresh")
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])
    assert not np.array_equal(first[0], theirs.get_weights()[0])
    config = ExperimentConfig(student="mine", student_start="file")
    assert config.fingerprint("student") != config.replace(student_start="fresh").fingerprint(
        "student"
    )
    with pytest.raises(
        ConfigError, match="student_start must be fresh, unless the student is a file of your own"
    ):
        ExperimentConfig(student_start="file")


def test_what_does_not_fit_is_refused_before_anything_is_loaded(
    store: Store, tmp_path: Path
) -> None:
    take_in(store, saved(network(layers.Dense(3)), tmp_path), "three")
    with pytest.raises(
        ConfigError,
        match="teacher must be a model that answers for the 10 classes of digits, got three, for 3 classes",
    ):
        ExperimentConfig(teacher="three")
    take_in(store, saved(network(layers.Dense(10), shape=(7,)), tmp_path), "seven")
    with pytest.raises(
        ConfigError,
        match="student must be a model for examples of shape 8 × 8 × 1, as digits has, got seven, for 7",
    ):
        ExperimentConfig(student="seven")


def test_a_config_of_built_in_names_asks_no_store(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(*_: object) -> None:
        raise AssertionError("a store was asked")

    monkeypatch.setattr(Store, "user_model", asked)
    monkeypatch.setattr(Store, "user_dataset", asked)
    ExperimentConfig(teacher="app-mobilenetv2", dataset="mnist")
    with pytest.raises(ConfigError, match="teacher must be a name such as"):
        ExperimentConfig(teacher="conv-16")


# Networks by name, and functions


def test_a_network_of_keras_applications_is_built_for_any_images() -> None:
    model = models.build("app-mobilenetv2", (28, 28, 1), 7, seed=0)
    assert model.output_shape == (None, 7)
    assert model(images((28, 28, 1), 2)).shape == (2, 7)
    assert "resized from 28" not in user_models.fit_in_words(
        ModelCard("x", "x", (28, 28, 1), 10, 1, "it gives logits"), dataset_card("mnist")
    )
    with pytest.raises(ConfigError, match="teacher must be a name such as"):
        ExperimentConfig(teacher="app-hal9000")


def test_weights_that_cannot_be_downloaded_are_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **given: object) -> None:
        assert given["weights"] == "imagenet"
        raise Exception("URL fetch failure on https://example.org: no network")

    monkeypatch.setattr(keras.applications, "MobileNetV2", fail)
    with pytest.raises(
        ModelError,
        match=r"weights of MobileNetV2 cannot be downloaded: URL fetch.*use app-mobilenetv2",
    ):
        models.build("app-mobilenetv2-imagenet", (32, 32, 3), 10)


def small_network(input_shape: tuple[int, ...], classes: int) -> keras.Model:
    return keras.Sequential(
        [keras.Input(input_shape), layers.Flatten(), layers.Dense(classes, activation="softmax")]
    )


@pytest.mark.usefixtures("functions")
def test_a_python_function_is_a_model_named_by_its_source(store: Store) -> None:
    key = register_model("flat", small_network)
    assert own_model("flat") is not None
    experiment = store.create(ExperimentConfig(teacher="flat", **{**TINY, "teacher_epochs": 1}))
    run_experiment(store, experiment)
    assert load_results(store, experiment).runs("teacher")[0].model == key
    assert register_model("flat", lambda shape, classes: small_network(shape, classes)) != key
    catalog._functions.clear()  # as in a process that does not have the function
    assert ExperimentConfig(**store.experiment(experiment).config).teacher == key
    with pytest.raises(ModelError, match="KD_PLUGINS"):
        models.build(key, (8, 8, 1), 10)
    register_model("wrong", lambda shape, classes: small_network(shape, 3))
    with pytest.raises(ModelError, match="must return a model of 10 outputs"):
        models.build("wrong", (8, 8, 1), 10)


# Augmentation


@pytest.mark.parametrize("name", ["flips", "shifts", "flips and shifts", "randaugment"])
def test_augmentation_changes_images_by_seed_within_their_range(name: str) -> None:
    x = images((16, 16, 3), 12)
    first, again, other = (augmentation(name, seed, (16, 16, 3), (0.0, 1.0)) for seed in (1, 1, 2))
    assert first is not None
    assert again is not None
    assert other is not None
    changed = np.asarray(first(x))
    np.testing.assert_array_equal(changed, again(x))
    assert not np.array_equal(changed, other(x))
    assert not np.array_equal(changed, x)
    assert not np.array_equal(changed, first(x)), "every step anew"
    assert changed.min() >= -1e-6
    assert changed.max() <= 1 + 1e-6


def test_augmentation_is_refused_where_it_makes_no_sense() -> None:
    with pytest.raises(
        ConfigError, match="augmentation must be flips, shifts or none for grey images"
    ):
        ExperimentConfig(augmentation="randaugment")
    assert augmentation("none", 0, (8, 8, 1), (0.0, 1.0)) is None


class Darkness(Augmentation):
    """Turns every image black."""

    def __init__(self) -> None:
        self.layers = []

    def __call__(self, batch: object) -> object:
        return keras.ops.zeros_like(batch)


def test_the_live_teacher_sees_the_copy_that_the_student_sees() -> None:
    teacher, student = (models.build(name, (8, 8, 1), 10, seed=0) for name in ("mlp-8", "mlp-4"))
    trainer = Distiller(student=student, teacher=teacher)
    trainer.compile(keras.optimizers.SGD(0.0), alpha=0.0, temperature=2.0)
    x, y = RANDOM.integers(0, 16, (32, 8, 8, 1)).astype(np.uint8), np.full(32, -1, np.int32)
    learner = Learner(
        "r",
        Loop(DistillationTrainer(trainer), 1 / 16, Darkness()),
        Network(student, 1 / 16),
        x,
        y,
        lambda epoch: student_order(32, 0, epoch),
        8,
        4,
    )
    learner.advance(learner.next_batches(4))
    dark = np.zeros((1, 8, 8, 1), np.float32)
    t, s = (softmax(np.asarray(model(dark)) / 2.0) for model in (teacher, student))
    assert learner.logs()["soft_loss"] == pytest.approx(
        4 * float(np.sum(t * np.log(t / s))), rel=1e-4
    )


def test_with_augmentation_alpha_1_is_the_baseline_to_the_bit_and_no_logits_are_cached(
    store: Store,
) -> None:
    config = ExperimentConfig(
        teacher="mlp-4",
        teacher_epochs=1,
        student="conv-4-4",
        training_examples=64,
        labels=None,
        epochs=2,
        alpha=1.0,
        seeds=1,
        augmentation="shifts",
    )
    experiment = store.create(config)
    run_experiment(store, experiment)
    student, baseline = (
        load_results(store, experiment).runs(role)[0] for role in ("student", "baseline")
    )
    np.testing.assert_array_equal(logits(store, student, "test"), logits(store, baseline, "test"))
    with store.reading() as session:
        keys = [row[0] for row in session.execute(user_data.select(user_data.Artifact.key))]
    assert not [key for key in keys if key.startswith("teacher_logits/")]
    plain = store.create(config.replace(augmentation="none"))
    run_experiment(store, plain)
    assert not np.array_equal(
        logits(store, load_results(store, plain).runs("baseline")[0], "test"),
        logits(store, baseline, "test"),
    )
    assert config.fingerprint("teacher") == config.replace(augmentation="none").fingerprint(
        "teacher"
    )


def test_a_resumed_training_goes_on_with_the_next_random_copies() -> None:
    def learner() -> Learner:
        student = models.build("mlp-4", (8, 8, 1), 10, seed=0)
        student.compile(
            keras.optimizers.Adam(0.01),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        x, y = (
            np.random.default_rng(0).integers(0, 16, (32, 8, 8, 1)).astype(np.uint8),
            np.arange(32) % 10,
        )
        return Learner(
            "r",
            Loop(Trainer(student), 1 / 16, Augmentation("shifts", 0, (0.0, 1.0))),
            Network(student, 1 / 16),
            x,
            y.astype(np.int32),
            lambda epoch: student_order(32, 0, epoch),
            8,
            4,
        )

    whole, half = learner(), learner()
    whole.advance(whole.next_batches(4))
    half.advance(half.next_batches(2))
    resumed = learner()
    resumed.restore(half.checkpoint())
    resumed.advance(resumed.next_batches(2))
    for one, other in zip(
        whole.network.model.get_weights(), resumed.network.model.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(one, other)
