"""What a model's output is, and how logits are had from it.

Distillation works on logits. Models that end in a softmax or a sigmoid give probabilities; they are
undone, never softened twice. A model of one output judges between two classes: its logit z stands
for the logits (0, z).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from kdcore.errors import ModelError

Kind = Literal["logits", "softmax", "sigmoid"]
SMALLEST_PROBABILITY = 1e-37  # below, float32 has no normal numbers


class LogitsReader:
    """Reads the logits of one model's output.

    Args:
        model: whose output it is.
        role: "teacher" or "student", for messages.
        output: which one of several, by its name.

    Raises:
        ModelError: for a model of several outputs of which none was chosen.
    """

    def __init__(self, model: keras.Model, role: str, output: str | None = None) -> None:
        self.role, self.output = role, output
        self.kind: Kind = "logits"
        symbolic = getattr(model, "_outputs_struct", None)  # a dict, where the outputs are one
        if symbolic is None:
            symbolic = getattr(model, "outputs", None)
        # A graph tells a sigmoid for certain, and that there is none.
        self.has_graph = symbolic is not None
        if symbolic is not None:
            self.kind = kind_of(self.choose(symbolic))

    def choose(self, outputs: Any) -> Any:
        """Return the one output that is meant; raises ModelError where that is not said."""
        if isinstance(outputs, Mapping):
            named = dict(outputs)
        elif isinstance(outputs, Sequence) and not ops.is_tensor(outputs):
            named = {
                getattr(part, "name", None) or str(at): part for at, part in enumerate(outputs)
            }
            if self.output is not None and self.output.isdigit():
                named = {str(at): part for at, part in enumerate(outputs)}
        else:
            return outputs
        if self.output is None and len(named) == 1:
            return next(iter(named.values()))
        if self.output not in named:
            raise ModelError(
                f"the {self.role} has {len(named)} outputs: output must be one of "
                f"{', '.join(map(str, named))}, got {self.output or 'none'}"
            )
        return named[self.output]

    def learn_from(self, values: Any) -> None:
        """Tell from one batch of answers whether they are probabilities, where the model's graph
        did not: none is negative, and each row sums to 1 (or lies between 0 and 1, if it is one).
        """
        if self.kind != "logits":
            return
        answers = np.asarray(ops.convert_to_numpy(self.choose(values)), np.float64)
        if not answers.size or answers.min() < 0 or answers.max() > 1:
            return
        if answers.shape[-1] == 1:
            if self.has_graph:
                return
            self.kind = "sigmoid" if len(answers) > 1 and np.ptp(answers) > 0 else "logits"
        elif np.allclose(answers.sum(axis=-1), 1, atol=1e-3):
            self.kind = "softmax"

    def logits(self, output: Any) -> Any:
        """Return the logits [..., classes] of an output, 2 classes where it is a single one."""
        if self.kind == "softmax":
            output = ops.log(ops.maximum(ops.cast(output, "float32"), SMALLEST_PROBABILITY))
        elif self.kind == "sigmoid":
            p = ops.clip(ops.cast(output, "float32"), 1e-7, 1 - 1e-7)
            output = ops.log(p) - ops.log1p(-p)
        if output.shape[-1] == 1:
            return ops.concatenate([ops.zeros_like(output), output], axis=-1)
        return output

    def words(self) -> str:
        """Say what was undone, empty where nothing was."""
        if self.kind == "logits":
            return ""
        return (
            f"the {self.role} gives probabilities (it ends in a {self.kind}): they are turned back "
            "into logits before they are softened"
        )


def kind_of(tensor: Any) -> Kind:
    """Return what the operation that made a symbolic tensor of a model gives."""
    history: Any = getattr(tensor, "_keras_history", None)
    operation: Any = getattr(history, "operation", None)
    if isinstance(operation, keras.Model):  # a model within a model
        inner = operation.outputs
        return kind_of(inner[history.tensor_index]) if inner else "logits"
    name = type(operation).__name__.lower()
    activation = getattr(operation, "activation", None)
    said = {name, getattr(activation, "__name__", "").lower()}
    if "softmax" in said:
        return "softmax"
    if "sigmoid" in said:
        return "sigmoid"
    if name in ("reshape", "flatten", "squeeze", "dropout") and operation is not None:
        inputs = operation._inbound_nodes[history.node_index].input_tensors
        return kind_of(inputs[0]) if inputs else "logits"
    return "logits"
