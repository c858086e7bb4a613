"""Attention transfer: the student looks where the teacher looks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from kdcore.methods.base import Batch, Curve, KeptFunction, Loss, Needs
from kdcore.methods.features import FeatureMethod
from kdcore.settings import weight_setting


class Attention(FeatureMethod):
    """Where the teacher's feature maps are strong, the student's are to be too."""

    name: ClassVar[str] = "attention"
    title: ClassVar[str] = "Attention transfer"
    summary: ClassVar[str] = (
        "Where the teacher's feature maps are strong, the student's are to be strong too; how many "
        "channels each has does not matter."
    )
    equation: ClassVar[str] = (
        r"\alpha\,\mathrm{CE} + (1-\alpha)\,\big[w_{kd}\,\mathrm{KD}_T + "
        r"w\;\textstyle\sum\overline{(a^t - a^s)^2}\big],\quad"
        r"a(F) = \frac{\overline{F^2}}{\lVert\overline{F^2}\rVert_2}"
    )
    paper: ClassVar[str] = "Zagoruyko, Komodakis 2017, arXiv:1612.03928"
    # The paper adds 1000 times this to the labels' loss, without plain distillation.
    papers: ClassVar[Mapping[str, float]] = {"alpha": 0.5, "kd_weight": 0.0, "weight": 1000.0}
    needs: ClassVar[Needs] = Needs("features", images=True)
    curves: ClassVar[tuple[Curve, ...]] = (Curve("attention", "Distance of the attention maps"),)
    pairs: ClassVar[Literal["last", "all"]] = "all"

    weight: float = weight_setting(
        10.0,
        "Weight of attention",
        "How much the distance of the maps counts. The paper takes 1000 for maps of 32 × 32; the "
        "smaller the maps, the less.",
        "w",
    )

    @property
    def kept(self) -> KeptFunction:
        """The strength of each place: one number where the layer has one a channel."""
        return _strengths

    def features_loss(self, batch: Batch) -> Loss:
        """Return the mean squared difference of the attention maps of a pair of layers."""
        kd = batch.functions
        of_student = kd.strength_of_places(batch.student, tuple(batch.teacher.shape[1:]))
        distance = kd.strength_difference(batch.teacher, of_student)
        return distance, {"attention": distance}


def _strengths(features: Any, student_shape: tuple[int | None, ...], functions: Any) -> Any:
    size = functions.smaller_size(features.shape, student_shape)
    return functions.strength_of_places(features, size)
