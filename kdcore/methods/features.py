"""What the methods on features share: plain distillation beside them, and which layers are
paired.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from kdcore.methods.base import Batch, KeptFunction, Loss, Method, Term
from kdcore.settings import alpha_setting, setting, temperature_setting, weight_setting
from kdcore.words import in_bytes

# Names of layers as Keras makes them, which begin with a letter, a digit or an underscore.
_NAME = r"\w[\w./-]*"
_PAIRS = re.compile(rf"{_NAME}:{_NAME}(,{_NAME}:{_NAME})*")

# More than this of all training examples is not kept: the teacher is then asked at every step.
MOST_BYTES = 256_000_000
FLOAT_BYTES = 4


def kept_bytes(values: int | None, examples: int) -> int:
    """Return what is kept of so many numbers an example, in bytes; 0 where that is not known."""
    return (values or 0) * examples * FLOAT_BYTES


def why_live(values: int | None, examples: int) -> str:
    """Say why a teacher's features are not kept, empty where they are.

    ``values`` are the numbers that would be kept of an example; None where examples differ in that.
    """
    if values is None:
        return "how much there is to keep differs from example to example"
    if (size := kept_bytes(values, examples)) > MOST_BYTES:
        return f"all of them take {in_bytes(size)}, more than {in_bytes(MOST_BYTES)}"
    return ""


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
        "networks, of vision transformers blocks at even distances; or teacher_layer:student_layer, "
        "several with commas.",
        "method",
    )

    def features_loss(self, batch: Batch) -> Loss:
        """Return the loss of one pair of layers."""
        raise NotImplementedError

    @property
    def adapter(self) -> bool:
        """Whether the student's features are brought to the teacher's shape first."""
        return False

    @property
    def kept(self) -> KeptFunction | None:
        """What of the teacher's features is compared, where it is not all of them."""
        return None

    def terms(self) -> tuple[Term, ...]:
        """Return plain distillation, and the loss on each pair."""
        on_pairs = Term(
            self.features_loss,
            on="features",
            weight="weight",
            adapter=self.adapter,
            kept=self.kept,
        )
        return Term(_plain, weight="kd_weight"), on_pairs

    def named_pairs(self) -> list[tuple[str, str]]:
        """Return the pairs that are named, (teacher's layer, student's layer); none: automatic."""
        if self.layers == "automatic":
            return []
        return [tuple(pair.split(":")) for pair in self.layers.split(",")]  # type: ignore[misc]


def _plain(batch: Batch) -> Any:
    return batch.functions.kd_loss(batch.teacher, batch.student, batch.now["temperature"])
