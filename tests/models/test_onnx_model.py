"""Teachers from anywhere: ONNX files of scikit-learn, XGBoost and PyTorch's kind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import pytest
import skl2onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxmltools import convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType as XGBoostFloats
from skl2onnx.common.data_types import FloatTensorType
from sklearn.datasets import load_digits, load_wine
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from xgboost import XGBClassifier

from kdcore.analysis.brought_teacher import looks
from kdcore.analysis.results import load_results, logits
from kdcore.config.experiment import ExperimentConfig, starting_config
from kdcore.data import datasets, ingest
from kdcore.engine.jobs import run_job
from kdcore.errors import ConfigError, ModelError
from kdcore.models.onnx_model import load_onnx
from kdcore.models.own import to_logits
from kdcore.storage import user_data, user_models
from kdcore.storage.store import Store, new_id
from kdcore.takeaway.limits import limits
from kdcore.training.evaluation import model_from_bytes, model_to_bytes
from kdcore.work.experiment import run_experiment

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def of_sklearn(model: Any, features: int, **options: Any) -> bytes:
    kinds = [("x", FloatTensorType([None, features]))]
    return skl2onnx.to_onnx(model, initial_types=kinds, **options).SerializeToString()


def wine() -> tuple[NDArray[np.float32], NDArray]:
    bunch = load_wine()
    return bunch.data.astype(np.float32), bunch.target


def convolution(
    digits: NDArray[np.float32], labels: NDArray, *, batch: int | None = None
) -> tuple[bytes, Callable[[NDArray], NDArray]]:
    """A network as PyTorch exports one: channels first; random features, and a fitted last layer.

    Returns the file, and what it computes in NumPy.
    """
    random = np.random.default_rng(0)
    kernels = random.normal(0, 0.5, (12, 1, 3, 3)).astype(np.float32)

    def features(images: NDArray) -> NDArray:
        padded = np.pad(images, ((0, 0), (1, 1), (1, 1)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
        maps = np.einsum("nijkl,ckl->ncij", windows, kernels[:, 0])
        return np.maximum(maps, 0).reshape(len(images), -1)

    head = LogisticRegression(max_iter=300).fit(features(digits), labels)
    weights = [
        numpy_helper.from_array(kernels, "kernels"),
        numpy_helper.from_array(head.coef_.T.astype(np.float32), "weight"),
        numpy_helper.from_array(head.intercept_.astype(np.float32), "bias"),
    ]
    nodes = [
        helper.make_node("Conv", ["images", "kernels"], ["maps"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["maps"], ["positive"]),
        helper.make_node("Flatten", ["positive"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weight", "bias"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [batch or "n", 1, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch or "n", 10])],
        weights,
    )
    opset = [helper.make_opsetid("", 17)]
    file = helper.make_model(graph, opset_imports=opset, ir_version=9).SerializeToString()
    return file, lambda images: features(images) @ head.coef_.T + head.intercept_


def pixels() -> tuple[NDArray[np.float32], NDArray]:
    bunch = load_digits()
    return (bunch.images / 16).astype(np.float32), bunch.target


def added(store: Store, file: bytes, folder: Path, name: str, **more: str) -> str:
    path = folder / f"{name}.onnx"
    path.write_bytes(file)
    with path.open("rb") as opened:
        upload = user_data.put_upload(store, new_id(), opened)
    payload = {"upload": upload, "file_name": path.name, "name": name, "inputs": "auto", **more}
    job_id = store.add_job("model", payload)
    assert run_job(store.url, job_id) == "finished", store.job(job_id).error
    return name


# What comes out


@pytest.mark.parametrize("batch", [None, 1, 7])
def test_a_file_of_channels_first_answers_for_images_of_channels_last(batch: int | None) -> None:
    images, labels = pixels()
    file, expected = convolution(images[:300], labels[:300], batch=batch)
    model = load_onnx(file)
    assert model.input_shape == (None, 8, 8, 1)
    found = model.predict(images[:20, ..., np.newaxis], verbose=0)
    np.testing.assert_allclose(found, expected(images[:20]), atol=1e-3)


def test_it_is_saved_and_opened_again_in_safe_mode() -> None:
    images, labels = pixels()
    file, expected = convolution(images[:300], labels[:300])
    again = model_from_bytes(model_to_bytes(load_onnx(file)))
    found = again(images[:5, ..., np.newaxis])
    np.testing.assert_allclose(found, expected(images[:5]), atol=1e-3)


def test_probabilities_become_logits_of_the_same_probabilities() -> None:
    rows, labels = wine()
    forest = RandomForestClassifier(20, random_state=0).fit(rows, labels)
    file = of_sklearn(forest, 13, options={"zipmap": False})
    model, words = to_logits(load_onnx(file, "probabilities"))
    assert "probabilities" in words
    found = keras.ops.softmax(model(rows))
    np.testing.assert_allclose(found, forest.predict_proba(rows), atol=1e-5)


def test_the_sigmoid_of_one_output_becomes_two_classes() -> None:
    """Keras does not see into the file: it is told by the file's last operator."""
    weights = [numpy_helper.from_array(np.array([[2.0], [-1.0]], np.float32), "w")]
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["z"]),
        helper.make_node("Sigmoid", ["z"], ["p"]),
    ]
    graph = helper.make_graph(
        nodes,
        "binary",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info("p", TensorProto.FLOAT, ["n", 1])],
        weights,
    )
    opset = [helper.make_opsetid("", 17)]
    file = helper.make_model(graph, opset_imports=opset, ir_version=9).SerializeToString()
    model, _ = to_logits(load_onnx(file))
    x = np.random.default_rng(0).normal(size=(9, 2)).astype(np.float32)
    z = x @ [[2.0], [-1.0]]
    expected = np.concatenate([np.zeros_like(z), z], axis=1)
    np.testing.assert_allclose(model(x), expected, atol=1e-4)


