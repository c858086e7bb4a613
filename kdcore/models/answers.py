"""A teacher that is a file of answers: it knows one for each example of its dataset, and nothing
else.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops
from numpy.typing import NDArray

from kdcore.data.datasets import Dataset, Split
from kdcore.data.readers.answers import Answers
from kdcore.errors import ModelError
from kdcore.storage.arrays import pack_many, unpack_many


@keras.saving.register_keras_serializable(package="kdcore")
class AnswersTable(keras.layers.Layer):
    """Looks up logits of examples by what is in them.

    Args:
        classes: how many logits there are.
        keys: digests of the known examples, in rising order [n].
        logits: their logits [n, classes]; None, as ``keys``, where they come with a stored model.
        **kwargs: those of every layer.
    """

    def __init__(
        self,
        classes: int,
        keys: NDArray[np.uint64] | None = None,
        logits: NDArray[np.float32] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(trainable=False, **kwargs)
        self.classes, self._keys, self._logits = classes, keys, logits

    def call(self, inputs: Any) -> Any:
        """Return the logits [batch, classes] of known examples."""
        answers = tf.numpy_function(self._answers, [ops.cast(inputs, "float32")], tf.float32)
        answers.set_shape((None, self.classes))
        return answers

    def compute_output_spec(self, inputs: Any) -> keras.KerasTensor:
        """Return what the output will be, without looking anything up."""
        return keras.KerasTensor((inputs.shape[0], self.classes), "float32")

    def _answers(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        assert self._keys is not None, "the answers are given, or loaded with the model"
        assert self._logits is not None, "the answers are given, or loaded with the model"
        wanted = digests(inputs)
        at = np.minimum(np.searchsorted(self._keys, wanted), len(self._keys) - 1)
        if not np.array_equal(self._keys[at], wanted):
            raise ModelError(
                "a file of answers has none for this example: it knows those of its dataset alone, "
                "unchanged"
            )
        return self._logits[at]

    def get_config(self) -> dict[str, Any]:
        """Return the arguments but for the answers, which are an asset."""
        return {**super().get_config(), "classes": self.classes}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> AnswersTable:
        """Build the layer from :meth:`get_config`."""
        return cls(**{name: value for name, value in config.items() if name != "trainable"})

    def save_assets(self, path: str) -> None:
        """Write the answers where Keras puts what is no weight."""
        assert self._keys is not None, "there are answers to save"
        assert self._logits is not None, "there are answers to save"
        packed = pack_many({"keys": self._keys, "logits": self._logits})
        (Path(path) / "answers.npz").write_bytes(packed)

    def load_assets(self, path: str) -> None:
        """Read the answers back."""
        arrays = unpack_many((Path(path) / "answers.npz").read_bytes())
        self._keys, self._logits = arrays["keys"], arrays["logits"]


def digests(inputs: NDArray[np.float32]) -> NDArray[np.uint64]:
    """Return a number for each example that tells what is in it."""
    rows = np.ascontiguousarray(inputs, np.float32).reshape(len(inputs), -1)
    found = [hashlib.blake2b(row.tobytes(), digest_size=8).digest() for row in rows]
    return np.frombuffer(b"".join(found), np.uint64)


def answers_model(answers: Answers, dataset: Dataset) -> keras.Model:
    """Return a model of the answers for a dataset, as it is split and scaled.

    Examples that are equal share the mean of their answers, as probabilities.
    """

    def answers_of(split: Split, first: bool) -> NDArray[np.float32]:
        known = answers.logits if first or answers.test is None else answers.test
        return known[split.rows]

    splits = (
        (dataset.train, True),
        (dataset.validation, True),
        (dataset.test, dataset.test_is_drawn),
    )
    keys = np.concatenate([_keys_of(split, dataset.scale) for split, _ in splits])
    logits = np.concatenate([answers_of(split, first) for split, first in splits])
    unique, place, counted = np.unique(keys, return_inverse=True, return_counts=True)
    if len(unique) < len(keys):
        probabilities = np.exp(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True))
        sums = np.zeros((len(unique), logits.shape[1]))
        np.add.at(sums, place, probabilities)
        known = np.log(np.maximum(sums / counted[:, np.newaxis], 1e-37))
    else:
        known = np.empty_like(logits)
        known[place] = logits
    inputs = keras.Input(dataset.input_shape)
    table = AnswersTable(logits.shape[1], unique, known.astype(np.float32), name="answers")
    return keras.Model(inputs, table(inputs))


def _keys_of(split: Split, scale: float) -> NDArray[np.uint64]:
    """Return the digests of a split's examples as models see them, some at a time."""
    pieces = [
        digests(ops.convert_to_numpy(ops.cast(split.inputs[at : at + 1024], "float32") * scale))
        for at in range(0, len(split), 1024)
    ]
    return np.concatenate(pieces)
