"""What is known about data and models before they are loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from kdcore.tasks import Task
from kdcore.tasks import find as find_task


@dataclass(frozen=True)
class DatasetCard:
    """What is known about a dataset before it is loaded.

    Shapes are one example's, channels last. The training part has ``training_examples`` with their
    label and ``unlabelled_examples`` without; the others are all labelled.
    """

    title: str
    builder: str
    input_shape: tuple[int, ...]
    class_names: tuple[str, ...]
    training_examples: int
    validation_examples: int
    test_examples: int
    key: str = ""  # name@digest of a user's dataset
    kind: str = "images"  # of data: a name of kdcore.tasks
    feature_names: tuple[str, ...] = ()  # of a table
    value_range: tuple[float, float] = (0.0, 1.0)  # of what models see, where it is images
    unlabelled_examples: int = 0

    def unlabelled_among(self, training_examples: int | None) -> int:
        """Return how many examples without a label go with so many labelled ones: the same share
        of those that there are, all for None.
        """
        used = self.training_examples if training_examples is None else training_examples
        return round(self.unlabelled_examples * used / max(self.training_examples, 1))

    @property
    def task(self) -> Task:
        """Its kind of data; raises ConfigError for one that this process does not know."""
        return find_task(self.kind)


@dataclass(frozen=True)
class ModelCard:
    """What is known about a model of a user's own, before it is loaded.

    ``input_shape`` is one example's, None where any size will do. ``output`` says in words whether
    the file gives logits or probabilities and what is done about it, ``inputs`` the range of values
    that it expects ("0 to 1", "0 to 255", "-1 to 1", or "as they are"), ``inputs_known`` how that
    is known.
    """

    title: str
    key: str
    input_shape: tuple[int | None, ...] | None
    classes: int | None
    parameters: int
    output: str
    inputs: str = "0 to 1"
    inputs_known: str = "assumed"
    kind: Literal["file", "function"] = "file"
    output_name: str = ""  # which of several outputs is meant
    frozen_layers: int = 0  # with weights that are not trained
    format: Literal["keras", "onnx", "answers"] = "keras"  # of the file
    dataset: str = ""  # whose examples a file of answers is for, by its key
    vocabulary: str = ""  # of texts that it was trained with: the digest of its definition

    @property
    def can_be_trained(self) -> bool:
        """Whether it can be a student: ONNX files and files of answers only answer."""
        return self.format == "keras"
