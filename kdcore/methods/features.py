"""What the methods on features share: plain distillation beside them, and which layers are
paired.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from kdcore.methods.base import Batch, Loss, Method, Term
from kdcore.settings import alpha_setting, setting, temperature_setting, weight_setting

# Names of layers as Keras makes them, which begin with a letter, a digit or an underscore.
_NAME = r"\w[\w./-]*"
_PAIRS = re.compile(rf"{_NAME}:{_NAME}(,{_NAME}:{_NAME})*")


def _check_pairs(text: str) -> str:
    tidy = re.sub(r"\s", "", text)
    if tidy != "automatic" and not _PAIRS.fullmatch(tidy):
        rule = "automatic, or pairs such as teacher_layer:student_layer,other:another"
        raise PydanticCustomError("rule", "{rule}", {"rule": rule})
    return tidy


class FeatureMethod(Method):
    """A loss on pairs of layers, beside plain distillation of the logits."""

    alpha: float = alpha_setting(0.1)
    temperature: float = temperature_setting(4.0)
    kd_weight: float = weight_setting(
        1.0, "Weight of plain distillation", "How much the logits count beside the features.", "kd"
    )
    layers: Annotated[str, AfterValidator(_check_pairs)] = setting(
        "automatic",
        "Layers",
        "Which layers are paired: automatic takes the last activation at each size of both "
        "networks; or teacher_layer:student_layer, several with commas.",
        "method",
    )

    def features_loss(self, batch: Batch) -> Loss:
        """Return the loss of one pair of layers."""
        raise NotImplementedError

    @property
    def adapter(self) -> bool:
        """Whether the student's features are brought to the teacher's shape first."""
        return False

    def terms(self) -> tuple[Term, ...]:
        """Return plain distillation, and the loss on each pair."""
        return (
            Term(_plain, weight="kd_weight"),
            Term(self.features_loss, on="features", weight="weight", adapter=self.adapter),
        )

    def named_pairs(self) -> list[tuple[str, str]]:
        """Return the pairs that are named, (teacher's layer, student's layer); none: automatic."""
        if self.layers == "automatic":
            return []
        return [tuple(pair.split(":")) for pair in self.layers.split(",")]  # type: ignore[misc]


def _plain(batch: Batch) -> Any:
    return batch.functions.kd_loss(batch.teacher, batch.student, batch.now["temperature"])
