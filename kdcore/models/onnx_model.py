"""A network in an ONNX file, from PyTorch, scikit-learn, XGBoost or whatever else writes them, as a
layer of Keras: it answers, and cannot be trained.

The file is data: onnxruntime runs it with the operators of ONNX itself, nothing is unpickled, and
operators of somebody's own are refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import tensorflow as tf
from keras import ops
from numpy.typing import NDArray

from kdcore.errors import ModelError
from kdcore.models.outputs import SMALLEST_PROBABILITY
from kdcore.words import first_line

ITS_OWN_DOMAINS = {"", "ai.onnx", "ai.onnx.ml"}
REAL_NUMBERS = {onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16}
RUNTIME_TYPES = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
}
CHANNELS = (1, 3)


@keras.saving.register_keras_serializable(package="kdcore")
class OnnxNetwork(keras.layers.Layer):
    """Runs an ONNX file on inputs [batch, ...]; images are channels last, whatever the file wants.

    Args:
        output: which of the file's outputs is given, by its name.
        classes: how many numbers it has for each example.
        channels_first: whether the file wants images [batch, channels, height, width].
        file: the ONNX file; None where it comes with the weights of a stored model.
        **kwargs: those of every layer.
    """

    def __init__(
        self,
        output: str,
        classes: int,
        channels_first: bool = False,
        file: bytes | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(trainable=False, **kwargs)
        self.output_name, self.classes, self.channels_first = output, classes, channels_first
        self._file = file
        self._session: Any = None

    def call(self, inputs: Any) -> Any:
        """Return the output as float32, [batch, classes]."""
        answers = tf.numpy_function(self._answers, [ops.cast(inputs, "float32")], tf.float32)
        answers.set_shape((None, self.classes))
        return answers

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, int]:
        """Return [batch, classes]."""
        return (input_shape[0], self.classes)

    def compute_output_spec(self, inputs: Any) -> keras.KerasTensor:
        """Return what the output will be, without running the file."""
        return keras.KerasTensor((inputs.shape[0], self.classes), "float32")

    def _answers(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        if self.channels_first:
            inputs = np.moveaxis(inputs, -1, 1)
        session = self._open()
        (wanted,) = session.get_inputs()
        inputs = np.ascontiguousarray(inputs, RUNTIME_TYPES[wanted.type])
        fixed = wanted.shape[0] if isinstance(wanted.shape[0], int) else None
        answers = [
            session.run([self.output_name], {wanted.name: batch})[0][:count]
            for batch, count in _batches(inputs, fixed)
        ]
        return np.concatenate(answers).astype(np.float32).reshape(len(inputs), self.classes)

    def _open(self) -> Any:
        if self._session is None:
            import onnxruntime

            assert self._file is not None, "the file is given, or loaded with the model"
            self._session = onnxruntime.InferenceSession(
                self._file, providers=onnxruntime.get_available_providers()
            )
        return self._session

    def count_parameters(self) -> int:
        """Return how many numbers the file has learnt: its weights, and those of trees."""
        assert self._file is not None, "the file is given, or loaded with the model"
        graph = onnx.load_model_from_string(self._file).graph
        weights = sum(math.prod(each.dims) for each in graph.initializer)
        of_trees = sum(
            len(attribute.floats) for node in _nodes(graph) for attribute in node.attribute
        )
        return int(weights + of_trees)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments but for the file, which is an asset."""
        own = {
            "output": self.output_name,
            "classes": self.classes,
            "channels_first": self.channels_first,
        }
        return {**super().get_config(), **own}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> OnnxNetwork:
        """Build the layer from :meth:`get_config`."""
        return cls(**{name: value for name, value in config.items() if name != "trainable"})

    def save_assets(self, path: str) -> None:
        """Write the file where Keras puts what is no weight."""
        assert self._file is not None, "there is a file to save"
        (Path(path) / "network.onnx").write_bytes(self._file)

    def load_assets(self, path: str) -> None:
        """Read the file back."""
        self._file, self._session = (Path(path) / "network.onnx").read_bytes(), None


def _batches(inputs: NDArray, fixed: int | None) -> list[tuple[NDArray, int]]:
    """Return the inputs in batches of the size that the file wants, each with how many of its rows
    count: the last one is filled up.
    """
    if fixed is None or not len(inputs):
        return [(inputs, len(inputs))]
    found = []
    for start in range(0, len(inputs), fixed):
        part = inputs[start : start + fixed]
        found.append((np.resize(part, (fixed, *inputs.shape[1:])), len(part)))
    return found