# What is refused


def changed(change: Callable[[onnx.ModelProto], Any]) -> bytes:
    images, labels = pixels()
    model = onnx.load_model_from_string(convolution(images[:100], labels[:100])[0])
    change(model)
    return model.SerializeToString()


def foreign(model: onnx.ModelProto) -> None:
    model.graph.node[1].domain = "my.company"
    model.opset_import.append(helper.make_opsetid("my.company", 1))


def outside(model: onnx.ModelProto) -> None:
    weight = model.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    entry = weight.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"


def outside_in_a_constant(model: onnx.ModelProto) -> None:
    weight = TensorProto(data_type=TensorProto.FLOAT, dims=[1], name="secret")
    weight.data_location = TensorProto.EXTERNAL
    entry = weight.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"
    model.graph.node.append(helper.make_node("Constant", [], ["constant"], value=weight))


def second_input(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, ["n", 1]))


@pytest.mark.parametrize(
    ("file", "words"),
    [
        (b"nonsense", "must be an ONNX file"),
        (b"", "must be an ONNX file|must have one input"),
        (changed(foreign), r"operators of ONNX alone, got my.company.Relu"),
        (changed(outside), "must be an ONNX file|lie in another file"),
        (changed(outside_in_a_constant), "must be an ONNX file|lie in another file"),
        (changed(second_input), "must have one input, got 2"),
    ],
)
def test_what_cannot_be_trusted_or_used_is_refused_in_words(file: bytes, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        load_onnx(file)


def test_names_of_classes_in_place_of_numbers_are_refused_with_the_way_out() -> None:
    rows, labels = wine()
    fitted = LogisticRegression(max_iter=50).fit(rows / rows.max(axis=0), labels)
    with pytest.raises(ModelError, match="zipmap=False"):
        load_onnx(of_sklearn(fitted, 13))


def test_it_is_no_student_and_has_no_features(store: Store, tmp_path: Path) -> None:
    images, labels = pixels()
    added(store, convolution(images[:300], labels[:300])[0], tmp_path, "torch")
    with pytest.raises(
        ConfigError, match="a network that can be trained, not a file that only answers"
    ):
        ExperimentConfig(student="torch")
    with pytest.raises(ConfigError, match="this teacher has no layers to look into"):
        ExperimentConfig(teacher="torch", method="attention")


# As teachers


def test_a_convolution_from_elsewhere_teaches_and_is_shown_like_any_teacher(
    store: Store, tmp_path: Path
) -> None:
    dataset = datasets.load_named("digits")
    train = dataset.train.inputs[..., 0].astype(np.float32) / 16
    file, expected = convolution(train, dataset.train.labels)
    added(store, file, tmp_path, "torch")
    row = user_models.find(store, "torch")
    assert row is not None
    seen = looks(store, row.key)["digits"]
    assert seen.problem == ""
    assert seen.seen[0].accuracy > 0.9
    config = ExperimentConfig(teacher="torch", student="mlp-16", epochs=8, seeds=1, labels=50)
    done = store.create(config)
    run_experiment(store, done)
    (teacher,) = load_results(store, done).runs("teacher")
    test = dataset.test.inputs[..., 0].astype(np.float32) / 16
    np.testing.assert_allclose(logits(store, teacher, "test"), expected(test), atol=1e-3)
    assert teacher.parameters == 12 * 9 + 12 * 64 * 10 + 10
    assert teacher.summary["multiply_accumulates"] is None
    student, baseline = (
        load_results(store, done).accuracies(r)[0] for r in ("student", "baseline")
    )
    assert student > baseline
    assert set(limits(store, teacher.id)) == {
        "saved-model",
        "litert-float32",
        "litert-float16",
        "litert-int8",
        "onnx",
    }


def forest(rows: NDArray, labels: NDArray) -> bytes:
    fitted = RandomForestClassifier(60, random_state=0).fit(rows, labels)
    return of_sklearn(fitted, rows.shape[1], options={"zipmap": False})


def boosted(rows: NDArray, labels: NDArray) -> bytes:
    fitted = XGBClassifier(n_estimators=30, max_depth=3, n_jobs=1).fit(rows, labels)
    kinds = [("x", XGBoostFloats([None, rows.shape[1]]))]
    return convert_xgboost(fitted, initial_types=kinds).SerializeToString()


@pytest.mark.parametrize("fit", [forest, boosted])
def test_trees_teach_a_small_network_on_a_table(
    store: Store, tmp_path: Path, fit: Callable[[NDArray, NDArray], bytes]
) -> None:
    """Fitted on the table's own units; the network sees standardised features."""
    frame = load_wine(as_frame=True).frame
    path = tmp_path / "wine.csv"
    frame.to_csv(path, index=False)
    key = ingest.add(store, "wine", path).key
    rows, labels = wine()
    known, _, known_labels, _ = train_test_split(rows, labels, test_size=0.3, random_state=0)
    added(store, fit(known, known_labels), tmp_path, "trees", output="probabilities")
    row = user_models.find(store, "trees")
    assert row is not None
    seen = looks(store, row.key)[key]
    assert seen.seen[0].inputs == "as in the file"
    assert seen.problem == ""
    assert seen.seen[0].accuracy > 0.9
    config = starting_config(key).replace(teacher="trees", student="mlp-16", seeds=1, epochs=30)
    done = store.create(config)
    run_experiment(store, done)
    results = load_results(store, done)
    assert results.accuracies("teacher")[0] > 0.9
    assert results.accuracies("student")[0] > 0.8