def load_onnx(file: bytes, output: str = "") -> keras.Model:
    """Return an ONNX file as a Keras model that gives what the file gives, or of several outputs
    the one called ``output``.

    The sigmoid of a single output is undone: Keras does not see it. Raises ModelError for what
    cannot be trusted or used.
    """
    graph = _read(file).graph
    shape, channels_first = _input_of(graph)
    name, classes = _output_of(graph, output)
    inputs = keras.Input(shape)
    network = OnnxNetwork(name, classes, channels_first, file, name="onnx")
    answers = network(inputs)
    if classes == 1 and _last_operator(graph, name) == "Sigmoid":
        p = ops.clip(answers, SMALLEST_PROBABILITY, 1 - 1e-7)
        answers = ops.log(p) - ops.log1p(-p)
    model = keras.Model(inputs, answers)
    try:
        network._answers(np.zeros((2, *(side or 32 for side in shape)), np.float32))
    except Exception as error:  # onnxruntime raises whatever the file makes its operators raise
        raise ModelError(f"the ONNX file cannot be run: {first_line(error)}") from error
    return model


def _read(file: bytes) -> onnx.ModelProto:
    try:
        model = onnx.load_model_from_string(file)
        onnx.checker.check_model(model)
    except Exception as error:  # protobuf and the checker have no exception in common
        raise ModelError(f"file must be an ONNX file, got {first_line(error)}") from error
    foreign = {
        f"{node.domain}.{node.op_type}"
        for node in _nodes(model.graph)
        if node.domain not in ITS_OWN_DOMAINS
    }
    if foreign or model.functions:
        named = ", ".join(sorted(foreign)) or "functions of its own"
        raise ModelError(f"an ONNX file must use the operators of ONNX alone, got {named}")
    if any(each.data_location == onnx.TensorProto.EXTERNAL for each in _tensors(model.graph)):
        raise ModelError(
            "an ONNX file must hold its weights itself, got some that lie in another file: save it "
            "as one file"
        )
    return model


def _nodes(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Return all operators, those of branches and loops included."""
    return [node for each in _graphs(graph) for node in each.node]


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """Yield a graph, and those of its branches and loops."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            inner = [attribute.g] if attribute.HasField("g") else []
            for each in (*inner, *attribute.graphs):
                yield from _graphs(each)


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Yield all weights and constants."""
    for each in _graphs(graph):
        yield from each.initializer
        yield from (sparse.values for sparse in each.sparse_initializer)
        for node in each.node:
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    yield attribute.t
                yield from attribute.tensors


def _input_of(graph: onnx.GraphProto) -> tuple[tuple[int | None, ...], bool]:
    """Return the shape of one example, channels last, and whether the file wants channels first."""
    weights = {each.name for each in graph.initializer}
    inputs = [each for each in graph.input if each.name not in weights]
    if len(inputs) != 1:
        raise ModelError(
            f"an ONNX file must have one input, got {len(inputs)}: put the columns of a table into "
            "one tensor before it is converted"
        )
    kind = inputs[0].type.tensor_type
    if kind.elem_type not in REAL_NUMBERS:
        raise ModelError("an ONNX file must take real numbers, but this one takes something else")
    shape = _shape_of(kind)[1:]
    if len(shape) not in (1, 2, 3):
        raise ModelError(f"an ONNX file must take a row or an image an example, got shape {shape}")
    if len(shape) < 3:
        return shape, False
    first = shape[2] not in CHANNELS and (shape[0] in CHANNELS or shape[0] is None)
    return ((*shape[1:], shape[0]) if first else shape), first


def _shape_of(kind: Any) -> tuple[int | None, ...]:
    return tuple(
        side.dim_value if side.HasField("dim_value") and side.dim_value > 0 else None
        for side in kind.shape.dim
    )


def _output_of(graph: onnx.GraphProto, wanted: str) -> tuple[str, int]:
    """Return the output that is meant, and how many numbers it gives an example."""
    usable = {
        each.name: _shape_of(each.type.tensor_type)
        for each in graph.output
        if each.type.HasField("tensor_type")
        and each.type.tensor_type.elem_type in REAL_NUMBERS
        and len(each.type.tensor_type.shape.dim) == 2
    }
    names = ", ".join(each.name for each in graph.output)
    if not usable:
        raise ModelError(
            f"an ONNX file must give one row of real numbers an example, got {names}: where class "
            "names come with the probabilities (a ZipMap), convert it without (zipmap=False)"
        )
    if wanted and wanted not in usable:
        raise ModelError(f"output must be one of {', '.join(usable)}, got {wanted}")
    if not wanted and len(usable) > 1:
        raise ModelError(
            f"the ONNX file has {len(usable)} outputs: output must be one of {', '.join(usable)}"
        )
    name = wanted or next(iter(usable))
    classes = usable[name][1]
    if classes is None:
        raise ModelError("an ONNX file must answer with a known number of classes, got any number")
    return name, classes


def _last_operator(graph: onnx.GraphProto, output: str) -> str:
    """Return the operator that makes an output, looking through what only reshapes it."""
    makers = {name: node for node in graph.node for name in node.output}
    node = makers.get(output)
    while node is not None and node.op_type in ("Identity", "Cast", "Reshape", "Squeeze"):
        node = makers.get(node.input[0])
    return "" if node is None else node.op_type
